"""A rank's copy of the network under ``tf.distribute``: step, checkpoint, restore.

Keras's own ``fit`` fails under `MultiWorkerMirroredStrategy`, so the loop is ours; the optimizer
still sums the gradients of all ranks.
"""

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.detector.spec import DetectorSpec
from models.training.fit_settings import FitSettings, RunState
from models.training.folding import copy_unfolded, folded
from models.training.initial_weights import load_initial_weights
from models.training.losses import balanced_class_weights, loss_sums
from models.training.network import (
    BOX_CODES,
    CLASS_LOGITS,
    batch_norms,
    build_network,
    freeze_batch_norm,
    is_backbone,
)
from models.training.training_data import Batch

Tensor = Any
# A single odd batch (a box at the border, a broken label) must not throw the weights away.
MAX_GRADIENT_NORM = 10.0


class Replica:
    """Network, optimizers and step counter of one rank."""

    def __init__(self, state: RunState, strategy: Any, init: str, num_ranks: int) -> None:  # noqa: ANN401 - tf has no types
        keras.utils.set_random_seed(state.settings.seed)
        self._strategy = strategy
        self._num_ranks = num_ranks
        spec = state.train_spec
        with strategy.scope():
            whole = build_network(spec)
            load_initial_weights(whole, spec, init)
            freeze(whole, state.settings)
            self._model = folded(whole)
            self._groups = _groups(self._model, state.settings)
        # The network as the cell will run it: at the whole picture's size, with its norms.
        self._judged = build_network(state.spec)
        self._class_weights = (
            balanced_class_weights(state.boxes_per_class) if state.settings.balance_classes else ()
        )
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._train_step = self._traced_step(spec, state.settings.batch // num_ranks)
        self._predict = tf.function(self._forward, reduce_retracing=True)
        self._mean_over_ranks = tf.function(self._reduced)

    @property
    def step(self) -> int:
        """Steps done since the start of the fit."""
        return int(self._step.numpy())

    def train_step(self, batch: Batch, rate: float, backbone_rate: float) -> Tensor:
        """One step of all ranks together; the loss over all their pictures."""
        for optimizer, _, is_new in self._groups:
            optimizer.learning_rate.assign(rate if is_new else backbone_rate)
        loss = self._train_step(batch.images, batch.class_targets, batch.box_targets)
        self._step.assign_add(1)
        return loss

    def prepare_judgement(self) -> None:
        """Let `predict` and `save_weights` use the weights as they are now."""
        self._agree_on_norms()
        copy_unfolded(self._model, self._judged)

    def predict(self, images: np.ndarray[Any, Any]) -> tuple[Tensor, Tensor]:
        """Class logits and box codes of ``(B, H, W, 3)`` uint8 pictures, on this rank alone.

        Pictures have the size of the input; the weights are those of `prepare_judgement`.
        """
        logits, codes = self._predict(tf.constant(images))
        return logits, codes

    def _agree_on_norms(self) -> None:
        """Give every rank the mean of the moving statistics, which each kept for itself."""
        moving = [
            variable.value
            for layer in batch_norms(self._model)
            if layer.trainable
            for variable in (layer.moving_mean, layer.moving_variance)
        ]
        if self._num_ranks == 1 or not moving:
            return
        means = self._mean_over_ranks([tf.identity(variable) for variable in moving])
        for variable, mean in zip(moving, means, strict=True):
            variable.assign(mean)

    def open_checkpoints(self, folder: Path, kept: int) -> None:
        """Name where checkpoints are."""
        optimizers = {f"optimizer_{place}": group[0] for place, group in enumerate(self._groups)}
        checkpoint = tf.train.Checkpoint(model=self._model, step=self._step, **optimizers)
        self._checkpoint = checkpoint
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=kept)

    def newest_checkpoint(self) -> str:
        """Path of the newest finished checkpoint; empty where there is none."""
        return self._manager.latest_checkpoint or ""

    def restore(self, path: str) -> None:
        """Take over weights, optimizer state and step counter."""
        self._checkpoint.restore(path).assert_existing_objects_matched()

    def save_checkpoint(self) -> None:
        """Write a checkpoint; for the chief alone."""
        self._manager.save(checkpoint_number=self.step)

    def save_weights(self, path: Path) -> None:
        """Write the weights of `prepare_judgement`, whole or not at all; for the chief alone."""
        partial = path.with_name(f"part.{path.name}")
        self._judged.save_weights(partial)
        partial.replace(path)

    def digest(self) -> str:
        """Hash over all weights: ranks that trained together have the same."""
        digest = hashlib.sha256()
        for weight in self._model.get_weights():
            digest.update(weight.tobytes())
        return digest.hexdigest()

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        answers = self._judged(images, training=False)
        return answers[CLASS_LOGITS], answers[BOX_CODES]

    def _reduced(self, values: list[Tensor]) -> list[Tensor]:
        reduced: list[Tensor] = self._strategy.run(_mean, args=(values,))
        return reduced

    def _traced_step(self, spec: DetectorSpec, batch: int) -> Any:  # noqa: ANN401 - a tf.function
        def step(images: Tensor, classes: Tensor, codes: Tensor) -> Tensor:
            losses = self._strategy.run(self._replica_step, args=(images, classes, codes))
            return self._strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

        anchors = spec.num_anchors
        return tf.function(
            step,
            input_signature=[
                tf.TensorSpec((batch, spec.input_height, spec.input_width, 3), tf.uint8),
                tf.TensorSpec((batch, anchors), tf.int32),
                tf.TensorSpec((batch, anchors, 4), tf.float32),
            ],
        )

    def _replica_step(self, images: Tensor, classes: Tensor, codes: Tensor) -> Tensor:
        variables = [variable for _, own, _ in self._groups for variable in own]
        with tf.GradientTape() as tape:
            answers = self._model(images, training=True)
            total, matches = loss_sums(
                answers[CLASS_LOGITS], answers[BOX_CODES], classes, codes, self._class_weights
            )
            # Divided by the matches of all ranks: the summed gradient is that of one process.
            everywhere = tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.SUM, matches
            )
            loss = total / tf.maximum(everywhere, 1.0)
        gradients, _ = tf.clip_by_global_norm(
            tape.gradient(loss, [variable.value for variable in variables]), MAX_GRADIENT_NORM
        )
        place = 0
        for optimizer, own, _ in self._groups:
            pairs = zip(gradients[place : place + len(own)], own, strict=True)
            optimizer.apply_gradients(pairs)
            place += len(own)
        return loss


def freeze(model: keras.Model, settings: FitSettings) -> None:
    """Stop the layers that the settings leave as they are."""
    if not settings.train_backbone_norms:
        freeze_batch_norm(model, also_new=settings.freeze_norms)
    if not settings.frozen_below:
        return
    for layer in model.layers:
        if layer.name.startswith(settings.frozen_below):
            return
        if is_backbone(layer):
            layer.trainable = False


def _groups(model: keras.Model, settings: FitSettings) -> list[tuple[Any, list[Any], bool]]:
    """Optimizer and variables of the backbone, and of what is new on it (true)."""
    backbone: list[Any] = []
    new: list[Any] = []
    for layer in model.layers:
        own = backbone if is_backbone(layer) else new
        own += layer.trainable_variables
    groups = []
    for variables, is_new in ((backbone, False), (new, True)):
        if variables and (is_new or settings.backbone_rate_ratio > 0):
            optimizer = keras.optimizers.Adam(settings.learning_rate)
            optimizer.build(variables)
            groups.append((optimizer, variables, is_new))
    return groups


def _mean(values: list[Tensor]) -> list[Tensor]:
    context = tf.distribute.get_replica_context()
    # Arguments of a traced function have no device, and all_reduce asks each value for its own.
    placed = [tf.identity(value) for value in values]
    reduced: list[Tensor] = context.all_reduce(tf.distribute.ReduceOp.MEAN, placed)
    return reduced
