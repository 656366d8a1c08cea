import numpy as np
import pytest
from pydantic import ValidationError

from models.detector.anchors import anchor_boxes, default_anchors, fit_anchors
from models.detector.boxes import iou_matrix
from models.detector.spec import AnchorSize, DetectorSpec


def spec_of(**changes: object) -> DetectorSpec:
    facts: dict[str, object] = {
        "categories": ("bolt", "scratch"),
        "input_height": 96,
        "input_width": 128,
        "levels": (8, 16),
        "anchors": default_anchors((8, 16)),
    }
    return DetectorSpec.model_validate({**facts, **changes})


def test_anchors_come_level_by_level_row_by_row_size_by_size() -> None:
    spec = spec_of(levels=(32,), anchors=(((10, 20), (30, 6)),), input_height=64, input_width=96)
    boxes = anchor_boxes(spec)
    assert len(boxes) == spec.num_anchors == 2 * 3 * 2
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert centers[:4].tolist() == [[16, 16], [16, 16], [48, 16], [48, 16]]
    assert (boxes[0, 2:] - boxes[0, :2]).tolist() == [10, 20]


def test_maps_round_up_where_the_input_is_no_multiple_of_the_stride() -> None:
    assert spec_of(input_height=100, input_width=130).level_shapes == ((13, 17), (7, 9))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"categories": ("bolt", "bolt")}, id="name twice"),
        pytest.param({"levels": (16, 8)}, id="levels falling"),
        pytest.param({"anchors": default_anchors((8,))}, id="a level without anchors"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        spec_of(**changes)


def test_fitted_anchors_overlap_the_boxes_better_than_the_defaults() -> None:
    rng = np.random.default_rng(3)
    sizes = np.concatenate(
        [
            rng.normal([30, 30], 2, (80, 2)),
            rng.normal([12, 60], 2, (40, 2)),
            rng.normal([90, 50], 3, (40, 2)),
        ]
    ).astype(np.float32)
    boxes = np.concatenate([-sizes / 2, sizes / 2], axis=1)

    def fit_of(levels_anchors: tuple[tuple[AnchorSize, ...], ...]) -> float:
        wanted = np.concatenate([np.asarray(level) for level in levels_anchors])
        anchors = np.concatenate([-wanted / 2, wanted / 2], axis=1).astype(np.float32)
        return float(iou_matrix(boxes, anchors).max(axis=1).mean())

    fitted = fit_anchors(sizes, (8, 16))
    assert fit_of(fitted) > max(0.85, fit_of(default_anchors((8, 16))))
    assert fitted == fit_anchors(sizes, (8, 16))


def test_a_level_without_boxes_keeps_the_default_anchors() -> None:
    small = np.random.default_rng(0).uniform(20, 36, (50, 2)).astype(np.float32)
    assert fit_anchors(small, (8, 64))[1] == default_anchors((64,))[0]
    assert fit_anchors(np.zeros((0, 2), np.float32), (8, 16)) == default_anchors((8, 16))
