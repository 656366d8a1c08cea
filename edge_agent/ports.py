"""What the inspection needs from the world, as Protocols; adapters and simulators implement them.

Who calls what, from which thread:

- ``vision`` thread: `Camera`, `Detector`. Nobody else touches them.
- ``inspection`` thread: `PlcLink`, and everything in `edge_agent.station`.
- ``recorder`` thread: `HardExampleMiner`, `RecentCycles`, `Outbox` appends, `CycleObserver`.
- the updater's thread: `ModelHost.swap`.

What others ask of the inspection stands in `edge_agent.inspection_ports`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol
from uuid import UUID

import numpy as np
import numpy.typing as npt

from models.contract.bundle import BundleManifest, ModelRef
from models.contract.messages import (
    HardReason,
    Inspection,
    Message,
    Reason,
    ResultState,
    StationEvent,
    Truth,
    Verdict,
)
from models.contract.recipe import Recipe, View
from models.contract.topics import Channel
from models.detector.detections import Detections

Image = npt.NDArray[np.uint8]
"""``(H, W, 3)`` in OpenCV's BGR order."""
RecordBody = Inspection | Truth | StationEvent


# --- time ------------------------------------------------------------------------------------


class Clock(Protocol):
    """Time, injected so that tests need not wait."""

    def monotonic_ns(self) -> int:
        """For durations and deadlines: never steps."""
        ...

    def now(self) -> datetime:
        """For records: aware, UTC."""
        ...


# --- camera and model ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of the part. Nobody may write into ``image``: others look at it too."""

    image: Image
    frame_id: int
    """Counts up with each frame of this camera since it was opened."""
    captured_at: datetime
    source: str = ""
    """Where it came from: a file name, a device."""
    is_simulated: bool = False


class Camera(Protocol):
    """A triggered area-scan camera, used by one thread."""

    @property
    def camera_id(self) -> str:
        """Name for messages."""
        ...

    def open(self) -> None:
        """Make ready to grab; also after a fault.

        Raises:
            CameraFault: the device is not there or does not answer.
        """
        ...

    def configure(self, features: Mapping[str, float | int | str | bool]) -> None:
        """Bring the camera to these settings, by GenICam SFNC name, before the next grab.

        What an earlier call set and this one does not name goes back to what it was at opening.

        Raises:
            FeatureRefusedError: the device does not know one, or does not take its value.
            CameraFault: the device is gone.
        """
        ...

    def grab(self, timeout_s: float, *, part_id: str | None = None) -> Frame:
        """Trigger one exposure and wait for it.

        Args:
            timeout_s: longest wait.
            part_id: the part that stands there. A camera that can tell parts apart (a folder of
                named pictures) must not answer with another part's picture; others ignore it.

        Raises:
            GrabTimeoutError: no frame arrived within ``timeout_s``.
            BrokenFrameError: what arrived is not a picture.
            CameraFault: the device is gone and must be opened again.
        """
        ...

    def probe(self) -> None:
        """Look whether the device is still there, without a picture; called while nothing happens.

        Raises:
            CameraFault: it is gone, or delivers no more.
        """
        ...

    def close(self) -> None:
        """Let go of the device; may be called twice."""
        ...


class Detector(Protocol):
    """A loaded model, used by one thread (`models.detector.runtime.DetectorRuntime` is one)."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Names in class-id order."""
        ...

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Lowest score that counts, by category."""
        ...

    def infer(self, image: Image) -> Detections:
        """Find objects and defects.

        Raises:
            ModelFault: the model is unusable.
        """
        ...

    def close(self) -> None:
        """Free the model; may be called twice."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model that is ready to judge parts, and what it is."""

    ref: ModelRef
    manifest: BundleManifest
    detector: Detector
    bundle_dir: Path


class ModelHost(Protocol):
    """Whoever runs the model: the inspection."""

    @property
    def active(self) -> LoadedModel | None:
        """The model that judges parts now."""
        ...

    def swap(self, model: LoadedModel, *, timeout_s: float) -> LoadedModel | None:
        """Let ``model`` judge from the next part on; blocks until it does.

        Called from any thread but the inspection's. The change is made between two cycles.

        Returns:
            The model that ran before, which no cycle uses any more: the caller closes it.

        Raises:
            SwapError: the running recipe needs a category that the model does not know, or no
                pause between cycles came within ``timeout_s``; the old model goes on.
        """
        ...


# --- one finished cycle ----------------------------------------------------------------------


class CycleTimings(NamedTuple):
    """Where the time of one cycle went, milliseconds of the monotonic clock."""

    grab_ms: float = 0.0
    inference_ms: float = 0.0
    judgement_ms: float = 0.0
    processing_ms: float = 0.0
    """From the trigger's arrival to the verdict's publish."""


@dataclass(frozen=True, slots=True, eq=False)
class CycleOutcome:
    """All there is to know about one inspected view, handed on after the verdict is out."""

    result_id: UUID
    job_id: UUID
    trigger_id: str
    part_id: str
    recipe: Recipe
    view: View
    verdict: Verdict
    """Of this view alone."""
    reasons: tuple[Reason, ...]
    decided_at: datetime
    model: ModelRef | None = None
    categories: tuple[str, ...] = ()
    """Label map of the model that judged: names of ``detections.class_ids``."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    frame: Frame | None = None
    """The picture that was judged; None when there was none."""
    detections: Detections | None = None
    """Every box above the detector's floor, also those too weak to count; None: not inferred."""
    is_partial: bool = False
    part_verdict: Verdict | None = None
    """Of the whole part, once its last view is in; equal to ``verdict`` with a single view."""
    part_reasons: tuple[Reason, ...] = ()
    result_state: ResultState = ResultState.COMPLETED
    timings: CycleTimings = field(default_factory=CycleTimings)


# --- PLC -------------------------------------------------------------------------------------


class PlcLink(Protocol):
    """The way to the PLC; whatever it says arrives in the inspection's mailbox."""

    @property
    def is_connected(self) -> bool:
        """Whether the cell's broker is reachable now."""
        ...

    def send(self, channel: Channel, message: Message, *, expiry_s: int | None = None) -> None:
        """Publish at QoS 1 without waiting; ``state`` is retained, nothing else is.

        Never raises for a lost connection: what the PLC does not acknowledge is sent again.
        """
        ...


# --- recording and learning ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An encoded picture on its way to the cloud."""

    data: bytes
    sha256: str
    width_px: int
    height_px: int
    result_id: UUID
    part_id: str
    view: str
    created_at: datetime
    hard_reasons: tuple[HardReason, ...]
    content_type: str = "image/jpeg"


class Outbox(Protocol):
    """Where records and pictures wait until the cloud has acknowledged them."""

    def append_record(self, body: RecordBody, *, created_at: datetime) -> int:
        """Store a record; when this returns it survives the death of the process.

        Returns:
            Its sequence number in the records stream of this boot.

        Raises:
            StorageError: the disk does not take it; the caller tries again, it is never dropped.
        """
        ...

    def append_records(self, records: Sequence[tuple[RecordBody, datetime]]) -> None:
        """Store several in one commit: all of them, or none.

        Raises:
            StorageError: the disk does not take them; the caller tries again.
        """
        ...

    def append_image(self, picture: Picture) -> int | None:
        """Store a picture, or leave it out and count it when the images stream is full.

        Returns:
            Its sequence number in the images stream, or None when it was left out.

        Raises:
            StorageError: the disk does not take it; the caller drops and counts it.
        """
        ...

    def contains_result(self, result_id: UUID) -> bool:
        """Whether an inspection record of that result waits here (asked once, at start)."""
        ...

    def num_records(self) -> int:
        """Records that wait."""
        ...

    def num_images(self) -> int:
        """Pictures that wait."""
        ...


class HardExampleMiner(Protocol):
    """Chooses the pictures that are worth a person's look."""

    def choose(self, cycle: CycleOutcome) -> tuple[HardReason, ...]:
        """Reasons to keep this picture, strongest first; empty: keep only the record.

        Called for each cycle that has a frame, after its verdict; may take milliseconds.
        """
        ...

    def admit(self, reason: HardReason) -> bool:
        """Whether the quota of a reason that others found (a contradiction) lets one more by."""
        ...


class RecentCycles(Protocol):
    """The last cycles with their pictures, for when somebody contradicts a verdict."""

    def add(self, cycle: CycleOutcome) -> None:
        """Remember a cycle, forgetting the oldest."""
        ...

    def find(self, part_id: str) -> tuple[CycleOutcome, ...]:
        """What is remembered of a part, newest first."""
        ...


class CycleObserver(Protocol):
    """Somebody who looks at each cycle after its verdict: shadow runs, canary watch, pages."""

    def observe(self, cycle: CycleOutcome) -> None:
        """Called on the recorder's thread, in order; must return within a millisecond."""
        ...
