"""Which cameras are there: USB devices, what pylon, Aravis and GenTL producers see."""
# ruff: noqa: PLC0415 - the makers' libraries are optional: each is loaded when it is asked

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.adapters.cameras import HOW_TO_INSTALL
from edge_agent.sections import CameraSettings

VIDEO_DEVICES = Path("/sys/class/video4linux")
GENTL_PATH = "GENICAM_GENTL64_PATH"
"""Environment variable in which makers' software notes its producers (GenTL standard)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A camera that could be the cell's."""

    settings: CameraSettings
    """How ``[camera]`` would name it."""
    model: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """What one way of looking found."""

    way: str
    candidates: tuple[Candidate, ...] = ()
    obstacle: str = field(default="")
    """Why there was no looking: what to install."""


def search_all(*, producers: tuple[Path, ...] = ()) -> list[Search]:
    """Look in every way that this machine knows.

    Args:
        producers: GenTL producers to ask beside those that the environment names.
    """
    return [
        Search("USB", usb_cameras()),
        _search("pylon", _pylon),
        _search("aravis", _aravis),
        _search("genicam", lambda: _gentl((*producers, *_installed_producers()))),
    ]


def usb_cameras(devices: Path = VIDEO_DEVICES) -> tuple[Candidate, ...]:
    """Video devices of the kernel; a camera's metadata device is not one."""
    found = []
    for folder in sorted(devices.glob("video*")):
        is_picture = (folder / "index").read_text().strip() == "0"
        number = folder.name.removeprefix("video")
        if is_picture and number.isdigit():
            settings = CameraSettings(kind="opencv", source=number)
            name = (folder / "name").read_text().strip()
            found.append(Candidate(settings, name, f"/dev/{folder.name}"))
    return tuple(found)


def _search(way: str, look: Callable[[], tuple[Candidate, ...]]) -> Search:
    try:
        return Search(way, look())
    except ImportError:
        return Search(way, obstacle=f"library not installed: {HOW_TO_INSTALL[way]}")


def _pylon() -> tuple[Candidate, ...]:
    from edge_agent.adapters.pylon_device import find_cameras

    return tuple(
        Candidate(CameraSettings(kind="pylon", source=found.serial), found.model, found.transport)
        for found in find_cameras()
    )


def _aravis() -> tuple[Candidate, ...]:
    from edge_agent.adapters.aravis_device import find_cameras

    return tuple(
        Candidate(
            CameraSettings(kind="aravis", source=found.device_id),
            found.model,
            f"{found.protocol} {found.address}".strip(),
        )
        for found in find_cameras()
    )


def _gentl(producers: tuple[Path, ...]) -> tuple[Candidate, ...]:
    from edge_agent.adapters.gentl_device import find_cameras

    return tuple(
        Candidate(
            CameraSettings(kind="genicam", producer=producer, source=found.device_id),
            found.model,
            producer.name,
        )
        for producer in producers
        for found in find_cameras(producer)
    )


def _installed_producers() -> tuple[Path, ...]:
    folders = (Path(name) for name in os.environ.get(GENTL_PATH, "").split(os.pathsep) if name)
    return tuple(sorted(path for folder in folders for path in folder.glob("*.cti")))
