"""A GenICam camera, whoever's library drives it: features, triggers, and which frame counts."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol

from edge_agent.camera_features import (
    SOFTWARE_TRIGGER,
    TRIGGER_MODE,
    TRIGGER_SOURCE,
    FeatureDevice,
    FeatureKeeper,
    Features,
    FeatureValue,
)
from edge_agent.clock import NS_PER_S
from edge_agent.errors import BrokenFrameError, CameraFault, FeatureRefusedError, GrabTimeoutError
from edge_agent.ports import Frame, Image

TRIGGER_FEATURES = {*SOFTWARE_TRIGGER, "TriggerActivation"}
MAX_TRIES = 3
"""Exposures for one picture while frames arrive torn and time is left."""
NUM_SETTLING = 1
"""Frames of a camera that runs freely which were on their way when a feature was changed."""


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """What came from the camera for one exposure."""

    arrived_ns: int
    """Monotonic."""
    image: Image | None = None
    """None where the frame is torn."""
    cause: str = ""
    """What is wrong with it."""


class TriggeredDevice(FeatureDevice, Protocol):
    """What a library must offer; every call but `close` may raise `CameraFault`."""

    def open(self) -> None:
        """Find the camera and take control of it; no acquisition yet."""
        ...

    def start(self) -> None:
        """Start the acquisition, if it does not run."""
        ...

    def stop(self) -> None:
        """End the acquisition; frames that are on their way are lost."""
        ...

    def fire(self) -> None:
        """Execute TriggerSoftware."""
        ...

    def next_shot(self, timeout_s: float) -> Shot | None:
        """The oldest frame that waits or comes in time."""
        ...

    def discard(self) -> None:
        """Throw away the frames that wait."""
        ...

    def check(self) -> None:
        """Look whether the camera is still there."""
        ...

    def close(self) -> None:
        """Let go; may be called twice."""
        ...


class GenicamCamera:
    """Implements `Camera` on a device.

    Triggered by software, each grab is one exposure. Triggered by a line (``TriggerSource`` other
    than Software), a grab takes the newest frame that came after the request or ``lead_s`` before
    it: the wire is as fast as the message. With ``TriggerMode = "Off"`` it takes the first frame
    from now on.

    Args:
        device: the camera in its library.
        features: that hold for every picture.
        lead_s: how much earlier than its request a frame of a hardware trigger may arrive.
    """

    def __init__(
        self, device: TriggeredDevice, *, features: Features | None = None, lead_s: float = 0.1
    ) -> None:
        self._device = device
        self._wanted = dict(features or {})
        self._keeper = FeatureKeeper()
        self._lead_ns = int(lead_s * NS_PER_S)
        self._is_open = False
        self._early: Shot | None = None
        self._is_owed = False
        self._num_unsettled = 0
        self._frame_ids = count(1)

    @property
    def camera_id(self) -> str:
        """Name for messages."""
        return self._device.camera_id

    def open(self) -> None:
        """Take control of the camera, set it up and start it.

        Raises:
            CameraFault: it is not there, or does not take the settings' features.
        """
        self.close()
        self._device.open()
        try:
            self._keeper = FeatureKeeper({**self._trigger_by_default(), **self._wanted})
            self._keeper.bring(self._device, {})
            self._device.start()
        except CameraFault:
            self._device.close()
            raise
        self._is_open, self._is_owed = True, False

    def configure(self, features: Mapping[str, FeatureValue]) -> None:
        """Set what this view wants, and put back what the one before had set.

        Raises:
            FeatureRefusedError: the camera does not take one.
            CameraFault: the camera is gone.
        """
        changes = self._keeper.changes(features)
        if self._is_open and not changes:
            return
        with self._in_use():
            if changes & TRIGGER_FEATURES:  # no frame may come while a trigger is half set
                self._device.stop()
            try:
                self._keeper.bring(self._device, features)
            finally:
                self._device.start()
        self._early, self._num_unsettled = None, NUM_SETTLING

    def grab(self, timeout_s: float, *, part_id: str | None = None) -> Frame:  # noqa: ARG002
        """Take one picture.

        Raises:
            GrabTimeoutError: no frame came in time.
            BrokenFrameError: packets of it were lost.
            CameraFault: the camera is gone.
        """
        end_ns = time.monotonic_ns() + int(timeout_s * NS_PER_S)
        with self._in_use():
            shot = self._expose(end_ns) if self._is_fired else self._wait(end_ns)
        if shot is None:
            raise GrabTimeoutError(self.camera_id, timeout_s)
        if shot.image is None:
            raise BrokenFrameError(self.camera_id, shot.cause)
        age = timedelta(microseconds=(time.monotonic_ns() - shot.arrived_ns) / 1000)
        return Frame(shot.image, next(self._frame_ids), datetime.now(UTC) - age, self.camera_id)

    def probe(self) -> None:
        """Look whether the camera is still there; old frames make room for new ones.

        Raises:
            CameraFault: it is not.
        """
        with self._in_use():
            self._device.check()
            if self._is_hardware:
                self._early = self._newest_waiting(time.monotonic_ns() - self._lead_ns)

    def close(self) -> None:
        """Let go of the camera; if it is still there, its features go back to what they were."""
        if self._is_open:
            with suppress(CameraFault):
                self._keeper.release(self._device)
        self._is_open = False
        self._early = None
        self._device.close()

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Remember that the camera is lost: closing it must not wait for its answers."""
        if not self._is_open:
            raise CameraFault(self.camera_id, "is not open")
        try:
            yield
        except FeatureRefusedError:
            raise
        except CameraFault:
            self._is_open = False
            raise

    # --- triggers ----------------------------------------------------------------------------

    def _trigger_by_default(self) -> Features:
        """Triggered by software, unless the settings name a mode or the camera has none."""
        if TRIGGER_MODE in self._wanted or self._device.feature_info(TRIGGER_MODE) is None:
            return {}
        source = self._wanted.get(TRIGGER_SOURCE, SOFTWARE_TRIGGER[TRIGGER_SOURCE])
        wanted = {**SOFTWARE_TRIGGER, TRIGGER_SOURCE: source}
        return {name: value for name, value in wanted.items() if self._has(name, value)}

    def _has(self, name: str, value: FeatureValue) -> bool:
        info = self._device.feature_info(name)
        return info is not None and (name == TRIGGER_SOURCE or value in info.choices)

    @property
    def _is_triggered(self) -> bool:
        return self._keeper.current.get(TRIGGER_MODE, "Off") == "On"

    @property
    def _is_fired(self) -> bool:
        return self._is_triggered and self._keeper.current.get(TRIGGER_SOURCE) == "Software"

    @property
    def _is_hardware(self) -> bool:
        return self._is_triggered and not self._is_fired

    def _expose(self, end_ns: int) -> Shot | None:
        """Fire; a torn frame is taken once more while the part still stands there."""
        if self._is_owed:  # the frame of a trigger before may still come: it shows another part
            self._device.stop()
            self._device.start()
        shot, self._is_owed = None, False
        for _ in range(MAX_TRIES):
            before_ns = time.monotonic_ns()
            self._device.discard()
            self._device.fire()
            shot = self._device.next_shot(_left_s(end_ns))
            now_ns = time.monotonic_ns()
            if shot is None or shot.image is not None or now_ns + (now_ns - before_ns) > end_ns:
                break
        self._is_owed = shot is None
        return shot

    def _wait(self, end_ns: int) -> Shot | None:
        """The frame of a line's trigger, or the next one of a camera that runs freely."""
        asked_ns = time.monotonic_ns()
        if not self._is_hardware:
            self._device.discard()
            for _ in range(self._num_unsettled):
                self._device.next_shot(_left_s(end_ns))
            self._num_unsettled = 0
            return self._device.next_shot(_left_s(end_ns))
        oldest_ns = asked_ns - self._lead_ns
        while (newest := self._newest_waiting(oldest_ns)) is None:
            self._early = self._device.next_shot(_left_s(end_ns))
            if self._early is None:
                return None
        self._early = None
        return newest

    def _newest_waiting(self, oldest_ns: int) -> Shot | None:
        """The last of the frames that wait, if it came late enough; the others are dropped."""
        newest = self._early
        while (shot := self._device.next_shot(0.0)) is not None:
            newest = shot
        return newest if newest is not None and newest.arrived_ns >= oldest_ns else None


def _left_s(end_ns: int) -> float:
    return max(end_ns - time.monotonic_ns(), 0) / NS_PER_S
