from typing import Any

import keras
import numpy as np
import pytest

from models.detector.spec import DetectorSpec
from models.training.folding import copy_unfolded, folded
from models.training.network import batch_norms, build_network, freeze_batch_norm

SPEC = DetectorSpec(
    categories=("bolt", "scratch"),
    input_height=64,
    input_width=96,
    width_multiplier=0.35,
    levels=(8, 16),
    anchors=(((16, 16),), ((40, 30),)),
    neck_channels=16,
)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A network whose norms have statistics that matter."""
    keras.utils.set_random_seed(4)
    model = build_network(SPEC)
    rng = np.random.default_rng(4)
    for norm in batch_norms(model):
        size = norm.get_weights()[0].shape
        norm.set_weights(
            [
                rng.uniform(0.5, 1.5, size),
                rng.uniform(-0.5, 0.5, size),
                rng.uniform(-0.5, 0.5, size),
                rng.uniform(0.5, 2.0, size),
            ]
        )
    freeze_batch_norm(model)
    return model


def answers(model: keras.Model, size: tuple[int, int] = (64, 96)) -> list[Any]:
    picture = np.random.default_rng(1).integers(0, 255, (1, *size, 3), np.uint8)
    return [np.asarray(value) for value in model(picture, training=False).values()]


def test_folded_network_answers_as_before_and_has_lost_its_frozen_norms(
    network: keras.Model,
) -> None:
    copy = folded(network)
    for one, other in zip(answers(network), answers(copy), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)
    left = batch_norms(copy)
    assert left
    assert all(norm.trainable for norm in left)
    assert len(left) < len(batch_norms(network))


def test_unfolded_network_answers_as_the_folded_one_at_another_size(network: keras.Model) -> None:
    copy = folded(network)
    kernel = copy.get_layer("Conv1")
    kernel.set_weights([weight * 1.1 for weight in kernel.get_weights()])
    whole = SPEC.model_copy(update={"input_height": 64, "input_width": 96})
    target = build_network(whole)
    copy_unfolded(copy, target)
    for one, other in zip(answers(copy), answers(target), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)
    larger = build_network(SPEC.model_copy(update={"input_height": 96, "input_width": 128}))
    copy_unfolded(copy, larger)
    np.testing.assert_array_equal(
        larger.get_layer("Conv1").get_weights()[0], copy.get_layer("Conv1").get_weights()[0]
    )


def test_layers_keep_whether_they_train(network: keras.Model) -> None:
    network.get_layer("block_1_expand").trainable = False
    try:
        copy = folded(network)
        assert not copy.get_layer("block_1_expand").trainable
        assert copy.get_layer("block_2_expand").trainable
    finally:
        network.get_layer("block_1_expand").trainable = True
