"""What an operator says at the line, brought to where it counts."""

import logging
import uuid
from collections.abc import Callable

from sqlalchemy import select

from cloud import audit
from cloud.db.session import Database
from cloud.db.tables import Image, Result, ReviewStatus
from cloud.errors import NotFoundError
from cloud.results import find_result
from models.contract.messages import Command, CommandKind, HardReason, Verdict
from models.contract.topics import CellAddress, Channel

log = logging.getLogger(__name__)

Publish = Callable[[str, bytes], bool]

ACTUAL = {"false_reject": Verdict.OK, "missed_defect": Verdict.NOT_OK}
"""What the part really is, by what the operator says about its verdict."""


class Contradictions:
    """Takes down that a person disagrees with a verdict.

    The cell is told, so that the truth goes through its own records into the statistics and it
    sends the picture where it still has it. A picture that is here already goes back into review.

    Args:
        database: Holds results, pictures and the audit log.
        publish: Sends a message to a topic; False: the cell cannot be told now.
    """

    def __init__(self, database: Database, publish: Publish) -> None:
        self._database = database
        self._publish = publish

    def report(self, result_id: uuid.UUID, *, kind: str, actor: str) -> str:
        """Take it down; gives a sentence for the person. Blocks: call it in a worker thread.

        Args:
            result_id: The result that is wrong.
            kind: ``false_reject`` or ``missed_defect``.
            actor: Who says so.

        Raises:
            NotFoundError: there is no such result.
        """
        actual = ACTUAL[kind]
        with self._database.write() as session:
            result = find_result(session, result_id)
            if result is None:
                raise NotFoundError("result", result_id)
            has_picture = False
            for image in session.scalars(select(Image).where(Image.result_id == result_id)):
                has_picture = True
                _ask_for_a_look(image)
            audit.record(
                session,
                actor,
                "contradict result",
                result_id,
                kind=kind,
                part_id=result.part_id,
                said=result.verdict.value,
            )
        is_told = self._tell_cell(result, actual)
        what = f"{result.part_id} is noted as {kind.replace('_', ' ')}."
        if has_picture:
            return f"{what} Its picture waits for review."
        if is_told:
            return f"{what} The cell was asked for its picture."
        return f"{what} Its picture was not sent to the cloud, so there is nothing to label."

    def _tell_cell(self, result: Result, actual: Verdict) -> bool:
        command = Command(
            command_id=f"cloud-{uuid.uuid4().hex[:16]}",
            kind=CommandKind.REPORT_TRUTH,
            part_id=result.part_id,
            actual=actual,
        )
        topic = CellAddress.parse(result.cell).topic(Channel.CLOUD_COMMAND)
        return self._publish(topic, command.to_bytes())


def _ask_for_a_look(image: Image) -> None:
    if HardReason.CONTRADICTION not in image.hard_reasons:
        # A new list: the column does not see changes inside the old one.
        image.hard_reasons = [*image.hard_reasons, HardReason.CONTRADICTION.value]
    image.status = ReviewStatus.PENDING
