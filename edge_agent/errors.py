"""What can go wrong on the edge, grouped by what the station does about it."""


class EdgeAgentError(Exception):
    """Root of the edge agent's errors; the text is one line for a person."""


class ConfigurationError(EdgeAgentError):
    """The agent cannot start like this: say what to change and exit with 2."""


class TransientError(EdgeAgentError):
    """This part is lost, the next may work: answer NOT_DECIDABLE and stay Ready."""


class StationFault(EdgeAgentError):  # noqa: N818 - the trade says fault
    """The station cannot judge parts until something is repaired: drop Ready, raise an alarm."""


class GrabTimeoutError(TransientError):
    """The camera delivered no frame in time."""

    def __init__(self, camera_id: str, timeout_s: float) -> None:
        super().__init__(f"camera {camera_id}: no frame within {timeout_s:.3g} s")
        self.camera_id = camera_id
        self.timeout_s = timeout_s


class BrokenFrameError(TransientError):
    """The camera delivered something that is not a picture."""

    def __init__(self, camera_id: str, cause: str) -> None:
        super().__init__(f"camera {camera_id}: {cause}")
        self.camera_id = camera_id


class CameraFault(StationFault):
    """The camera is gone and must be opened again."""

    def __init__(self, camera_id: str, cause: str) -> None:
        super().__init__(f"camera {camera_id}: {cause}")
        self.camera_id = camera_id
        self.cause = cause


class FeatureRefusedError(CameraFault):
    """The camera is there, but does not take a setting: somebody has to correct it."""


class ModelFault(StationFault):
    """The model answers nothing that can be trusted."""


class StorageError(EdgeAgentError):
    """The disk does not take what must be kept; the caller tries again."""


class UpdateError(EdgeAgentError):
    """A new model cannot be taken over; the running one goes on."""


class SwapError(UpdateError):
    """The inspection thread did not take the new model over."""


class OverloadError(EdgeAgentError):
    """More work is waiting than may wait: come back after ``retry_after_s``."""

    def __init__(self, what: str, retry_after_s: float = 1.0) -> None:
        super().__init__(f"{what}: too much is waiting")
        self.retry_after_s = retry_after_s


class NotReadyError(EdgeAgentError):
    """The station does not inspect at the moment; the text says why."""


class UnknownNameError(EdgeAgentError):
    """Somebody asks for a recipe or view that is not here (HTTP 404)."""


class ReleaseUnavailableError(UpdateError):
    """The release cannot be had now (no network, server error): try again later."""


class UnreadablePictureError(EdgeAgentError):
    """What somebody sent is no picture that may be decoded (HTTP 422)."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"picture cannot be used: {cause}")
