"""A first recipe from good parts: places, tolerances, limits, and what a person is asked."""

import numpy as np
import pytest

from edge_agent.object_places import SeenBox, find_places
from edge_agent.teaching import Draft, Knowledge, Look, draft_recipe
from models.contract.bundle import Category, CategoryKind
from models.contract.recipe import Recipe

KNOWLEDGE = Knowledge(
    categories=(
        Category(name="bolt", kind=CategoryKind.OBJECT),
        Category(name="label", kind=CategoryKind.OBJECT),
        Category(name="scratch", kind=CategoryKind.DEFECT),
        Category(name="torn_label", kind=CategoryKind.DEFECT),
    ),
    thresholds={"bolt": 0.5, "label": 0.4, "scratch": 0.5},
)
CORNERS = ((100, 100), (300, 100), (100, 300), (300, 300))
RNG = np.random.default_rng(5)


def box(x: float, y: float, *, category: str = "bolt", score: float = 0.9) -> SeenBox:
    return SeenBox(category, x, y, 40, 40, score)


def look(*boxes: SeenBox, name: str = "p.png", sharpness: float = 80.0) -> Look:
    return Look(name, (400, 400), 120.0, 0.02, sharpness, boxes)


def bolts(jitter_px: float = 6.0) -> list[SeenBox]:
    return [box(*(np.array(corner) + RNG.normal(0, jitter_px, 2))) for corner in CORNERS]


def teach(*looks: Look) -> Draft:
    return draft_recipe(
        {"main": looks}, KNOWLEDGE, recipe_id="plate", part_type="plate", deadline_ms=300
    )


def expected(draft: Draft) -> list[str]:
    return [item.name for item in draft.recipe.views[0].expected]


def test_objects_get_a_zone_around_the_places_where_they_were_seen() -> None:
    looks = [look(*bolts()) for _ in range(8)]
    draft = teach(*looks)
    view = draft.recipe.views[0]
    assert expected(draft) == ["bolt 1", "bolt 2", "bolt 3", "bolt 4"]
    for item, corner in zip(view.expected, CORNERS, strict=True):
        assert item.zone is not None
        assert item.zone.contains(*corner)
        assert all(
            sum(item.zone.contains(seen.x, seen.y) for seen in one.boxes) == 1 for one in looks
        )
        assert 20 < item.zone.width < 80, "tolerance from the spread, not half the picture"


def test_every_defect_of_the_label_map_is_forbidden_and_unseen_objects_are_asked_about() -> None:
    draft = teach(look(*bolts()), look(*bolts()))
    assert [rule.category for rule in draft.recipe.views[0].forbidden] == ["scratch", "torn_label"]
    assert [rule.min_score for rule in draft.recipe.views[0].forbidden] == [None, None]
    assert draft.doubts == ["view main: no label in any picture: not expected"]


def test_neighbours_of_one_category_do_not_share_a_place() -> None:
    looks = [look(box(100 + dx, 100), box(130 + dx, 100)) for dx in (-3.0, 0.0, 3.0, 1.0, -1.0)]
    left, right = (item.zone for item in teach(*looks).recipe.views[0].expected)
    assert left is not None
    assert right is not None
    assert left.x + left.width <= right.x + 1
    assert left.contains(103, 100)
    assert right.contains(127, 100)


def test_objects_that_change_places_are_counted_together() -> None:
    looks = [look(box(x, 200), box(x + 60, 200)) for x in (100, 130, 160, 190)]
    (item,) = teach(*looks).recipe.views[0].expected
    assert item.count == 2


def test_object_too_weak_to_count_lowers_its_own_limit_only() -> None:
    weak = [box(100, 100, score=0.31), *bolts(0.0)[1:]]
    draft = teach(look(*bolts(0.0)), look(*bolts(0.0)), look(*weak, name="dim.png"))
    limits = [item.min_score for item in draft.recipe.views[0].expected]
    assert limits == [0.26, None, None, None]
    assert any("0.31 only" in doubt for doubt in draft.doubts)


def test_object_that_is_missing_somewhere_is_not_expected_but_asked_about() -> None:
    draft = teach(look(*bolts()), look(*bolts()), look(*bolts()[:3], name="three.png"))
    assert expected(draft) == ["bolt 1", "bolt 2", "bolt 3"]
    (doubt,) = (doubt for doubt in draft.doubts if "missing in three.png" in doubt)
    assert "Is that a good part?" in doubt


def test_defect_seen_on_a_good_part_raises_its_limit_and_is_asked_about() -> None:
    scratch = box(200, 200, category="scratch", score=0.62)
    draft = teach(look(*bolts()), look(*bolts(), scratch, name="dirty.png"))
    rule = draft.recipe.views[0].forbidden[0]
    assert (rule.category, rule.min_score) == ("scratch", 0.67)
    assert any("dirty.png with 0.62" in doubt for doubt in draft.doubts)


def test_limits_of_the_picture_come_from_the_poorest_good_one() -> None:
    checks = teach(look(*bolts(), sharpness=90), look(*bolts(), sharpness=30)).recipe.image_checks
    assert (checks.min_mean, checks.min_sharpness) == (60.0, 15.0)
    assert checks.max_saturated_ratio == pytest.approx(0.12)
    assert checks.refuse_frozen


def test_pictures_of_different_sizes_make_no_recipe() -> None:
    other = Look("q.png", (640, 512), 100.0, 0.0, 50.0, ())
    with pytest.raises(ValueError, match="have one size"):
        teach(look(*bolts()), other)


def test_shift_of_the_whole_part_does_not_mix_up_its_objects() -> None:
    seen = [[box(x + shift, y) for x, y in CORNERS] for shift in (0, 30, 60, -30, -60)]
    places = find_places(seen, threshold=0.5)
    assert [place.count for place in places] == [1, 1, 1, 1]
    assert all(place.range[1][0] - place.range[0][0] == 120 for place in places)


def test_views_are_drafted_each_for_itself() -> None:
    label = box(200, 200, category="label")
    draft = draft_recipe(
        {"top": [look(*bolts())], "side": [look(label)]},
        KNOWLEDGE,
        recipe_id="plate",
        part_type="plate",
        deadline_ms=300,
    )
    names = {view.name: [item.name for item in view.expected] for view in draft.recipe.views}
    assert names["side"] == ["label"]
    assert len(names["top"]) == 4
    assert isinstance(draft.recipe, Recipe)
