"""What training minimises: focal loss for the classes, Huber loss for the box codes."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from models.training.matching import IGNORED

Tensor = Any
"""A ``tf.Tensor``; TensorFlow ships no usable types."""

# Lin et al. 2017, sec. 5.1.
FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0
HUBER_DELTA = 1.0
MAX_CLASS_WEIGHT = 5.0


def balanced_class_weights(boxes_per_class: Sequence[int]) -> tuple[float, ...]:
    """How much a match of each class counts, so that a rare defect is not drowned by bolts.

    The square root of how much rarer a class is than the most frequent one, at most
    `MAX_CLASS_WEIGHT`.

    Args:
        boxes_per_class: labelled boxes of each class in the training pictures.
    """
    most = max(boxes_per_class, default=0)
    return tuple(min(MAX_CLASS_WEIGHT, math.sqrt(most / max(1, own))) for own in boxes_per_class)


def detection_loss(
    class_logits: Tensor, box_codes: Tensor, class_targets: Tensor, box_targets: Tensor
) -> Tensor:
    """Mean loss over the matches of a batch: a scalar.

    Args:
        class_logits: ``(B, A, C)`` float32.
        box_codes: ``(B, A, 4)`` float32.
        class_targets: ``(B, A)`` int32, as in `models.training.matching.Targets`.
        box_targets: ``(B, A, 4)`` float32.
    """
    total, matches = loss_sums(class_logits, box_codes, class_targets, box_targets)
    return total / tf.maximum(matches, 1.0)


def loss_sums(
    class_logits: Tensor,
    box_codes: Tensor,
    class_targets: Tensor,
    box_targets: Tensor,
    class_weights: Sequence[float] = (),
) -> tuple[Tensor, Tensor]:
    """Loss summed over a batch, and its number of matches: both scalars, float32.

    Sums of ranks add up, so a distributed step divides by the matches of all ranks and gets the
    very gradient that one process with the whole batch would get.

    Args:
        class_logits: ``(B, A, C)`` float32.
        box_codes: ``(B, A, 4)`` float32.
        class_targets: ``(B, A)`` int32.
        box_targets: ``(B, A, 4)`` float32.
        class_weights: how many matches a match of each class counts as; empty: one.
    """
    num_classes = tf.shape(class_logits)[-1]
    # one_hot leaves rows of negative targets (background, ignored) at zero.
    wanted = tf.one_hot(class_targets, num_classes, dtype=tf.float32)
    counted = tf.cast(tf.not_equal(class_targets, IGNORED), tf.float32)[..., None]
    matched = tf.cast(tf.greater_equal(class_targets, 0), tf.float32)
    if class_weights:
        wanted_weights = tf.constant(class_weights, tf.float32)
        matched *= tf.gather(wanted_weights, tf.maximum(class_targets, 0))
        counted *= 1 + wanted * (wanted_weights - 1)
    class_sum = tf.reduce_sum(_focal(class_logits, wanted) * counted)
    box_sum = tf.reduce_sum(_huber(box_codes - box_targets) * matched[..., None])
    return class_sum + box_sum, tf.reduce_sum(matched)


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=wanted, logits=logits)
    score = tf.sigmoid(logits)
    miss = wanted * (1 - score) + (1 - wanted) * score
    weight = wanted * FOCAL_ALPHA + (1 - wanted) * (1 - FOCAL_ALPHA)
    return weight * tf.pow(miss, FOCAL_GAMMA) * entropy


def _huber(error: Tensor) -> Tensor:
    size = tf.abs(error)
    near = tf.minimum(size, HUBER_DELTA)
    return 0.5 * near * near + HUBER_DELTA * (size - near)
