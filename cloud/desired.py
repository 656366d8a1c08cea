"""Desired state on its way to the cells: retained messages that mirror the database.

The database says what each cell should run. The publisher compares that with what it has sent
over the present connection and sends the difference; after a reconnect or a restart it sends
everything once more, so a broker that lost its retained messages gets them back.
"""

from typing import Protocol

from sqlalchemy import func, select

from cloud.db.recipe_tables import PushedRecipe
from cloud.db.session import Database
from cloud.db.tables import Cell
from models.contract.messages import DesiredModel, DesiredRecipe
from models.contract.recipe import Recipe
from models.contract.topics import CellAddress, Channel


class Link(Protocol):
    """What the publisher needs of `cloud.broker.BrokerLink`."""

    generation: int
    """Counts connections."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Send at QoS 1; False where there is no connection."""
        ...


class DesiredPublisher:
    """Keeps every cell's ``down/model`` and ``down/recipe`` equal to what the database wants.

    Of each recipe a cell gets the newest version; the one sent last stays retained. One thread
    owns the publisher.
    """

    def __init__(self, database: Database, link: Link) -> None:
        self._database = database
        self._link = link
        self._generation = -1
        self._sent: dict[str, bytes] = {}
        self._last_recipe = 0

    def reconcile(self) -> int:
        """Send what differs; gives the number of messages."""
        if self._generation != self._link.generation:
            self._generation = self._link.generation
            self._sent.clear()
            self._last_recipe = 0
        return self._send_models() + self._send_recipes()

    def _send_models(self) -> int:
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

    def _send_recipes(self) -> int:
        newest = (
            select(func.max(PushedRecipe.id))
            .group_by(PushedRecipe.cell, PushedRecipe.recipe_id)
            .scalar_subquery()
        )
        query = (
            select(PushedRecipe)
            .where(PushedRecipe.id.in_(newest), PushedRecipe.id > self._last_recipe)
            .order_by(PushedRecipe.id)
        )
        with self._database.read() as session:
            rows = session.scalars(query).all()
        num_sent = 0
        for row in rows:
            recipe = Recipe.model_validate(row.recipe)
            payload = DesiredRecipe(recipe=recipe, issued_at=row.issued_at).to_bytes()
            topic = CellAddress.parse(row.cell).topic(Channel.DESIRED_RECIPE)
            if not self._link.publish(topic, payload, retain=True):
                break
            self._last_recipe = row.id
            num_sent += 1
        return num_sent
