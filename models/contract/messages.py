"""Every message between PLC, cell and cloud, as it travels over MQTT v5.

JSON bodies, UTF-8, one message a publish. Pictures are the exception: they travel as raw JPEG or
PNG with their metadata in MQTT user properties (`ImageHeader`).
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from models.contract.bundle import ModelRef, Sha256
from models.contract.model import ContractError, Frozen, first_fault
from models.contract.recipe import Recipe

MAX_MESSAGE_BYTES = 1_000_000
"""Largest JSON body that is sent or read; the broker's limit must be at least this."""
MAX_IMAGE_BYTES = 16_000_000
MAX_ACKED = 1_000

Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
CellPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]+(/[A-Za-z0-9_\-]+){3}$", max_length=131)]
Score = Annotated[float, Field(ge=0.0, le=1.0)]
Milliseconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Sequence = Annotated[int, Field(ge=1, le=2**53)]


class Message(Frozen):
    """Something sent over the wire."""

    schema_version: str = Field(default="1.0", pattern=r"^1\.\d+$")

    def to_bytes(self) -> bytes:
        """The bytes on the wire; fields without a value are left out."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """Read what came from the wire.

        Raises:
            ContractError: it is too large, not JSON, or breaks a rule; one line.
        """
        if len(payload) > MAX_MESSAGE_BYTES:
            raise ContractError(f"{cls.__name__} of {len(payload)} bytes is over the limit")
        try:
            return cls.model_validate_json(payload)
        except ValidationError as error:
            raise ContractError(f"{cls.__name__}: {first_fault(error)}") from error


# --- verdict ---------------------------------------------------------------------------------


class Verdict(StrEnum):
    """Judgement on one part; names follow ResultEvaluationEnum of OPC 40001-101."""

    OK = "ok"
    NOT_OK = "not_ok"
    NOT_DECIDABLE = "not_decidable"


class ResultState(StrEnum):
    """How the job ended; apart from what it found (OPC 40100-1)."""

    COMPLETED = "completed"
    PROCESSING = "processing"
    ABORTED = "aborted"
    FAILED = "failed"


class ReasonCode(StrEnum):
    """Why a part is not OK."""

    MISSING_OBJECT = "missing_object"
    DEFECT = "defect"
    NO_FRAME = "no_frame"
    DEADLINE = "deadline"
    BLACK = "black"
    OVEREXPOSED = "overexposed"
    BLURRED = "blurred"
    FROZEN = "frozen"
    WRONG_SIZE = "wrong_size"
    MODEL_FAULT = "model_fault"
    CAMERA_FAULT = "camera_fault"
    MISSING_VIEW = "missing_view"


class Reason(Frozen):
    """One cause of a verdict, in words that an operator understands."""

    code: ReasonCode
    category: str | None = None
    object_name: str | None = None
    """Which expected object is missing, by its name in the recipe."""
    text: str = Field(default="", max_length=200)


class DetectionRecord(Frozen):
    """One box that the detector found."""

    category: str
    score: Score
    bbox: tuple[float, float, float, float]
    """COCO order: x, y, width, height in pixels of the full picture."""


# --- PLC -------------------------------------------------------------------------------------


class Trigger(Message):
    """PLC → cell: a part is in place, inspect it."""

    trigger_id: Identifier
    part_id: Identifier
    recipe_id: Identifier
    view: Identifier = "main"
    deadline_ms: int | None = Field(default=None, ge=10, le=60_000)
    """Time for the verdict, counted from the trigger's arrival; the recipe's when not given."""


class Rejection(StrEnum):
    """Why a trigger starts no job."""

    BUSY = "busy"
    NOT_READY = "not_ready"
    RESULT_PENDING = "result_pending"
    UNKNOWN_RECIPE = "unknown_recipe"
    UNKNOWN_VIEW = "unknown_view"
    MALFORMED = "malformed"
    ID_REUSED = "id_reused"
    """The trigger_id stands for another part, view or recipe already."""


class TriggerAck(Message):
    """Cell → PLC: the trigger was taken, or why not."""

    trigger_id: Identifier
    acquisition_id: int | None = Field(default=None, ge=1)
    rejection: Rejection | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.acquisition_id is None) == (self.rejection is None):
            raise ValueError("give either acquisition_id or rejection")
        return self


class Acquired(Message):
    """Cell → PLC: the picture is taken, the robot may move (acquisition_done)."""

    trigger_id: Identifier
    acquisition_id: int = Field(ge=1)


class PlcResult(Message):
    """Cell → PLC: the verdict, resent until it is acknowledged."""

    trigger_id: Identifier
    result_id: UUID
    job_id: UUID
    part_id: Identifier
    view: Identifier
    verdict: Verdict
    is_partial: bool = False
    """True while other views of the part are still to come; the last one joins them all."""
    result_state: ResultState = ResultState.COMPLETED
    reasons: tuple[Reason, ...] = Field(default=(), max_length=100)
    recipe_id: Identifier
    recipe_version: int = Field(ge=0)
    model: ModelRef | None = None
    processing_ms: Milliseconds


class ResultAck(Message):
    """PLC → cell: the result was read (results_ack)."""

    trigger_id: Identifier


class CommandKind(StrEnum):
    """What a PLC may ask apart from an inspection."""

    SELECT_RECIPE = "select_recipe"
    START = "start"
    STOP = "stop"
    RESET = "reset"
    REPORT_TRUTH = "report_truth"


class Command(Message):
    """PLC → cell, or cloud → cell: change something."""

    command_id: Identifier
    kind: CommandKind
    recipe_id: Identifier | None = None
    part_id: Identifier | None = None
    actual: Verdict | None = None
    """With REPORT_TRUTH: what a downstream station or a person found the part to be."""

    @model_validator(mode="after")
    def _has_its_arguments(self) -> Self:
        if self.kind is CommandKind.SELECT_RECIPE and self.recipe_id is None:
            raise ValueError("select_recipe needs recipe_id")
        if self.kind is CommandKind.REPORT_TRUTH and None in (self.part_id, self.actual):
            raise ValueError("report_truth needs part_id and actual")
        return self


class CommandAck(Message):
    """Cell → sender: whether the command was carried out."""

    command_id: Identifier
    accepted: bool
    text: str = Field(default="", max_length=200)


class Connection(StrEnum):
    """Whether the cell's agent is there; ``offline`` is what its last will says."""

    ONLINE = "online"
    STOPPED = "stopped"
    OFFLINE = "offline"


class StationState(StrEnum):
    """States of OPC 40100-1 that the station takes."""

    PREOPERATIONAL = "preoperational"
    INITIALIZED = "initialized"
    READY = "ready"
    SINGLE_EXECUTION = "single_execution"
    CONTINUOUS_EXECUTION = "continuous_execution"
    HALTED = "halted"
    ERROR = "error"


class Alarm(Frozen):
    """Something a person must see to."""

    code: Identifier
    cause: str = Field(max_length=200)
    action: str = Field(max_length=200)


class StationStatus(Message):
    """Cell → everyone, retained: who is there, in which state; on change and as heartbeat."""

    cell: CellPath
    connection: Connection
    station_state: StationState = StationState.PREOPERATIONAL
    boot_id: UUID | None = None
    heartbeat: int = Field(default=0, ge=0)
    """Rises by one with each publish; a PLC watches it for change."""
    recipe_id: Identifier | None = None
    recipe_version: int | None = None
    model: ModelRef | None = None
    num_triggers: int = Field(default=0, ge=0)
    num_overruns: int = Field(default=0, ge=0)
    """Triggers that were refused because the station was busy."""
    alarms: tuple[Alarm, ...] = Field(default=(), max_length=20)
    sent_at: AwareDatetime | None = None


# --- uplink: records -------------------------------------------------------------------------


class Stream(StrEnum):
    """The two streams of the outbox: records are never dropped, images by policy."""

    RECORDS = "records"
    IMAGES = "images"


class HardReason(StrEnum):
    """Why a picture is worth a person's look."""

    UNCERTAIN = "uncertain"
    LOW_SCORE_UNDER_OK = "low_score_under_ok"
    WEAK_EXPECTED = "weak_expected"
    FLIP_DISAGREEMENT = "flip_disagreement"
    SHADOW_DISAGREEMENT = "shadow_disagreement"
    NOVELTY = "novelty"
    AUDIT = "audit"
    CONTRADICTION = "contradiction"
    REJECT = "reject"


class Inspection(Frozen):
    """What the station decided about one view of one part."""

    kind: Literal["inspection"] = "inspection"
    result_id: UUID
    job_id: UUID
    trigger_id: Identifier
    part_id: Identifier
    view: Identifier = "main"
    verdict: Verdict
    is_partial: bool = False
    result_state: ResultState = ResultState.COMPLETED
    reasons: tuple[Reason, ...] = Field(default=(), max_length=100)
    detections: tuple[DetectionRecord, ...] = Field(default=(), max_length=100)
    recipe_id: Identifier
    recipe_version: int = Field(ge=0)
    model: ModelRef | None = None
    processing_ms: Milliseconds
    """From the trigger's arrival to the verdict's publish."""
    inference_ms: Milliseconds = 0.0
    image_width_px: int = Field(default=0, ge=0)
    image_height_px: int = Field(default=0, ge=0)
    image_sha256: Sha256 | None = None
    """Hash of the encoded picture, where one follows in the image stream."""
    mean_grey: float | None = Field(default=None, ge=0, le=255)
    """Brightness of the picture; drift of lamp and lens shows here before scores move."""
    sharpness: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Variance of the Laplacian in the picture's middle."""
    hard_reasons: tuple[HardReason, ...] = ()
    is_simulated: bool = False


class Truth(Frozen):
    """Somebody downstream found out what a part really is."""

    kind: Literal["truth"] = "truth"
    part_id: Identifier
    actual: Verdict
    said: Verdict | None = None
    """The station's own verdict, where it still remembers the part."""
    result_id: UUID | None = None


class StationEvent(Frozen):
    """Something that happened to the station: an alarm, a change of state, model or recipe."""

    kind: Literal["station"] = "station"
    code: Identifier
    text: str = Field(default="", max_length=500)
    station_state: StationState | None = None
    model: ModelRef | None = None


class Event(Message):
    """Cell → cloud on the records stream; (cell, boot_id, seq) makes it idempotent."""

    cell: CellPath
    boot_id: UUID
    seq: Sequence
    created_at: AwareDatetime
    body: Annotated[Inspection | Truth | StationEvent, Field(discriminator="kind")]


class ImageHeader(Message):
    """Metadata of a picture on the image stream, carried as MQTT user properties."""

    cell: CellPath
    boot_id: UUID
    seq: Sequence
    """Counts the image stream, apart from the records."""
    created_at: AwareDatetime
    result_id: UUID
    part_id: Identifier
    view: Identifier = "main"
    sha256: Sha256
    content_type: Literal["image/jpeg", "image/png"] = "image/jpeg"
    width_px: int = Field(ge=1)
    height_px: int = Field(ge=1)
    hard_reasons: tuple[HardReason, ...] = ()

    def to_user_properties(self) -> list[tuple[str, str]]:
        """The header as pairs of text; an absent value has no pair."""
        fields = self.model_dump(mode="json", exclude_none=True)
        fields["hard_reasons"] = ",".join(fields["hard_reasons"])
        return [(name, str(value)) for name, value in fields.items()]

    @classmethod
    def from_user_properties(cls, properties: Iterable[tuple[str, str]]) -> Self:
        """Read the header back.

        Raises:
            ContractError: a property is missing or breaks a rule; one line.
        """
        fields: dict[str, object] = dict(properties)
        reasons = str(fields.get("hard_reasons", ""))
        fields["hard_reasons"] = [reason for reason in reasons.split(",") if reason]
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ContractError(f"{cls.__name__}: {first_fault(error)}") from error


class Refusal(Frozen):
    """A record that the cloud can never take; the cell sets it aside instead of resending."""

    seq: Sequence
    cause: str = Field(max_length=200)


class IngestAck(Message):
    """Cloud → cell, after the commit: these need not be sent again."""

    stream: Stream
    boot_id: UUID
    seqs: tuple[Sequence, ...] = Field(default=(), max_length=MAX_ACKED)
    refused: tuple[Refusal, ...] = Field(default=(), max_length=MAX_ACKED)


# --- desired and reported state --------------------------------------------------------------


class FollowMode(StrEnum):
    """Whether a cell takes new models."""

    FOLLOW = "follow"
    PIN = "pin"
    PAUSE = "pause"


class DesiredModel(Message):
    """Cloud → cell, retained: the model that should run there."""

    model: ModelRef
    rollout_id: Identifier
    mode: FollowMode = FollowMode.FOLLOW
    canary_parts: int = Field(default=20, ge=0, le=100_000)
    """Parts that the new model must judge well before the swap counts as done."""
    shadow_parts: int = Field(default=5, ge=0, le=100_000)
    """Parts that it must see beside the running one before the swap."""
    issued_at: AwareDatetime


class DesiredRecipe(Message):
    """Cloud → cell, retained: the recipe that should be there."""

    recipe: Recipe
    issued_at: AwareDatetime


class ModelPhase(StrEnum):
    """How far a cell has come with the model that is desired."""

    ACTIVE = "active"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    COMPILING = "compiling"
    CHECKING = "checking"
    SHADOW = "shadow"
    CANARY = "canary"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


class Reported(Message):
    """Cell → cloud, retained: what runs there and how it goes."""

    cell: CellPath
    boot_id: UUID
    agent_version: str = Field(max_length=32)
    model: ModelRef | None = None
    desired: ModelRef | None = None
    rollout_id: Identifier | None = None
    phase: ModelPhase = ModelPhase.ACTIVE
    error: str = Field(default="", max_length=500)
    recipe_id: Identifier | None = None
    recipe_version: int | None = None
    outbox_records: int = Field(default=0, ge=0)
    outbox_images: int = Field(default=0, ge=0)
    images_dropped: int = Field(default=0, ge=0)
    sent_at: AwareDatetime
