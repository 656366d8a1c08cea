"""Box decoding and NMS as a part of the OpenVINO graph: 0.03 ms there, 0.8 ms in numpy.

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

# Of each class at most this many candidates enter NMS.
CANDIDATES_PER_CLASS = 200


def add_postprocess(network: ov.Model, spec: DetectorSpec) -> ov.Model:
    """Let a network answer with boxes instead of codes.

    Args:
        network: outputs named ``class_logits`` ``(1, A, C)``, ``box_codes`` ``(1, A, 4)`` and
            ``embedding`` ``(1, D)``.
        spec: gives the anchors, the scales of the codes and the limits of NMS.

    Returns:
        A model of the same inputs with outputs ``detections`` ``(M, 6)``, rows of class id, score,
        ``x1, y1, x2, y2`` in pixels of the network's input, best first; and ``embedding``.
    """
    sources = {name: _source(network, name) for name in (CLASS_LOGITS, BOX_CODES, EMBEDDING)}
    scores = ops.transpose(
        ops.sigmoid(sources[CLASS_LOGITS]), ops.constant(np.array([0, 2, 1], np.int64))
    )
    boxes = _decoded(sources[BOX_CODES], spec)
    selected = ops.multiclass_nms(
        boxes,
        scores,
        sort_result_type="score",
        output_type="i64",
        iou_threshold=spec.nms_iou,
        score_threshold=spec.score_floor,
        nms_top_k=CANDIDATES_PER_CLASS,
        keep_top_k=spec.max_detections,
        # "Not normalized" would add a pixel to every side before it measures the overlap.
        normalized=True,
    )
    results = [
        _named_result(selected.output(0), DETECTIONS),
        _named_result(sources[EMBEDDING], EMBEDDING),
    ]
    return ov.Model(results, network.get_parameters(), "sightline-detector")


def _source(network: ov.Model, name: str) -> ov.Output:
    """What feeds a named output of the network."""
    return network.output(name).get_node().input_value(0)


def _decoded(codes: ov.Output, spec: DetectorSpec) -> ov.Node:
    """Graph of `models.detector.boxes.decode_boxes`: ``(1, A, 4)`` corners."""
    anchors = anchor_boxes(spec)
    sizes = (anchors[:, 2:] - anchors[:, :2])[None]
    centers = ((anchors[:, :2] + anchors[:, 2:]) / 2)[None]
    # Split, not slices: slicing and a later quantization made compile_model fail.
    offsets, log_sizes = ops.split(codes, ops.constant(np.int64(2)), 2).outputs()
    middle = ops.add(ops.multiply(offsets, _floats(sizes / spec.center_scale)), _floats(centers))
    growth = ops.multiply(log_sizes, _floats(1 / spec.size_scale))
    limited = ops.minimum(growth, _floats(MAX_LOG_SIZE))
    half = ops.multiply(ops.exp(limited), _floats(sizes / 2))
    corners = ops.concat([ops.subtract(middle, half), ops.add(middle, half)], 2)
    corners.set_friendly_name("boxes")
    return corners


def _floats(values: object) -> ov.Node:
    return ops.constant(np.asarray(values, np.float32))


def _named_result(source: ov.Output, name: str) -> ov.Node:
    source.get_tensor().set_names({name})
    result = ops.result(source)
    result.set_friendly_name(name)
    return result
