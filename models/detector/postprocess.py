"""Box decoding and NMS as a part of the OpenVINO graph: cheaper there than in numpy.

It is put onto the network after quantization, so that box arithmetic always runs in float.
"""

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from models.detector.anchors import anchor_boxes
from models.detector.boxes import MAX_LOG_SIZE
from models.detector.spec import DetectorSpec

IMAGE = "image"
CLASS_LOGITS = "class_logits"
BOX_CODES = "box_codes"
EMBEDDING = "embedding"
DETECTIONS = "detections"


def add_postprocess(network: ov.Model, spec: DetectorSpec) -> ov.Model:
    """Let a network answer with boxes instead of codes.

    Not with ``multiclass_nms``: OpenVINO 2026.4's writes past its memory when some scores are
    equal, which a black or frozen picture is enough for. One plain NMS does for all classes when
    the boxes of each are moved to a place of their own.

    Args:
        network: outputs named ``class_logits`` ``(1, A, C)``, ``box_codes`` ``(1, A, 4)`` and
            ``embedding`` ``(1, D)``.
        spec: gives the anchors, the scales of the codes and the limits of NMS.

    Returns:
        A model of the same inputs with outputs ``detections`` ``(M, 6)``, rows of class id, score,
        ``x1, y1, x2, y2`` in pixels of the network's input, best first; and ``embedding``.
    """
    scores, anchor_ids, class_ids = _candidates(_source(network, CLASS_LOGITS), spec)
    boxes = _decoded(_source(network, BOX_CODES), anchor_ids, spec)
    kept = _suppressed(boxes, scores, class_ids, spec)
    rows = ops.concat([_column(class_ids), _column(scores), boxes], 1)
    results = [
        _named_result(ops.gather(rows, kept, _ints(0)).output(0), DETECTIONS),
        _named_result(_source(network, EMBEDDING), EMBEDDING),
    ]
    return ov.Model(results, network.get_parameters(), "sightline-detector")


def _source(network: ov.Model, name: str) -> ov.Output:
    """What feeds a named output of the network."""
    return network.output(name).get_node().input_value(0)


def _candidates(logits: ov.Output, spec: DetectorSpec) -> tuple[ov.Node, ov.Node, ov.Node]:
    """The best answers: score, anchor and class of each, ``(K,)``."""
    num_classes = len(spec.categories)
    num_answers = spec.num_anchors * num_classes
    best = ops.topk(
        ops.reshape(logits, _ints([num_answers]), special_zero=False),
        _ints(spec.num_candidates),
        axis=0,
        mode="max",
        sort="value",
        index_element_type="i64",
    )
    anchor_ids = ops.divide(best.output(1), _ints(num_classes))
    class_ids = ops.subtract(best.output(1), ops.multiply(anchor_ids, _ints(num_classes)))
    return ops.sigmoid(best.output(0)), anchor_ids, ops.convert(class_ids, "f32")


def _decoded(codes: ov.Output, anchor_ids: ov.Node, spec: DetectorSpec) -> ov.Node:
    """Graph of `models.detector.boxes.decode_boxes`, clipped to the input: ``(K, 4)`` corners."""
    anchors = anchor_boxes(spec)
    sizes = ops.gather(_floats(anchors[:, 2:] - anchors[:, :2]), anchor_ids, _ints(0))
    centers = ops.gather(_floats((anchors[:, :2] + anchors[:, 2:]) / 2), anchor_ids, _ints(0))
    chosen = ops.gather(ops.squeeze(codes, _ints([0])), anchor_ids, _ints(0))
    offsets, log_sizes = ops.split(chosen, _ints(1), 2).outputs()
    middle = ops.add(
        centers, ops.multiply(ops.multiply(offsets, _floats(1 / spec.center_scale)), sizes)
    )
    growth = ops.minimum(
        ops.multiply(log_sizes, _floats(1 / spec.size_scale)), _floats(MAX_LOG_SIZE)
    )
    half = ops.multiply(ops.multiply(ops.exp(growth), sizes), _floats(0.5))
    corners = ops.concat([ops.subtract(middle, half), ops.add(middle, half)], 1)
    limits = [spec.input_width, spec.input_height] * 2
    return ops.minimum(ops.maximum(corners, _floats(0)), _floats(limits))


def _suppressed(boxes: ov.Node, scores: ov.Node, class_ids: ov.Node, spec: DetectorSpec) -> ov.Node:
    """Places of the candidates that NMS keeps, best first, ``(M,)``."""
    # Farther apart than any two boxes of the picture can be.
    distance = max(spec.input_width, spec.input_height) + 1
    moved = ops.add(boxes, ops.multiply(_column(class_ids), _floats(distance)))
    selected = ops.non_max_suppression(
        ops.unsqueeze(moved, _ints(0)),
        ops.unsqueeze(scores, _ints([0, 1])),
        _ints(spec.max_detections),
        _floats(spec.nms_iou),
        _floats(spec.score_floor),
        box_encoding="corner",
        sort_result_descending=True,
        output_type="i64",
    )
    return ops.squeeze(ops.gather(selected.output(0), _ints([2]), _ints(1)), _ints([1]))


def _column(values: ov.Node) -> ov.Node:
    return ops.unsqueeze(values, _ints(1))


def _ints(values: object) -> ov.Node:
    return ops.constant(np.asarray(values, np.int64))


def _floats(values: object) -> ov.Node:
    return ops.constant(np.asarray(values, np.float32))


def _named_result(source: ov.Output, name: str) -> ov.Node:
    source.get_tensor().set_names({name})
    result = ops.result(source)
    result.set_friendly_name(name)
    return result
