"""Anchors: where the network may answer, and which sizes fit a data set's boxes."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.detector.boxes import Boxes
from models.detector.spec import AnchorSize, DetectorSpec

Sizes = npt.NDArray[np.float32]
"""``(N, 2)`` widths and heights in pixels of the network's input."""

# Aspect ratios are width / height. torchvision's AnchorGenerator uses the inverse.
DEFAULT_RATIOS = (1.0, 2.0, 0.5)
DEFAULT_SCALES = (3.0, 4.5)
# A level sees an object best when it is about four of its strides wide (SSD: 0.2 x 300 px at
# stride 16); boxes go to the level nearest to that, on a logarithmic scale.
STRIDES_PER_OBJECT = 4.0
KMEANS_ROUNDS = 50


def anchor_boxes(spec: DetectorSpec) -> Boxes:
    """Every anchor of a spec in the order of the network's outputs.

    Levels in the spec's order; in a level row by row, cell by cell, then the level's sizes. The
    centre lies half a stride inside the cell; nothing is clipped at the border.

    Returns:
        ``(A, 4)`` corners in pixels of the network's input.
    """
    levels = zip(spec.levels, spec.level_shapes, spec.anchors, strict=True)
    return np.concatenate([_level_boxes(*level) for level in levels])


def default_anchors(levels: Sequence[int]) -> tuple[tuple[AnchorSize, ...], ...]:
    """Two sizes in three ratios for each level, for data whose boxes are not known yet."""
    return tuple(
        tuple(
            (stride * scale * math.sqrt(ratio), stride * scale / math.sqrt(ratio))
            for scale in DEFAULT_SCALES
            for ratio in DEFAULT_RATIOS
        )
        for stride in levels
    )


def fit_anchors(
    sizes: Sizes, levels: Sequence[int], *, per_level: int = 6, seed: int = 0
) -> tuple[tuple[AnchorSize, ...], ...]:
    """Choose anchor sizes that suit a data set's boxes.

    Each box is given to the level whose stride suits its size; a level's anchors are the k-means
    centres of its boxes' log widths and heights. A level with too few boxes keeps the default
    sizes, so that what is labelled later still meets an anchor.

    Args:
        sizes: ``(N, 2)`` box widths and heights, scaled to the network's input.
        levels: strides, rising.
        per_level: anchors for each level.
        seed: of the k-means start.
    """
    sizes = np.maximum(np.asarray(sizes, np.float32).reshape(-1, 2), 1.0)
    extent = np.log2(np.sqrt(sizes.prod(axis=1)))
    ideal = np.log2(np.asarray(levels, np.float32) * STRIDES_PER_OBJECT)
    level_of = np.abs(extent[:, None] - ideal[None, :]).argmin(axis=1)
    fallback = default_anchors(levels)
    fitted = []
    for index, default in enumerate(fallback):
        own = np.log(sizes[level_of == index])
        if len(np.unique(own, axis=0)) < per_level:
            fitted.append(default)
            continue
        centers = np.exp(_kmeans(own, per_level, np.random.default_rng(seed)))
        ordered = centers[np.argsort(centers.prod(axis=1))]
        fitted.append(tuple((round(float(w), 1), round(float(h), 1)) for w, h in ordered))
    return tuple(fitted)


def _level_boxes(stride: int, shape: tuple[int, int], sizes: tuple[AnchorSize, ...]) -> Boxes:
    rows, columns = shape
    y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    centers = (np.stack([x, y], axis=-1).reshape(-1, 1, 2) + 0.5) * stride
    half = np.asarray(sizes, np.float32)[None] / 2
    return np.concatenate([centers - half, centers + half], -1).reshape(-1, 4).astype(np.float32)


def _kmeans(points: Sizes, num_centers: int, rng: np.random.Generator) -> Sizes:
    """K-means with the k-means++ start; ``(num_centers, 2)``."""
    centers: Sizes = points[[rng.integers(len(points))]]
    while len(centers) < num_centers:
        gap = ((points[:, None] - centers[None]) ** 2).sum(-1).min(1)
        chosen = rng.choice(len(points), p=gap / gap.sum()) if gap.sum() > 0 else 0
        centers = np.concatenate([centers, points[chosen][None]])
    for _ in range(KMEANS_ROUNDS):
        nearest = ((points[:, None] - centers[None]) ** 2).sum(-1).argmin(1)
        moved = np.stack(
            [
                points[nearest == index].mean(0) if (nearest == index).any() else center
                for index, center in enumerate(centers)
            ]
        )
        if np.allclose(moved, centers):
            break
        centers = moved
    return centers
