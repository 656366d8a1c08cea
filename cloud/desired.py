"""Desired state on its way to the cells: retained messages that mirror the database.

The database says what each cell should run. The publisher compares that with what it has sent
over the present connection and sends the difference; after a reconnect or a restart it sends
everything once more, so a broker that lost its retained messages gets them back.
"""

from typing import Protocol

from sqlalchemy import select

from cloud.db.session import Database
from cloud.db.tables import Cell
from models.contract.messages import DesiredModel
from models.contract.topics import CellAddress, Channel


class Link(Protocol):
    """What the publisher needs of `cloud.broker.BrokerLink`."""

    generation: int
    """Counts connections."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Send at QoS 1; False where there is no connection."""
        ...


class DesiredPublisher:
    """Keeps every cell's ``down/model`` equal to what the database wants; one thread owns it."""

    def __init__(self, database: Database, link: Link) -> None:
        self._database = database
        self._link = link
        self._generation = -1
        self._sent: dict[str, bytes] = {}

    def reconcile(self) -> int:
        """Send what differs; gives the number of messages."""
        if self._generation != self._link.generation:
            self._generation = self._link.generation
            self._sent.clear()
        query = select(Cell.cell, Cell.desired).where(Cell.desired.is_not(None))
        with self._database.read() as session:
            wanted = session.execute(query).all()
        num_sent = 0
        for cell, desired in wanted:
            payload = DesiredModel.model_validate(desired).to_bytes()
            if self._sent.get(cell) == payload:
                continue
            topic = CellAddress.parse(cell).topic(Channel.DESIRED_MODEL)
            if not self._link.publish(topic, payload, retain=True):
                break
            self._sent[cell] = payload
            num_sent += 1
        return num_sent
