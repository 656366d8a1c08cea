"""The tables of the agent's TOML file, each with its keys, defaults and ranges."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from edge_agent.errors import ConfigurationError
from models.contract.topics import CellAddress


class Section(BaseModel):
    """One table of the TOML file; a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class CellSettings(Section):
    """Where this cell stands (ISA-95)."""

    site: str
    area: str
    line: str
    cell: str
    is_simulated: bool = False
    """Stamped into every record, so that nobody mistakes a demo for production."""

    @model_validator(mode="after")
    def _is_addressable(self) -> Self:
        _ = self.address
        return self

    @property
    def address(self) -> CellAddress:
        """The cell's place in topics."""
        return CellAddress(self.site, self.area, self.line, self.cell)


class CameraSettings(Section):
    """The camera over the part."""

    kind: Literal["folder", "video", "opencv", "pylon", "aravis", "genicam"] = "folder"
    camera_id: str = "camera"
    path: Path | None = None
    """Folder of pictures (kind ``folder``), or a file (kind ``video``)."""
    mode: Literal["spool", "cycle"] = "spool"
    """``spool``: each picture is taken once and removed; ``cycle``: the folder goes round."""
    match_part: bool = True
    """``spool``: take only a picture named after the part; when false, the oldest one."""
    source: str | None = None
    """Kind ``opencv``: index of a USB camera, or an ``rtsp://`` or ``http://`` URL. Kinds
    ``pylon``, ``aravis``, ``genicam``: serial number or name; when not given, the first found."""
    producer: Path | None = None
    """Kind ``genicam``: the GenTL producer (``.cti``) of the camera's maker."""
    width_px: int | None = Field(default=None, ge=16)
    height_px: int | None = Field(default=None, ge=16)
    features: dict[str, float | int | str | bool] = Field(default_factory=dict)
    """Settings by GenICam SFNC name that hold for every picture; a view's go before them."""
    grab_timeout_s: float = Field(default=1.0, gt=0, le=60)
    """The deadline of the part ends the wait earlier."""
    open_timeout_s: float = Field(default=3.0, gt=0, le=60)
    stale_s: float = Field(default=1.0, ge=0.1, le=60)
    """Kind ``opencv``: a stream without a frame for this long counts as lost."""
    trigger_lead_s: float = Field(default=0.1, ge=0, le=10)
    """Hardware trigger: a frame may come this long before the PLC's message about its part."""
    loop: bool = False
    """Start a video again at its end."""

    @model_validator(mode="after")
    def _source_fits_the_kind(self) -> Self:
        if self.kind in {"folder", "video"} and self.path is None:
            raise ValueError(f"a {self.kind} camera needs path")
        if self.kind == "genicam" and self.producer is None:
            raise ValueError("a genicam camera needs producer, the .cti file of its maker")
        is_address = self.source is None or self.source.isdigit() or "://" in self.source
        if self.kind == "opencv" and not is_address:
            raise ValueError(f"source = {self.source!r} is neither a number nor a URL")
        return self


class ModelSettings(Section):
    """The detector and how much of the processor it gets."""

    bundle: Path | None = None
    """Where to start from while the store is empty; stays in place, release 0."""
    store: Path = Path("data/models")
    """Models that came from the cloud, and which one was good last."""
    cache: Path | None = Path("data/cache")
    """Compiled models, for a quick start; None switches it off."""
    num_threads: int = Field(default=1, ge=1, le=64)
    precision: Literal["f32", "bf16", "f16"] = "f32"


class RecipeSettings(Section):
    """What a good part looks like."""

    path: Path
    """A recipe file, or a folder of ``*.toml``."""
    selected: str | None = None
    """Recipe to start with; needed only where the folder holds several."""
    store: Path = Path("data/recipes")
    """Recipes that the cloud sent; a newer version there goes before the file's."""


class StationSettings(Section):
    """Timing of the handshake with the PLC."""

    resend_result_s: float = Field(default=0.5, ge=0.05, le=60)
    hold_result_s: float = Field(default=5.0, ge=0.1, le=600)
    """How long a result waits for result_ack before it is given up and an alarm raised."""
    heartbeat_s: float = Field(default=1.0, ge=0.1, le=60)
    reconnect_s: float = Field(default=1.0, ge=0.1, le=60)
    """Pause between two tries to open a lost camera."""
    job_timeout_s: float = Field(default=60.0, ge=1, le=3600)
    """A part whose missing views do not come within this time is aborted."""
    num_remembered: int = Field(default=1000, ge=10, le=100_000)
    """Answers kept for triggers that are repeated, also over a restart."""
    remember_s: float = Field(default=600.0, ge=1, le=86_400)
    """After this time a trigger_id may stand for another part."""
    hang_s: float = Field(default=10.0, ge=1, le=600)
    """Camera or model busy this long over one part: the watchdog is no longer fed."""


class RecorderSettings(Section):
    """What happens after the verdict."""

    queue_size: int = Field(default=64, ge=1, le=10_000)
    """Cycles that may wait to be recorded; when full the station drops Ready."""
    journal: Path = Path("data/verdicts.journal")
    jpeg_quality: int = Field(default=92, ge=50, le=100)


class MqttSettings(Section):
    """Connection to an MQTT v5 broker."""

    host: str = "127.0.0.1"
    port: int = Field(default=1883, ge=1, le=65535)
    client_id: str | None = None
    """Derived from the cell's address when not given."""
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    tls_ca: Path | None = None
    """Certificate of the broker's authority; TLS is used when it is given."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    keep_alive_s: int = Field(default=5, ge=1, le=600)
    reconnect_max_s: float = Field(default=5.0, ge=0.2, le=300)
    """A broker restarts in about 5 s; longer pauses only lengthen the standstill."""

    @model_validator(mode="after")
    def _certificates_are_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if self.tls_cert is not None and self.tls_ca is None:
            raise ValueError("tls_cert needs tls_ca")
        return self

    def secret(self) -> str | None:
        """The password, from the environment or its file.

        Raises:
            ConfigurationError: the file cannot be read.
        """
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigurationError(
                f"password_file {self.password_file} cannot be read: {error.strerror}"
            ) from error


class UplinkSettings(MqttSettings):
    """Connection to the cloud's broker (may be the cell's own)."""

    enabled: bool = True
    keep_alive_s: int = Field(default=15, ge=1, le=600)
    reconnect_max_s: float = Field(default=10.0, ge=0.2, le=300)
    batch_size: int = Field(default=200, ge=1, le=1000)
    """Records on the way at once."""
    resend_s: float = Field(default=10.0, ge=0.5, le=600)
    """A record that the cloud has not acknowledged after this time is sent again."""
    report_s: float = Field(default=10.0, ge=0.5, le=3600)
    image_bytes_per_s: float | None = Field(default=None, gt=0)
    """Bandwidth for pictures; records always go. None: no limit."""


class OutboxSettings(Section):
    """Where records and pictures wait for the cloud."""

    path: Path = Path("data/outbox")
    """Folder: the database and the pictures."""
    max_bytes: int = Field(default=2_000_000_000, ge=1_000_000)
    max_image_bytes: int = Field(default=1_500_000_000, ge=0)
    min_free_bytes: int = Field(default=250_000_000, ge=0)
    """No picture is taken in when the disk has less than this left."""
    ballast_bytes: int = Field(default=32_000_000, ge=0)
    """Kept in reserve for records, for when others have filled the disk."""


class UpdateSettings(Section):
    """Model updates, signed with TUF."""

    enabled: bool = False
    base_url: str = "http://127.0.0.1:8080/tuf"
    """Serves ``metadata/`` and ``targets/``."""
    root: Path | None = None
    """The trusted ``root.json``, brought along at installation."""
    work: Path = Path("data/updates")
    """Trusted metadata and downloads."""
    swap_timeout_s: float = Field(default=30.0, ge=0.1, le=600)
    timeout_s: float = Field(default=10.0, ge=0.5, le=600)

    @model_validator(mode="after")
    def _has_a_root(self) -> Self:
        if self.enabled and self.root is None:
            raise ValueError("updates need root, the trusted root.json")
        return self


class HardExampleSettings(Section):
    """Which pictures are worth a person's look."""

    enabled: bool = True
    low_score: float = Field(default=0.1, ge=0, le=1)
    """Below this a box is noise."""
    band: float = Field(default=0.2, ge=0, le=1)
    """A score this near to its threshold is uncertain."""
    audit_ratio: float = Field(default=0.02, ge=0, le=1)
    """Share of confident OKs that is looked at anyway: gives an unbiased escape rate."""
    reject_ratio: float = Field(default=0.05, ge=0, le=1)
    """Share of rejects that is looked at: gives the rate of false rejects."""
    novelty_sigmas: float = Field(default=3.0, ge=1)
    """Standard deviations beyond what is usual that make a picture new."""
    flip_ratio: float = Field(default=0.05, ge=0, le=1)
    """Share of parts that are looked at once more in their mirror image, after the verdict."""
    max_ratio: float = Field(default=0.1, ge=0, le=1)
    """Share of pictures that may be kept for a doubt, the strongest; audit and rejects on top."""
    max_per_hour: int = Field(default=500, ge=0)
    """For each reason; a tenth of it may go at once."""
    num_recent: int = Field(default=50, ge=1, le=10_000)
    """Cycles remembered for contradictions."""
    seed: int | None = None


class HttpSettings(Section):
    """The agent's own HTTP server."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=8090, ge=0, le=65535)
    queue_size: int = Field(default=8, ge=1, le=1000)
    num_parallel: int = Field(default=2, ge=1, le=64)
    """Pictures judged at once, beside the PLC's part."""
    max_body_bytes: int = Field(default=20_000_000, ge=1000)
    max_pixels: int = Field(default=50_000_000, ge=1000)
    timeout_s: float = Field(default=5.0, gt=0, le=60)


class LoggingSettings(Section):
    """What is written to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["text", "json"] = "text"
