"""The examples in deploy/config: what stands there in comments works when it is used."""

import re
import tomllib
from pathlib import Path

import pytest

from edge_agent.sections import CameraSettings
from models.contract.recipe import Recipe, read_recipe

CONFIG = Path(__file__).parents[2] / "deploy/config"


def camera_examples() -> list[str]:
    """Blocks of comments that begin with a kind, indented; another line ends them."""
    text = (CONFIG / "edge.example.toml").read_text()
    blocks = re.findall(r"^#   kind = (?:.*)\n(?:#   \w+ = .*\n)*", text, re.MULTILINE)
    return [re.sub(r"^#   ", "", block, flags=re.MULTILINE) for block in blocks]


def test_every_kind_of_camera_has_an_example_that_is_valid() -> None:
    examples = [CameraSettings.model_validate(tomllib.loads(text)) for text in camera_examples()]
    kinds = {example.kind for example in examples}
    assert kinds | {"folder"} == set(CameraSettings.model_fields["kind"].annotation.__args__)  # type: ignore[union-attr]


def test_examples_of_features_are_valid() -> None:
    text = (CONFIG / "edge.example.toml").read_text()
    found = re.findall(r"^#   (features = \{.*\})", text, re.MULTILINE)
    assert len(found) == 2
    for example in found:
        CameraSettings.model_validate({"kind": "pylon", **tomllib.loads(example)})


@pytest.mark.parametrize("is_commented", [True, False], ids=["as it is", "with every comment used"])
def test_plates_recipe_is_valid_as_it_is_and_with_what_it_offers(
    is_commented: bool, tmp_path: Path
) -> None:
    text = (CONFIG / "plate.recipe.toml").read_text()
    if not is_commented:
        text = re.sub(r"^# (\[\w+\] |\w+ = )", r"\1", text, flags=re.MULTILINE)
    path = tmp_path / "plate.recipe.toml"
    path.write_text(text)
    recipe = read_recipe(path)
    assert isinstance(recipe, Recipe)
    if not is_commented:
        assert recipe.n_of_m.m == 3
        assert recipe.views[0].camera_features == {"ExposureTime": 2500}
        scratch = next(r for r in recipe.views[0].forbidden if r.category == "scratch")
        assert scratch.min_score == 0.4
