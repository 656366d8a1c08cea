"""Makes a candidate of a finished fit: quantizes until INT8 is good enough, and measures.

Everything is judged with the very files, on Spark: INT8, float and the running model on the same
pictures. Thresholds come from validation pictures and are those of the file that ships.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from models.contract.bundle import QuantizationRecord, read_manifest
from models.contract.snapshot import Split
from models.detector.preprocess import Image, resize_to_input
from models.training.accuracy_target import accuracy_target
from models.training.chosen_points import Points, choose_points, validation_rows
from models.training.evaluate import (
    Judgement,
    PictureSet,
    judge_bundles,
    pictures_of,
    snapshot_pictures,
)
from models.training.finished_run import (
    FLOAT_BUNDLE,
    NUM_EXAMPLES,
    NUM_GOLDEN,
    FinishedRun,
    lineage_of,
    load_network,
    spread,
)
from models.training.metrics import Evaluation, evaluate
from models.training.operating_point import Costs
from models.training.quantization_gate import Tried, search
from models.training.quantize import RECIPES, AccuracyTarget, Recipe
from models.training.snapshot_io import IndexRow

CANDIDATE, RUNNING, FLOAT = "candidate", "running", "float"
# Accuracy control measures this many pictures again for every layer that it puts back.
NUM_CONTROL_PICTURES = 48
# Analysis, speed, card and copying, once the search is over.
SEAL_S = 20.0


@dataclass(frozen=True, slots=True)
class CandidateOrder:
    """What the caller wants of a candidate.

    Attributes:
        parallelism: tasks to judge with.
        ends_at: monotonic second by which it should be done; more recipes are tried until then.
        compare: the running bundle, to be judged on the same pictures.
        costs: of mistakes.
        recipes: ways to quantize, in the order in which to try them.
        tell: gets a line about each recipe that did not pass.
    """

    parallelism: int
    ends_at: float
    compare: Path | None = None
    costs: Costs = field(default_factory=Costs)
    recipes: Sequence[Recipe] = RECIPES
    tell: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An exported bundle and everything that was measured of it.

    Attributes:
        facts: a `BundleFacts`, to seal the bundle with.
        judged: by role, on the pictures of ``split``, each at its own operating points.
        split: that was judged on.
        points: of the candidate.
        quantization: INT8 against float, and what ships.
        pictures: that were judged on or chosen by.
        examples: validation pictures to show.
    """

    facts: Any
    judged: Mapping[str, Judgement]
    split: Split
    points: Points
    quantization: QuantizationRecord
    pictures: PictureSet
    examples: tuple[Image, ...]


class CandidateMaker:
    """Exports and measures one run's network."""

    def __init__(
        self,
        session: SparkSession,
        run: FinishedRun,
        bundle_dir: Path,
        index: Sequence[IndexRow],
        order: CandidateOrder,
    ) -> None:
        self._session = session
        self._run = run
        self._state = run.state
        self._bundle_dir = bundle_dir
        self._float_dir = run.run_dir / FLOAT_BUNDLE
        self._order = order
        self._names = tuple(category.name for category in run.state.categories)
        self._train = [row for row in index if row.split is Split.TRAIN]
        self._point_rows = validation_rows(index, run)
        locked = [row for row in index if row.split is Split.LOCKED]
        self._gate_rows = locked or self._point_rows
        self.split = Split.LOCKED if locked else Split.VAL
        self._judged: dict[str, Judgement] = {}
        self._calibration: tuple[Image, ...] = ()

    def make(self) -> Candidate:
        """Export, try recipes, and keep what may ship.

        Raises:
            InputError: the snapshot has no pictures to judge on.
            RunFailedError: the executors could not judge.
        """
        from models.training.export import BundleFacts, choose_golden, export_bundle

        self._facts = BundleFacts(
            name=self._state.name,
            categories=self._state.categories,
            lineage=lineage_of(self._run),
        )
        shown = self._point_rows or self._train
        places = choose_golden([[box[0] for box in row.boxes] for row in shown], NUM_EXAMPLES)
        rows = [shown[place] for place in places]
        fetched = self._fetch(rows)
        examples = tuple(fetched[row.image_id] for row in rows if row.image_id in fetched)
        self._golden = examples[:NUM_GOLDEN]
        export_bundle(
            self._model,
            self._state.spec,
            self._float_dir,
            self._facts,
            thresholds={},
            calibration=(),
            golden=self._golden,
            precision="f32",
            network=self._network,
        )
        found = search(
            self._try,
            seconds_left=self._seconds_left,
            recipes=self._order.recipes,
            tell=self._order.tell,
        )
        record = found.record
        if record.shipped == "int8" and found.chosen is not None:
            points: Points = found.chosen.made
        else:
            shutil.rmtree(self._bundle_dir, ignore_errors=True)
            shutil.copytree(self._float_dir, self._bundle_dir)
            self._judged[CANDIDATE] = self._judged[FLOAT]
            points = self._points(FLOAT)
        precision = self._judged[CANDIDATE].precision_in_force
        return Candidate(
            facts=self._facts,
            judged={role: self._on_gate(role, points) for role in self._judged},
            split=self.split,
            points=points,
            quantization=record.model_copy(update={"precision_in_force": precision}),
            pictures=self._pictures,
            examples=examples,
        )

    @cached_property
    def _model(self) -> Any:  # noqa: ANN401 - keras has no types
        return load_network(self._run)

    @cached_property
    def _network(self) -> Any:  # noqa: ANN401 - openvino has no types
        from models.training.export import to_openvino

        return to_openvino(self._model, self._state.spec)

    @cached_property
    def _pictures(self) -> PictureSet:
        rows = {row.image_id: row for row in [*self._gate_rows, *self._point_rows]}
        return snapshot_pictures(
            self._session,
            self._state.snapshot_url,
            list(rows.values()),
            self._names,
            parallelism=self._order.parallelism,
        )

    def _seconds_left(self) -> float:
        return self._order.ends_at - SEAL_S - time.monotonic()

    def _try(self, recipe: Recipe) -> Tried[Points]:
        from models.training.export import export_bundle

        target = self._target() if recipe.accuracy_control else None
        export_bundle(
            self._model,
            self._state.spec,
            self._bundle_dir,
            self._facts,
            thresholds={},
            calibration=self._calibration_pictures(recipe.num_pictures),
            golden=self._golden,
            network=self._network,
            recipe=recipe,
            target=target,
        )
        bundles = {CANDIDATE: self._bundle_dir}
        if FLOAT not in self._judged:
            bundles[FLOAT] = self._float_dir
            if self._order.compare is not None:
                bundles[RUNNING] = self._order.compare
        self._judged |= judge_bundles(self._pictures, bundles)
        points = self._points(CANDIDATE)
        return Tried(
            points,
            self._at_points(CANDIDATE, points.thresholds),
            self._at_points(FLOAT, points.thresholds),
        )

    def _points(self, role: str) -> Points:
        judged, rows = self._judged[role], self._point_rows
        return choose_points(self._run, judged, rows, self._order.costs)

    def _at_points(self, role: str, thresholds: Mapping[str, float]) -> Evaluation:
        truths, found = self._judged[role].among({row.image_id for row in self._gate_rows})
        bundle_id = self._judged[role].evaluation.bundle_id
        return evaluate(truths, found, self._names, thresholds, bundle_id=bundle_id)

    def _on_gate(self, role: str, points: Points) -> Judgement:
        """A judgement on the gate's pictures alone; the running model keeps its own points."""
        thresholds = points.thresholds
        if role == RUNNING and self._order.compare is not None:
            thresholds = read_manifest(self._order.compare).thresholds
        truths, found = self._judged[role].among({row.image_id for row in self._gate_rows})
        return replace(
            self._judged[role],
            evaluation=self._at_points(role, thresholds),
            found=tuple(found),
            truths=tuple(truths),
        )

    def _calibration_pictures(self, count: int) -> tuple[Image, ...]:
        """Training pictures at the network's input size: originals would fill the memory."""
        rows = spread(self._train, count)
        if len(self._calibration) < len(rows):
            fetched = self._fetch(rows, at_input_size=True)
            self._calibration = tuple(fetched.values())
        return self._calibration[:count]

    def _fetch(self, rows: Sequence[IndexRow], *, at_input_size: bool = False) -> dict[str, Image]:
        url, spec = self._state.snapshot_url, self._state.spec
        pictures = snapshot_pictures(self._session, url, rows, self._names, parallelism=1)
        fetched = pictures_of(
            pictures,
            [row.image_id for row in rows],
            (lambda image: resize_to_input(image, spec)) if at_input_size else None,
        )
        return {row.image_id: fetched[row.image_id] for row in rows if row.image_id in fetched}

    def _target(self) -> AccuracyTarget:
        rows = [row for row in self._gate_rows if row.boxes][:NUM_CONTROL_PICTURES]
        fetched = self._fetch(rows)
        truths = {truth.image_id: truth for truth in self._judged[FLOAT].truths}
        return accuracy_target(
            [(image, truths[image_id]) for image_id, image in fetched.items()],
            self._state.spec,
            self._points(FLOAT).thresholds,
            ends_at=self._order.ends_at - SEAL_S,
        )
