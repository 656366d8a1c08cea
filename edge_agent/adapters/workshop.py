"""Where new models are compiled: the first time in a process of its own, then here."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from edge_agent.acceptance import COMPILED, PASSED
from edge_agent.adapters.detector import Loading, load_model
from edge_agent.errors import UpdateError
from edge_agent.model_store import StoredModel
from edge_agent.ports import LoadedModel
from models.contract.messages import ModelPhase

CHECK_TIMEOUT_S = 180.0
Beside = Callable[["subprocess.Popen[str]"], AbstractContextManager[None]]


class ModelWorkshop:
    """Compiles bundles with the settings of this machine.

    Args:
        loading: threads, cache, precision.
        timeout_s: for compiling and the golden pictures together.
        beside: holds a process back while parts are judged, for as long as the context lasts.
        wait_for_pause: called right before the work in this process that takes the longest.
    """

    def __init__(
        self,
        loading: Loading,
        *,
        timeout_s: float = CHECK_TIMEOUT_S,
        beside: Beside = lambda _process: nullcontext(),
        wait_for_pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._loading = loading
        self._timeout_s = timeout_s
        self._beside = beside
        self._wait_for_pause = wait_for_pause
        self._process: subprocess.Popen[str] | None = None

    def check(self, bundle_dir: Path, *, on_phase: Callable[[ModelPhase], None]) -> None:
        """Compile and run the golden pictures where a crash does no harm.

        Raises:
            UpdateError: it crashes, answers otherwise than it did, or takes too long.
        """
        on_phase(ModelPhase.COMPILING)
        last: dict[str, str] = {}
        process = subprocess.Popen(  # noqa: S603 - our own module, a path of our own
            self._command(bundle_dir),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # If we die while it stands still the kernel ends it: a group without a parent.
            process_group=0,
        )
        self._process = process
        timer = threading.Timer(self._timeout_s, process.kill)
        timer.start()
        try:
            with process, self._beside(process):
                for line in process.stdout or ():
                    last = _read(line) or last
                    if last.get("event") == COMPILED:
                        on_phase(ModelPhase.CHECKING)
        finally:
            timer.cancel()
            self._process = None
        if last.get("event") != PASSED:
            raise UpdateError(last.get("cause") or _death(process.returncode))

    def load(self, stored: StoredModel) -> LoadedModel:
        """Compile for use here.

        Raises:
            ModelFault: it does not load.
        """
        return load_model(
            stored.bundle_dir,
            stored.ref,
            loading=self._loading,
            before_compiling=self._wait_for_pause,
        )

    def cancel(self) -> None:
        """End a check that is going on, from another thread; it then counts as failed."""
        if (process := self._process) is not None:
            process.kill()

    def _command(self, bundle_dir: Path) -> list[str]:
        loading = self._loading
        command = [sys.executable, "-m", "edge_agent.acceptance", str(bundle_dir)]
        command += ["--num-threads", str(loading.num_threads), "--precision", loading.precision]
        # The same options: what is compiled there is found in the cache here.
        command += ["--num-requests", str(loading.num_requests)]
        if loading.cache_dir is not None:
            command += ["--cache", str(loading.cache_dir)]
        return command


def _read(line: str) -> dict[str, str] | None:
    try:
        facts = json.loads(line)
    except ValueError:
        return None
    return facts if isinstance(facts, dict) else None


def _death(returncode: int) -> str:
    how = f"by signal {-returncode}" if returncode < 0 else f"with exit code {returncode}"
    return f"the model ended its checking process {how}"
