from typing import Any

import numpy as np

from models.contract.bundle import Category, CategoryKind
from models.detector.boxes import iou_matrix
from models.detector.spec import DetectorSpec
from models.training.fit_settings import FitSettings, RunState
from models.training.paste import Paster, rare_defects
from models.training.training_data import Sample

SPEC = DetectorSpec(
    categories=("bolt", "crack"),
    input_height=128,
    input_width=128,
    levels=(8,),
    anchors=(((16, 16),),),
)


def state(*, counts: tuple[int, int] = (100, 4), probability: float = 1.0) -> RunState:
    return RunState(
        snapshot_id="0" * 16,
        snapshot_url="snap",
        init="none",
        name="plate",
        categories=(
            Category(name="bolt", kind=CategoryKind.OBJECT),
            Category(name="crack", kind=CategoryKind.DEFECT),
        ),
        boxes_per_class=counts,
        spec=SPEC,
        settings=FitSettings(paste_probability=probability),
    )


def sample(name: str, grey: int, class_id: int) -> Sample:
    image = np.full((128, 128, 3), grey, np.uint8)
    image[50:70, 40:70] = 255
    boxes = np.array([[40, 50, 70, 70]], np.float32) / np.float32(128)
    return Sample(name, image, boxes, np.array([class_id]), (128, 128))


def pasted(run: RunState, seed: int) -> tuple[Any, Any, Any]:
    paster = Paster([sample("a", 20, 1), sample("b", 30, 0)], run)
    image = np.full((128, 128, 3), 30, np.uint8)
    boxes = np.array([[10, 10, 30, 30]], np.float32)
    return paster.paste(image, boxes, np.array([0]), np.random.default_rng(seed))


def test_only_rare_defects_are_pasted() -> None:
    assert rare_defects(state()) == {1}
    assert rare_defects(state(counts=(100, 60))) == frozenset()
    assert rare_defects(state(counts=(4, 100))) == frozenset()


def test_a_pasted_defect_comes_with_its_box_and_covers_no_other() -> None:
    for seed in range(10):
        image, boxes, class_ids = pasted(state(), seed)
        assert class_ids.tolist() == [0, 1]
        x1, y1, x2, y2 = boxes[1].astype(int)
        assert image[y1 + 4 : y2 - 4, x1 + 4 : x2 - 4].mean() > 150
        assert iou_matrix(boxes[:1], boxes[1:]).max() == 0


def test_the_same_seed_pastes_the_same() -> None:
    one, other = pasted(state(), 5), pasted(state(), 5)
    np.testing.assert_array_equal(one[0], other[0])


def test_nothing_is_pasted_where_it_is_switched_off() -> None:
    image, boxes, class_ids = pasted(state(probability=0.0), 1)
    assert len(boxes) == len(class_ids) == 1
    assert (image == 30).all()
