"""SSDLite on MobileNetV2 in Keras 3, built from a spec.

Sandler et al. 2018, sec. 6.2 (SSDLite: depthwise 3x3 then 1x1 in place of full convolutions); the
optional neck is the FPN-lite of the TF2 detection zoo. Everything deeper than the deepest level
is left out: on small parts the 1280-channel tail costs time and finds nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import layers

from models.detector.spec import DetectorSpec

Tensor = Any
"""A Keras symbolic tensor; keras ships no type for it."""

# Feature maps of MobileNetV2 by stride (Keras layer names): the expanded input of the block that
# halves the size next, as in ssdlite_mobilenet_v2_coco.config.
BACKBONE_FEATURES = {8: "block_6_expand_relu", 16: "block_13_expand_relu", 32: "out_relu"}
EXTRA_CHANNELS = {64: 512, 128: 256, 256: 256, 512: 128}

CLASS_LOGITS = "class_logits"
BOX_CODES = "box_codes"
EMBEDDING = "embedding"

# Sigmoid of this is 0.01: at the start nearly every anchor is background (Lin et al. 2017, 4.1).
PRIOR_LOGIT = -4.6

# Keras's default of .999 leaves stale statistics after a training of a few hundred steps.
NORM_MOMENTUM = 0.95
NORM_EPSILON = 1e-3

NEW_PREFIXES = ("extra_", "neck_", "class_", "box_")
"""Names of layers that no ImageNet checkpoint knows start so."""


@dataclass(frozen=True, slots=True)
class Head:
    """One of the two answers given at every anchor of a level."""

    kind: Literal["class", "box"]
    stride: int
    num_anchors: int
    values_per_anchor: int

    @property
    def name(self) -> str:
        """Stem of the layer names."""
        return f"{self.kind}_s{self.stride}"


def build_network(spec: DetectorSpec) -> keras.Model:
    """Build the untrained network.

    Returns:
        A model that takes ``(B, input_height, input_width, 3)`` uint8 BGR pixels and answers
        ``{"class_logits": (B, A, C), "box_codes": (B, A, 4)}``, anchors in the order of
        `models.detector.anchors.anchor_boxes`.
    """
    image = keras.Input((spec.input_height, spec.input_width, 3), dtype="uint8", name="image")
    scaled = layers.Rescaling(2 / 255, offset=-1, name="scale_pixels")(image)
    backbone = keras.applications.MobileNetV2(
        input_tensor=scaled, alpha=spec.width_multiplier, include_top=False, weights=None
    )
    features = _features(backbone, spec.levels)
    if spec.neck == "fpnlite":
        features = _fpn_lite(features, spec)
    outputs = {
        CLASS_LOGITS: _answers(features, spec, "class", len(spec.categories)),
        BOX_CODES: _answers(features, spec, "box", 4),
    }
    return keras.Model(image, outputs, name="ssdlite")


def with_embedding(model: keras.Model, spec: DetectorSpec) -> keras.Model:
    """The same network with a third output ``embedding``: ``(B, D)``, for export."""
    deepest = spec.levels[-1]
    name = BACKBONE_FEATURES.get(deepest, f"extra_s{deepest}_project_relu")
    pooled = layers.GlobalAveragePooling2D(name=EMBEDDING)(model.get_layer(name).output)
    return keras.Model(model.inputs[0], {**model.output, EMBEDDING: pooled}, name="ssdlite")


def heads(spec: DetectorSpec, kind: Literal["class", "box"]) -> list[Head]:
    """The heads of one kind, level by level."""
    values = len(spec.categories) if kind == "class" else 4
    return [
        Head(kind, stride, len(sizes), values)
        for stride, sizes in zip(spec.levels, spec.anchors, strict=True)
    ]


def is_backbone(layer: keras.layers.Layer) -> bool:
    """Whether a layer belongs to MobileNetV2 itself."""
    return not layer.name.startswith(NEW_PREFIXES)


def freeze_batch_norm(model: keras.Model, *, also_new: bool = False) -> None:
    """Let the backbone's normalisation keep the statistics it came with.

    A training batch of a few pictures estimates them worse than ImageNet did, and fixed ones make
    a step twice as fast.

    Args:
        model: from `build_network`.
        also_new: freeze the neck's and heads' as well (a short fine-tuning on tiny batches).
    """
    for layer in batch_norms(model):
        layer.trainable = not (is_backbone(layer) or also_new)


def freeze_backbone(model: keras.Model, *, frozen: bool = True) -> None:
    """Stop (or let again) the backbone's convolutions train; normalisation is not touched."""
    for layer in model.layers:
        if is_backbone(layer) and not isinstance(layer, layers.BatchNormalization):
            layer.trainable = not frozen


def batch_norms(model: keras.Model) -> list[layers.BatchNormalization]:
    """Normalisation layers; the moving statistics of the trainable ones differ between ranks."""
    return [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def _features(backbone: keras.Model, levels: Sequence[int]) -> list[Tensor]:
    """One feature map for each level; strides past 32 are grown on the backbone's last map."""
    features = []
    deepest = None
    for stride in (*BACKBONE_FEATURES, *EXTRA_CHANNELS):
        if stride > levels[-1]:
            break
        if stride in BACKBONE_FEATURES:
            deepest = backbone.get_layer(BACKBONE_FEATURES[stride]).output
        else:
            deepest = _extra(deepest, stride)
        if stride in levels:
            features.append(deepest)
    return features


def _extra(below: Tensor, stride: int) -> Tensor:
    """SSDLite's additional level: 1x1 to half the channels, depthwise stride 2, 1x1."""
    name, channels = f"extra_s{stride}", EXTRA_CHANNELS[stride]
    squeezed = _normed(
        layers.Conv2D(channels // 2, 1, use_bias=False, name=f"{name}_squeeze"), below
    )
    halved = _normed(
        layers.DepthwiseConv2D(
            3, strides=2, padding="same", use_bias=False, name=f"{name}_depthwise"
        ),
        squeezed,
    )
    return _normed(layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project"), halved)


def _fpn_lite(features: list[Tensor], spec: DetectorSpec) -> list[Tensor]:
    """Top-down pathway (Lin et al. 2017) with depthwise separable smoothing."""
    coarser = None
    smoothed = []
    for stride, feature in reversed(list(zip(spec.levels, features, strict=True))):
        name = f"neck_s{stride}"
        lateral = layers.Conv2D(spec.neck_channels, 1, use_bias=False, name=f"{name}_lateral")
        merged = _normed(lateral, feature, activate=False)
        if coarser is not None:
            merged = layers.Add(name=f"{name}_add")([merged, _enlarge(coarser, merged, name)])
        coarser = merged
        smoothed.append(_separable(merged, f"{name}_smooth", spec.neck_channels))
    return smoothed[::-1]


def _enlarge(coarse: Tensor, fine: Tensor, name: str) -> Tensor:
    """Repeat cells until a map covers a finer one, and cut what stands over (odd sizes)."""
    factor = round(fine.shape[1] / coarse.shape[1])
    grown = layers.UpSampling2D(factor, interpolation="nearest", name=f"{name}_enlarge")(coarse)
    surplus = (grown.shape[1] - fine.shape[1], grown.shape[2] - fine.shape[2])
    if surplus == (0, 0):
        return grown
    return layers.Cropping2D(((0, surplus[0]), (0, surplus[1])), name=f"{name}_cut")(grown)


def _separable(feature: Tensor, name: str, channels: int) -> Tensor:
    depthwise = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")
    pointwise = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_pointwise")
    return _normed(pointwise, _normed(depthwise, feature))


def _normed(layer: keras.layers.Layer, feature: Tensor, *, activate: bool = True) -> Tensor:
    normed = layers.BatchNormalization(
        momentum=NORM_MOMENTUM, epsilon=NORM_EPSILON, name=f"{layer.name}_norm"
    )(layer(feature))
    return layers.ReLU(6.0, name=f"{layer.name}_relu")(normed) if activate else normed


def _answers(
    features: list[Tensor], spec: DetectorSpec, kind: Literal["class", "box"], values: int
) -> Tensor:
    """One kind of head on every level, joined to ``(B, A, values)``."""
    rows = [
        layers.Reshape((-1, values), name=f"{head.name}_rows")(_head(feature, head))
        for feature, head in zip(features, heads(spec, kind), strict=True)
    ]
    name = CLASS_LOGITS if kind == "class" else BOX_CODES
    # One level has nothing to join; the named layer keeps the output's name all the same.
    return (
        layers.Concatenate(axis=1, name=name)(rows)
        if len(rows) > 1
        else layers.Identity(name=name)(rows[0])
    )


def _head(feature: Tensor, head: Head) -> Tensor:
    depthwise = layers.DepthwiseConv2D(
        3, padding="same", use_bias=False, name=f"{head.name}_depthwise"
    )
    answer = layers.Conv2D(
        head.num_anchors * head.values_per_anchor,
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=keras.initializers.Constant(PRIOR_LOGIT if head.kind == "class" else 0),
        name=f"{head.name}_answer",
    )
    return answer(_normed(depthwise, feature))
