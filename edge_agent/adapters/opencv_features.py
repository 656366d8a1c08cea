"""What OpenCV can set on a camera, by SFNC name."""

from collections.abc import Sequence

import cv2

from edge_agent.camera_features import FeatureInfo, FeatureKind, FeatureValue
from edge_agent.errors import FeatureRefusedError

# SFNC name: OpenCV property and the factor from SFNC's unit to OpenCV's (100 us in V4L2).
NUMBERS: dict[str, tuple[int, float]] = {
    "ExposureTime": (cv2.CAP_PROP_EXPOSURE, 0.01),
    "Gain": (cv2.CAP_PROP_GAIN, 1.0),
    "Gamma": (cv2.CAP_PROP_GAMMA, 1.0),
    "Width": (cv2.CAP_PROP_FRAME_WIDTH, 1.0),
    "Height": (cv2.CAP_PROP_FRAME_HEIGHT, 1.0),
    "AcquisitionFrameRate": (cv2.CAP_PROP_FPS, 1.0),
}
# SFNC name: OpenCV property and its value for each choice (V4L2: 1 manual, 3 by the camera).
CHOICES: dict[str, tuple[int, dict[str, float]]] = {
    "ExposureAuto": (cv2.CAP_PROP_AUTO_EXPOSURE, {"Off": 1.0, "Continuous": 3.0}),
    "BalanceWhiteAuto": (cv2.CAP_PROP_AUTO_WB, {"Off": 0.0, "Continuous": 1.0}),
}


class CaptureFeatures:
    """Implements `FeatureDevice` on an open capture; a network stream has no features to set."""

    def __init__(self, capture: cv2.VideoCapture, camera_id: str, *, is_usb: bool) -> None:
        self._capture = capture
        self._camera_id = camera_id
        self._is_usb = is_usb

    @property
    def camera_id(self) -> str:
        """Name for messages."""
        return self._camera_id

    def feature_names(self) -> Sequence[str]:
        """Every feature there is."""
        return [*NUMBERS, *CHOICES] if self._is_usb else []

    def feature_info(self, name: str) -> FeatureInfo | None:
        """What is known of a feature."""
        if name not in self.feature_names():
            return None
        if name in CHOICES:
            return FeatureInfo(FeatureKind.ENUMERATION, choices=tuple(CHOICES[name][1]))
        return FeatureInfo(FeatureKind.FLOAT)

    def read_feature(self, name: str) -> FeatureValue:
        """Its value now."""
        if name in NUMBERS:
            prop, factor = NUMBERS[name]
            return float(self._capture.get(prop)) / factor
        prop, choices = CHOICES[name]
        value = self._capture.get(prop)
        return min(choices, key=lambda choice: abs(choices[choice] - value))

    def write_feature(self, name: str, value: FeatureValue) -> None:
        """Set it.

        Raises:
            FeatureRefusedError: the driver does not take it.
        """
        if isinstance(value, str):
            prop, choices = CHOICES[name]
            number = choices[value]
        else:
            prop, factor = NUMBERS[name]
            number = float(value) * factor
        if not self._capture.set(prop, number):
            raise FeatureRefusedError(self._camera_id, f"refuses {name} = {value!r}")
