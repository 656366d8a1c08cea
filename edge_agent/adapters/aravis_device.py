"""GigE Vision and USB3 Vision cameras of any make, through Aravis."""

import ctypes
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ctypes import byref, c_double, c_int64, c_size_t
from dataclasses import dataclass
from ipaddress import ip_address
from threading import Thread
from typing import NoReturn

import numpy as np

from edge_agent.adapters.aravis_library import BUFFER_STATES, BUFFER_SUCCESS, AravisError, aravis
from edge_agent.adapters.genicam_camera import Shot
from edge_agent.adapters.gvcp import answers
from edge_agent.adapters.pixel_formats import CODES, UnknownPixelFormatError, to_bgr
from edge_agent.camera_features import FeatureInfo, FeatureKind, FeatureValue
from edge_agent.errors import CameraFault, FeatureRefusedError

NUM_BUFFERS = 8
NS_PER_US = 1000
STREAM_SHAPE = frozenset(
    {"Width", "Height", "OffsetX", "OffsetY", "PixelFormat", "BinningHorizontal", "BinningVertical"}
)
"""Features that change the size of a frame: the stream is made anew."""
FEATURE_NAME = re.compile(rb"<pFeature>\s*(\w+)\s*</pFeature>")
INTERFACES = {
    "boolean": FeatureKind.BOOLEAN,
    "float": FeatureKind.FLOAT,
    "integer": FeatureKind.INTEGER,
    "string": FeatureKind.STRING,
}
"""Of GenApi, after enumeration, which is an integer too."""
SFNC_1_NAMES = {
    "ExposureTime": "ExposureTimeAbs",
    "AcquisitionFrameRate": "AcquisitionFrameRateAbs",
}
"""What old cameras call a feature; the unit is the same."""


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """A camera that Aravis sees."""

    device_id: str
    model: str
    serial: str
    address: str
    protocol: str


def find_cameras() -> list[FoundCamera]:
    """Every camera on the network and on USB that answers now; takes about a second.

    Raises:
        AravisMissingError: the library is not there.
    """
    aravis().update_device_list()
    return _listed()


class AravisDevice:
    """Implements `TriggeredDevice`.

    Args:
        camera_id: name for messages.
        name: device id, IP address or serial number; empty: the first camera that answers.

    Raises:
        AravisMissingError: the library is not there.
    """

    def __init__(self, camera_id: str, name: str = "") -> None:
        self._aravis = aravis()
        self._camera_id = camera_id
        self._name = name
        self._camera: int | None = None
        self._device = 0
        self._stream: int | None = None
        self._names: tuple[str, ...] = ()
        self._address = ""
        self._is_lost = False

    @property
    def camera_id(self) -> str:
        """Name for messages."""
        return self._camera_id

    def open(self) -> None:
        """Take control of the camera."""
        library, self._is_lost = self._aravis, False
        name, self._address = self._find()
        with self._faults():
            self._camera = library.camera_new(name.encode())
        if not self._camera:
            raise CameraFault(self._camera_id, f"{name} does not answer")
        self._device = library.camera_get_device(self._camera)
        size = c_size_t()
        address = library.device_get_genicam_xml(self._device, byref(size))
        xml = ctypes.string_at(address, size.value) if address else b""
        self._names = tuple(dict.fromkeys(name.decode() for name in FEATURE_NAME.findall(xml)))

    def start(self) -> None:
        """Make a stream with buffers of the right size and start the acquisition."""
        if self._stream is not None:
            return
        library, camera = self._aravis, self._opened
        with self._faults():
            payload = library.camera_get_payload(camera)
            stream = library.camera_create_stream(camera, None, None)
            if not stream:
                raise CameraFault(self._camera_id, "gives no stream: is it open elsewhere?")
            for _ in range(NUM_BUFFERS):
                library.stream_push_buffer(stream, library.buffer_new_allocate(payload))
            self._stream = stream
            library.camera_start_acquisition(camera)

    def fire(self) -> None:
        """Execute TriggerSoftware."""
        with self._faults():
            self._aravis.device_execute_command(self._device_of_open, b"TriggerSoftware")

    def next_shot(self, timeout_s: float) -> Shot | None:
        """The oldest frame that waits or comes in time."""
        library, stream = self._aravis, self._stream
        if stream is None:
            raise CameraFault(self._camera_id, "is not open")
        if timeout_s > 0:
            buffer = library.stream_timeout_pop_buffer(stream, int(timeout_s * 1e6))
        else:
            buffer = library.stream_try_pop_buffer(stream)
        if not buffer:
            return None
        try:
            return self._shot(buffer)
        finally:
            library.stream_push_buffer(stream, buffer)

    def discard(self) -> None:
        """Throw away the frames that wait."""
        library, stream = self._aravis, self._stream
        while stream is not None and (buffer := library.stream_try_pop_buffer(stream)):
            library.stream_push_buffer(stream, buffer)

    def check(self) -> None:
        """Ask the camera whether it is there."""
        if not self._aravis.camera_is_gv_device(self._opened):
            with self._faults():  # USB answers, or fails, at once; Aravis keeps no values
                self._aravis.device_get_integer_feature_value(self._device, b"Width")
            return
        if not self._aravis.gv_device_is_controller(self._device):
            self._lose("control was lost")
        if self._address and not answers(self._address):
            self._lose("does not answer")

    def stop(self) -> None:
        """End the acquisition; frames that are on their way are lost."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._let_go(None, stream)

    def close(self) -> None:
        """Let go of the camera; one that is lost is not waited for."""
        camera, stream = self._camera, self._stream
        self._camera = self._stream = None
        if camera is None:
            return
        if not self._is_lost:
            self._let_go(camera, stream)
            return
        # Each farewell to a camera that is gone takes Aravis 2.5 s; meanwhile it may be back.
        args = (camera, stream)
        Thread(target=self._let_go, args=args, name="camera-farewell", daemon=True).start()

    # --- features ----------------------------------------------------------------------------

    def feature_names(self) -> Sequence[str]:
        """Every feature there is, by its name of today."""
        today = {old: name for name, old in SFNC_1_NAMES.items()}
        return [today.get(name, name) for name in self._names]

    def feature_info(self, name: str) -> FeatureInfo | None:
        """What is known of a feature."""
        library, device, wire = self._aravis, self._device_of_open, self._wire_name(name)
        node = library.device_get_feature(device, wire)
        with self._faults():
            if not node or not library.device_is_feature_available(device, wire):
                return None
            if library.is_a(node, "enumeration"):
                choices = library.choices(device, wire)
                return FeatureInfo(FeatureKind.ENUMERATION, choices=choices)
        for interface, kind in INTERFACES.items():
            if library.is_a(node, interface):
                return FeatureInfo(kind, *self._limits(wire, kind))
        return None

    def _limits(self, wire: bytes, kind: FeatureKind) -> tuple[float, float] | tuple[()]:
        library, device = self._aravis, self._device
        try:
            if kind is FeatureKind.FLOAT:
                low, high = c_double(), c_double()
                library.device_get_float_feature_bounds(device, wire, byref(low), byref(high))
                return low.value, high.value
            if kind is FeatureKind.INTEGER:
                least, most = c_int64(), c_int64()
                library.device_get_integer_feature_bounds(device, wire, byref(least), byref(most))
                return least.value, most.value
        except AravisError:
            pass  # a feature may have no limits
        return ()

    def read_feature(self, name: str) -> FeatureValue:
        """Its value now."""
        call = getattr(self._aravis, f"device_get_{self._type_of(name)}_feature_value")
        with self._faults():
            value = call(self._device_of_open, self._wire_name(name))
        return value.decode() if isinstance(value, bytes) else value

    def write_feature(self, name: str, value: FeatureValue) -> None:
        """Set it; the stream is ended where the camera wants that."""
        if self._stream is not None and (name in STREAM_SHAPE or self._is_locked(name)):
            self.stop()
        call = getattr(self._aravis, f"device_set_{self._type_of(name)}_feature_value")
        wire_value = value.encode() if isinstance(value, str) else value
        try:
            call(self._device_of_open, self._wire_name(name), wire_value)
        except AravisError as error:
            self.check()
            raise FeatureRefusedError(
                self._camera_id, f"refuses {name} = {value!r}: {error}"
            ) from error

    # --- inside ------------------------------------------------------------------------------

    def _shot(self, buffer: int) -> Shot:
        library = self._aravis
        late_ns = max(time.time_ns() - library.buffer_get_system_timestamp(buffer), 0)
        arrived_ns = time.monotonic_ns() - late_ns
        status = library.buffer_get_status(buffer)
        if status != BUFFER_SUCCESS:
            return Shot(arrived_ns, cause=f"frame is torn: {BUFFER_STATES.get(status, status)}")
        size = c_size_t()
        address = library.buffer_get_data(buffer, byref(size))
        data = np.ctypeslib.as_array((ctypes.c_uint8 * size.value).from_address(address))
        code = library.buffer_get_image_pixel_format(buffer)
        width, height = (
            library.buffer_get_image_width(buffer),
            library.buffer_get_image_height(buffer),
        )
        try:
            return Shot(arrived_ns, to_bgr(data, width, height, CODES.get(code, hex(code))))
        except UnknownPixelFormatError as error:
            raise FeatureRefusedError(self._camera_id, str(error)) from error
        except ValueError as error:
            return Shot(arrived_ns, cause=f"frame is torn: {error}")

    def _let_go(self, camera: int | None, stream: int | None) -> None:
        library = self._aravis
        if stream is not None:
            with suppress(AravisError):
                library.camera_stop_acquisition(camera or self._camera)
            library.g_object_unref(stream)
        if camera is not None:
            library.g_object_unref(camera)

    def _lose(self, cause: str) -> NoReturn:
        self._is_lost = True
        raise CameraFault(self._camera_id, cause)

    def _type_of(self, name: str) -> str:
        info = self.feature_info(name)
        names = {kind: interface for interface, kind in INTERFACES.items()}
        return names.get(info.kind, "string") if info else "string"

    def _wire_name(self, name: str) -> bytes:
        old = SFNC_1_NAMES.get(name)
        return (old if old in self._names and name not in self._names else name).encode()

    def _is_locked(self, name: str) -> bool:
        node = self._aravis.device_get_feature(self._device_of_open, self._wire_name(name))
        with self._faults():
            return bool(node) and bool(self._aravis.gc_feature_node_is_locked(node))

    def _find(self) -> tuple[str, str]:
        """Aravis's name of the camera, and its address."""
        try:
            return self._name, str(ip_address(self._name))  # no need to look around
        except ValueError:
            found = find_cameras()
        for camera in found:
            if not self._name or self._name in {camera.device_id, camera.serial}:
                is_ip = camera.protocol == "GigEVision"
                return camera.device_id, camera.address if is_ip else ""
        which = f"camera {self._name}" if self._name else "GigE Vision or USB3 Vision camera"
        raise CameraFault(self._camera_id, f"no {which} answers")

    @property
    def _opened(self) -> int:
        if self._camera is None:
            raise CameraFault(self._camera_id, "is not open")
        return self._camera

    @property
    def _device_of_open(self) -> int:
        _ = self._opened
        return self._device

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except AravisError as error:
            self._is_lost = True
            raise CameraFault(self._camera_id, str(error)[:180]) from error


def _listed() -> list[FoundCamera]:
    """What the last look at the network found."""
    library = aravis()
    ask = ("id", "model", "serial_nbr", "address", "protocol")
    return [
        FoundCamera(*((getattr(library, f"get_device_{what}")(i) or b"").decode() for what in ask))
        for i in range(library.get_n_devices())
    ]
