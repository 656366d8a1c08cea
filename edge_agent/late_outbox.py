"""An outbox that the disk may not let us open at the start: the line does not wait for it."""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from edge_agent.errors import StorageError
from edge_agent.outbox import SqliteOutbox
from edge_agent.outbox_rows import OutboxCounts, OutboxRow
from edge_agent.ports import Picture, RecordBody
from models.contract.messages import IngestAck, Stream

logger = logging.getLogger(__name__)

NOTHING = OutboxCounts(records=0, images=0, image_bytes=0, images_dropped=0, quarantined=0)


class LateOutbox:
    """Opens an outbox at once, or with one of the appends that follow.

    Until then appending fails, as on a full disk, which the recorder bears; there is nothing to
    send and nothing to let go of.

    Args:
        open_outbox: raises `StorageError` while the disk does not allow it.
    """

    def __init__(self, open_outbox: Callable[[], SqliteOutbox]) -> None:
        self.on_append: Callable[[], None] = lambda: None
        """As the outbox's own."""
        self.on_reserve: Callable[[bool], None] = lambda _is_there: None
        """As the outbox's own."""
        self.before_tidying: Callable[[], None] = lambda: None
        """As the outbox's own."""
        self._open_outbox = open_outbox
        self._lock = threading.Lock()
        self._outbox: SqliteOutbox | None = None
        try:
            self._opened()
        except StorageError as error:
            logger.error("outbox not opened: %s", error)  # noqa: TRY400 - one line says all

    def close(self) -> None:
        """Let go of the file, if there is one."""
        if self._outbox is not None:
            self._outbox.close()

    def append_record(self, body: RecordBody, *, created_at: datetime) -> int:
        """As the outbox."""
        return self._opened().append_record(body, created_at=created_at)

    def append_records(self, records: Sequence[tuple[RecordBody, datetime]]) -> None:
        """As the outbox."""
        self._opened().append_records(records)

    def append_image(self, picture: Picture) -> int | None:
        """As the outbox."""
        return self._opened().append_image(picture)

    def contains_result(self, result_id: UUID) -> bool:
        """As the outbox; raises `StorageError` while there is none."""
        return self._opened().contains_result(result_id)

    def read(
        self, stream: Stream, *, after: int = 0, until: int | None = None, limit: int = 100
    ) -> list[OutboxRow]:
        """As the outbox."""
        known = self._outbox
        return known.read(stream, after=after, until=until, limit=limit) if known else []

    def picture(self, row: OutboxRow) -> bytes:
        """As the outbox."""
        return self._opened().picture(row)

    def newest_row_id(self) -> int:
        """As the outbox."""
        return self._outbox.newest_row_id() if self._outbox else 0

    def settle(self, *acks: IngestAck) -> int:
        """As the outbox."""
        return self._outbox.settle(*acks) if self._outbox else 0

    def num_records(self) -> int:
        """As the outbox."""
        return self._outbox.num_records() if self._outbox else 0

    def num_images(self) -> int:
        """As the outbox."""
        return self._outbox.num_images() if self._outbox else 0

    def counts(self) -> OutboxCounts:
        """As the outbox."""
        return self._outbox.counts() if self._outbox else NOTHING

    def _tell_append(self) -> None:
        self.on_append()

    def _tell_reserve(self, is_there: bool) -> None:
        self.on_reserve(is_there)

    def _wait_to_tidy(self) -> None:
        self.before_tidying()

    def _opened(self) -> SqliteOutbox:
        with self._lock:
            if self._outbox is None:
                outbox = self._open_outbox()
                outbox.on_append, outbox.on_reserve = self._tell_append, self._tell_reserve
                outbox.before_tidying = self._wait_to_tidy
                self._outbox = outbox
            return self._outbox
