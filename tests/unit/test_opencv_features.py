"""USB cameras through OpenCV: SFNC's names and units on the outside, V4L2's inside."""

from typing import cast

import cv2
import pytest

from edge_agent.adapters.opencv_features import CaptureFeatures
from edge_agent.camera_features import FeatureKeeper
from edge_agent.errors import FeatureRefusedError


class Capture:
    """A driver that takes everything but gain."""

    def __init__(self) -> None:
        self.values = {cv2.CAP_PROP_EXPOSURE: 157.0, cv2.CAP_PROP_AUTO_EXPOSURE: 3.0}

    def get(self, prop: int) -> float:
        return self.values.get(prop, 0.0)

    def set(self, prop: int, value: float) -> bool:
        self.values[prop] = value
        return prop != cv2.CAP_PROP_GAIN


def device(capture: Capture, *, is_usb: bool = True) -> CaptureFeatures:
    return CaptureFeatures(cast("cv2.VideoCapture", capture), "usb", is_usb=is_usb)


def test_exposure_is_microseconds_outside_and_put_back_with_its_automatic() -> None:
    capture, keeper = Capture(), FeatureKeeper()
    keeper.bring(device(capture), {"ExposureAuto": "Off", "ExposureTime": 2500})
    assert capture.values == {cv2.CAP_PROP_EXPOSURE: 25.0, cv2.CAP_PROP_AUTO_EXPOSURE: 1.0}
    keeper.bring(device(capture), {})
    assert capture.values == {cv2.CAP_PROP_EXPOSURE: 157.0, cv2.CAP_PROP_AUTO_EXPOSURE: 3.0}


@pytest.mark.parametrize(
    ("is_usb", "features", "said"),
    [
        (True, {"Gain": 3}, "refuses Gain"),
        (True, {"ExposureAuto": "Sometimes"}, "it wants Off, Continuous"),
        (True, {"TriggerSource": "Line0"}, "has no feature TriggerSource"),
        (False, {"ExposureTime": 3}, "has no feature ExposureTime"),
    ],
)
def test_what_the_driver_does_not_take_is_refused(
    is_usb: bool, features: dict[str, float | int | str | bool], said: str
) -> None:
    with pytest.raises(FeatureRefusedError, match=said):
        FeatureKeeper().bring(device(Capture(), is_usb=is_usb), features)
