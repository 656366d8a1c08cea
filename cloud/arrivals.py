"""What arrives from the cells, read and checked; knows neither the broker nor the database."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from cloud.errors import ImageRefusedError
from cloud.pictures import PictureInfo, check_picture
from models.contract.messages import (
    MAX_ACKED,
    MAX_MESSAGE_BYTES,
    Event,
    ImageHeader,
    IngestAck,
    Refusal,
    Reported,
    StationStatus,
    Stream,
)
from models.contract.model import ContractError
from models.contract.topics import CellAddress, Channel, split_topic

MAX_SEQUENCE = 2**53
MAX_CAUSE_LENGTH = 200


class Delivery(NamedTuple):
    """A message as the broker delivered it."""

    topic: str
    payload: bytes
    properties: tuple[tuple[str, str], ...]
    received_at: datetime


class Key(NamedTuple):
    """What a cell must be told once its row is safe."""

    cell: CellAddress
    stream: Stream
    boot_id: UUID
    seq: int


class RecordArrival(NamedTuple):
    """A record of the records stream."""

    key: Key
    event: Event
    delivery: Delivery


class ImageArrival(NamedTuple):
    """A picture that passed every check."""

    key: Key
    header: ImageHeader
    delivery: Delivery


class StatusArrival(NamedTuple):
    """The retained state of a cell's agent."""

    cell: CellAddress
    status: StationStatus
    delivery: Delivery


class ReportedArrival(NamedTuple):
    """What a cell reports to run."""

    cell: CellAddress
    reported: Reported
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class RefusedArrival:
    """Something that can never be taken; the cell is told where it can be named."""

    reason: str
    delivery: Delivery
    cell: CellAddress | None = None
    key: Key | None = None

    @property
    def digest(self) -> str:
        """The same message twice has the same digest."""
        text = hashlib.sha256(self.delivery.topic.encode())
        text.update(b"\0" + self.delivery.payload)
        return text.hexdigest()


Arrival = RecordArrival | ImageArrival | StatusArrival | ReportedArrival | RefusedArrival


def read_delivery(delivery: Delivery, *, max_pixels: int = 50_000_000) -> Arrival | None:
    """Read a message; whatever is wrong with it becomes a `RefusedArrival`.

    None stands for a retained message that was cleared: nothing to keep.
    """
    try:
        cell, channel, _ = _sender(delivery.topic)
    except ContractError as error:
        return RefusedArrival(str(error), delivery)
    if not delivery.payload and channel in {Channel.STATE, Channel.REPORTED}:
        return None
    try:
        return _read(cell, channel, delivery, max_pixels)
    except (ContractError, ImageRefusedError) as error:
        return RefusedArrival(str(error), delivery, cell, _key_of(cell, channel, delivery))


@lru_cache(maxsize=4_096)
def _sender(topic: str) -> tuple[CellAddress, Channel, str]:
    """The cell whose topic it is, the channel, and the cell's path; the same few come for ever."""
    cell, channel = split_topic(topic)
    return cell, channel, str(cell)


def _read(cell: CellAddress, channel: Channel, delivery: Delivery, max_pixels: int) -> Arrival:
    if channel is Channel.EVENT:
        event = Event.from_bytes(delivery.payload)
        _check_address(delivery, event.cell)
        return RecordArrival(Key(cell, Stream.RECORDS, event.boot_id, event.seq), event, delivery)
    if channel is Channel.IMAGE:
        header = ImageHeader.from_user_properties(delivery.properties)
        _check_address(delivery, header.cell)
        _check_image(delivery.payload, header, max_pixels)
        return ImageArrival(Key(cell, Stream.IMAGES, header.boot_id, header.seq), header, delivery)
    if channel is Channel.STATE:
        status = StationStatus.from_bytes(delivery.payload)
        _check_address(delivery, status.cell)
        return StatusArrival(cell, status, delivery)
    if channel is Channel.REPORTED:
        reported = Reported.from_bytes(delivery.payload)
        _check_address(delivery, reported.cell)
        return ReportedArrival(cell, reported, delivery)
    raise ContractError(f"nothing is read from the channel {channel}")


def _check_address(delivery: Delivery, said: str) -> None:
    # The broker's ACL guards topics; a cell must not write in another's name inside the body.
    _, _, path = _sender(delivery.topic)
    if said != path:
        raise ContractError(f"a message of {said} came on the topic of {path}")


def _check_image(content: bytes, header: ImageHeader, max_pixels: int) -> None:
    if hashlib.sha256(content).hexdigest() != header.sha256:
        raise ImageRefusedError("the picture does not have the SHA-256 that its header says")
    expected = PictureInfo(header.content_type, header.width_px, header.height_px)
    check_picture(content, expected, max_pixels=max_pixels)


def _key_of(cell: CellAddress, channel: Channel, delivery: Delivery) -> Key | None:
    """Identity of a message that is otherwise unreadable, as far as it can be told."""
    if channel is Channel.IMAGE:
        stream, fields = Stream.IMAGES, dict(delivery.properties)
    elif channel is Channel.EVENT and len(delivery.payload) <= MAX_MESSAGE_BYTES:
        stream, fields = Stream.RECORDS, _lenient(delivery.payload)
    else:
        return None
    try:
        boot_id, seq = UUID(str(fields["boot_id"])), int(str(fields["seq"]))
    except (KeyError, ValueError):
        return None
    return Key(cell, stream, boot_id, seq) if 1 <= seq <= MAX_SEQUENCE else None


def _lenient(payload: bytes) -> dict[str, str]:
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {name: document[name] for name in ("boot_id", "seq") if name in document}


def acknowledgements(arrivals: Iterable[Arrival]) -> list[tuple[CellAddress, IngestAck]]:
    """What to tell the cells once these are committed: few messages, none over the limit."""
    seqs: dict[tuple[CellAddress, Stream, UUID], list[int | Refusal]] = defaultdict(list)
    for arrival in arrivals:
        if isinstance(arrival, StatusArrival | ReportedArrival) or arrival.key is None:
            continue
        key = arrival.key
        told: int | Refusal = key.seq
        if isinstance(arrival, RefusedArrival):
            told = Refusal(seq=key.seq, cause=arrival.reason[:MAX_CAUSE_LENGTH])
        seqs[key.cell, key.stream, key.boot_id].append(told)
    return [
        (cell, _acknowledge(stream, boot_id, told[start : start + MAX_ACKED]))
        for (cell, stream, boot_id), told in seqs.items()
        for start in range(0, len(told), MAX_ACKED)
    ]


def _acknowledge(stream: Stream, boot_id: UUID, told: Sequence[int | Refusal]) -> IngestAck:
    return IngestAck(
        stream=stream,
        boot_id=boot_id,
        seqs=tuple(item for item in told if isinstance(item, int)),
        refused=tuple(item for item in told if isinstance(item, Refusal)),
    )
