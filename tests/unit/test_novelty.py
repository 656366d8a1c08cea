"""How unlike the confidently good parts before it a picture is."""

import cv2
import numpy as np
import pytest

from edge_agent.novelty import (
    MAX_COUNT,
    MIN_COUNT,
    PATCH_PX,
    Reference,
    RunningMoments,
    patch_vectors,
)


def test_moments_are_those_of_all_vectors_so_far() -> None:
    vectors = np.random.default_rng(1).normal(3, 2, (60, 5))
    moments = RunningMoments()
    for vector in vectors:
        moments.add(vector)
    assert moments.mean == pytest.approx(vectors.mean(axis=0))
    assert moments.variance == pytest.approx(vectors.var(axis=0))


def test_moments_of_numbers_forget_what_is_long_ago() -> None:
    moments = RunningMoments()
    for number in [0.0] * MAX_COUNT + [10.0] * 3 * MAX_COUNT:
        moments.add(number)
    assert moments.mean == pytest.approx(10, abs=1)


def test_vector_that_is_unlike_all_others_surprises_and_the_usual_ones_do_not() -> None:
    rng, reference = np.random.default_rng(2), Reference()
    usual = rng.normal(0, 1, (200, 8)) * np.arange(1, 9)
    assert reference.surprise(usual[0]) == 0, "too little was seen"
    for vector in usual:
        reference.add(vector)
    surprises = [reference.surprise(vector) for vector in usual]
    assert np.median(surprises) == pytest.approx(0, abs=0.5)
    assert reference.surprise(usual.std(axis=0) * 6) > 3
    assert reference.surprise(np.zeros(3)) == 0, "another model's vector has another length"


def test_objects_of_one_look_in_any_light_have_nearly_the_same_vector() -> None:
    rng = np.random.default_rng(3)
    small = rng.integers(60, 160, (8, 8, 3), np.uint8)
    look = cv2.resize(small, (90, 70), interpolation=cv2.INTER_CUBIC)
    image = np.full((200, 200, 3), 90, np.uint8)
    image[20:90, 10:100] = look
    dark = (image * 0.7).astype(np.uint8)
    boxes = np.array([[10, 20, 100, 90], [-50, -50, 0, 0]], np.float32)
    vector, beyond = patch_vectors(image, boxes)
    assert vector.shape == (PATCH_PX * PATCH_PX,)
    assert vector.mean() == pytest.approx(0, abs=1e-6)
    assert vector.std() == pytest.approx(1, abs=1e-6)
    assert np.abs(vector - patch_vectors(dark, boxes)[0]).max() < 0.2
    assert not beyond.any(), "nothing is left of a box outside the picture"


def test_nothing_is_new_before_enough_was_seen() -> None:
    reference = Reference()
    for _ in range(MIN_COUNT):
        reference.add(np.zeros(4))
    assert reference.surprise(np.full(4, 1e6)) == 0
