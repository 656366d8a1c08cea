"""Judges pictures that robots send to the server, with the model that the cells run.

Each worker has a runtime of its own. Who comes while the queue is full is sent away at once: a
robot that waits for a late verdict stands still.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import cv2
import numpy as np

from cloud.db.tables import Release
from cloud.errors import (
    BusyError,
    ImageRefusedError,
    InvalidError,
    NotFoundError,
    NothingReleasedError,
    UnavailableError,
)
from cloud.pictures import measure
from cloud.registry import model_ref
from models.contract.bundle import BundleManifest, CategoryKind, ModelRef, read_manifest
from models.contract.inspection_answer import InspectionAnswer, Timings
from models.contract.messages import DetectionRecord, Reason, ReasonCode, Verdict
from models.contract.model import ContractError
from models.contract.recipe import ForbiddenDefect, Recipe, View, read_recipe
from models.detector.boxes import bboxes_of
from models.detector.judgement import LabelMap, judge_view
from models.detector.preprocess import Image

if TYPE_CHECKING:
    from models.detector.detections import Detections
    from models.detector.runtime import DetectorRuntime

LOGGER = logging.getLogger(__name__)
DEFECTS_ONLY = "all-defects"
"""Recipe where none is given: whatever the model knows as a defect rejects."""
RECORDED_SCORE = 0.1
MAX_RECORDED = 100
LOOK_PERIOD_S = 2.0
"""How often the registry is asked for a newer model."""


@dataclass(frozen=True, slots=True)
class InspectionLimits:
    """What the server takes on.

    Attributes:
        workers: Pictures that are judged at once.
        queue: More may wait; the next one is sent away.
        max_pixels: Of a picture.
        timeout_s: From the queue's entrance to the verdict.
    """

    workers: int = 1
    queue: int = 16
    max_pixels: int = 50_000_000
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class PictureOrder:
    """A picture to judge.

    Attributes:
        content: JPEG or PNG.
        part_id: Of the part that it shows.
        recipe_id: Of the server's recipes; None: every defect of the model rejects.
        view: Of the recipe.
    """

    content: bytes
    part_id: str
    recipe_id: str | None = None
    view: str | None = None


@dataclass(frozen=True, slots=True)
class _Served:
    """A release that is loaded."""

    model: ModelRef
    manifest: BundleManifest
    labels: LabelMap
    bundle_dir: Path


class CentralInspection:
    """Serves the released bundle; nothing is loaded before the first picture comes.

    Args:
        current: Gives the release that is to be served.
        recipes_dir: Holds ``*.toml`` recipes; None: there are none.
        limits: What is taken on.
    """

    def __init__(
        self,
        current: Callable[[], Release | None],
        *,
        recipes_dir: Path | None = None,
        limits: InspectionLimits | None = None,
    ) -> None:
        self._current = current
        self._recipes_dir = recipes_dir
        self._limits = limits or InspectionLimits()
        self._lock = threading.Lock()
        self._served: _Served | None = None
        self._looked_at = -LOOK_PERIOD_S
        self._num_waiting = 0
        self._pool: ThreadPoolExecutor | None = None
        self._runtimes = threading.local()

    def stop(self) -> None:
        """Finish what is being judged and take nothing more."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def inspect(self, order: PictureOrder) -> InspectionAnswer:
        """Judge a picture; blocks until the verdict is there.

        Raises:
            BusyError: too many wait.
            InvalidError: it is no picture, or one that is too large.
            NotFoundError: there is no such recipe or view.
            NothingReleasedError: there is no model to judge with.
            UnavailableError: no verdict came in time.
        """
        entered = time.monotonic()
        self._check(order.content)
        recipe, view = self._rules(order)
        future = self._submit(order, recipe, view, entered)
        try:
            return future.result(self._limits.timeout_s)
        except TimeoutError as error:
            future.cancel()
            text = f"no verdict within {self._limits.timeout_s:g} s"
            raise UnavailableError(text) from error

    def _submit(
        self, order: PictureOrder, recipe: Recipe | None, view: View | None, entered: float
    ) -> "Future[InspectionAnswer]":
        served = self._serve()
        with self._lock:
            if self._num_waiting >= self._limits.queue + self._limits.workers:
                raise BusyError(f"{self._num_waiting} pictures are waiting: send it again later")
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._limits.workers, "inspection")
            self._num_waiting += 1
            future = self._pool.submit(self._judge, served, order, (recipe, view), entered)
        future.add_done_callback(self._one_less)
        return future

    def _one_less(self, _future: "Future[InspectionAnswer]") -> None:
        with self._lock:
            self._num_waiting -= 1

    def _check(self, content: bytes) -> None:
        try:
            info = measure(content)
        except ImageRefusedError as error:
            raise InvalidError(str(error)) from error
        if not 0 < info.width_px * info.height_px <= self._limits.max_pixels:
            raise InvalidError(
                f"{info.width_px} x {info.height_px} pixels; {self._limits.max_pixels} are allowed"
            )

    # --- rules -------------------------------------------------------------------------------

    def _rules(self, order: PictureOrder) -> tuple[Recipe | None, View | None]:
        if order.recipe_id is None:
            return None, None
        recipe = self.recipes().get(order.recipe_id)
        if recipe is None:
            raise NotFoundError("recipe", order.recipe_id)
        view = recipe.view(order.view) if order.view else recipe.views[0]
        if view is None:
            raise NotFoundError("view", order.view)
        return recipe, view

    def recipes(self) -> Mapping[str, Recipe]:
        """Recipes of the folder, by recipe_id; read anew each time, since there are few.

        Raises:
            UnavailableError: one of them is broken.
        """
        if self._recipes_dir is None:
            return {}
        found = {}
        for path in sorted(self._recipes_dir.glob("*.toml")):
            try:
                recipe = read_recipe(path)
            except ContractError as error:
                raise UnavailableError(str(error)) from error
            found[recipe.recipe_id] = recipe
        return found

    # --- the model ---------------------------------------------------------------------------

    def _serve(self) -> _Served:
        with self._lock:
            is_due = time.monotonic() - self._looked_at >= LOOK_PERIOD_S
            if self._served is not None and not is_due:
                return self._served
            release = self._current()
            self._looked_at = time.monotonic()
            if release is None:
                self._served = None
                raise NothingReleasedError
            if self._served is None or self._served.model.release != release.release:
                self._served = _served(release)
                LOGGER.info("model is served", extra={"release": release.release})
            return self._served

    def _runtime(self, served: _Served) -> "DetectorRuntime":
        """The runtime of this worker; it has one owner."""
        known: tuple[_Served, DetectorRuntime] | None = getattr(self._runtimes, "loaded", None)
        if known is not None and known[0].bundle_dir == served.bundle_dir:
            return known[1]
        runtime = load_runtime(served.bundle_dir)
        if known is not None:
            known[1].close()
        self._runtimes.loaded = served, runtime
        return runtime

    def _judge(
        self,
        served: _Served,
        order: PictureOrder,
        rules: tuple[Recipe | None, View | None],
        entered: float,
    ) -> InspectionAnswer:
        image = _decode(order.content)
        runtime = self._runtime(served)
        recipe, view = rules
        if recipe is None or view is None:
            recipe = _defects_only(served.manifest, image)
            view = recipe.views[0]
        started = time.monotonic()
        found = runtime.infer(image)
        inferred_ms = (time.monotonic() - started) * 1e3
        if found.is_finite():
            verdict, reasons = judge_view([found], view, recipe, served.labels)
        else:
            fault = Reason(code=ReasonCode.MODEL_FAULT, text="the model answered no numbers")
            verdict, reasons = Verdict.NOT_DECIDABLE, (fault,)
        return InspectionAnswer(
            result_id=uuid4(),
            part_id=order.part_id,
            verdict=verdict,
            reasons=reasons,
            detections=_records(found, runtime.categories) if found.is_finite() else (),
            recipe_id=recipe.recipe_id,
            recipe_version=recipe.version,
            view=view.name,
            model=served.model,
            timings=Timings(
                inference_ms=round(inferred_ms, 3),
                processing_ms=round((time.monotonic() - entered) * 1e3, 3),
            ),
        )


def load_runtime(bundle_dir: Path) -> "DetectorRuntime":
    """Load a bundle with the same runtime as a cell does.

    Raises:
        UnavailableError: OpenVINO is not installed here, or the bundle cannot be run.
    """
    try:
        from models.detector.runtime import DetectorRuntime  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UnavailableError(
            "this server cannot inspect: pip install 'sightline[cloud,inspect]'"
        ) from error
    try:
        return DetectorRuntime.load(bundle_dir)
    except ContractError as error:
        raise UnavailableError(str(error)) from error


def _served(release: Release) -> _Served:
    folder = Path(release.bundle_dir)
    try:
        manifest = read_manifest(folder)
    except ContractError as error:
        raise UnavailableError(str(error)) from error
    labels = LabelMap(manifest.category_names, manifest.thresholds)
    return _Served(model_ref(release), manifest, labels, folder)


def _decode(content: bytes) -> Image:
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InvalidError("the picture is damaged") from error
    if image is None:
        raise InvalidError("the picture is damaged")
    return np.asarray(image, np.uint8)


def _defects_only(manifest: BundleManifest, image: Image) -> Recipe:
    height, width = image.shape[:2]
    defects = tuple(
        ForbiddenDefect(category=category.name)
        for category in manifest.categories
        if category.kind is CategoryKind.DEFECT
    )
    return Recipe(
        recipe_id=DEFECTS_ONLY,
        version=1,
        part_type=manifest.name,
        # Its rules have no zones, so that the size only has to be one that a recipe may have.
        image_width_px=min(20_000, max(16, width)),
        image_height_px=min(20_000, max(16, height)),
        views=(View(forbidden=defects),),
    )


def _records(found: "Detections", categories: tuple[str, ...]) -> tuple[DetectionRecord, ...]:
    kept = found.at_least(RECORDED_SCORE)
    rows = zip(bboxes_of(kept.boxes), kept.scores, kept.class_ids, strict=True)
    return tuple(
        DetectionRecord(
            category=categories[class_id],
            score=round(min(float(score), 1.0), 4),
            bbox=(
                round(float(bbox[0]), 1),
                round(float(bbox[1]), 1),
                round(float(bbox[2]), 1),
                round(float(bbox[3]), 1),
            ),
        )
        for bbox, score, class_id in list(rows)[:MAX_RECORDED]
    )
