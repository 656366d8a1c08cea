"""Decoding and NMS in the exported graph, against the same in numpy that validation uses."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from models.detector.anchors import anchor_boxes, default_anchors
from models.detector.boxes import encode_boxes
from models.detector.postprocess import BOX_CODES, CLASS_LOGITS, EMBEDDING, add_postprocess
from models.detector.spec import DetectorSpec
from models.training.validation import decode_answers

SMALL = DetectorSpec(
    categories=("bolt", "scratch", "dent"),
    input_height=64,
    input_width=96,
    levels=(8, 16),
    anchors=default_anchors((8, 16)),
)
# As large as a camera's picture at its own size: 48,000 anchors.
LARGE = SMALL.model_copy(update={"input_height": 640, "input_width": 640})


def graph_of(spec: DetectorSpec) -> ov.CompiledModel:
    """The postprocessing alone, its inputs being the network's answers."""
    shapes = {
        CLASS_LOGITS: (1, spec.num_anchors, len(spec.categories)),
        BOX_CODES: (1, spec.num_anchors, 4),
        EMBEDDING: (1, 8),
    }
    inputs = [ops.parameter(shape, np.float32, name) for name, shape in shapes.items()]
    results = []
    for parameter, name in zip(inputs, shapes, strict=True):
        source = ops.relu(parameter) if name == EMBEDDING else ops.convert(parameter, "f32")
        source.output(0).get_tensor().set_names({name})
        results.append(ops.result(source.output(0)))
    model = add_postprocess(ov.Model(results, inputs, "answers"), spec)
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def answers(spec: DetectorSpec, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of which no two are equal, some hundreds of them strong, and codes."""
    rng = np.random.default_rng(seed)
    count = spec.num_anchors * len(spec.categories)
    logits = rng.permutation(np.linspace(-8, -5, count))
    strong = rng.choice(count, min(400, count // 2), replace=False)
    logits[strong] = rng.permutation(np.linspace(-3, 6, len(strong)))
    codes = rng.normal(0, 2, (spec.num_anchors, 4))
    return logits.reshape(-1, len(spec.categories)).astype(np.float32), codes.astype(np.float32)


@pytest.mark.parametrize("spec", [SMALL, LARGE], ids=["small", "large"])
def test_graph_and_numpy_keep_the_same_boxes(spec: DetectorSpec) -> None:
    graph = graph_of(spec)
    for seed in range(3):
        logits, codes = answers(spec, seed)
        rows = graph([logits[None], codes[None], np.zeros((1, 8), np.float32)])["detections"]
        boxes, scores, class_ids = decode_answers(logits, codes, spec)
        assert len(rows) == len(scores) > 50
        np.testing.assert_array_equal(rows[:, 0], class_ids)
        np.testing.assert_allclose(rows[:, 1], scores, atol=1e-5)
        np.testing.assert_allclose(rows[:, 2:], boxes, atol=0.02)


def test_copies_of_strong_objects_leave_room_for_a_faint_one() -> None:
    # Forty objects, each answered by fifteen anchors, and one that scores less than all of those.
    spec = LARGE
    logits = np.full((spec.num_anchors, 3), -9, np.float32)
    codes = np.zeros((spec.num_anchors, 4), np.float32)
    strong = np.arange(40)[:, None] * 600 + np.arange(15)[None]
    logits[strong, 0] = np.linspace(2, 4, strong.size).reshape(strong.shape)
    anchors = anchor_boxes(spec)
    for own in strong:
        box = anchors[own[:1]].repeat(len(own), axis=0)
        codes[own] = encode_boxes(box, anchors[own], center_scale=10, size_scale=5)
    faint = spec.num_anchors - 1
    logits[faint, 1] = 0.0
    rows = graph_of(spec)([logits[None], codes[None], np.zeros((1, 8), np.float32)])["detections"]
    assert 40 <= len(rows) <= 60
    assert 1 in rows[:, 0]
