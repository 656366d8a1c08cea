"""Cameras of any make through their maker's GenTL producer (extra ``genicam``: harvesters)."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from genicam import genapi, gentl
from harvesters.core import Harvester, ImageAcquirer

from edge_agent.adapters.genicam_camera import Shot
from edge_agent.adapters.pixel_formats import UnknownPixelFormatError, to_bgr
from edge_agent.camera_features import FeatureInfo, FeatureKind, FeatureValue
from edge_agent.errors import CameraFault, FeatureRefusedError

NUM_BUFFERS = 8
LEAST_WAIT_S = 0.001
SIGN_OF_LIFE = "Width"
"""A feature that every camera has."""


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """A camera that a producer sees."""

    device_id: str
    model: str
    serial: str


def find_cameras(producer: Path) -> list[FoundCamera]:
    """Every camera that a producer sees now."""
    harvester = Harvester()
    try:
        harvester.add_file(str(producer), check_existence=True)
        harvester.update()
        return [
            FoundCamera(info.id_, info.model or "", info.serial_number or "")
            for info in harvester.device_info_list
        ]
    finally:
        harvester.reset()


class GentlDevice:
    """Implements `TriggeredDevice`.

    Args:
        camera_id: name for messages.
        producer: the maker's ``.cti`` file.
        name: serial number or device id; empty: the first camera that the producer sees.
    """

    def __init__(self, camera_id: str, producer: Path, name: str = "") -> None:
        self._camera_id = camera_id
        self._producer = producer
        self._name = name
        self._harvester: Harvester | None = None
        self._acquirer: ImageAcquirer | None = None

    @property
    def camera_id(self) -> str:
        """Name for messages."""
        return self._camera_id

    def open(self) -> None:
        """Take control of the camera."""
        if not self._producer.is_file():
            raise CameraFault(self._camera_id, f"there is no GenTL producer {self._producer}")
        self._harvester = Harvester()
        with self._faults():
            self._harvester.add_file(str(self._producer))
            self._harvester.update()
            infos = self._harvester.device_info_list
            meant = [i for i, info in enumerate(infos) if self._is_meant(info)]
            if not meant:
                raise CameraFault(self._camera_id, f"{self._producer.name} sees no such camera")
            self._acquirer = self._harvester.create(meant[0])
            self._acquirer.num_buffers = NUM_BUFFERS

    def start(self) -> None:
        """Start the acquisition, if it does not run."""
        with self._faults():
            if not self._opened.is_acquiring():
                self._opened.start()

    def stop(self) -> None:
        """End the acquisition; frames that are on their way are lost."""
        with self._faults():
            self._opened.stop()

    def fire(self) -> None:
        """Execute TriggerSoftware."""
        with self._faults():
            self._nodes.TriggerSoftware.execute()

    def next_shot(self, timeout_s: float) -> Shot | None:
        """The oldest frame that waits or comes in time.

        GenTL says nothing of when a frame came: one that waited counts as old.
        """
        with self._faults():
            buffer = self._opened.try_fetch(timeout=max(timeout_s, LEAST_WAIT_S))
        if buffer is None:
            return None
        try:
            part = buffer.payload.components[0]
            data = np.asarray(part.data).view(np.uint8).ravel()
            image = to_bgr(data, part.width, part.height, part.data_format)
            return Shot(time.monotonic_ns() if timeout_s > 0 else 0, image)
        except UnknownPixelFormatError as error:
            raise FeatureRefusedError(self._camera_id, str(error)) from error
        except (ValueError, IndexError) as error:
            return Shot(time.monotonic_ns(), cause=f"frame is torn: {error}")
        finally:
            buffer.queue()

    def discard(self) -> None:
        """Throw away the frames that wait."""
        with self._faults():
            for _ in range(NUM_BUFFERS):
                buffer = self._opened.try_fetch(timeout=LEAST_WAIT_S)
                if buffer is None:
                    return
                buffer.queue()

    def check(self) -> None:
        """Read a feature from the camera itself, not from the host's cache."""
        with self._faults():
            self._nodes.get_node(SIGN_OF_LIFE).get_value(False, True)

    def close(self) -> None:
        """Let go of the camera."""
        acquirer, self._acquirer = self._acquirer, None
        harvester, self._harvester = self._harvester, None
        try:
            if acquirer is not None:
                acquirer.destroy()
            if harvester is not None:
                harvester.reset()
        except (gentl.GenericException, genapi.GenericException):
            pass  # it is gone already

    # --- features ----------------------------------------------------------------------------

    def feature_names(self) -> Sequence[str]:
        """Every feature there is."""
        return [name for name in dir(self._nodes) if name[0].isupper()]

    def feature_info(self, name: str) -> FeatureInfo | None:
        """What is known of a feature."""
        with self._faults():
            return _info(self._nodes.get_node(name)) if name in self.feature_names() else None

    def read_feature(self, name: str) -> FeatureValue:
        """Its value now."""
        with self._faults():
            value: FeatureValue = self._nodes.get_node(name).value
            return value

    def write_feature(self, name: str, value: FeatureValue) -> None:
        """Set it; the acquisition is stopped where the camera wants that."""
        with self._faults():
            node = self._nodes.get_node(name)
            if not genapi.is_writable(node.node) and self._opened.is_acquiring():
                self.stop()
            node.value = value

    @property
    def _opened(self) -> ImageAcquirer:
        if self._acquirer is None:
            raise CameraFault(self._camera_id, "is not open")
        return self._acquirer

    @property
    def _nodes(self) -> genapi.NodeMap:
        return self._opened.remote_device.node_map

    def _is_meant(self, info: gentl.DeviceInfo) -> bool:
        return not self._name or self._name in {info.id_, info.serial_number}

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (gentl.GenericException, genapi.GenericException) as error:
            raise CameraFault(self._camera_id, str(error)[:180]) from error


def _info(node: genapi.INode) -> FeatureInfo | None:
    if not genapi.is_available(node.node):
        return None
    if isinstance(node, genapi.IEnumeration):
        return FeatureInfo(FeatureKind.ENUMERATION, choices=tuple(node.symbolics))
    if isinstance(node, genapi.IBoolean):
        return FeatureInfo(FeatureKind.BOOLEAN)
    if isinstance(node, genapi.IInteger):
        return FeatureInfo(FeatureKind.INTEGER, node.min, node.max)
    if isinstance(node, genapi.IFloat):
        return FeatureInfo(FeatureKind.FLOAT, node.min, node.max)
    return FeatureInfo(FeatureKind.STRING) if isinstance(node, genapi.IString) else None
