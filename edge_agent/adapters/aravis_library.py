"""The part of Aravis that a camera needs, called through ctypes.

The library alone is enough (Debian: ``libaravis-0.8-0``): no compiler, no bindings that would have
to match the interpreter of a virtual environment.
"""

import ctypes
from collections.abc import Callable
from ctypes import POINTER, byref, c_bool, c_char_p, c_double, c_int, c_int64, c_uint, c_void_p
from ctypes import c_size_t as c_size
from ctypes import c_uint32 as c_u32
from ctypes import c_uint64 as c_u64
from functools import cache
from typing import Any

LIBRARY = "libaravis-0.8.so.0"
BUFFER_SUCCESS = 0
BUFFER_STATES = {
    -1: "unknown",
    1: "cleared",
    2: "timeout",
    3: "packets are missing",
    4: "wrong packet id",
    5: "does not fit the buffer",
    6: "filling",
    7: "aborted",
    8: "no image",
}

CType = Any
"""A type of ctypes, or None for void."""
_TEXT, _PTR = c_char_p, c_void_p
# Name, result, arguments; "!" behind the name: the last argument is a GError**.
_SIGNATURES: dict[str, tuple[CType, tuple[CType, ...]]] = {
    "arv_update_device_list": (None, ()),
    "arv_get_n_devices": (c_uint, ()),
    "arv_get_device_id": (_TEXT, (c_uint,)),
    "arv_get_device_model": (_TEXT, (c_uint,)),
    "arv_get_device_serial_nbr": (_TEXT, (c_uint,)),
    "arv_get_device_address": (_TEXT, (c_uint,)),
    "arv_get_device_protocol": (_TEXT, (c_uint,)),
    "arv_camera_new!": (_PTR, (_TEXT,)),
    "arv_camera_get_device": (_PTR, (_PTR,)),
    "arv_camera_get_payload!": (c_uint, (_PTR,)),
    "arv_camera_create_stream!": (_PTR, (_PTR, _PTR, _PTR)),
    "arv_camera_start_acquisition!": (None, (_PTR,)),
    "arv_camera_stop_acquisition!": (None, (_PTR,)),
    "arv_camera_is_gv_device": (c_bool, (_PTR,)),
    "arv_gv_device_is_controller": (c_bool, (_PTR,)),
    "arv_device_get_genicam_xml": (_PTR, (_PTR, POINTER(c_size))),
    "arv_device_get_feature": (_PTR, (_PTR, _TEXT)),
    "arv_device_is_feature_available!": (c_bool, (_PTR, _TEXT)),
    "arv_gc_feature_node_is_locked!": (c_bool, (_PTR,)),
    "arv_device_execute_command!": (None, (_PTR, _TEXT)),
    "arv_device_get_float_feature_value!": (c_double, (_PTR, _TEXT)),
    "arv_device_set_float_feature_value!": (None, (_PTR, _TEXT, c_double)),
    "arv_device_get_float_feature_bounds!": (
        None,
        (_PTR, _TEXT, POINTER(c_double), POINTER(c_double)),
    ),
    "arv_device_get_integer_feature_value!": (c_int64, (_PTR, _TEXT)),
    "arv_device_set_integer_feature_value!": (None, (_PTR, _TEXT, c_int64)),
    "arv_device_get_integer_feature_bounds!": (
        None,
        (_PTR, _TEXT, POINTER(c_int64), POINTER(c_int64)),
    ),
    "arv_device_get_boolean_feature_value!": (c_bool, (_PTR, _TEXT)),
    "arv_device_set_boolean_feature_value!": (None, (_PTR, _TEXT, c_int)),
    "arv_device_get_string_feature_value!": (_TEXT, (_PTR, _TEXT)),
    "arv_device_set_string_feature_value!": (None, (_PTR, _TEXT, _TEXT)),
    "arv_device_dup_available_enumeration_feature_values_as_strings!": (
        _PTR,
        (_PTR, _TEXT, POINTER(c_uint)),
    ),
    "arv_gc_enumeration_get_type": (c_size, ()),
    "arv_gc_boolean_get_type": (c_size, ()),
    "arv_gc_float_get_type": (c_size, ()),
    "arv_gc_integer_get_type": (c_size, ()),
    "arv_gc_string_get_type": (c_size, ()),
    "arv_buffer_new_allocate": (_PTR, (c_size,)),
    "arv_buffer_get_status": (c_int, (_PTR,)),
    "arv_buffer_get_data": (_PTR, (_PTR, POINTER(c_size))),
    "arv_buffer_get_image_width": (c_int, (_PTR,)),
    "arv_buffer_get_image_height": (c_int, (_PTR,)),
    "arv_buffer_get_image_pixel_format": (c_u32, (_PTR,)),
    "arv_buffer_get_system_timestamp": (c_u64, (_PTR,)),
    "arv_stream_push_buffer": (None, (_PTR, _PTR)),
    "arv_stream_try_pop_buffer": (_PTR, (_PTR,)),
    "arv_stream_timeout_pop_buffer": (_PTR, (_PTR, c_u64)),
}
_GLIB = {
    "g_object_unref": (None, (_PTR,)),
    "g_free": (None, (_PTR,)),
    "g_clear_error": (None, (_PTR,)),
    "g_type_check_instance_is_a": (c_int, (_PTR, c_size)),
}


class AravisError(Exception):
    """What Aravis says went wrong."""


class AravisMissingError(ImportError):
    """The library is not on this machine."""

    def __init__(self) -> None:
        super().__init__("Aravis is not installed: apt-get install libaravis-0.8-0")


class _GError(ctypes.Structure):
    _fields_ = (("domain", c_u32), ("code", c_int), ("message", c_char_p))


class Aravis:
    """Functions of the library by name, ``arv_`` left off; a GError is raised as `AravisError`.

    Raises:
        AravisMissingError: the library is not there.
    """

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise AravisMissingError from error
        self._calls = {
            name.rstrip("!").removeprefix("arv_"): _bound(library, name, *signature)
            for name, signature in _SIGNATURES.items()
        }
        # GLib's symbols come with the library that is linked to them.
        for name, (result, arguments) in _GLIB.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            self._calls[name] = function

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            return self._calls[name]
        except KeyError as error:
            raise AttributeError(name) from error

    def is_a(self, instance: int, kind: str) -> bool:
        """Whether a node of the feature tree offers an interface (``float``, ``enumeration``)."""
        gtype = self._calls[f"gc_{kind}_get_type"]()
        return bool(self._calls["g_type_check_instance_is_a"](instance, gtype))

    def choices(self, device: int, name: bytes) -> tuple[str, ...]:
        """Values of an enumeration that the device takes now."""
        number = c_uint()
        dup = self._calls["device_dup_available_enumeration_feature_values_as_strings"]
        array = dup(device, name, byref(number))
        if not array:
            return ()
        texts = ctypes.cast(array, POINTER(c_char_p))[: number.value]
        self._calls["g_free"](array)
        return tuple(text.decode() for text in texts if text)


@cache
def aravis() -> Aravis:
    """The library, loaded once.

    Raises:
        AravisMissingError: it is not there.
    """
    return Aravis()


def _bound(
    library: ctypes.CDLL, name: str, result: CType, arguments: tuple[CType, ...]
) -> Callable[..., Any]:
    function = getattr(library, name.rstrip("!"))
    function.restype = result
    function.argtypes = (*arguments, POINTER(POINTER(_GError))) if name[-1] == "!" else arguments
    if name[-1] != "!":
        return function  # type: ignore[no-any-return]

    def call(*values: object) -> object:
        error = POINTER(_GError)()
        answer = function(*values, byref(error))
        if error:
            text = (error.contents.message or b"").decode(errors="replace")
            library.g_clear_error(byref(error))
            raise AravisError(text)
        return answer

    return call
