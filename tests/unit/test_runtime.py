"""The runtime with the released bundle: several callers at once, and the end."""

import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from models.detector.preprocess import Image
from models.detector.runtime import DetectorRuntime

BUNDLE = Path(__file__).parents[2] / "models" / "released" / "plate"
NUM_REQUESTS = 2
PICTURES: list[Image] = [
    np.random.default_rng(seed).integers(0, 256, (64, 80, 3), np.uint8) for seed in range(4)
]


@pytest.fixture
def runtime() -> Iterator[DetectorRuntime]:
    with DetectorRuntime.load(BUNDLE, num_requests=NUM_REQUESTS) as loaded:
        yield loaded


def test_callers_at_once_get_the_answers_to_their_own_pictures(runtime: DetectorRuntime) -> None:
    alone = [runtime.infer(picture).scores.tolist() for picture in PICTURES]
    assert len({tuple(scores) for scores in alone}) > 1, "pictures that tell callers apart"

    def ask(turn: int) -> list[float]:
        scores: list[float] = runtime.infer(PICTURES[turn % len(PICTURES)]).scores.tolist()
        return scores

    with ThreadPoolExecutor(2 * NUM_REQUESTS) as callers:
        found = list(callers.map(ask, range(40)))
    assert found == [alone[turn % len(PICTURES)] for turn in range(40)]


def test_pictures_of_several_sizes_come_by_turns(runtime: DetectorRuntime) -> None:
    small, large = PICTURES[0], np.ascontiguousarray(np.repeat(PICTURES[0], 3, axis=1))
    for _ in range(2):
        for picture in (small, large):
            boxes = runtime.infer(picture).boxes
            assert picture.shape[1] * 0.9 < boxes.max() <= picture.shape[1]


def test_a_picture_that_is_none_leaves_its_seat_to_others(runtime: DetectorRuntime) -> None:
    for _ in range(2 * NUM_REQUESTS):
        with pytest.raises(ValueError, match="BGR"):
            runtime.infer(np.zeros((4, 4), np.uint8))
    assert runtime.infer(PICTURES[0]) is not None


def test_what_is_let_go_takes_no_memory() -> None:
    runtime = DetectorRuntime.load(BUNDLE, num_requests=NUM_REQUESTS)
    inputs = [weakref.ref(seat.buffer) for seat in runtime._seats]
    runtime.close()
    gc.collect()
    assert [read() for read in inputs] == [None] * NUM_REQUESTS


def test_nobody_waits_for_a_model_that_was_let_go(runtime: DetectorRuntime) -> None:
    runtime.close()
    runtime.close()
    refused = []

    def ask() -> None:
        with pytest.raises(RuntimeError, match="let go"):
            runtime.infer(PICTURES[0])
        refused.append(True)

    callers = [threading.Thread(target=ask, daemon=True) for _ in range(2 * NUM_REQUESTS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(5)
    assert len(refused) == len(callers)
