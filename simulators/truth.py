"""What every simulated part really is: written before the part is inspected, read by the oracle."""

import json
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from models.contract.messages import Verdict
from simulators.errors import SimulatorError


@dataclass(frozen=True, slots=True)
class TruePart:
    """The truth about one part.

    Attributes:
        part_id: Identity, unique over all runs.
        cell: Address of the cell that sees it.
        boxes: Category and COCO ``[x, y, width, height]`` of everything in the picture.
        actual: What a perfect station would say.
    """

    part_id: str
    cell: str
    boxes: tuple[tuple[str, tuple[float, float, float, float]], ...]
    actual: Verdict


class TruthBook:
    """An append-only file of parts; safe to use from several threads.

    Raises:
        SimulatorError: the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._parts: dict[str, TruePart] = {}
        self._per_cell: Counter[str] = Counter()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                self._read()
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise SimulatorError(f"cannot use {path}: {error.strerror or error}") from error

    def add(self, part: TruePart) -> None:
        """Write a part down; on disk when this returns, as far as the process is concerned."""
        with self._lock:
            self._remember(part)
            record = {
                "part_id": part.part_id,
                "cell": part.cell,
                "actual": part.actual.value,
                "boxes": part.boxes,
            }
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()

    def get(self, part_id: str) -> TruePart | None:
        """The part, or None for one that never was."""
        with self._lock:
            return self._parts.get(part_id)

    def count(self, cell: str) -> int:
        """Parts that a cell has had, in all runs."""
        with self._lock:
            return self._per_cell[cell]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def _remember(self, part: TruePart) -> None:
        self._parts[part.part_id] = part
        self._per_cell[part.cell] += 1

    def _read(self) -> None:
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue  # the last line of a run that was killed while it wrote
            boxes = tuple((name, tuple(bbox)) for name, bbox in record["boxes"])
            self._remember(
                TruePart(record["part_id"], record["cell"], boxes, Verdict(record["actual"]))
            )
