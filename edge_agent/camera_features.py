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
    """Brings a camera from the features of one view to those of the next.

    Args:
        base: that always hold; a view's go before them.
    """

    def __init__(self, base: Features | None = None) -> None:
        self._base = dict(base or {})
        self._original: dict[str, FeatureValue] = {}
        self._in_force: dict[str, FeatureValue] = {}
        """Of the base, in the order in which they were set."""
        self._view: dict[str, FeatureValue] = {}
        """What the view set, before the base."""

    @property
    def current(self) -> Features:
        """What was set, and still holds."""
        return {**self._in_force, **self._view}

    def changes(self, wanted: Features) -> frozenset[str]:
        """Features that have to be written for a view, in whichever direction."""
        new = [name for name in self._base if name not in self._in_force]
        if self._view == wanted:
            return frozenset(new)
        if _has_selector(self._view) or _has_selector(wanted):
            # What a selected feature is about depends on its selector: from the beginning.
            return frozenset((*new, *self._view, *wanted))
        changed = [n for n in {**self._view, **wanted} if self._view.get(n) != wanted.get(n)]
        return frozenset((*new, *changed))

    def bring(self, device: FeatureDevice, wanted: Features) -> None:
        """Write what has to change; in the order in which a person wrote it.

        Raises:
            FeatureRefusedError: the camera has no such feature or does not take the value.
            CameraFault: the camera is gone.
        """
        changes = self.changes(wanted)
        for name in [name for name in self._base if name in changes - self._in_force.keys()]:
            self._set(device, name, self._base[name], self._in_force)
        is_anew = _has_selector(self._view) or _has_selector(wanted)
        for name in reversed(list(self._view)):
            if name in changes and (is_anew or name not in wanted):
                self._put_back(device, name)
        for name, value in wanted.items():
            if name in changes:
                self._set(device, name, value, self._view)

    def release(self, device: FeatureDevice) -> None:
        """Put everything back.

        Raises:
            CameraFault: the camera is gone, or does not take it.
        """
        for name in reversed(list(self._view)):
            self._put_back(device, name)
        for name in reversed(list(self._in_force)):
            device.write_feature(name, self._original.pop(name))
            del self._in_force[name]

    def _set(
        self,
        device: FeatureDevice,
        name: str,
        value: FeatureValue,
        layer: dict[str, FeatureValue],
    ) -> None:
        fitting = fit(device, name, value)
        original = self._original.get(name)
        if original is None:
            original = device.read_feature(name)
        device.write_feature(name, fitting)
        self._original[name] = original
        layer[name] = value

    def _put_back(self, device: FeatureDevice, name: str) -> None:
        if name in self._in_force:
            device.write_feature(name, fit(device, name, self._in_force[name]))
        else:
            device.write_feature(name, self._original.pop(name))
        del self._view[name]


def _has_selector(features: Features) -> bool:
    return any(name.endswith("Selector") for name in features)


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
