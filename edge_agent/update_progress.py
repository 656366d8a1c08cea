"""How far an update has come: whom that is told, and when it is tried again."""

import logging

from edge_agent.ports import Clock
from edge_agent.token_bucket import NS_PER_S
from edge_agent.update_ports import UpdaterHooks, UpdateStatus
from models.contract.messages import DesiredModel, ModelPhase

logger = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
RETRY_CAP_S = 60.0


class UpdateProgress:
    """Status and retries of the updater; only ``status`` is for other threads.

    Args:
        desired: what was wanted before the restart.
        hooks: whom to tell.
        clock: of retries.
    """

    def __init__(self, desired: DesiredModel | None, *, hooks: UpdaterHooks, clock: Clock) -> None:
        self.status = UpdateStatus(desired=desired)
        self._hooks = hooks
        self._clock = clock
        self._retry_ns: int | None = None
        self._num_retries = 0

    @property
    def is_retry_due(self) -> bool:
        """Whether the last wish is to be tried again by now."""
        return self._retry_ns is not None and self._clock.monotonic_ns() >= self._retry_ns

    def begin(self, *, is_new: bool) -> None:
        """A wish is taken up, for the first time or again."""
        if is_new:
            self._num_retries = 0
        self._retry_ns = None

    def show(self, desired: DesiredModel, phase: ModelPhase, error: str = "") -> None:
        """The update is in this phase."""
        status = UpdateStatus(phase, desired, error[:500])
        if status == self.status:
            return
        self.status = status
        logger.info("update", extra={"phase": str(phase), "release": desired.model.release})
        self._hooks.on_change()

    def note(self, desired: DesiredModel, text: str) -> None:
        """Put what was compared into the record."""
        self._hooks.note("model_compared", f"release {desired.model.release}: {text}")

    def succeed(self, desired: DesiredModel) -> None:
        """The model judges, and stays."""
        self._num_retries = 0
        self._hooks.note("model_active", f"release {desired.model.release}")
        self.show(desired, ModelPhase.ACTIVE)

    def fail(self, desired: DesiredModel, cause: str, *, retry_s: float | None = None) -> None:
        """It was not taken; tried again by itself after ``retry_s``, if that is given."""
        if cause != self.status.error:
            self._hooks.note("model_refused", f"release {desired.model.release}: {cause}")
        self.show(desired, ModelPhase.FAILED, cause)
        if retry_s is not None:
            self._retry_after(retry_s)

    def wait_for_server(self, desired: DesiredModel, cause: str) -> None:
        """It cannot be fetched now; tried again after a wait that grows.

        Not a failure: the rollout waits for this cell while the network is away.
        """
        self.show(desired, ModelPhase.DOWNLOADING, cause)
        self._retry_after(min(FIRST_RETRY_S * 2**self._num_retries, RETRY_CAP_S))
        self._num_retries = min(self._num_retries + 1, 10)

    def _retry_after(self, seconds: float) -> None:
        self._retry_ns = self._clock.monotonic_ns() + int(seconds * NS_PER_S)
