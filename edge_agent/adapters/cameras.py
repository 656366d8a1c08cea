"""The camera that the settings name."""
# ruff: noqa: PLC0415 - the makers' libraries are optional: only a camera that needs one loads it

from edge_agent.adapters.folder_camera import CycleCamera, SpoolCamera
from edge_agent.adapters.genicam_camera import GenicamCamera, TriggeredDevice
from edge_agent.adapters.opencv_camera import LiveCamera, VideoCamera
from edge_agent.errors import ConfigurationError
from edge_agent.ports import Camera
from edge_agent.sections import CameraSettings

HOW_TO_INSTALL = {
    "pylon": "pip install 'sightline[pylon]'",
    "genicam": "pip install 'sightline[genicam]'",
    "aravis": "apt-get install libaravis-0.8-0",
}


class LibraryMissingError(ConfigurationError):
    """A camera's library is not on this machine."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"camera.kind = {kind!r} needs a library: {HOW_TO_INSTALL[kind]}")


def make_camera(settings: CameraSettings, *, is_simulated: bool = False) -> Camera:
    """Build the camera; it is opened later.

    Raises:
        ConfigurationError: the settings name no camera, or its library is not installed.
    """
    match settings.kind:
        case "pylon" | "aravis" | "genicam":
            device = _device(settings)
            lead_s = settings.trigger_lead_s
            return GenicamCamera(device, features=settings.features, lead_s=lead_s)
        case "opencv":
            return _live(settings)
    if settings.path is None:
        raise ConfigurationError("camera.path is missing")
    camera_id, path = settings.camera_id, settings.path
    if settings.kind == "video":
        return VideoCamera(path, camera_id=camera_id, loop=settings.loop)
    if settings.mode == "cycle":
        return CycleCamera(path, camera_id=camera_id, is_simulated=is_simulated)
    return SpoolCamera(
        path,
        camera_id=camera_id,
        match_part=settings.match_part,
        is_simulated=is_simulated,
    )


def _live(settings: CameraSettings) -> LiveCamera:
    source, size = settings.source or "0", (settings.width_px, settings.height_px)
    return LiveCamera(
        int(source) if source.isdigit() else source,
        camera_id=settings.camera_id,
        size_px=(size[0], size[1]) if size[0] and size[1] else None,
        features=settings.features,
        open_timeout_s=settings.open_timeout_s,
        stale_s=settings.stale_s,
    )


def _device(settings: CameraSettings) -> TriggeredDevice:
    camera_id, name = settings.camera_id, settings.source or ""
    try:
        if settings.kind == "pylon":
            from edge_agent.adapters.pylon_device import PylonDevice

            return PylonDevice(camera_id, name)
        if settings.kind == "genicam" and settings.producer is not None:
            from edge_agent.adapters.gentl_device import GentlDevice

            return GentlDevice(camera_id, settings.producer, name)
        from edge_agent.adapters.aravis_device import AravisDevice

        return AravisDevice(camera_id, name)
    except ImportError as error:
        raise LibraryMissingError(settings.kind) from error
