"""Basler cameras through pylon (extra ``pylon``: ``pip install 'sightline[pylon]'``)."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition

import numpy as np
from pypylon import genicam, pylon

from edge_agent.adapters.genicam_camera import Shot
from edge_agent.adapters.pixel_formats import UnknownPixelFormatError
from edge_agent.camera_features import FeatureInfo, FeatureKind, FeatureValue
from edge_agent.errors import CameraFault

MAX_WAITING = 8
"""Frames kept for a grab; the oldest goes."""
TRIGGER_READY_MS = 200
"""A camera that still reads out the last frame would ignore the trigger."""
HEARTBEAT_MS = 1000
"""A GigE camera that is silent for this long counts as removed; pylon's default is 3 s."""


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """A camera that pylon sees."""

    serial: str
    model: str
    transport: str


def find_cameras() -> list[FoundCamera]:
    """Every camera that pylon sees now."""
    found = pylon.TlFactory.GetInstance().EnumerateDevices()
    return [
        FoundCamera(info.GetSerialNumber(), info.GetModelName(), info.GetDeviceClass())
        for info in found
    ]


class _Inbox(pylon.ImageEventHandler):  # type: ignore[misc]
    """Takes frames from pylon's own thread and stamps when they came."""

    def __init__(self) -> None:
        super().__init__()
        self.news = Condition()
        self.shots: deque[Shot] = deque(maxlen=MAX_WAITING)
        converter = pylon.ImageFormatConverter()
        converter.OutputPixelFormat = pylon.PixelType_BGR8packed
        converter.OutputBitAlignment.Value = "MsbAligned"
        self._converter = converter

    def OnImageGrabbed(self, _camera: object, result: object) -> None:  # noqa: N802 - pylon's name
        arrived_ns = time.monotonic_ns()
        shot = self._shot(result, arrived_ns)
        with self.news:
            self.shots.append(shot)
            self.news.notify_all()

    def OnImagesSkipped(self, _camera: object, _count: int) -> None:  # noqa: N802
        """The grab goes on with newer frames."""

    def _shot(self, result: "pylon.GrabResult", arrived_ns: int) -> Shot:
        if not result.GrabSucceeded():
            text = f"frame is torn: {result.GetErrorDescription() or hex(result.GetErrorCode())}"
            return Shot(arrived_ns, cause=text[:200])
        try:
            pixels = self._converter.Convert(result).GetArray()
        except genicam.GenericException as error:
            return Shot(arrived_ns, cause=f"{UnknownPixelFormatError('of the camera')} ({error})")
        return Shot(arrived_ns, np.ascontiguousarray(pixels, np.uint8))


class PylonDevice:
    """Implements `TriggeredDevice`.

    Args:
        camera_id: name for messages.
        serial: serial number or name (DeviceUserID) of the camera; empty: the first one found.
    """

    def __init__(self, camera_id: str, serial: str = "") -> None:
        self._camera_id = camera_id
        self._serial = serial
        self._camera: pylon.InstantCamera | None = None
        self._inbox = _Inbox()

    @property
    def camera_id(self) -> str:
        """Name for messages."""
        return self._camera_id

    def open(self) -> None:
        """Take control of the camera."""
        factory = pylon.TlFactory.GetInstance()
        with self._faults():
            infos = [info for info in factory.EnumerateDevices() if self._is_meant(info)]
            if not infos:
                which = f"{self._serial} " if self._serial else ""
                raise CameraFault(self._camera_id, f"no Basler camera {which}is there")
            self._camera = pylon.InstantCamera(factory.CreateDevice(infos[0]))
            self._camera.Open()
            self._shorten_heartbeat()
            self._inbox = _Inbox()
            self._camera.RegisterImageEventHandler(
                self._inbox, pylon.RegistrationMode_Append, pylon.Cleanup_None
            )

    def start(self) -> None:
        """Start the acquisition on a thread of pylon's."""
        camera = self._opened
        with self._faults():
            if not camera.IsGrabbing():
                camera.StartGrabbing(
                    pylon.GrabStrategy_OneByOne, pylon.GrabLoop_ProvidedByInstantCamera
                )

    def stop(self) -> None:
        """End the acquisition; frames that are on their way are lost."""
        with self._faults():
            self._opened.StopGrabbing()
        self.discard()

    def fire(self) -> None:
        """Execute TriggerSoftware, as soon as the camera takes it."""
        camera = self._opened
        with self._faults():
            if camera.CanWaitForFrameTriggerReady():
                camera.WaitForFrameTriggerReady(TRIGGER_READY_MS, pylon.TimeoutHandling_Return)
            camera.ExecuteSoftwareTrigger()

    def next_shot(self, timeout_s: float) -> Shot | None:
        """The oldest frame that waits or comes in time."""
        inbox = self._inbox
        with inbox.news:
            if inbox.news.wait_for(lambda: bool(inbox.shots), timeout_s):
                return inbox.shots.popleft()
        self.check()
        return None

    def discard(self) -> None:
        """Throw away the frames that wait."""
        with self._inbox.news:
            self._inbox.shots.clear()

    def check(self) -> None:
        """Look whether the camera was pulled off."""
        if self._opened.IsCameraDeviceRemoved():
            raise CameraFault(self._camera_id, "was removed")

    def close(self) -> None:
        """Let go of the camera."""
        camera, self._camera = self._camera, None
        if camera is not None:
            try:
                camera.StopGrabbing()
                camera.DeregisterImageEventHandler(self._inbox)
                camera.Close()
                camera.DetachDevice()
            except genicam.GenericException:
                pass  # it is gone already

    # --- features ----------------------------------------------------------------------------

    def feature_names(self) -> Sequence[str]:
        """Every feature there is."""
        nodes = self._opened.GetNodeMap().GetNodes()
        return [node.Node.GetName() if hasattr(node, "Node") else node.GetName() for node in nodes]

    def feature_info(self, name: str) -> FeatureInfo | None:
        """What is known of a feature."""
        with self._faults():
            return _info(self._opened.GetNodeMap().GetNode(name))

    def read_feature(self, name: str) -> FeatureValue:
        """Its value now."""
        with self._faults():
            value: FeatureValue = self._node(name).GetValue()
            return value

    def write_feature(self, name: str, value: FeatureValue) -> None:
        """Set it; the acquisition is stopped where the camera wants that."""
        with self._faults():
            node = self._node(name)
            if not genicam.IsWritable(node) and self._opened.IsGrabbing():
                self.stop()
            node.SetValue(value)

    def execute(self, name: str) -> None:
        """Execute a command feature."""
        with self._faults():
            self._node(name).Execute()

    def _node(self, name: str) -> "genicam.INode":
        return self._opened.GetNodeMap().GetNode(name)

    @property
    def _opened(self) -> "pylon.InstantCamera":
        if self._camera is None:
            raise CameraFault(self._camera_id, "is not open")
        return self._camera

    def _is_meant(self, info: "pylon.DeviceInfo") -> bool:
        names = {info.GetSerialNumber(), info.GetUserDefinedName(), info.GetFullName()}
        return not self._serial or self._serial in names

    def _shorten_heartbeat(self) -> None:
        node = self._opened.GetTLNodeMap().GetNode("HeartbeatTimeout")
        if node is not None and genicam.IsWritable(node):
            node.SetValue(HEARTBEAT_MS)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except genicam.GenericException as error:
            text = str(error).split(" : ", maxsplit=1)[0].strip()
            raise CameraFault(self._camera_id, text[:180]) from error


def _info(node: "genicam.INode | None") -> FeatureInfo | None:
    if node is None or not genicam.IsAvailable(node):
        return None
    if isinstance(node, genicam.IEnumeration):
        return FeatureInfo(FeatureKind.ENUMERATION, choices=tuple(node.Symbolics))
    if isinstance(node, genicam.IBoolean):
        return FeatureInfo(FeatureKind.BOOLEAN)
    if isinstance(node, genicam.IInteger):
        return FeatureInfo(FeatureKind.INTEGER, node.GetMin(), node.GetMax())
    if isinstance(node, genicam.IFloat):
        return FeatureInfo(FeatureKind.FLOAT, node.GetMin(), node.GetMax())
    return FeatureInfo(FeatureKind.STRING) if isinstance(node, genicam.IString) else None
