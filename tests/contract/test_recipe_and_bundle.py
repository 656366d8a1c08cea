"""Recipes are written by people, bundles are trusted with verdicts: both are read strictly."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.contract import bundle
from models.contract.model import ContractError
from models.contract.recipe import Recipe, read_recipe
from models.contract.recipe_toml import to_toml
from models.contract.snapshot import Split, split_of
from models.contract.toml_lines import line_of

GOOD_RECIPE = """
recipe_id = "plate"
version = 3
part_type = "cover plate"
image_width_px = 640
image_height_px = 512

[[views]]
name = "main"

[[views.expected]]
name = "bolt upper left"
category = "bolt"
zone = { x = 80, y = 60, width = 90, height = 90 }

[[views.forbidden]]
category = "scratch"
min_score = 0.5
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    return tmp_path / "plate.recipe.toml"


def test_recipe_names_all_its_categories(recipe_file: Path) -> None:
    recipe_file.write_text(GOOD_RECIPE)
    assert read_recipe(recipe_file).categories == {"bolt", "scratch"}


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        (
            "min_score = 0.5",
            "min_score = 1.5",
            ":18: views.0.forbidden.0.min_score: it should be less than or equal to 1, not 1.5",
        ),
        (
            "min_score = 0.5",
            "minscore = 0.5",
            ":18: views.0.forbidden.0.minscore: there is no such key; did you mean min_score?",
        ),
        (
            "width = 90",
            "widht = 90",
            ":14: views.0.expected.0.zone.widht: there is no such key; did you mean width?",
        ),
        ('category = "bolt"', "", ":11: views.0.expected.0.category: is missing: add category = …"),
        ("version = 3", 'version = "3a"', ":3: version: it should be a valid integer"),
        ("version = 3", "version = three", "line 3"),
        (
            "x = 80",
            "x = 700",
            ":14: views.0.expected.0.zone: lies outside the picture of 640 x 512",
        ),
        (
            'name = "main"',
            'name = "main"\n[[views]]\nname = "main"',
            ":11: views.1.name: two views",
        ),
        (
            "[[views.forbidden]]",
            '[[views.expected]]\nname = "bolt upper left"\ncategory = "nut"\n[[views.forbidden]]',
            ":17: views.0.expected.1.name: two expected objects have the same name",
        ),
        (
            "[[views]]",
            "[thresholds]\nbolts = 0.4\n[[views]]",
            ":9: thresholds.bolts: no rule of this recipe is about 'bolts', only about",
        ),
    ],
)
def test_mistake_in_a_recipe_is_told_in_one_line_with_its_place_and_the_cure(
    recipe_file: Path, good: str, bad: str, told: str
) -> None:
    recipe_file.write_text(GOOD_RECIPE.replace(good, bad, 1))
    with pytest.raises(ContractError) as caught:
        read_recipe(recipe_file)
    assert told in str(caught.value)
    assert str(recipe_file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_threshold_of_a_category_holds_for_every_rule_that_names_none(recipe_file: Path) -> None:
    limits = "[thresholds]\nbolt = 0.3\nscratch = 0.9\n[[views]]"
    recipe_file.write_text(GOOD_RECIPE.replace("[[views]]", limits))
    recipe = read_recipe(recipe_file)
    (view,) = recipe.views
    assert (view.expected[0].min_score, view.forbidden[0].min_score) == (0.3, 0.5)
    sent = recipe.model_dump(mode="json", exclude_none=True)
    assert "thresholds" not in sent, "a cell of an older version knows no such key"
    assert Recipe.model_validate(sent).views == recipe.views


def test_recipe_survives_being_written_with_comments(recipe_file: Path) -> None:
    recipe = Recipe.model_validate(
        {
            "recipe_id": "plate",
            "version": 7,
            "part_type": 'a "quoted" part, größer',
            "image_width_px": 640,
            "image_height_px": 512,
            "deadline_ms": 300,
            "n_of_m": {"n": 2, "m": 3},
            "image_checks": {"min_mean": 12.25, "min_sharpness": 1e-3, "refuse_frozen": False},
            "views": [
                {
                    "name": "top",
                    "expected": [
                        {"name": "bolts", "category": "bolt", "count": 4, "min_score": 0.4},
                        {
                            "name": "label",
                            "category": "label",
                            "zone": {"x": 0, "y": 1.5, "width": 3, "height": 4},
                        },
                    ],
                    "forbidden": [{"category": "scratch", "min_area_px": 25.0}],
                    "camera_features": {"ExposureTime": 800.5, "ReverseX": True, "Gain": 3},
                },
                {"name": "side", "camera_features": {"TriggerSource": "Line1"}},
            ],
        }
    )
    notes = {("version",): "a note", ("views", 0, "expected", 1): "two lines\nabove the rule"}
    text = to_toml(recipe, head=("What it is.",), notes=notes)
    recipe_file.write_text(text, encoding="utf-8")
    assert read_recipe(recipe_file) == recipe
    assert "version = 7  # a note\n" in text
    assert "# two lines\n# above the rule\n[[views.expected]]\n" in text


def test_lines_of_values_are_found_however_they_are_written() -> None:
    text = """# a comment with [brackets] and "quotes
title = '''two
lines = 1'''
[a.b]
"quoted key" = 3
x.y = { p = 1, q = [ 2,
    3 ] }   # [c]
[[views]]
name = "one # no comment"
expected = [
    { name = "e0", zone = { x = 1 } },
    # between
    { name = "e1" },
]
[[views]]
[[views.forbidden]]
category = "scratch"
"""
    tomllib.loads(text)
    for location, line in {
        ("title",): 2,
        ("a", "b", "quoted key"): 5,
        ("a", "b", "x", "y", "q", 1): 7,
        ("views", 0): 8,
        ("views", 0, "expected", 0, "zone", "x"): 11,
        ("views", 0, "expected", 1, "name"): 13,
        ("views", 0, "expected", 1, "nothing here"): 13,
        ("views", 1): 15,
        ("views", 1, "forbidden", 0, "category"): 17,
        ("nowhere",): 1,
    }.items():
        assert line_of(text, location) == line, location


def test_missing_recipe_is_told_by_its_path(recipe_file: Path) -> None:
    with pytest.raises(ContractError, match="cannot be read"):
        read_recipe(recipe_file)


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "golden").mkdir(parents=True)
    (folder / "float").mkdir()
    (folder / "model.xml").write_text("<net/>")
    (folder / "model.bin").write_bytes(b"weights")
    (folder / "golden" / "0.png").write_bytes(b"picture")
    (folder / "float" / "weights").write_bytes(b"cloud only")
    files = bundle.hash_files(folder)
    manifest = bundle.BundleManifest(
        bundle_id=bundle.bundle_id_of(files),
        name="plate",
        created_at=datetime.now(UTC),
        categories=(bundle.Category(name="bolt", kind=bundle.CategoryKind.OBJECT),),
        thresholds={"bolt": 0.5},
        files=files,
    )
    (folder / bundle.MANIFEST_NAME).write_text(manifest.model_dump_json())
    return folder


def test_whole_bundle_verifies_with_or_without_its_float_checkpoint(bundle_folder: Path) -> None:
    bundle.verify_files(bundle_folder, bundle.read_manifest(bundle_folder))
    (bundle_folder / "float" / "weights").unlink()
    bundle.verify_files(bundle_folder, bundle.read_manifest(bundle_folder))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda folder: (folder / "model.bin").write_bytes(b"Weights"), "was changed"),
        (lambda folder: (folder / "model.bin").unlink(), "is missing"),
        (lambda folder: (folder / "extra.so").write_bytes(b""), "not in the manifest"),
    ],
    ids=["one byte", "file gone", "surplus file"],
)
def test_harmed_bundle_is_refused(bundle_folder: Path, harm, told: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    harm(bundle_folder)
    with pytest.raises(ContractError, match=told):
        bundle.verify_files(bundle_folder, bundle.read_manifest(bundle_folder))


def test_parts_fall_into_splits_by_their_share_and_stay_there() -> None:
    splits = [split_of(f"part-{number}") for number in range(4_000)]
    assert splits == [split_of(f"part-{number}") for number in range(4_000)]
    share = {split: splits.count(split) / len(splits) for split in Split}
    assert share[Split.LOCKED] == pytest.approx(0.2, abs=0.03)
    assert share[Split.VAL] == pytest.approx(0.1, abs=0.03)
