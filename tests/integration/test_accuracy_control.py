"""NNCF's accuracy control on a network of three convolutions, made without TensorFlow."""

import time
from collections.abc import Iterator

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from models.detector.anchors import default_anchors
from models.detector.postprocess import BOX_CODES, CLASS_LOGITS, EMBEDDING
from models.detector.preprocess import Image
from models.detector.spec import DetectorSpec
from models.training.quantize import CONVOLUTIONS, AccuracyTarget, Recipe, quantize

SPEC = DetectorSpec(
    categories=("bolt",),
    input_height=32,
    input_width=32,
    levels=(8,),
    anchors=default_anchors((8,)),
)
RECIPE = Recipe("accuracy control", num_pictures=4, accuracy_control=True)


def network() -> ov.Model:
    """A stem and two heads."""
    rng = np.random.default_rng(1)
    image = ops.parameter((1, 32, 32, 3), np.uint8, "image")
    planes = ops.transpose(ops.convert(image, "f32"), np.array([0, 3, 1, 2]))
    stem = ops.relu(convolution(planes, rng.normal(size=(8, 3, 8, 8)) / 255, stride=8))
    results = []
    for name, channels in ((CLASS_LOGITS, 6), (BOX_CODES, 24)):
        head = convolution(stem, rng.normal(size=(channels, 8, 1, 1)), stride=1)
        rows = ops.transpose(head, np.array([0, 2, 3, 1]))
        flat = ops.reshape(rows, np.array([1, 96, channels // 6]), special_zero=False)
        results.append(named(flat, name))
    results.append(named(ops.reduce_mean(stem, np.array([2, 3])), EMBEDDING))
    return ov.Model(results, [image], "tiny")


def convolution(values: ov.Node, weights: np.ndarray, *, stride: int) -> ov.Node:
    kernel = ops.constant(weights.astype(np.float32))
    return ops.convolution(values, kernel, [stride, stride], [0, 0], [0, 0], [1, 1])


def named(node: ov.Node, name: str) -> ov.Node:
    node.output(0).get_tensor().set_names({name})
    return ops.result(node.output(0))


def pictures(count: int) -> list[Image]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, 255, (32, 32, 3)).astype(np.uint8) for _ in range(count)]


def rounded(model: ov.Model) -> int:
    """Convolutions that read rounded activations."""
    return sum(
        node.input_value(0).get_node().get_type_name() == "FakeQuantize"
        for node in model.get_ops()
        if node.get_type_name() in CONVOLUTIONS
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_layers_go_back_to_float_until_the_metric_is_good_again() -> None:
    # A first look at one picture, the float network, the quantized one; then it gets better.
    figures: Iterator[float] = iter((1.0, 1.0, 0.2, 0.5, 1.0))
    samples = [(picture, None) for picture in pictures(4)]
    target = AccuracyTarget(samples, lambda _: next(figures, 1.0), 0.01, time.monotonic() + 120)
    plain = quantize(network(), pictures(4), SPEC, Recipe("plain", num_pictures=4))
    controlled = quantize(network(), pictures(4), SPEC, RECIPE, target)
    assert rounded(plain) >= 2
    assert rounded(controlled) < rounded(plain)
