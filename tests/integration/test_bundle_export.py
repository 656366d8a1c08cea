"""A tiny network from Keras to a running INT8 bundle and back into training."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest

from models.contract.bundle import (
    MODEL_NAME,
    BundleManifest,
    Category,
    CategoryKind,
    read_manifest,
)
from models.detector import golden
from models.detector.anchors import anchor_boxes
from models.detector.boxes import decode_boxes
from models.detector.preprocess import Image, resize_to_input
from models.detector.runtime import BundleError, DetectorRuntime
from models.detector.spec import DetectorSpec
from models.training.accuracy_target import accuracy_target
from models.training.answers import Truth
from models.training.errors import OutOfTimeError
from models.training.quantize import CONVOLUTIONS, AccuracyTarget, Recipe, head_layers, quantize

pytestmark = pytest.mark.filterwarnings(
    # Keras 3.15 with NumPy 2.4.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

CATEGORIES = (
    Category(name="bolt", kind=CategoryKind.OBJECT),
    Category(name="scratch"),
    Category(name="dent"),
)
SPEC = DetectorSpec(
    categories=("bolt", "scratch", "dent"),
    input_height=64,
    input_width=96,
    width_multiplier=0.35,
    levels=(8, 16),
    anchors=(((16.0, 16.0),), ((32.0, 32.0), (48.0, 24.0))),
    neck_channels=16,
)


def pictures(count: int) -> list[Image]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 255, (128, 192, 3)).astype(np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same random network as a float and as an INT8 bundle."""
    keras = pytest.importorskip("keras")
    from models.training.card import CardFacts
    from models.training.export import BundleFacts, Measured, complete_bundle, export_bundle
    from models.training.metrics import ClassEvaluation, Evaluation
    from models.training.network import build_network, heads

    keras.utils.set_random_seed(3)
    model = build_network(SPEC)
    for head in heads(SPEC, "class"):
        # A fresh network is silent; this one must say something to be compared.
        layer = model.get_layer(f"{head.name}_answer")
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * 60, bias + 3])
    facts = BundleFacts("plate", CATEGORIES)
    folders = {}
    for precision in ("f32", "int8"):
        folder = tmp_path_factory.mktemp("bundles") / precision
        export_bundle(
            model,
            SPEC,
            folder,
            facts,
            thresholds={"bolt": 0.6},
            calibration=pictures(8),
            golden=pictures(2),
            precision=precision,
        )
        folders[precision] = folder
    measured = Evaluation(map50=0.5, per_class={"bolt": ClassEvaluation(ap50=0.5, num_boxes=4)})
    complete_bundle(folders["int8"], facts, Measured(CardFacts(measured)))
    return folders


def test_bundle_is_whole_and_describes_itself(bundles: dict[str, Path]) -> None:
    manifest = read_manifest(bundles["int8"])
    assert manifest.thresholds == {"bolt": 0.6, "scratch": 0.4, "dent": 0.4}
    assert manifest.metrics.map50 == 0.5
    assert {"model.xml", "model.bin", "spec.json", "card.md", "golden/0.png"} <= set(manifest.files)
    assert not any(name.startswith("float/") for name in manifest.files)
    assert "| bolt | object | 0.5000 |" in (bundles["int8"] / "card.md").read_text()


def test_runtime_finds_what_keras_and_numpy_find(bundles: dict[str, Path]) -> None:
    from models.training.network import build_network

    model = build_network(SPEC)
    model.load_weights(bundles["f32"] / "float" / "weights.weights.h5")
    picture = pictures(1)[0][:64, :96].copy()
    answers = model(picture[None])
    scores = 1 / (1 + np.exp(-answers["class_logits"].numpy()[0]))
    boxes = decode_boxes(
        answers["box_codes"].numpy()[0], anchor_boxes(SPEC), center_scale=10, size_scale=5
    )
    with DetectorRuntime.load(bundles["f32"]) as runtime:
        found = runtime.infer(picture)
        assert runtime.precision_in_force == "f32"
    assert len(found) > 3
    # NMS keeps the best box as it is; the graph also clips it at the picture's border.
    best = np.unravel_index(scores.argmax(), scores.shape)
    assert found.class_ids[0] == best[1]
    np.testing.assert_allclose(found.scores[0], scores.max(), atol=1e-3)
    expected = np.clip(boxes[best[0]], 0, [96, 64, 96, 64])
    np.testing.assert_allclose(found.boxes[0], expected, atol=0.1)
    assert (np.diff(found.scores) <= 0).all()
    assert found.embedding is not None
    assert found.embedding.ndim == 1


@pytest.fixture(scope="module")
def network(bundles: dict[str, Path]) -> ov.Model:
    """The float network with raw answers, as quantization takes it."""
    from models.training.export import to_openvino
    from models.training.network import build_network

    model = build_network(SPEC)
    model.load_weights(bundles["f32"] / "float" / "weights.weights.h5")
    return to_openvino(model, SPEC)


def fake_quantized_inputs(model: ov.Model) -> dict[str, bool]:
    """Whether each convolution reads rounded activations."""
    return {
        node.get_friendly_name(): node.input_value(0).get_node().get_type_name() == "FakeQuantize"
        for node in model.get_ops()
        if node.get_type_name() in CONVOLUTIONS
    }


def test_heads_that_stay_in_float_are_those_that_answer(network: ov.Model) -> None:
    heads = set(head_layers(network))
    # On each of two levels: class answers, box answers, and the box branch's depthwise layer.
    assert len(heads) == 6
    plain = fake_quantized_inputs(quantize(network, pictures(4), SPEC))
    recipe = Recipe("heads", num_pictures=4, float_heads=True)
    kept = fake_quantized_inputs(quantize(network, pictures(4), SPEC, recipe))
    assert all(plain[name] for name in heads)
    assert not any(kept[name] for name in heads)
    assert sum(kept.values()) > 20


def control(max_drop: float, ends_at: float) -> AccuracyTarget:
    samples = [(resize_to_input(picture, SPEC), None) for picture in pictures(4)]
    # Each answer counts as worse than the one before: only a wide limit is ever kept.
    calls = iter(range(1000))
    return AccuracyTarget(samples, lambda _: -float(next(calls)), max_drop, ends_at)


def test_accuracy_control_ends_when_the_target_is_reached(network: ov.Model) -> None:
    recipe = Recipe("control", num_pictures=4, accuracy_control=True)
    target = control(1000, time.monotonic() + 300)
    assert any(fake_quantized_inputs(quantize(network, pictures(4), SPEC, recipe, target)).values())


def test_accuracy_control_ends_when_its_time_is_over(network: ov.Model) -> None:
    recipe = Recipe("control", num_pictures=4, accuracy_control=True)
    with pytest.raises(OutOfTimeError):
        quantize(network, pictures(4), SPEC, recipe, control(0.001, time.monotonic()))


def test_accuracy_control_measures_what_the_gate_measures() -> None:
    logits = np.full((SPEC.num_anchors, 3), -9, np.float32)
    codes = np.zeros((SPEC.num_anchors, 4), np.float32)
    anchors = anchor_boxes(SPEC)
    inside = [100, 130]
    logits[inside, 0] = 3.0
    doubled = Truth("a", anchors[inside] * 2, ("bolt", "bolt"))
    target = accuracy_target(
        [(np.zeros((128, 192, 3), np.uint8), doubled)], SPEC, {"bolt": 0.5}, ends_at=0.0
    )
    (sample,) = target.samples
    assert sample[0].shape == (64, 96, 3)
    assert target.metric([(sample, logits, codes)]) == pytest.approx(1)
    # Below its operating point: mAP stays, recall is gone but for the hundredth that may be lost.
    faint = logits.copy()
    faint[inside[0], 0] = -1.0
    assert target.metric([(sample, faint, codes)]) == pytest.approx(1 - 0.5 + 0.01)


def test_validation_while_training_finds_what_the_exported_graph_finds(
    bundles: dict[str, Path],
) -> None:
    from models.training.network import build_network
    from models.training.training_data import Sample
    from models.training.validation import judge_samples

    model = build_network(SPEC)
    model.load_weights(bundles["f32"] / "float" / "weights.weights.h5")

    def predict(images: np.ndarray[Any, Any]) -> tuple[Any, Any]:
        answers = model(images, training=False)
        return answers["class_logits"], answers["box_codes"]

    no_boxes, no_classes = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    for picture in (pictures(1)[0], pictures(2)[1][:64, :96].copy()):
        size = (picture.shape[1], picture.shape[0])
        sample = Sample("a", picture, no_boxes, no_classes, size)
        ((_, validated),) = judge_samples(predict, [sample], SPEC)
        with DetectorRuntime.load(bundles["f32"]) as runtime:
            found = runtime.infer(picture)
        # NMS among answers that score alike is a matter of rounding; the best one is not.
        same = found.class_ids == SPEC.categories.index(validated.categories[0])
        close = same & (np.abs(found.scores - validated.scores[0]) < 1e-3)
        apart = np.abs(found.boxes[close] - validated.boxes[0]).max(axis=1)
        assert apart.min() < 0.1


def test_boxes_are_in_pixels_of_the_picture_that_was_given(bundles: dict[str, Path]) -> None:
    picture = pictures(1)[0][:64, :96].copy()
    doubled = picture.repeat(4, axis=0).repeat(4, axis=1)
    with DetectorRuntime.load(bundles["f32"]) as runtime:
        small, large = runtime.infer(picture), runtime.infer(doubled)
    assert large.boxes[:, 2].max() > 96
    assert small.boxes[:, 2].max() <= 96
    assert large.boxes[:, [0, 2]].max() <= 384


def test_answers_are_copies_that_the_next_picture_leaves_alone(bundles: dict[str, Path]) -> None:
    first, second = pictures(2)
    with DetectorRuntime.load(bundles["int8"]) as runtime:
        found = runtime.infer(first)
        kept = found.boxes.copy(), found.scores.copy()
        runtime.infer(second)
    np.testing.assert_array_equal(found.boxes, kept[0])
    np.testing.assert_array_equal(found.scores, kept[1])


@pytest.mark.parametrize("level", [0, 127, 255], ids=["black", "grey", "white"])
def test_a_picture_that_scores_alike_everywhere_is_answered(
    bundles: dict[str, Path], level: int
) -> None:
    # OpenVINO's multiclass_nms crashed on such ties.
    with DetectorRuntime.load(bundles["f32"]) as runtime:
        found = runtime.infer(np.full((64, 96, 3), level, np.uint8))
    assert len(found) <= SPEC.max_detections
    assert np.isfinite(found.boxes).all()


def test_golden_pictures_are_answered_as_recorded(bundles: dict[str, Path]) -> None:
    with DetectorRuntime.load(bundles["int8"]) as runtime:
        report = golden.check(runtime, bundles["int8"])
    assert report.passed, report.faults
    assert report.num_pictures == 2


def test_a_changed_or_unreadable_bundle_is_refused(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="no readable manifest"):
        DetectorRuntime.load(tmp_path)
    model = bundles["int8"] / MODEL_NAME
    whole = model.read_bytes()
    try:
        model.write_bytes(whole[:-100])
        with pytest.raises(BundleError, match=r"model\.xml was changed"):
            DetectorRuntime.load(bundles["int8"])
        with pytest.raises(BundleError, match="OpenVINO refuses"):
            DetectorRuntime.load(bundles["int8"], verify=False)
    finally:
        model.write_bytes(whole)


def test_classes_are_found_again_by_name_in_another_label_map(bundles: dict[str, Path]) -> None:
    from models.training.initial_weights import load_initial_weights
    from models.training.network import PRIOR_LOGIT, build_network

    grown = SPEC.with_categories(("dent", "torn_label", "bolt"))
    old, new = build_network(SPEC), build_network(grown)
    for model, spec in ((old, SPEC), (new, grown)):
        load_initial_weights(model, spec, bundles["int8"])
    picture = pictures(1)[0][None, :64, :96]
    before, after = old(picture), new(picture)
    logits = before["class_logits"].numpy(), after["class_logits"].numpy()
    np.testing.assert_allclose(logits[1][..., 0], logits[0][..., 2], atol=1e-5)
    np.testing.assert_allclose(logits[1][..., 2], logits[0][..., 0], atol=1e-5)
    np.testing.assert_allclose(logits[1][..., 1], PRIOR_LOGIT)
    np.testing.assert_allclose(after["box_codes"], before["box_codes"], atol=1e-5)


def test_unusable_initial_weights_say_what_to_do(tmp_path: Path) -> None:
    from models.training.initial_weights import InitialWeightsError, load_initial_weights
    from models.training.network import build_network

    model = build_network(SPEC)
    with pytest.raises(InitialWeightsError, match="say imagenet or none"):
        load_initial_weights(model, SPEC, tmp_path / "nothing")
    broken = tmp_path / "broken.weights.h5"
    broken.write_bytes(b"no weights")
    with pytest.raises(InitialWeightsError, match="not weights of this network"):
        load_initial_weights(model, SPEC, broken)


def test_loss_of_two_halves_adds_up_to_that_of_the_whole() -> None:
    from models.training.losses import detection_loss, loss_sums

    rng = np.random.default_rng(5)
    logits = rng.normal(size=(4, 30, 3)).astype(np.float32)
    codes = rng.normal(size=(4, 30, 4)).astype(np.float32)
    classes = rng.integers(-2, 3, (4, 30)).astype(np.int32)
    wanted = rng.normal(size=(4, 30, 4)).astype(np.float32)
    batch = (logits, codes, classes, wanted)
    halves = [
        loss_sums(logits[half], codes[half], classes[half], wanted[half])
        for half in (slice(2), slice(2, 4))
    ]
    total = float(halves[0][0] + halves[1][0]) / float(halves[0][1] + halves[1][1])
    assert total == pytest.approx(float(detection_loss(*batch)), rel=1e-5)
    heavier = loss_sums(*batch, class_weights=(1.0, 1.0, 3.0))
    assert float(heavier[1]) > float(loss_sums(*batch)[1])


def test_manifest_survives_the_wire(bundles: dict[str, Path]) -> None:
    manifest = read_manifest(bundles["int8"])
    assert BundleManifest.model_validate_json(manifest.model_dump_json()) == manifest
