"""Lines on the disk that cost the writer no wait: two files of fixed size, used in turn.

Both files exist in full from the start. So a line needs no new block of the disk: it is taken
on a full disk, too, and making it durable is one write without a change of the file's metadata.
When one file is nearly full the other one is emptied, off the writer's path; what the emptied one
held is forgotten.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from edge_agent.errors import StorageError

SEGMENT_BYTES = 2 * 2**20
PREPARE_RATIO = 0.75
"""Once a file is this full, the other one is made ready to go on in."""
HEADER = b"S %d\n"
ZEROS = bytes(64 * 1024)


class JournalFile:
    """Append-only lines over two preallocated files; safe to use from several threads.

    Args:
        path: of the first file; the second one stands beside it.
        segment_bytes: size of each.
        sync: makes a file's content durable; tests put a disk of their own in its place.

    Raises:
        StorageError: a file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        sync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._lock = threading.Lock()
        self._files: list[int] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for name in (path, path.with_name(path.name + ".2")):
                self._files.append(os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
            contents = [self._read(file) for file in self._files]
        except OSError as error:
            self.close()
            raise StorageError(f"journal {path} cannot be used: {error.strerror}") from error
        epochs = [_epoch(content) for content in contents]
        self._current = epochs.index(max(epochs))
        self._epoch = max(epochs)
        self._is_spare_ready = epochs[1 - self._current] == 0
        self._is_other_dirty = False
        self._position = len(contents[self._current])
        self._preallocate()
        try:
            if self._epoch == 0:
                self._begin(0)
            else:
                self.append(b"")  # a line that a cut tore must not spoil the next one
        except OSError as error:
            self.close()
            raise StorageError(f"journal {path} cannot be used: {error.strerror}") from error

    def read(self) -> list[bytes]:
        """Every line that is remembered, oldest first; a torn one is among them as it is."""
        with self._lock:
            older, newer = self._files[1 - self._current], self._files[self._current]
            content = self._read(older) + b"\n" + self._read(newer)
        return [line for line in content.split(b"\n") if line]

    def append(self, line: bytes) -> int:
        """Write a line; the process may die then, the machine not yet.

        Returns:
            Number of the file it went to, which rises with each turn-over.

        Raises:
            StorageError: there is no room, or the disk does not take it.
        """
        with self._lock:
            try:
                if self._position + len(line) + 1 > self._segment_bytes:
                    self._turn_over()
                os.pwrite(self._files[self._current], line + b"\n", self._position)
            except OSError as error:
                raise StorageError(f"journal: {error.strerror}") from error
            self._position += len(line) + 1
            return self._epoch

    def sync(self) -> None:
        """Make every line written so far survive a power cut; blocks for as long as it takes.

        Raises:
            OSError: the disk does not do it.
        """
        with self._lock:
            is_other_dirty, self._is_other_dirty = self._is_other_dirty, False
            other, current = self._files[1 - self._current], self._files[self._current]
        if is_other_dirty:
            self._sync(other)
        self._sync(current)

    def prepare(self, *, may_forget: Callable[[int], bool]) -> None:
        """Empty the older file if it will be needed soon; called off the writer's path.

        Args:
            may_forget: whether no line is needed any more that went to a file before this number.

        Raises:
            OSError: the disk does not do it.
        """
        with self._lock:
            is_due = self._position > PREPARE_RATIO * self._segment_bytes
            if self._is_spare_ready or not is_due or not may_forget(self._epoch):
                return
            spare = self._files[1 - self._current]
        for position in range(0, self._segment_bytes, len(ZEROS)):
            os.pwrite(spare, ZEROS[: self._segment_bytes - position], position)
        self._sync(spare)
        with self._lock:
            self._is_spare_ready = True

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            os.close(file)
        self._files = []

    def _turn_over(self) -> None:
        if not self._is_spare_ready:
            raise StorageError("journal: full of verdicts that the outbox does not take")
        self._begin(1 - self._current)

    def _begin(self, number: int) -> None:
        self._epoch += 1
        header = HEADER % self._epoch
        os.pwrite(self._files[number], header, 0)
        self._is_other_dirty = True  # its last lines may not be durable yet
        self._current, self._position = number, len(header)
        self._is_spare_ready = False

    def _read(self, file: int) -> bytes:
        content = os.pread(file, os.fstat(file).st_size, 0)
        return content.rstrip(b"\x00")

    def _preallocate(self) -> None:
        for file in self._files:
            missing = self._segment_bytes - os.fstat(file).st_size
            if missing <= 0:
                continue
            try:
                os.pwrite(file, bytes(missing), os.fstat(file).st_size)
                os.fsync(file)
            except OSError:
                return  # a full disk: lines are taken as far as there is room


def _epoch(content: bytes) -> int:
    first, _, _ = content.partition(b"\n")
    mark, _, number = first.partition(b" ")
    return int(number) if mark == b"S" and number.isdigit() else 0
