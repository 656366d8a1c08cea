"""From a trained network to a bundle.

Twice: `export_bundle` makes a bundle that runs, so that the very file that ships can be measured;
`complete_bundle` then writes the figures and the card into it.
"""

import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import cv2
import keras
import numpy as np
import openvino as ov

from models.contract.bundle import (
    FLOAT_FOLDER,
    FLOAT_WEIGHTS_NAME,
    MANIFEST_NAME,
    MODEL_NAME,
    SPEC_NAME,
    BundleManifest,
    BundleMetrics,
    Category,
    CategoryMetrics,
    Lineage,
    OperatingPoint,
    QuantizationRecord,
    bundle_id_of,
    hash_files,
    read_manifest,
)
from models.detector.golden import GOLDEN_FOLDER, record
from models.detector.postprocess import add_postprocess
from models.detector.preprocess import Image
from models.detector.runtime import DetectorRuntime
from models.detector.spec import DetectorSpec
from models.training.card import CardFacts, write_card
from models.training.metrics import DEFAULT_THRESHOLD
from models.training.network import with_embedding
from models.training.quantize import PLAIN, AccuracyTarget, Recipe, quantize

MAX_GOLDEN_SIDE_PX = 512
MAX_GOLDEN_PICTURES = 6


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """What a bundle says about itself before it was measured."""

    name: str
    categories: tuple[Category, ...]
    lineage: Lineage = field(default_factory=Lineage)


def export_bundle(
    model: keras.Model,
    spec: DetectorSpec,
    bundle_dir: Path,
    facts: BundleFacts,
    *,
    thresholds: Mapping[str, float],
    calibration: Sequence[Image],
    golden: Sequence[Image],
    precision: Literal["int8", "f32"] = "int8",
    network: ov.Model | None = None,
    recipe: Recipe = PLAIN,
    target: AccuracyTarget | None = None,
) -> BundleManifest:
    """Write a bundle that can be run and measured.

    Args:
        model: trained, from ``build_network(spec)``.
        spec: of ``model``.
        bundle_dir: made anew; what was there is removed.
        facts: name, label map and lineage.
        thresholds: operating point by category, chosen on validation pictures; a category that is
            not in it gets the default.
        calibration: training pictures for the quantization.
        golden: pictures that the model must answer alike for ever; best with boxes of each class.
        precision: ``"f32"`` leaves the quantization out, to measure what it costs.
        network: of ``model``, from `to_openvino`, where that was done before.
        recipe: how to quantize.
        target: for a recipe with accuracy control.

    Raises:
        OutOfTimeError: accuracy control did not get there in time; no bundle is left.
    """
    shutil.rmtree(bundle_dir, ignore_errors=True)
    network = network or to_openvino(model, spec)
    if precision == "int8":
        network = quantize(network, calibration, spec, recipe, target)
    (bundle_dir / FLOAT_FOLDER).mkdir(parents=True)
    # Not compressed to FP16: an anchor's place would move by a quarter of a pixel.
    ov.save_model(
        add_postprocess(network.clone(), spec), bundle_dir / MODEL_NAME, compress_to_fp16=False
    )
    (bundle_dir / SPEC_NAME).write_text(spec.model_dump_json(indent=2) + "\n")
    model.save_weights(bundle_dir / FLOAT_WEIGHTS_NAME)
    _write_golden_pictures(bundle_dir, golden)
    points = {
        category.name: thresholds.get(category.name, DEFAULT_THRESHOLD)
        for category in facts.categories
    }
    manifest = _manifest(bundle_dir, facts, points, precision)
    _write_manifest(bundle_dir, manifest)
    return _with_golden_answers(bundle_dir, manifest)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of an exported bundle.

    Attributes:
        card: all that the card tells.
        thresholds: operating points, where they were chosen after the export.
        operating_point: what they were chosen by.
        quantization: INT8 against float.
        split: that was judged on.
    """

    card: CardFacts
    thresholds: Mapping[str, float] | None = None
    operating_point: OperatingPoint | None = None
    quantization: QuantizationRecord | None = None
    split: str | None = None


def complete_bundle(bundle_dir: Path, facts: BundleFacts, measured: Measured) -> BundleManifest:
    """Write figures and card into an exported bundle.

    The card is one of the bundle's files, so the bundle's identity changes here for the last time.

    Args:
        bundle_dir: from `export_bundle`.
        facts: as given to it.
        measured: with this bundle's own file on the locked pictures.
    """
    exported = read_manifest(bundle_dir)
    manifest = exported.model_copy(
        update={
            "metrics": _metrics(measured),
            "lineage": facts.lineage,
            "thresholds": dict(measured.thresholds or exported.thresholds),
            "operating_point": measured.operating_point,
            "quantization": measured.quantization,
        }
    )
    write_card(bundle_dir, manifest, measured.card)
    files = hash_files(bundle_dir)
    sealed = manifest.model_copy(update={"files": files, "bundle_id": bundle_id_of(files)})
    _write_manifest(bundle_dir, sealed)
    return sealed


def to_openvino(model: keras.Model, spec: DetectorSpec) -> ov.Model:
    """Convert a network and its embedding; batch 1, uint8 BGR in, raw answers out."""
    with warnings.catch_warnings():
        # Keras remarks that the converter passes the one input as a tuple.
        warnings.filterwarnings("ignore", message="The structure of `inputs`")
        return ov.convert_model(
            with_embedding(model, spec), input=[1, spec.input_height, spec.input_width, 3]
        )


def choose_golden(labels: Sequence[Sequence[str]], count: int = 4) -> list[int]:
    """Few pictures that show as many categories as they can, then the richest ones.

    Args:
        labels: category names of each picture's boxes.
        count: how many to choose.

    Returns:
        Places in ``labels``.
    """
    chosen: list[int] = []
    seen: set[str] = set()
    while len(chosen) < min(count, MAX_GOLDEN_PICTURES, len(labels)):
        rest = [index for index in range(len(labels)) if index not in chosen]
        best = max(rest, key=lambda index: (len(set(labels[index]) - seen), len(labels[index])))
        chosen.append(best)
        seen |= set(labels[best])
    return chosen


def _manifest(
    bundle_dir: Path, facts: BundleFacts, thresholds: dict[str, float], precision: str
) -> BundleManifest:
    files = hash_files(bundle_dir)
    return BundleManifest(
        bundle_id=bundle_id_of(files),
        name=facts.name,
        created_at=datetime.now(UTC).replace(microsecond=0),
        categories=facts.categories,
        thresholds=thresholds,
        precision=precision,
        files=files,
        lineage=facts.lineage,
    )


def _with_golden_answers(bundle_dir: Path, manifest: BundleManifest) -> BundleManifest:
    """Ask the exported model itself what it sees in its golden pictures."""
    names = sorted(name for name in manifest.files if name.startswith(f"{GOLDEN_FOLDER}/"))
    with DetectorRuntime.load(bundle_dir, verify=False) as runtime:
        answers = tuple(
            record(name, runtime.infer(_read(bundle_dir / name)), runtime.categories)
            for name in names
        )
    complete = manifest.model_copy(update={"golden": answers})
    _write_manifest(bundle_dir, complete)
    return complete


def _write_golden_pictures(bundle_dir: Path, pictures: Sequence[Image]) -> None:
    folder = bundle_dir / GOLDEN_FOLDER
    folder.mkdir()
    for number, picture in enumerate(pictures[:MAX_GOLDEN_PICTURES]):
        cv2.imwrite(str(folder / f"{number}.png"), _limited(picture))


def _limited(picture: Image) -> Image:
    scale = MAX_GOLDEN_SIDE_PX / max(picture.shape[:2])
    if scale >= 1:
        return picture
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _read(path: Path) -> Image:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)


def _write_manifest(bundle_dir: Path, manifest: BundleManifest) -> None:
    (bundle_dir / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n")


def _metrics(measured: Measured) -> BundleMetrics:
    evaluation, float_evaluation = measured.card.evaluation, measured.card.float_evaluation
    analysis = measured.card.analysis
    close = analysis.per_class if analysis else {}
    return BundleMetrics(
        map50=evaluation.map50,
        map50_interval=analysis.map50_interval if analysis else None,
        map=evaluation.map,
        float_map50=float_evaluation.map50 if float_evaluation else None,
        num_images=evaluation.num_images,
        split=measured.split,
        per_category={
            name: CategoryMetrics(
                ap50=own.ap50,
                ap50_interval=close[name].ap50_interval if name in close else None,
                recall=own.recall,
                recall_interval=close[name].recall_interval if name in close else None,
                precision=own.precision,
                num_boxes=own.num_boxes,
            )
            for name, own in evaluation.per_class.items()
        },
    )
