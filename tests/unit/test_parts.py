from dataclasses import replace

import numpy as np
import pytest

from simulators.parts import (
    DEFECTS,
    OBJECTS,
    Kind,
    PartSpec,
    RenderedPart,
    SceneSettings,
    choose_defects,
    draw_part,
    part_rng,
    render,
)

STILL = SceneSettings(pose_jitter=0.0, dirt=0.0, blur=0.0)


def kinds_of(rendered: RenderedPart) -> list[Kind]:
    return [box.category for box in rendered.annotations]


def test_the_same_seed_gives_the_same_picture() -> None:
    first, second = (render(draw_part(part_rng(7, 3), defects=(Kind.SCRATCH,))) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert first.annotations == second.annotations


def test_another_index_gives_another_part() -> None:
    first, second = (render(draw_part(part_rng(7, index))) for index in range(2))
    assert not np.array_equal(first.image, second.image)


def test_a_good_part_has_every_object_and_no_defect() -> None:
    spec = PartSpec()
    kinds = kinds_of(render(draw_part(part_rng(1, 0))))
    assert kinds.count(Kind.BOLT) == len(spec.bolts_mm)
    assert kinds.count(Kind.SCREW) == len(spec.screws_mm)
    assert kinds.count(Kind.LABEL) == len(spec.labels)
    assert not set(kinds) & set(DEFECTS)


@pytest.mark.parametrize("defect", [kind for kind in DEFECTS if kind is not Kind.SCRATCH])
def test_a_defect_takes_the_place_of_its_host(defect: Kind) -> None:
    good = kinds_of(render(draw_part(part_rng(2, 0))))
    bad = kinds_of(render(draw_part(part_rng(2, 0), defects=(defect,))))
    assert bad.count(defect) == 1
    assert len(bad) == len(good)
    assert set(bad) - {defect} <= set(OBJECTS)


def test_a_defect_without_a_free_host_is_left_out() -> None:
    part = draw_part(part_rng(3, 0), defects=(Kind.MISSING_LABEL,) * 3)
    assert part.defects == (Kind.MISSING_LABEL,) * 2


def test_boxes_stay_inside_the_picture_and_scratches_are_not_slivers() -> None:
    scene = SceneSettings(variant="b", pose_jitter=2.0)
    for index in range(3):
        part = draw_part(part_rng(4, index), defects=(Kind.SCRATCH, Kind.LOOSE_BOLT))
        for box in render(part, scene).annotations:
            x, y, width, height = box.bbox
            assert 0 <= x < x + width <= scene.width_px
            assert 0 <= y < y + height <= scene.height_px
            if box.category is Kind.SCRATCH:
                assert min(width, height) >= 12


def test_a_bolt_is_where_its_box_says() -> None:
    part = draw_part(part_rng(5, 0))
    rendered = render(part, STILL)
    expected = [(320 + item.x_mm * 4, 256 + item.y_mm * 4) for item in part.items[:6]]
    bolts = [box.bbox for box in rendered.annotations if box.category is Kind.BOLT]
    for (x, y, width, height), (middle_x, middle_y) in zip(bolts, expected, strict=True):
        assert x + width / 2 == pytest.approx(middle_x, abs=4)
        assert y + height / 2 == pytest.approx(middle_y, abs=4)
        assert 60 <= width <= 75


def test_an_old_lamp_is_dimmer_and_warmer() -> None:
    part = draw_part(part_rng(6, 0))
    new = render(part, STILL).image.mean(axis=(0, 1))
    old = render(part, replace(STILL, lamp_ageing=1.0)).image.mean(axis=(0, 1))
    assert old.mean() < 0.85 * new.mean()
    assert old[0] / old[2] < 0.95 * new[0] / new[2]


def test_defects_come_at_the_rate_asked_for() -> None:
    rng = part_rng(8, 0)
    bad = sum(bool(choose_defects(rng, rate=0.25)) for _ in range(2000))
    assert 430 < bad < 570
