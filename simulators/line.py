"""A line of simulated cells that run side by side."""

import threading
from collections.abc import Callable, Sequence

from simulators.cell import SimulatedCell
from simulators.errors import SimulatorError

JOIN_TIMEOUT_S = 15.0


class Line:
    """Runs several cells, each from a thread of its own.

    Args:
        cells: The cells; their PLCs are started and stopped here.
        on_failure: Told when a cell's thread ends in an error, on that thread.
    """

    def __init__(
        self,
        cells: Sequence[SimulatedCell],
        *,
        on_failure: Callable[[SimulatorError], None] = lambda _: None,
    ) -> None:
        self.cells = tuple(cells)
        self._on_failure = on_failure
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, *, num_parts: int | None = None) -> None:
        """Begin; each cell stops by itself after ``num_parts``.

        Raises:
            SimulatorError: a cell's broker does not answer.
        """
        for cell in self.cells:
            cell.plc.start()
        for cell in self.cells:
            thread = threading.Thread(
                target=self._run, args=(cell, num_parts), name=f"cell-{cell.plc.cell}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait for all cells to finish; whether they have."""
        for thread in self._threads:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    def stop_triggers(self) -> None:
        """Let the parts under way finish and send no more; the PLCs stay connected."""
        self._stop.set()
        self.wait(JOIN_TIMEOUT_S)

    def stop(self) -> None:
        """Stop triggers and disconnect the PLCs."""
        self.stop_triggers()
        for cell in self.cells:
            cell.plc.stop()

    def _run(self, cell: SimulatedCell, num_parts: int | None) -> None:
        try:
            cell.run(self._stop, num_parts=num_parts)
        except SimulatorError as error:
            self._on_failure(error)
