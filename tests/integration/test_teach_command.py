"""``sightline-edge teach`` on rendered parts: its recipe starts the agent and passes the parts."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from edge_agent.cli import app
from edge_agent.settings import load_settings
from models.contract.recipe import Recipe, read_recipe
from simulators.dataset import DatasetPlan, write_dataset
from simulators.parts import SceneSettings

NUM_PARTS = 5
EDGE = """
[cell]
site = "plant"
area = "area"
line = "line1"
cell = "cell1"
[camera]
path = "good/images"
mode = "cycle"
[model]
bundle = "{bundle}"
[recipe]
path = "taught/plate.recipe.toml"
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line with good parts on it, and the recipe that was taught from them."""
    folder = tmp_path_factory.mktemp("line")
    plan = DatasetPlan(
        count=NUM_PARTS, seed=11, defect_rate=0.0, variants=("a",), scene=SceneSettings()
    )
    write_dataset(folder / "good", plan)
    bundle = Path(__file__).parents[2] / "models/released/plate"
    (folder / "edge.toml").write_text(EDGE.format(bundle=bundle))
    return folder


@pytest.fixture(scope="module")
def taught(folder: Path) -> Recipe:
    out = folder / "taught/plate.recipe.toml"
    done = run("teach", "--images", str(folder / "good/images"), "--out", str(out), "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["pictures"], told["ok"], told["refused"]) == (NUM_PARTS, NUM_PARTS, {})
    overlay = np.asarray(cv2.imread(told["overlays"][0]))
    assert overlay.shape == (512, 640, 3)
    return read_recipe(out)


def test_recipe_expects_what_is_on_a_good_part_and_forbids_every_known_defect(
    taught: Recipe,
) -> None:
    (view,) = taught.views
    categories = [item.category for item in view.expected]
    assert {name: categories.count(name) for name in set(categories)} == {
        "bolt": 6,
        "screw": 4,
        "label": 2,
    }
    assert {rule.category for rule in view.forbidden} >= {"missing_bolt", "missing_label"}
    assert taught.image_checks.min_sharpness > 0


def test_agent_starts_with_the_drafted_recipe(folder: Path, taught: Recipe) -> None:
    done = run("check-config", "--config", str(folder / "edge.toml"))
    assert done.exit_code == 0, done.stderr
    assert f"ok: recipe {taught.recipe_id} v1" in done.stderr
    assert load_settings(folder / "edge.toml").recipe.path.is_file()


def test_recipe_is_not_written_over_and_pictures_may_come_from_the_camera(
    folder: Path, taught: Recipe
) -> None:
    out = folder / "taught/plate.recipe.toml"
    camera = ("teach", "--camera", "--config", str(folder / "edge.toml"), "--count", "2")
    refused = run(*camera, "--out", str(out))
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    other = folder / "other plate.recipe.toml"
    done = run(*camera, "--out", str(other))
    assert done.exit_code == 0, done.stderr
    drafted = read_recipe(other)
    assert drafted.recipe_id == "other-plate"
    assert len(drafted.views[0].expected) == len(taught.views[0].expected)
