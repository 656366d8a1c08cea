"""A bundle whose answers are known: it finds a bolt in everything, and a scratch in the dark.

Small enough to compile in a blink, so that a test may break a cell many times over. Its faults are
those that a real release may bring along.
"""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
from openvino import opset13 as ops

from models.contract.bundle import (
    MODEL_NAME,
    BundleManifest,
    Category,
    CategoryKind,
    GoldenDetection,
    GoldenPicture,
    ModelRef,
    bundle_id_of,
    hash_files,
)
from models.detector.anchors import default_anchors
from models.detector.postprocess import DETECTIONS, EMBEDDING, IMAGE
from models.detector.spec import DetectorSpec
from simulators.dataset import jpeg_bytes

HEIGHT, WIDTH = 48, 64
GOOD_GREY, BAD_GREY = 200, 60
"""Of a part's picture: the model sees a scratch where it is dark."""
GOLDEN_GREY = 230
RECIPE = f"""
recipe_id = "grey"
version = 4
part_type = "grey"
image_width_px = {WIDTH}
image_height_px = {HEIGHT}
deadline_ms = 1000
[[views]]
expected = [{{ name = "bolt", category = "bolt" }}]
forbidden = [{{ category = "scratch" }}, {{ category = "torn_label" }}]
"""


class ToyFault(StrEnum):
    """What is wrong with a model."""

    NONE = "none"
    BLIND = "blind"
    """Finds nothing."""
    NAN = "nan"
    """Answers no numbers, but for its golden picture."""
    SLOW = "slow"
    FORGETFUL = "forgetful"
    """Answers its golden picture otherwise than it did."""
    BROKEN = "broken"
    """Cannot be read by the runtime."""
    HARSH = "harsh"
    """Sees a scratch on every part."""
    LENIENT = "lenient"
    """Sees no scratch on any part."""


def make_toy_bundle(
    folder: Path, *categories: str, fault: ToyFault = ToyFault.NONE, size_bytes: int = 0
) -> Path:
    """Write a bundle.

    Args:
        folder: to be made.
        categories: defects that it knows; the first is the one it finds.
        fault: what is wrong with it.
        size_bytes: of ballast in it, so that a download takes a while.
    """
    folder.mkdir(parents=True)
    names = ("bolt", *(categories or ("scratch",)))
    spec = DetectorSpec(
        categories=names,
        input_height=HEIGHT,
        input_width=WIDTH,
        levels=(8,),
        anchors=default_anchors((8,)),
    )
    (folder / "spec.json").write_text(spec.model_dump_json())
    ov.save_model(_network(fault), str(folder / MODEL_NAME), compress_to_fp16=False)
    if fault is ToyFault.BROKEN:
        (folder / MODEL_NAME).write_text("<net></net>")
    if size_bytes:
        (folder / "ballast.bin").write_bytes(np.random.default_rng(1).bytes(size_bytes))
    (folder / "golden").mkdir()
    golden = np.full((HEIGHT, WIDTH, 3), GOLDEN_GREY, np.uint8)
    cv2.imwrite(str(folder / "golden/0.png"), golden)
    expected = () if fault is ToyFault.BLIND else (_golden_box(fault),)
    files = hash_files(folder)
    kinds = [CategoryKind.OBJECT, *[CategoryKind.DEFECT] * (len(names) - 1)]
    manifest = BundleManifest(
        bundle_id=bundle_id_of(files),
        name="grey",
        created_at=datetime.now(UTC),
        categories=tuple(
            Category(name=name, kind=kind) for name, kind in zip(names, kinds, strict=True)
        ),
        thresholds=dict.fromkeys(names, 0.5),
        files=files,
        golden=(GoldenPicture(file="golden/0.png", detections=expected),),
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder


def toy_picture(grey: int, seed: int) -> bytes:
    """A part as the camera sees it: a JPEG of that brightness, with noise."""
    noise = np.random.default_rng(seed).integers(-4, 5, (HEIGHT, WIDTH, 3))
    return jpeg_bytes((noise + grey).astype(np.uint8))


def ref_of(bundle: Path, release: int) -> ModelRef:
    """A bundle under a release number."""
    manifest = BundleManifest.model_validate_json((bundle / "manifest.json").read_bytes())
    return ModelRef(release=release, bundle_id=manifest.bundle_id, name=manifest.name)


def _golden_box(fault: ToyFault) -> GoldenDetection:
    score = 0.4 if fault is ToyFault.FORGETFUL else 0.95
    return GoldenDetection(category="bolt", bbox=(10, 10, 20, 20), score=score)


def _network(fault: ToyFault) -> ov.Model:
    image = ops.parameter([1, HEIGHT, WIDTH, 3], np.uint8, name=IMAGE)
    mean = ops.reduce_mean(
        ops.convert(image, "f32"), np.array([0, 1, 2, 3]), keep_dims=False, name="brightness"
    )
    darkness = ops.subtract(np.float32(1), ops.divide(mean, np.float32(255)))
    bolt_score = ops.constant(np.float32(0.01 if fault is ToyFault.BLIND else 0.95))
    rows = [_row(0, bolt_score, (10, 10, 30, 30)), _row(1, darkness, (20, 20, 40, 30))]
    if fault is ToyFault.NAN:
        is_live = ops.less(mean, np.float32((GOOD_GREY + GOLDEN_GREY) / 2))
        nan = ops.constant(np.float32("nan"))
        rows[0] = _row(0, ops.select(is_live, nan, bolt_score), (10, 10, 30, 30))
    elif fault is ToyFault.SLOW:
        rows[0] = _row(0, ops.add(bolt_score, _nothing_slowly(mean)), (10, 10, 30, 30))
    elif fault is ToyFault.HARSH:
        is_live = ops.less(mean, np.float32((GOOD_GREY + GOLDEN_GREY) / 2))
        sure, unsure = ops.constant(np.float32(0.9)), ops.constant(np.float32(0.0))
        rows[1] = _row(1, ops.select(is_live, sure, unsure), (20, 20, 40, 30))
    elif fault in {ToyFault.LENIENT, ToyFault.BLIND}:
        rows[1] = _row(1, ops.multiply(darkness, np.float32(0.01)), (20, 20, 40, 30))
    detections = ops.result(ops.concat(rows, 0))
    detections.output(0).set_names({DETECTIONS})
    vector = ops.reshape(darkness, [1, 1], special_zero=False)
    embedding = ops.result(ops.concat([vector, vector], 1))
    embedding.output(0).set_names({EMBEDDING})
    return ov.Model([detections, embedding], [image])


def _row(class_id: int, score: ov.Node, box: tuple[int, int, int, int]) -> ov.Node:
    return ops.concat(
        [
            ops.constant(np.array([[class_id]], np.float32)),
            ops.reshape(score, [1, 1], special_zero=False),
            ops.constant(np.array([box], np.float32)),
        ],
        1,
    )


def _nothing_slowly(mean: ov.Node) -> ov.Node:
    """Some 40 ms of work that comes to zero."""
    size = 700
    work = ops.add(ops.constant(np.ones((size, size), np.float32)), mean)
    factor = ops.constant(np.random.default_rng(1).random((size, size), np.float32) / size)
    for _ in range(6):
        work = ops.matmul(work, factor, transpose_a=False, transpose_b=False)
    total = ops.reduce_mean(work, np.array([0, 1]), keep_dims=False)
    return ops.multiply(total, np.float32(0))
