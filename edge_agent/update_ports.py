"""What the updater needs from the world, and what it tells about itself."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_agent.model_store import StoredModel
from edge_agent.ports import CycleOutcome, LoadedModel
from models.contract.bundle import ModelRef
from models.contract.messages import DesiredModel, HardReason, ModelPhase


class ReleaseSource(Protocol):
    """Where releases come from."""

    def fetch(self, ref: ModelRef, *, into: Path) -> Path:
        """Download, verify and unpack a release.

        Raises:
            ReleaseUnavailableError: not now.
            UpdateError: never like this.
        """
        ...

    def confirm(self, ref: ModelRef) -> None:
        """Check that the release stands for its bundle, without downloading it; same errors."""
        ...

    def cancel(self) -> None:
        """Break off whatever is being fetched, now and from now on: the agent stops."""
        ...


class Workshop(Protocol):
    """Where models are compiled."""

    def check(self, bundle_dir: Path, *, on_phase: Callable[[ModelPhase], None]) -> None:
        """Compile and run the golden pictures where a crash does no harm.

        Raises:
            UpdateError: it crashes, answers otherwise than it did, or takes too long.
        """
        ...

    def load(self, stored: StoredModel) -> LoadedModel:
        """Compile for use here.

        Raises:
            EdgeAgentError: it does not load.
        """
        ...

    def cancel(self) -> None:
        """End a check that is going on: the agent stops."""
        ...


@dataclass(frozen=True, slots=True)
class UpdateStatus:
    """How far the cell has come with what the cloud wants."""

    phase: ModelPhase = ModelPhase.ACTIVE
    desired: DesiredModel | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class UpdaterHooks:
    """Whom the updater tells; every call only enqueues.

    Attributes:
        on_change: the status is another one.
        note: something for the record: a code and a text.
        keep_picture: a picture on which two models disagree.
        give_way: waits while a part is judged; called before each look of a second model.
        after_verdict: waits until a verdict has just gone out; called before a model is let go, for
            which OpenVINO keeps the interpreter some 10 ms, and before files are synced.
    """

    on_change: Callable[[], None] = lambda: None
    note: Callable[[str, str], None] = lambda _code, _text: None
    keep_picture: Callable[[CycleOutcome, HardReason], None] = lambda _cycle, _reason: None
    give_way: Callable[[], None] = lambda: None
    after_verdict: Callable[[], None] = lambda: None
