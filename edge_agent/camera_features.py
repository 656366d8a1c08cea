"""Camera settings by GenICam SFNC name: checked, set, put back when nobody asks for them. No I/O.

The settings (``[camera.features]``) hold for every picture, a view's ``camera_features`` for its
own: what the view before set and this one does not name goes back to what it was when the camera
was opened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Protocol

from edge_agent.errors import FeatureRefusedError

FeatureValue = float | int | str | bool
Features = Mapping[str, FeatureValue]

TRIGGER_MODE = "TriggerMode"
TRIGGER_SOURCE = "TriggerSource"
SOFTWARE_TRIGGER: Features = {
    "AcquisitionMode": "Continuous",
    "TriggerSelector": "FrameStart",
    TRIGGER_MODE: "On",
    TRIGGER_SOURCE: "Software",
}
"""What a camera is set to that can be triggered, unless the settings say otherwise."""
MAX_CHOICES = 8
"""Of a list that a person is told."""


class FeatureKind(StrEnum):
    """Type of a feature, by the interfaces of GenApi."""

    FLOAT = "number"
    INTEGER = "whole number"
    BOOLEAN = "true or false"
    ENUMERATION = "one of a list"
    STRING = "text"


@dataclass(frozen=True, slots=True)
class FeatureInfo:
    """What a camera says about one of its features."""

    kind: FeatureKind
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


class FeatureDevice(Protocol):
    """A camera whose features can be read and written; every call may raise `CameraFault`."""

    @property
    def camera_id(self) -> str:
        """Name for messages."""
        ...

    def feature_names(self) -> Sequence[str]:
        """Every feature there is; to tell a person what was meant."""
        ...

    def feature_info(self, name: str) -> FeatureInfo | None:
        """What is known of a feature; None: there is none, or it is not available."""
        ...

    def read_feature(self, name: str) -> FeatureValue:
        """Its value now."""
        ...

    def write_feature(self, name: str, value: FeatureValue) -> None:
        """Set it; the value was checked."""
        ...


class FeatureKeeper:
    """Brings a camera from one set of features to the next.

    Args:
        base: that always hold; a view's go before them.
    """

    def __init__(self, base: Features | None = None) -> None:
        self._base = dict(base or {})
        self._original: dict[str, FeatureValue] = {}
        self._current: dict[str, FeatureValue] = {}

    @property
    def current(self) -> Features:
        """What was set, and still holds."""
        return self._current

    def is_at(self, wanted: Features) -> bool:
        """Whether nothing has to change for a view."""
        return {**self._base, **wanted} == self._current

    def bring(self, device: FeatureDevice, wanted: Features) -> None:
        """Change what differs from the target; in the order in which a person wrote it.

        Raises:
            FeatureRefusedError: the camera has no such feature or does not take the value.
            CameraFault: the camera is gone.
        """
        target = {**self._base, **wanted}
        if target == self._current:
            return
        # What a selected feature is about depends on its selector: start from the beginning.
        has_selectors = any(name.endswith("Selector") for name in (*self._current, *target))
        for name in reversed(list(self._current)):
            if name not in target or has_selectors:
                self._put_back(device, name)
        for name, value in target.items():
            if name not in self._current or self._current[name] != value:
                self._set(device, name, value)

    def release(self, device: FeatureDevice) -> None:
        """Put everything back.

        Raises:
            CameraFault: the camera is gone, or does not take it.
        """
        for name in reversed(list(self._current)):
            self._put_back(device, name)

    def _put_back(self, device: FeatureDevice, name: str) -> None:
        device.write_feature(name, self._original.pop(name))
        del self._current[name]

    def _set(self, device: FeatureDevice, name: str, value: FeatureValue) -> None:
        fitting = fit(device, name, value)
        original = self._original.get(name)
        if original is None:
            original = device.read_feature(name)
        device.write_feature(name, fitting)
        self._original[name] = original
        self._current[name] = value


def fit(device: FeatureDevice, name: str, value: FeatureValue) -> FeatureValue:
    """The value in the type that the feature has.

    Raises:
        FeatureRefusedError: there is no such feature, or it does not take such a value.
    """
    info = device.feature_info(name)
    if info is None:
        meant = get_close_matches(name, device.feature_names(), n=1)
        hint = f"; did you mean {meant[0]}?" if meant else ""
        raise FeatureRefusedError(device.camera_id, f"has no feature {name}{hint}")
    fitting = _converted(info, value)
    if fitting is None:
        more = " …" if len(info.choices) > MAX_CHOICES else ""
        wanted = ", ".join(info.choices[:MAX_CHOICES]) + more or str(info.kind)
        cause = f"does not take {name} = {value!r}: it wants {wanted}"
        raise FeatureRefusedError(device.camera_id, cause)
    if isinstance(fitting, int | float) and not _is_within(info, fitting):
        limits = f"{info.minimum:g} … {info.maximum:g}"
        raise FeatureRefusedError(device.camera_id, f"takes {name} of {limits}, not {value!r}")
    return fitting


def _converted(info: FeatureInfo, value: FeatureValue) -> FeatureValue | None:
    fitting: FeatureValue | None = None
    match info.kind, value:
        case FeatureKind.BOOLEAN, bool():
            fitting = value
        case (_, bool()):
            pass
        case FeatureKind.FLOAT, int() | float():
            fitting = float(value)
        case FeatureKind.INTEGER, int() | float() if value == int(value):
            fitting = int(value)
        case FeatureKind.ENUMERATION, str() if value in info.choices:
            fitting = value
        case FeatureKind.STRING, str():
            fitting = value
    return fitting


def _is_within(info: FeatureInfo, value: float) -> bool:
    if isinstance(value, bool) or info.minimum is None or info.maximum is None:
        return True
    return info.minimum <= value <= info.maximum
