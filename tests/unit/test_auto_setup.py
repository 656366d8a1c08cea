from collections.abc import Sequence

import numpy as np
import pytest

from models.contract.snapshot import Split
from models.training.auto_setup import Setup, Wishes, choose_setup, choose_window
from models.training.snapshot_io import IndexRow

Box = tuple[str, float, float, float, float]


def pictures(
    boxes: Sequence[Sequence[Box]], *, width: int = 640, height: int = 640
) -> list[IndexRow]:
    return [
        IndexRow(str(number), Split.TRAIN, f"P{number}", width, height, tuple(own))
        for number, own in enumerate(boxes)
    ]


def scattered(
    count: int, *, size: tuple[float, float], area: tuple[int, int] = (640, 640)
) -> list[list[Box]]:
    rng = np.random.default_rng(3)
    return [
        [("flaw", rng.uniform(0, area[0] - size[0]), rng.uniform(0, area[1] - size[1]), *size)]
        for _ in range(count)
    ]


def setup_of(rows: list[IndexRow], *, budget_s: float | None = None) -> Setup:
    return choose_setup(rows, ["flaw"], Wishes(), budget_s=budget_s)


def test_small_defects_in_a_large_picture_are_trained_on_windows_at_native_size() -> None:
    setup = setup_of(pictures(scattered(400, size=(35, 33))))
    assert (setup.spec.input_width, setup.spec.input_height) == (640, 640)
    assert setup.spec.levels == (8, 16)
    assert setup.settings["window_width"] == setup.settings["window_height"] == 320


def test_defects_that_lie_anywhere_may_be_turned() -> None:
    settings = setup_of(pictures(scattered(400, size=(35, 33)))).settings
    assert settings["flip_vertical"]
    assert settings["quarter_turns"]


def test_defects_with_a_direction_are_not_turned_a_quarter() -> None:
    settings = setup_of(pictures(scattered(400, size=(20, 60)))).settings
    assert settings["flip_vertical"]
    assert not settings["quarter_turns"]


def test_parts_that_are_always_held_the_same_way_stay_the_right_way_up() -> None:
    places: list[Box] = [("flaw", x, y, 100, 100) for x in (50, 400) for y in (80, 500)]
    setup = setup_of(pictures([places] * 90, width=600, height=800))
    assert not setup.settings["flip_vertical"]
    assert not setup.settings["quarter_turns"]
    assert "window_width" not in setup.settings
    assert max(setup.spec.input_width, setup.spec.input_height) < 500


def test_small_pictures_are_enlarged() -> None:
    boxes = scattered(300, size=(80, 60), area=(200, 200))
    setup = setup_of(pictures(boxes, width=200, height=200))
    assert (setup.spec.input_width, setup.spec.input_height) == (256, 256)


def test_long_thin_objects_keep_their_pixels_and_get_a_deep_level() -> None:
    boxes = scattered(300, size=(260, 18), area=(640, 480))
    setup = setup_of(pictures(boxes, width=640, height=480))
    assert (setup.spec.input_width, setup.spec.input_height) == (640, 480)
    assert setup.spec.levels[-1] >= 32
    assert "window_width" not in setup.settings


def test_a_short_budget_shrinks_pictures_that_could_not_be_seen_often_enough() -> None:
    rows = pictures(scattered(3000, size=(200, 150), area=(640, 480)), width=640, height=480)
    wide = setup_of(rows, budget_s=360_000).spec.input_width
    assert setup_of(rows, budget_s=600).spec.input_width == 256
    assert wide == 224 + 32


def test_pictures_without_boxes_still_give_a_detector() -> None:
    setup = setup_of(pictures([[]] * 12, width=640, height=480))
    assert setup.spec.num_anchors > 0


def test_every_choice_has_its_reason() -> None:
    reasons = setup_of(pictures(scattered(400, size=(35, 33)))).reasons
    for word in ("input 640x640", "levels 8, 16", "anchors", "batch", "windows", "turns"):
        assert any(word in reason for reason in reasons)


@pytest.mark.parametrize(
    ("long_side", "side"),
    [
        pytest.param(40.0, 320, id="small boxes"),
        pytest.param(300.0, 0, id="a window would have to be as large as the picture"),
    ],
)
def test_windows_hold_the_longest_boxes(long_side: float, side: int) -> None:
    sizes = np.full((50, 2), long_side, np.float32)
    assert choose_window(sizes, 512, 512) == side


def test_nothing_is_chosen_from_the_data_where_that_is_not_wanted() -> None:
    rows = pictures(scattered(400, size=(35, 33)))
    setup = choose_setup(rows, ["flaw"], Wishes(auto=False))
    assert (setup.spec.input_width, setup.spec.input_height) == (320, 320)
    assert not setup.settings
