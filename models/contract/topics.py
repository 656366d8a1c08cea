"""MQTT topics: who a cell is and where each message of the contract travels."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from models.contract.model import ContractError

ROOT = "sightline/v1"
INGEST_GROUP = "ingest"
_LEVEL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,31}$")


class Channel(StrEnum):
    """The part of a topic that follows the cell's address."""

    STATE = "state"
    TRIGGER = "plc/trigger"
    ACK = "plc/ack"
    ACQUIRED = "plc/acquired"
    RESULT = "plc/result"
    RESULT_ACK = "plc/result_ack"
    COMMAND = "plc/command"
    COMMAND_ACK = "plc/command_ack"
    EVENT = "up/event"
    IMAGE = "up/image"
    REPORTED = "up/reported"
    INGEST_ACK = "down/ack"
    DESIRED_MODEL = "down/model"
    DESIRED_RECIPE = "down/recipe"
    CLOUD_COMMAND = "down/command"


@dataclass(frozen=True, slots=True, order=True)
class CellAddress:
    """Place of a cell in the plant: ISA-95 site, area, line and cell.

    Raises:
        ContractError: a level has characters that a topic or a path may not carry.
    """

    site: str
    area: str
    line: str
    cell: str

    def __post_init__(self) -> None:
        for name in ("site", "area", "line", "cell"):
            if not _LEVEL.match(getattr(self, name)):
                raise ContractError(
                    f"{name} {getattr(self, name)!r} is not usable in a topic: "
                    "use 1 to 32 letters, digits, '_' or '-'"
                )

    @classmethod
    def parse(cls, path: str) -> Self:
        """Read ``site/area/line/cell``.

        Raises:
            ContractError: it has not four usable levels.
        """
        levels = path.split("/")
        if len(levels) != 4:
            raise ContractError(f"cell {path!r} is not of the form site/area/line/cell")
        return cls(*levels)

    def __str__(self) -> str:
        """The form that ``parse`` reads."""
        return f"{self.site}/{self.area}/{self.line}/{self.cell}"

    def topic(self, channel: Channel) -> str:
        """Full topic of one of the cell's channels."""
        return f"{ROOT}/{self}/{channel}"


def split_topic(topic: str) -> tuple[CellAddress, Channel]:
    """Tell whose topic this is and which channel.

    Raises:
        ContractError: it is not a topic of this contract.
    """
    prefix = f"{ROOT}/"
    levels = topic.removeprefix(prefix).split("/", 4)
    if not topic.startswith(prefix) or len(levels) != 5:
        raise ContractError(f"{topic!r} is not a Sightline topic")
    try:
        channel = Channel(levels[4])
    except ValueError as error:
        raise ContractError(f"{topic!r} ends in no known channel") from error
    return CellAddress(*levels[:4]), channel


def every_cell(channel: Channel, *, group: str | None = None) -> str:
    """Subscription to one channel of every cell; shared among ``group`` where it is given."""
    pattern = f"{ROOT}/+/+/+/+/{channel}"
    return f"$share/{group}/{pattern}" if group else pattern
