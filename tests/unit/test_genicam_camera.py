"""Which frame a grab gives, whoever fires the camera: never one of another part."""

import time
from collections import deque
from collections.abc import Sequence

import numpy as np
import pytest

from edge_agent.adapters.genicam_camera import GenicamCamera, Shot
from edge_agent.camera_features import FeatureInfo, FeatureKind, FeatureValue
from edge_agent.errors import BrokenFrameError, CameraFault, GrabTimeoutError

INFOS = {
    "AcquisitionMode": FeatureInfo(FeatureKind.ENUMERATION, choices=("Continuous",)),
    "TriggerSelector": FeatureInfo(FeatureKind.ENUMERATION, choices=("FrameStart",)),
    "TriggerMode": FeatureInfo(FeatureKind.ENUMERATION, choices=("Off", "On")),
    "TriggerSource": FeatureInfo(FeatureKind.ENUMERATION, choices=("Software", "Line1")),
    "ExposureTime": FeatureInfo(FeatureKind.FLOAT, 10, 100_000),
}


def shot(grey: int, age_s: float = 0.0) -> Shot:
    return Shot(time.monotonic_ns() - int(age_s * 1e9), np.full((4, 4, 3), grey, np.uint8))


def torn() -> Shot:
    return Shot(time.monotonic_ns(), cause="packets are missing")


class Device:
    camera_id = "cam"

    def __init__(self) -> None:
        self.values: dict[str, FeatureValue] = {
            "AcquisitionMode": "Continuous",
            "TriggerSelector": "FrameStart",
            "TriggerMode": "Off",
            "TriggerSource": "Line1",
            "ExposureTime": 5000.0,
        }
        self.waiting: deque[Shot] = deque()
        self.answers: deque[list[Shot]] = deque()
        """What comes of each software trigger."""
        self.coming: deque[Shot] = deque()
        """What comes when somebody waits."""
        self.is_running = False
        self.is_gone = False
        self.num_starts = 0
        self.num_fired = 0

    def open(self) -> None: ...

    def start(self) -> None:
        self.num_starts += not self.is_running
        self.is_running = True

    def stop(self) -> None:
        self.is_running = False
        self.waiting.clear()

    def fire(self) -> None:
        assert self.is_running
        self.num_fired += 1
        if self.answers:
            self.waiting.extend(self.answers.popleft())

    def next_shot(self, timeout_s: float) -> Shot | None:
        if self.waiting:
            return self.waiting.popleft()
        return self.coming.popleft() if self.coming and timeout_s > 0 else None

    def discard(self) -> None:
        self.waiting.clear()

    def check(self) -> None:
        if self.is_gone:
            raise CameraFault(self.camera_id, "does not answer")

    def close(self) -> None: ...

    def feature_names(self) -> Sequence[str]:
        return list(INFOS)

    def feature_info(self, name: str) -> FeatureInfo | None:
        return INFOS.get(name)

    def read_feature(self, name: str) -> FeatureValue:
        return self.values[name]

    def write_feature(self, name: str, value: FeatureValue) -> None:
        if self.is_gone:
            raise CameraFault(self.camera_id, "does not answer")
        self.values[name] = value


@pytest.fixture
def device() -> Device:
    return Device()


def camera(device: Device, **features: FeatureValue) -> GenicamCamera:
    made = GenicamCamera(device, features=features, lead_s=0.1)
    made.open()
    return made


def grey(made: GenicamCamera) -> int:
    return int(made.grab(0.05).image.mean())


def test_camera_is_triggered_by_software_unless_told_otherwise(device: Device) -> None:
    made = camera(device)
    assert (device.values["TriggerMode"], device.values["TriggerSource"]) == ("On", "Software")
    device.waiting.append(shot(1))
    device.answers.append([shot(2)])
    assert grey(made) == 2, "the frame that waited was of an earlier part"


def test_torn_frame_is_taken_once_more_while_the_part_stands_there(device: Device) -> None:
    made = camera(device)
    device.answers.extend([[torn()], [shot(3)]])
    assert grey(made) == 3
    device.answers.extend([[torn()], [torn()], [torn()], [shot(4)]])
    with pytest.raises(BrokenFrameError, match="packets are missing"):
        made.grab(0.05)
    assert device.num_fired == 5


def test_frame_that_comes_too_late_is_not_taken_for_the_next_part(device: Device) -> None:
    made = camera(device)
    with pytest.raises(GrabTimeoutError):
        made.grab(0.01)
    num_starts = device.num_starts
    device.answers.append([shot(9)])
    assert grey(made) == 9
    assert device.num_starts == num_starts + 1, "what was still on its way is lost with the stream"


@pytest.mark.parametrize(
    ("waiting_ages_s", "coming", "taken"),
    [
        pytest.param([5.0, 0.0], [], 2, id="the newest of those that wait"),
        pytest.param([5.0], [9], 9, id="an old one is not of this part"),
        pytest.param([], [9], 9, id="it comes after the message"),
    ],
)
def test_hardware_trigger_gives_the_frame_that_came_with_the_message(
    device: Device, waiting_ages_s: list[float], coming: list[int], taken: int
) -> None:
    made = camera(device, TriggerMode="On", TriggerSource="Line1")
    device.waiting.extend(shot(i + 1, age_s) for i, age_s in enumerate(waiting_ages_s))
    device.coming.extend(shot(value) for value in coming)
    assert grey(made) == taken
    assert device.num_fired == 0


def test_hardware_frame_that_comes_between_two_looks_after_the_camera_is_not_lost(
    device: Device,
) -> None:
    made = camera(device, TriggerMode="On", TriggerSource="Line1")
    device.waiting.append(shot(6))
    made.probe()
    assert grey(made) == 6
    device.waiting.append(shot(7, age_s=1.0))
    made.probe()
    with pytest.raises(GrabTimeoutError):
        made.grab(0.01)


def test_camera_that_runs_freely_gives_no_frame_that_waited(device: Device) -> None:
    made = camera(device, TriggerMode="Off")
    device.waiting.append(shot(1))
    device.coming.append(shot(2))
    assert grey(made) == 2
    made.configure({"ExposureTime": 800})
    device.coming.extend([shot(3), shot(4)])
    assert grey(made) == 4, "the frame on its way had the old exposure"


def test_lost_camera_is_noticed_while_nothing_happens_and_not_waited_for(device: Device) -> None:
    made = camera(device)
    device.is_gone = True
    with pytest.raises(CameraFault, match="does not answer"):
        made.probe()
    made.close()  # would raise if it tried to put features back
    with pytest.raises(CameraFault, match="is not open"):
        made.grab(0.01)
    device.is_gone = False
    made.open()
    device.answers.append([shot(8)])
    assert grey(made) == 8


def test_features_are_put_back_when_the_camera_is_closed(device: Device) -> None:
    made = camera(device, ExposureTime=100)
    made.close()
    assert device.values == Device().values
