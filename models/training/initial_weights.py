"""Where a training starts from: ImageNet, a backbone file, a released bundle, or nothing."""

from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from models.contract.bundle import FLOAT_WEIGHTS_NAME
from models.detector.spec import DetectorSpec, read_spec
from models.training.errors import InputError
from models.training.fit_settings import IMAGENET, NONE
from models.training.network import PRIOR_LOGIT, Head, build_network, heads

Array = npt.NDArray[np.float32]


class InitialWeightsError(InputError):
    """The initial weights cannot be used; the text is one line and says what to do."""


def load_initial_weights(model: keras.Model, spec: DetectorSpec, init: str | Path) -> None:
    """Fill a fresh network with the weights that its training starts from.

    Args:
        model: from ``build_network(spec)``.
        spec: of ``model``.
        init: ``"none"``; ``"imagenet"`` (Keras downloads it); a MobileNetV2 ``.weights.h5``
            without top; or a bundle folder, whose classes are found again by name (a class that
            the bundle does not know starts at the prior).

    Raises:
        InitialWeightsError: the weights are missing or do not fit the spec.
    """
    if str(init) == NONE:
        return
    if str(init) == IMAGENET:
        _load_imagenet(model, spec)
        return
    path = Path(init)
    if path.is_dir():
        _load_bundle(model, spec, path)
    elif path.is_file():
        _load_backbone(model, spec, path)
    else:
        raise InitialWeightsError(
            f"init {init}: no such bundle or weights file (or say imagenet or none)"
        )


def _load_imagenet(model: keras.Model, spec: DetectorSpec) -> None:
    try:
        backbone = keras.applications.MobileNetV2(
            input_shape=(224, 224, 3),
            alpha=spec.width_multiplier,
            include_top=False,
            weights="imagenet",
        )
    except Exception as error:  # keras raises a bare Exception when a download fails
        raise InitialWeightsError(
            "init imagenet: the weights could not be fetched; give the path of a MobileNetV2 "
            ".weights.h5, a bundle, or none"
        ) from error
    _copy_backbone(backbone, model)


def _load_backbone(model: keras.Model, spec: DetectorSpec, path: Path) -> None:
    backbone = keras.applications.MobileNetV2(
        input_shape=(224, 224, 3), alpha=spec.width_multiplier, include_top=False, weights=None
    )
    _load(backbone, path)
    _copy_backbone(backbone, model)


def _load(model: keras.Model, path: Path) -> None:
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise InitialWeightsError(
            f"init {path}: not weights of this network ({str(error).splitlines()[0]})"
        ) from error


def _copy_backbone(backbone: keras.Model, model: keras.Model) -> None:
    """Copy layers by name and turn the first kernel round, as our pictures are BGR."""
    ours = {layer.name: layer for layer in model.layers}
    for layer in backbone.layers:
        if layer.name not in ours or not layer.weights:
            continue
        weights = layer.get_weights()
        if layer.name == "Conv1":
            weights[0] = weights[0][:, :, ::-1]
        ours[layer.name].set_weights(weights)


def _load_bundle(model: keras.Model, spec: DetectorSpec, bundle_dir: Path) -> None:
    path = bundle_dir / FLOAT_WEIGHTS_NAME
    if not path.is_file():
        raise InitialWeightsError(f"init {bundle_dir}: it has no {FLOAT_WEIGHTS_NAME}")
    parent_spec = read_spec(bundle_dir)
    parent = build_network(parent_spec)
    _load(parent, path)
    theirs = {layer.name: layer for layer in parent.layers}
    class_heads = {f"{head.name}_answer": head for head in heads(spec, "class")}
    for layer in model.layers:
        source = theirs.get(layer.name)
        if source is None or not layer.weights:
            continue
        if layer.name in class_heads:
            weights = _grown(source, class_heads[layer.name], parent_spec, spec)
        else:
            weights = source.get_weights()
        _set_if_fitting(layer, weights)


def _set_if_fitting(layer: keras.layers.Layer, weights: list[Array]) -> None:
    """Copy weights unless the shapes differ (another neck or anchor count starts afresh)."""
    shapes = [tuple(weight.shape) for weight in layer.weights]
    if shapes == [weight.shape for weight in weights]:
        layer.set_weights(weights)


def _grown(
    source: keras.layers.Layer, head: Head, parent: DetectorSpec, spec: DetectorSpec
) -> list[Array]:
    """Weights of a class head in the new label map's order.

    A class that the parent knows keeps its columns; a new one starts with no opinion (kernel
    zero, bias at the prior) at every anchor.
    """
    kernel, bias = source.get_weights()
    num_anchors = bias.size // len(parent.categories)
    old_kernel = kernel.reshape(kernel.shape[2], num_anchors, len(parent.categories))
    old_bias = bias.reshape(num_anchors, len(parent.categories))
    new_kernel = np.zeros((kernel.shape[2], num_anchors, head.values_per_anchor), np.float32)
    new_bias = np.full((num_anchors, head.values_per_anchor), PRIOR_LOGIT, np.float32)
    for class_id, name in enumerate(spec.categories):
        if name in parent.categories:
            old = parent.categories.index(name)
            new_kernel[:, :, class_id] = old_kernel[:, :, old]
            new_bias[:, class_id] = old_bias[:, old]
    return [new_kernel.reshape(1, 1, kernel.shape[2], -1), new_bias.reshape(-1)]
