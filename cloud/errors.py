"""What can go wrong in the cloud, rooted by whose fault it is and what the process does then."""


class CloudError(Exception):
    """Root of every error of this package; the text is one line for a person."""


class ConfigurationError(CloudError):
    """The settings or the installation are wrong: refuse to start and say what to change."""


class RequestError(CloudError):
    """The caller asked for something that cannot be; answered as a problem of ``status``."""

    status = 400
    slug = "bad-request"
    title = "Bad request"


class NotSignedInError(RequestError):
    """Nobody is signed in, or the token or password is wrong."""

    status = 401
    slug = "not-signed-in"
    title = "Not signed in"


class NotAllowedError(RequestError):
    """The caller's role does not allow this."""

    status = 403
    slug = "not-allowed"
    title = "Not allowed"


class NotFoundError(RequestError):
    """The thing asked for does not exist."""

    status = 404
    slug = "not-found"
    title = "Not found"

    def __init__(self, noun: str, identity: object) -> None:
        super().__init__(f"there is no {noun} {identity}")
        self.noun = noun
        self.identity = identity


class ConflictError(RequestError):
    """The state of things does not allow this now; reading it again shows why."""

    status = 409
    slug = "conflict"
    title = "Conflict"


class NothingReleasedError(ConflictError):
    """There is no released model to judge pictures with."""

    slug = "nothing-released"
    title = "No model is released"

    def __init__(self) -> None:
        super().__init__(
            "there is no model to judge with: release one on the page Models or with "
            "`sightline-cloud release BUNDLE --rollout`, then send the picture again"
        )


class InvalidError(RequestError):
    """The request is well formed, but breaks a rule."""

    status = 422
    slug = "invalid"
    title = "Invalid"


class UnsupportedError(RequestError):
    """The body is of a kind that is not read here."""

    status = 415
    slug = "unsupported-media-type"
    title = "Unsupported media type"


class BusyError(RequestError):
    """Too many requests; try again later."""

    status = 429
    slug = "too-many-requests"
    title = "Too many requests"


class UnavailableError(CloudError):
    """Database, storage or broker cannot be used now; trying again later may work."""


class StorageFullError(UnavailableError):
    """There is no room for another picture or row; nothing was acknowledged."""


class ImageRefusedError(CloudError):
    """A picture that can never be taken: broken, too large, or not what its header says."""
