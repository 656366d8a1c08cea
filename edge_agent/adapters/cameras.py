"""The camera that the settings name."""

from edge_agent.adapters.folder_camera import CycleCamera, SpoolCamera
from edge_agent.adapters.opencv_camera import LiveCamera, VideoCamera
from edge_agent.errors import ConfigurationError
from edge_agent.ports import Camera
from edge_agent.sections import CameraSettings


def make_camera(settings: CameraSettings, *, is_simulated: bool = False) -> Camera:
    """Build the camera; it is opened later.

    Raises:
        ConfigurationError: the settings name no camera.
    """
    camera_id, path = settings.camera_id, settings.path
    if settings.kind == "opencv":
        source, size = settings.source, (settings.width_px, settings.height_px)
        return LiveCamera(
            int(source) if source.isdigit() else source,
            camera_id=camera_id,
            size_px=(size[0], size[1]) if size[0] and size[1] else None,
            open_timeout_s=settings.open_timeout_s,
        )
    if path is None:
        raise ConfigurationError("camera.path is missing")
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
