"""What a person at the line says against a verdict, brought to where it counts."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select

from cloud import audit
from cloud.db.session import Database
from cloud.db.tables import Image, Result, ReviewStatus
from cloud.errors import ConflictError, NotFoundError
from cloud.results import find_result
from cloud.tally_store import counted_review
from models.contract.messages import Command, CommandKind, HardReason, Verdict
from models.contract.topics import CellAddress, Channel

Publish = Callable[[str, bytes], bool]


class Mistake(StrEnum):
    """In which way a verdict was wrong."""

    FALSE_REJECT = "false_reject"
    MISSED_DEFECT = "missed_defect"


ACTUAL = {Mistake.FALSE_REJECT: Verdict.OK, Mistake.MISSED_DEFECT: Verdict.NOT_OK}
"""What the part really is, by what is said about its verdict."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What became of a contradiction.

    Attributes:
        part_id: The part that was judged wrongly.
        has_picture: Its picture is here and waits for review again.
        is_told: The cell was told; where it still has the picture, it sends it.
        text: The same in a sentence for the person.
    """

    part_id: str
    has_picture: bool
    is_told: bool
    text: str


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

    def report(self, result_id: uuid.UUID, mistake: Mistake, *, actor: str) -> Noted:
        """Take it down. Blocks: call it in a worker thread.

        Raises:
            NotFoundError: there is no such result.
            ConflictError: the verdict already is what the person says.
        """
        actual = ACTUAL[mistake]
        with self._database.write() as session:
            result = find_result(session, result_id)
            if result is None:
                raise NotFoundError("result", result_id)
            if result.verdict is actual:
                raise ConflictError(f"{result.part_id} was judged {actual.upper()} already")
            has_picture = False
            for image in session.scalars(select(Image).where(Image.result_id == result_id)):
                has_picture = True
                with counted_review(session, image):
                    _ask_for_a_look(image)
            audit.record(
                session,
                actor,
                "contradict result",
                result_id,
                kind=mistake,
                part_id=result.part_id,
                said=result.verdict.value,
            )
        is_told = self._tell_cell(result, actual)
        text = _sentence(result.part_id, mistake, has_picture=has_picture, is_told=is_told)
        return Noted(result.part_id, has_picture, is_told, text)

    def _tell_cell(self, result: Result, actual: Verdict) -> bool:
        command = Command(
            command_id=f"cloud-{uuid.uuid4().hex[:16]}",
            kind=CommandKind.REPORT_TRUTH,
            part_id=result.part_id,
            actual=actual,
        )
        topic = CellAddress.parse(result.cell).topic(Channel.CLOUD_COMMAND)
        return self._publish(topic, command.to_bytes())


def _sentence(part_id: str, mistake: Mistake, *, has_picture: bool, is_told: bool) -> str:
    what = f"{part_id} is noted as {mistake.replace('_', ' ')}."
    if has_picture:
        return f"{what} Its picture waits for review."
    if is_told:
        return f"{what} The cell was asked for its picture."
    return f"{what} Its picture was not sent to the cloud, so there is nothing to label."


def _ask_for_a_look(image: Image) -> None:
    if HardReason.CONTRADICTION not in image.hard_reasons:
        # A new list: the column does not see changes inside the old one.
        image.hard_reasons = [*image.hard_reasons, HardReason.CONTRADICTION.value]
    image.status = ReviewStatus.PENDING
