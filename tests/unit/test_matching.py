import numpy as np

from models.detector.anchors import anchor_boxes
from models.detector.boxes import decode_boxes
from models.detector.spec import DetectorSpec
from models.training.matching import BACKGROUND, assign_targets

SPEC = DetectorSpec(
    categories=("bolt", "scratch"),
    input_height=64,
    input_width=64,
    levels=(8,),
    anchors=(((16.0, 16.0), (32.0, 32.0)),),
)
ANCHORS = anchor_boxes(SPEC)


def test_without_boxes_everything_is_background() -> None:
    targets = assign_targets(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), ANCHORS, SPEC)
    assert (targets.class_ids == BACKGROUND).all()
    assert not targets.box_codes.any()


def test_the_anchor_that_fits_answers_with_the_box_() -> None:
    box = np.array([[20, 20, 36, 36]], np.float32)
    targets = assign_targets(box, np.array([1]), ANCHORS, SPEC)
    matched = targets.class_ids == 1
    assert matched.sum() >= 1
    assert (targets.class_ids == 0).sum() == 0
    decoded = decode_boxes(
        targets.box_codes[matched], ANCHORS[matched], center_scale=10, size_scale=5
    )
    np.testing.assert_allclose(decoded, np.repeat(box, matched.sum(), axis=0), atol=0.01)


def test_a_thin_box_that_fits_no_anchor_still_has_one() -> None:
    thin = np.array([[4, 30, 60, 32]], np.float32)
    targets = assign_targets(thin, np.array([1]), ANCHORS, SPEC)
    assert (targets.class_ids == 1).any()


def test_two_boxes_on_one_spot_do_not_share_an_anchor() -> None:
    boxes = np.array([[20, 20, 36, 36], [18, 18, 46, 46]], np.float32)
    targets = assign_targets(boxes, np.array([0, 1]), ANCHORS, SPEC)
    assert {0, 1} <= set(targets.class_ids.tolist())
