"""What training minimises: focal loss for the classes, Huber loss for the box codes."""

from typing import Any

import tensorflow as tf

from models.training.matching import IGNORED

Tensor = Any
"""A ``tf.Tensor``; TensorFlow ships no usable types."""

# Lin et al. 2017, sec. 5.1.
FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0
HUBER_DELTA = 1.0


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
    class_logits: Tensor, box_codes: Tensor, class_targets: Tensor, box_targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Loss summed over a batch, and its number of matches: both scalars, float32.

    Sums of ranks add up, so a distributed step divides by the matches of all ranks and gets the
    very gradient that one process with the whole batch would get.
    """
    num_classes = tf.shape(class_logits)[-1]
    # one_hot leaves rows of negative targets (background, ignored) at zero.
    wanted = tf.one_hot(class_targets, num_classes, dtype=tf.float32)
    counted = tf.cast(tf.not_equal(class_targets, IGNORED), tf.float32)[..., None]
    matched = tf.cast(tf.greater_equal(class_targets, 0), tf.float32)
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
