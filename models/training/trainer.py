"""What one rank does in a fit: the same code for one rank and for many."""

import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from models.contract.bundle import CategoryKind
from models.contract.snapshot import Split
from models.training.barrier import Rank
from models.training.fit_settings import (
    BEST_NAME,
    CHECKPOINT_FOLDER,
    NONE,
    PLAN_NAME,
    WEIGHTS_NAME,
    Best,
    FitOutcome,
    Plan,
    RunState,
    read_run_file,
    write_run_file,
)
from models.training.metrics import choose_thresholds, evaluate
from models.training.progress import ProgressWriter
from models.training.schedule import (
    MIN_STEPS,
    Milestones,
    StepClock,
    backbone_share,
    learning_rate,
    plan_steps,
    settling_from,
)
from models.training.training_data import (
    BatchFeeder,
    BatchSource,
    Sample,
    batch_source,
    read_samples,
)
from models.training.validation import judge_samples, pack, unpack

KEPT_CHECKPOINTS = 2
# The first steps are slower: TensorFlow traces, caches fill.
FIRST_MEASURED_STEP = 4
MEASURED_STEPS = 10
# The plan is looked at so often over a fit, and made anew if it would miss the end by more than
# this part of what is left.
PLAN_LOOKS = 20
REPLAN_RATIO = 0.05
REPORT_EVERY_S = 1.0
UNPLANNED_STEPS = 2000


@dataclass(frozen=True, slots=True)
class FitOrder:
    """Everything a rank needs to know; travels with the job.

    Attributes:
        state: the run.
        run_dir: on a path that all ranks and the driver share.
        init_files: files of the initial weights by relative path, so that they need no shared path.
        deadline: wall-clock second at which the last step should be done; None: no budget.
        resume: whether checkpoints in ``run_dir`` are of this run.
    """

    state: RunState
    run_dir: str
    init_files: dict[str, bytes]
    deadline: float | None
    resume: bool
    attempt: int = 0


class RankTrainer:
    """Trains a rank's copy of the network in step with the other ranks."""

    def __init__(
        self,
        order: FitOrder,
        rank: Rank,
        strategy: Any,  # noqa: ANN401 - tf has no types
        batches: Iterable[pa.RecordBatch],
    ) -> None:
        from models.training.replica import Replica

        # Reading the rows and building the network take seconds each: side by side.
        reader = ThreadPoolExecutor(1, thread_name_prefix="snapshot-reader")
        self._reading = reader.submit(read_samples, batches, order.state.spec)
        reader.shutdown(wait=False)
        self._order = order
        self._state = order.state
        self._settings = order.state.settings
        self._rank = rank
        self._run_dir = Path(order.run_dir)
        self._started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="sightline-init-") as folder:
            init = unpack_init(order, Path(folder))
            self._replica = Replica(order.state, strategy, init, rank.count)
        self._progress = ProgressWriter(self._run_dir, enabled=rank.is_chief)
        self._best_map50 = -1.0
        self._thresholds: dict[str, float] = {}
        self._map50: float | None = None
        self._clock = StepClock()
        self._milestones = Milestones(order.state.settings.validations)
        self._judge_s = 0.0
        # Heads that come from a bundle know their trade from the first step.
        self._is_new_head = order.state.parent_bundle_id is None and order.state.init != NONE

    def run(self) -> FitOutcome:
        """Train to the end.

        Raises:
            ValueError: a rank got no picture, or the ranks drifted apart.
        """
        samples = self._reading.result()
        self._check(samples)
        self._restore()
        source = self._source(samples[Split.TRAIN])
        with BatchFeeder(source, self._replica.step) as feeder:
            self._train(source, iter(feeder), samples[Split.VAL])
        self._check_agreement()
        done = self._replica.step
        return FitOutcome(
            steps=done,
            samples=done * self._settings.batch,
            seconds=round(time.monotonic() - self._started, 1),
            workers=self._rank.count,
            map50=self._map50,
            thresholds=self._thresholds,
        )

    def _check(self, samples: dict[Split, list[Sample]]) -> None:
        counts = [int(text) for text in self._rank.gather(str(len(samples[Split.TRAIN])))]
        if min(counts) == 0:
            raise ValueError(f"{sum(counts)} training pictures are too few for {len(counts)} ranks")

    def _check_agreement(self) -> None:
        # A fault in the network between ranks would otherwise show only as a bad model.
        if len(set(self._rank.gather(self._replica.digest()))) > 1:
            raise ValueError("the workers ended with different weights; the run is worthless")

    def _source(self, samples: list[Sample]) -> BatchSource:
        return batch_source(self._state, samples, rank=self._rank.number, ranks=self._rank.count)

    def _restore(self) -> None:
        """Go on from the newest checkpoint; the chief says which, so that all take the same."""
        self._replica.open_checkpoints(self._run_dir / CHECKPOINT_FOLDER, KEPT_CHECKPOINTS)
        newest = self._replica.newest_checkpoint() if self._order.resume else ""
        newest = self._rank.agree(newest)
        if newest:
            self._replica.restore(newest)
            self._remember_best()
            self._progress.write(step=self._replica.step, resumed=True)

    def _remember_best(self) -> None:
        best = read_run_file(self._run_dir, BEST_NAME, Best)
        if best is not None and (self._run_dir / WEIGHTS_NAME).is_file():
            self._best_map50 = best.map50 or 0.0
            self._map50, self._thresholds = best.map50, best.thresholds

    def _train(
        self,
        source: BatchSource,
        batches: Any,  # noqa: ANN401 - an iterator
        validation: list[Sample],
    ) -> None:
        steps = self._known_steps()
        first = self._replica.step
        if steps is not None:
            self._milestones.start_at(first, steps)
        saved_at = time.monotonic()
        while steps is None or self._replica.step < steps:
            if steps is not None:
                source.settling_from = settling_from(steps, self._settings.settling_share)
            # Until there is a plan the rate rises as in a long fit: slowly.
            planned = steps or UNPLANNED_STEPS
            rate = learning_rate(self._replica.step, planned, self._settings.learning_rate)
            share = backbone_share(self._replica.step, planned) if self._is_new_head else 1.0
            backbone_rate = rate * self._settings.backbone_rate_ratio * share
            started = time.monotonic()
            loss = float(self._replica.train_step(next(batches), rate, backbone_rate))
            done = self._replica.step
            if done - first > FIRST_MEASURED_STEP:
                self._clock.add(time.monotonic() - started)
            if steps is None and done - first == FIRST_MEASURED_STEP + MEASURED_STEPS:
                steps = self._agree_on_steps()
            self._report(done, steps, loss)
            if steps is not None and self._milestones.is_due(done, steps):
                self._judge(done, steps, validation)
            if steps is not None and done % max(MIN_STEPS, steps // PLAN_LOOKS) == 0:
                steps = self._planned_again(done, steps)
            if time.monotonic() - saved_at > self._settings.checkpoint_every_s:
                self._save_checkpoint()
                saved_at = time.monotonic()

    def _known_steps(self) -> int | None:
        plan = read_run_file(self._run_dir, PLAN_NAME, Plan) if self._order.resume else None
        wanted = plan.steps if plan else self._settings.steps
        agreed = int(self._rank.agree(str(wanted or 0)))
        return agreed or None

    def _agree_on_steps(self) -> int:
        left = (self._order.deadline or time.time()) - time.time()
        steps = int(self._rank.agree(str(plan_steps(self._replica.step, self._clock.step_s, left))))
        if self._rank.is_chief:
            write_run_file(self._run_dir, PLAN_NAME, Plan(steps=steps))
        return steps

    def _planned_again(self, done: int, steps: int) -> int:
        """The plan, or another one where the machine has become slower or faster since."""
        if self._order.deadline is None or self._settings.steps or done >= steps:
            return steps
        looks = self._milestones.left(done, steps) * self._judge_s
        left = self._order.deadline - time.time() - looks
        possible = max(done + 1, plan_steps(done, self._clock.step_s, left))
        is_off = abs(possible - steps) > (steps - done) * REPLAN_RATIO
        agreed = int(self._rank.agree(str(possible if is_off else steps)))
        if agreed != steps and self._rank.is_chief:
            write_run_file(self._run_dir, PLAN_NAME, Plan(steps=agreed))
        return agreed

    def _judge(self, done: int, steps: int, validation: list[Sample]) -> None:
        started = time.monotonic()
        self._replica.prepare_judgement()
        limit = -(-self._settings.max_validation_pictures // self._rank.count)
        answers = judge_samples(self._replica.predict, validation[:limit], self._state.spec)
        truths, found = unpack(self._rank.gather(pack(answers)))
        if self._rank.is_chief:
            self._keep_if_best(truths, found)
            self._progress.write(step=done, steps=steps, map50=self._map50)
        self._judge_s = time.monotonic() - started

    def _keep_if_best(self, truths: Any, found: Any) -> None:  # noqa: ANN401
        names = self._state.spec.categories
        score = evaluate(truths, found, names, {}).map50 if truths else None
        # Without validation pictures, and among equals, the later weights are the better guess.
        if (score or 0.0) >= self._best_map50:
            self._best_map50 = score or 0.0
            self._map50 = score
            defects = {
                category.name
                for category in self._state.categories
                if category.kind is CategoryKind.DEFECT
            }
            self._thresholds = (
                choose_thresholds(truths, found, names, defects=defects) if truths else {}
            )
            self._replica.save_weights(self._run_dir / WEIGHTS_NAME)
            write_run_file(self._run_dir, BEST_NAME, Best(map50=score, thresholds=self._thresholds))

    def _save_checkpoint(self) -> None:
        if self._rank.is_chief:
            self._replica.save_checkpoint()

    def _report(self, done: int, steps: int | None, loss: float) -> None:
        if not self._progress.is_due(REPORT_EVERY_S):
            return
        step_s = self._clock.step_s
        left = round(step_s * (steps - done)) if steps and step_s else None
        self._progress.write(
            step=done,
            steps=steps,
            loss=round(loss, 4),
            rate=round(self._settings.batch / step_s, 1) if step_s else None,
            seconds_left=left,
        )


def unpack_init(order: FitOrder, folder: Path) -> str:
    """Lay the initial weights' files down on this machine; what to give to the loader."""
    if not order.init_files:
        return order.state.init
    for name, data in order.init_files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    names = list(order.init_files)
    return str(folder / names[0]) if len(names) == 1 else str(folder)
