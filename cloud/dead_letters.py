"""Messages that could never be taken: to look at, to try again, to throw away."""

from collections.abc import Sequence

from sqlalchemy import select

from cloud import audit
from cloud.arrivals import Delivery, RefusedArrival, read_delivery
from cloud.db.session import Database
from cloud.db.tables import DeadLetter
from cloud.errors import ConflictError, NotFoundError
from cloud.image_store import ImageStore
from cloud.ingest_store import IngestStore


class DeadLetters:
    """The messages that were set aside, and what people do with them.

    Args:
        database: Holds them, and the audit log.
        images: Where a picture goes that is taken after all.
    """

    def __init__(self, database: Database, images: ImageStore) -> None:
        self._database = database
        self._store = IngestStore(database, images)

    def recent(
        self, *, limit: int, before: int | None = None, cell: str | None = None
    ) -> Sequence[DeadLetter]:
        """Newest first; ``before`` is the id that the page before ended with."""
        query = select(DeadLetter).order_by(DeadLetter.id.desc()).limit(limit)
        if before is not None:
            query = query.where(DeadLetter.id < before)
        if cell is not None:
            query = query.where(DeadLetter.cell == cell)
        with self._database.read() as session:
            return session.scalars(query).all()

    def get(self, letter_id: int) -> DeadLetter:
        """One message with what was kept of it.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.read() as session:
            letter = session.get(DeadLetter, letter_id)
        if letter is None:
            raise NotFoundError("dead letter", letter_id)
        return letter

    def retry(self, letter_id: int, *, actor: str) -> None:
        """Take a message after all, for instance because the server is a newer one now.

        Raises:
            NotFoundError: there is no such message.
            ConflictError: it was too long to be kept whole, is a picture whose header is gone, or
                still cannot be taken.
        """
        letter = self.get(letter_id)
        if len(letter.payload) != letter.num_bytes:
            raise ConflictError("only its beginning was kept: it cannot be tried again")
        arrival = read_delivery(Delivery(letter.topic, letter.payload, (), letter.received_at))
        if isinstance(arrival, RefusedArrival):
            raise ConflictError(f"it still cannot be taken: {arrival.reason}")
        if arrival is not None:
            [taken] = self._store.write([arrival])
            if isinstance(taken, RefusedArrival):
                raise ConflictError(f"it still cannot be taken: {taken.reason}")
        self._remove(letter_id, actor, "take dead letter")

    def dismiss(self, letter_id: int, *, actor: str) -> None:
        """Throw a message away.

        Raises:
            NotFoundError: there is no such message.
        """
        self._remove(letter_id, actor, "dismiss dead letter")

    def _remove(self, letter_id: int, actor: str, deed: str) -> None:
        with self._database.write() as session:
            letter = session.get(DeadLetter, letter_id)
            if letter is None:
                raise NotFoundError("dead letter", letter_id)
            session.delete(letter)
            facts = {"topic": letter.topic[:200], "reason": letter.reason[:200]}
            audit.record(session, actor, deed, letter_id, **facts)
