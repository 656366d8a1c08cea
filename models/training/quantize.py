"""INT8 by post-training quantization with NNCF: recipes from the cheapest to the surest."""

import contextlib
import io
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov

import models.detector  # noqa: F401 - blocks usage reporting before nncf is imported
from models.detector.postprocess import BOX_CODES, CLASS_LOGITS
from models.detector.preprocess import Image, resize_to_input
from models.detector.spec import DetectorSpec
from models.training.errors import OutOfTimeError

CONVOLUTIONS = ("Convolution", "GroupConvolution")
# Layers ranked by accuracy control are compared on this many pictures.
RANKING_PICTURES = 16


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to quantize.

    Attributes:
        name: for reports.
        num_pictures: to calibrate with.
        float_heads: leave the layers that answer, and the whole box branch, in float: few
            multiplications, and the ones whose rounding moves scores and boxes directly.
        exact_bias: correct every bias by running the layers before it, which takes far longer.
        accuracy_control: put layers back into float, the most harmful first, until all is well.
        effort: how long it takes, as a multiple of the first recipe.
    """

    name: str
    num_pictures: int = 96
    float_heads: bool = False
    exact_bias: bool = False
    accuracy_control: bool = False
    effort: float = 1.0


# Twice as many pictures cost 7 s more and changed nothing where the first recipe was good.
PLAIN = Recipe("post-training")
RECIPES = (
    PLAIN,
    Recipe("heads in float", float_heads=True, effort=1.1),
    Recipe("more pictures", num_pictures=300, float_heads=True, effort=2.5),
    Recipe("exact bias correction", num_pictures=64, float_heads=True, exact_bias=True, effort=4.0),
    Recipe("accuracy control", float_heads=True, accuracy_control=True, effort=6.0),
)


@dataclass(frozen=True, slots=True)
class AccuracyTarget:
    """What accuracy control works towards.

    Attributes:
        samples: pictures at the network's input size with whatever ``metric`` needs of them.
        metric: judges raw answers, ``(class_logits, box_codes)`` of each sample; higher is better.
        max_drop: loss of the metric that is allowed.
        ends_at: monotonic second by which it must be over.
    """

    samples: Sequence[tuple[Image, Any]]
    metric: Any
    max_drop: float
    ends_at: float


def quantize(
    network: ov.Model,
    pictures: Sequence[Image],
    spec: DetectorSpec,
    recipe: Recipe = PLAIN,
    target: AccuracyTarget | None = None,
) -> ov.Model:
    """Turn the network's layers to INT8.

    Args:
        network: without decoding and NMS, which stay in float; not changed.
        pictures: some of the training pictures, of any size.
        spec: names the input size.
        recipe: how.
        target: for a recipe with accuracy control.

    Raises:
        ValueError: there are no pictures to calibrate with.
        OutOfTimeError: accuracy control did not get there in time.
    """
    import nncf

    if not pictures:
        raise ValueError("quantization needs pictures to calibrate with")
    chosen = list(pictures[: recipe.num_pictures])
    dataset = nncf.Dataset(chosen, lambda picture: np.array(resize_to_input(picture, spec))[None])
    names = head_layers(network) if recipe.float_heads else []
    how = {
        "subset_size": len(chosen),
        # Activations after a residual sum have both signs: asymmetric for them alone.
        "preset": nncf.QuantizationPreset.MIXED,
        "ignored_scope": nncf.IgnoredScope(names=names) if names else None,
        "fast_bias_correction": not recipe.exact_bias,
    }
    with _quiet():
        if not recipe.accuracy_control:
            return nncf.quantize(network.clone(), dataset, **how)
        if target is None:
            raise ValueError("accuracy control needs a target")
        return _with_accuracy_control(network.clone(), dataset, target, how)


def head_layers(network: ov.Model) -> list[str]:
    """Names of the layers that give the answers: class answers, and the box branch whole."""
    names = _last_convolutions(network, CLASS_LOGITS, depth=1)
    return sorted(names | _last_convolutions(network, BOX_CODES, depth=2))


def _last_convolutions(network: ov.Model, output: str, *, depth: int) -> set[str]:
    """Convolutions from which an output can be reached through fewer than ``depth`` others."""
    found: set[str] = set()
    waiting = [(network.output(output).get_node(), 0)]
    seen: set[tuple[str, int]] = set()
    while waiting:
        node, passed = waiting.pop()
        if (node.get_friendly_name(), passed) in seen:
            continue
        seen.add((node.get_friendly_name(), passed))
        if node.get_type_name() in CONVOLUTIONS:
            found.add(node.get_friendly_name())
            passed += 1
        if passed < depth:
            waiting += [(value.get_node(), passed) for value in node.input_values()]
    return found


def _with_accuracy_control(
    network: ov.Model,
    calibration: Any,  # noqa: ANN401 - nncf has no types
    target: AccuracyTarget,
    how: dict[str, Any],
) -> ov.Model:
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedAccuracyRestorerParameters

    def item(sample: tuple[Image, Any]) -> Image:
        # Ranking the layers calls nothing of ours but this.
        _check_time(target.ends_at)
        return sample[0][None]

    def validate(compiled: Any, items: Iterable[Any]) -> tuple[float, list[list[Any]]]:  # noqa: ANN401
        request = compiled.create_infer_request()
        answers, values = [], []
        for sample in items:
            _check_time(target.ends_at)
            request.infer({0: sample[0][None]})
            # Layers are ranked by how far they move the outputs, which needs no labels.
            values.append([tensor.data.copy() for tensor in request.output_tensors])
            raw = (request.get_tensor(name).data[0].copy() for name in (CLASS_LOGITS, BOX_CODES))
            answers.append((sample, *raw))
        return float(target.metric(answers)), values

    return nncf.quantize_with_accuracy_control(
        network,
        calibration_dataset=calibration,
        validation_dataset=nncf.Dataset(list(target.samples), item),
        validation_fn=validate,
        max_drop=target.max_drop,
        advanced_accuracy_restorer_parameters=AdvancedAccuracyRestorerParameters(
            ranking_subset_size=min(RANKING_PICTURES, len(target.samples)), num_ranking_workers=1
        ),
        **how,
    )


def _check_time(ends_at: float) -> None:
    if time.monotonic() > ends_at:
        raise OutOfTimeError("accuracy control ran out of time")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF's words and progress bars out of the JSON lines on standard output."""
    import nncf

    nncf.set_log_level(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()):
        yield
