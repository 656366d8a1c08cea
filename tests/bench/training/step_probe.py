"""Samples a second of a few training steps, in a Spark rank or in a loop written by hand.

A program of its own: it limits itself to some cores, which the workers then inherit.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from models.contract.bundle import Category
from models.detector.spec import read_spec
from models.training.fit_settings import FitSettings, RunState
from models.training.training_data import Batch, BatchFeeder, Sample, batch_source

REPOSITORY = Path(__file__).resolve().parents[3]
BUNDLE = REPOSITORY / "models" / "released" / "plate"
SIZE = 320
NUM_SAMPLES = 64
WARM_UP_STEPS = 4
RATE = 1e-3


def run_state(batch: int) -> RunState:
    released = read_spec(BUNDLE)
    spec = released.model_copy(update={"input_width": SIZE, "input_height": SIZE})
    return RunState(
        snapshot_id="0" * 16,
        snapshot_url="",
        init="none",
        name="bench",
        categories=tuple(Category(name=name) for name in spec.categories),
        boxes_per_class=(NUM_SAMPLES,) * len(spec.categories),
        spec=spec,
        settings=FitSettings(batch=batch),
    )


def samples() -> list[Sample]:
    rng = np.random.default_rng(1)
    made = []
    for number in range(NUM_SAMPLES):
        corner = rng.uniform(0, 0.7, (3, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(0.08, 0.25, (3, 2))], axis=1)
        pixels = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        ids = np.arange(3, dtype=np.int64)
        made.append(Sample(f"{number:03}", pixels, boxes.astype(np.float32), ids, (SIZE, SIZE)))
    return made


@contextmanager
def feeding(state: RunState, rank: int, ranks: int) -> Iterator[Iterator[Batch]]:
    source = batch_source(state, samples()[rank::ranks], rank=rank, ranks=ranks)
    with BatchFeeder(source, 0) as feeder:
        yield iter(feeder)


def in_rank(ranks: int, steps: int, batch: int) -> float:
    """Through the product's own barrier, strategy and replica."""
    import pyarrow as pa

    from models.training.barrier import Rank, run_ranks
    from models.training.spark_session import open_session
    from models.training.spark_tasks import deal_rows

    state = run_state(batch)

    def work(rank: Rank, strategy: Any, batches: Iterable[pa.RecordBatch]) -> str:  # noqa: ANN401
        from models.training.replica import Replica

        list(batches)
        replica = Replica(state, strategy, "none", rank.count)
        with feeding(state, rank.number, rank.count) as fed:
            for _ in range(WARM_UP_STEPS):
                float(replica.train_step(next(fed), RATE, RATE))
            started = time.monotonic()
            for _ in range(steps):
                float(replica.train_step(next(fed), RATE, RATE))
            return str(steps * batch / (time.monotonic() - started))

    with open_session(f"local[{ranks}]", min_slots=ranks) as session:
        rows = deal_rows(session, pa.table({"row": list(range(ranks))}), 1, ranks)
        return float(run_ranks(rows, work)[0])


def by_hand(steps: int, batch: int) -> float:
    """The same network and loss as a page of TensorFlow."""
    import keras
    import tensorflow as tf

    from models.training.folding import folded
    from models.training.losses import balanced_class_weights, loss_sums
    from models.training.network import BOX_CODES, CLASS_LOGITS, build_network
    from models.training.replica import MAX_GRADIENT_NORM, freeze

    cores = len(os.sched_getaffinity(0))
    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(max(2, cores))
    state = run_state(batch)
    whole = build_network(state.train_spec)
    freeze(whole, state.settings)
    model = folded(whole)
    optimizer = keras.optimizers.Adam(RATE)
    optimizer.build(model.trainable_variables)
    weights = balanced_class_weights(state.boxes_per_class)

    @tf.function  # type: ignore[untyped-decorator]
    def step(images: Any, classes: Any, codes: Any) -> Any:  # noqa: ANN401
        with tf.GradientTape() as tape:
            answers = model(images, training=True)
            total, matches = loss_sums(
                answers[CLASS_LOGITS], answers[BOX_CODES], classes, codes, weights
            )
            loss = total / tf.maximum(matches, 1.0)
        variables = [variable.value for variable in model.trainable_variables]
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), MAX_GRADIENT_NORM)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    with feeding(state, 0, 1) as fed:
        started = 0.0
        for number in range(WARM_UP_STEPS + steps):
            if number == WARM_UP_STEPS:
                started = time.monotonic()
            made = next(fed)
            float(step(made.images, made.class_targets, made.box_targets))
        return steps * batch / (time.monotonic() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=("rank", "plain"), required=True)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--cores", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    options = parser.parse_args()
    allowed = sorted(os.sched_getaffinity(0))[: options.cores]
    os.sched_setaffinity(0, allowed)
    rate = (
        in_rank(options.ranks, options.steps, options.batch)
        if options.side == "rank"
        else by_hand(options.steps, options.batch)
    )
    sys.stdout.write(json.dumps({"samples_per_s": round(rate, 3), "cores": len(allowed)}) + "\n")


if __name__ == "__main__":
    main()
