"""Settings of the cloud processes: defaults here, one TOML file, environment over file.

``SIGHTLINE_CLOUD__SECTION__KEY`` overrides ``key`` in ``[section]``. Secrets come from the
environment or from a secrets directory, never from the file. Relative paths are relative to the
file.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import time
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from cloud.errors import ConfigurationError
from cloud.shifts import SHIFT_STARTS, PlantClock, time_of_day, zone_of
from models.contract.model import first_fault

ENV_PREFIX = "SIGHTLINE_CLOUD__"
CONFIG_VARIABLE = "SIGHTLINE_CLOUD_CONFIG"
SECRETS_VARIABLE = "SIGHTLINE_CLOUD_SECRETS_DIR"

Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """One table of the TOML file; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DatabaseSettings(Section):
    """Where results, labels, runs and releases live."""

    url: str = "sqlite:///var/sightline.db"
    """SQLAlchemy URL: ``sqlite:///PATH`` or ``postgresql+psycopg://USER@HOST/NAME``."""
    password: SecretStr | None = None
    pool_size: int = Field(default=8, ge=1, le=100)


class StorageSettings(Section):
    """Where pictures and snapshots live: a folder or any fsspec URL such as ``s3://bucket/x``."""

    url: str = "var/images"
    snapshots_url: str = "var/snapshots"
    min_free_bytes: int = Field(default=200_000_000, ge=0)
    """Pictures are not taken when a local disk has less room than this."""


class BrokerSettings(Section):
    """The uplink broker."""

    host: str = "127.0.0.1"
    port: Port = 1883
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    """Turns TLS on and is the authority that the broker's certificate must come from."""
    cert_file: Path | None = None
    key_file: Path | None = None
    keep_alive_s: int = Field(default=20, ge=5, le=3600)
    reconnect_cap_s: float = Field(default=10.0, gt=0, le=300)


class IngestSettings(Section):
    """How ingest batches what arrives."""

    group: str = Field(default="ingest", pattern=r"^[A-Za-z0-9_\-]{1,32}$")
    """Shared-subscription group: processes of one group share the load."""
    batch_rows: int = Field(default=500, ge=1, le=10_000)
    batch_ms: int = Field(default=50, ge=0, le=5_000)
    """Longest wait for a batch to fill, from its first message."""
    queue_messages: int = Field(default=2_000, ge=10, le=100_000)
    """Messages held in memory; the broker holds back the rest (receive maximum)."""
    queue_images: int = Field(default=16, ge=1, le=1_000)
    max_image_pixels: int = Field(default=50_000_000, ge=1)
    session_expiry_s: int = Field(default=60, ge=0, le=86_400)
    """How long the broker keeps a process's share for it while it restarts."""
    metrics_port: Port | None = None
    """Prometheus metrics of the ingest process; none when not given."""
    metrics_host: str = "127.0.0.1"
    """Address that they are shown on; they name cells and counts, nothing else."""


class HttpSettings(Section):
    """The web server."""

    host: str = "127.0.0.1"
    port: Port = 8080
    public_url: str | None = None
    """How browsers and cells reach it, where that differs from host and port."""
    max_body_bytes: int = Field(default=20_000_000, ge=1_000)
    requests_per_s: float = Field(default=200.0, gt=0)
    """Requests to the API that one token or session may send for ever."""
    request_burst: int = Field(default=1_000, ge=1)
    """Requests that it may send at once."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in {"127.0.0.1", "::1", "localhost"}


class PlantSettings(Section):
    """The time that the plant's people tell: counters of a shift, reports, every page."""

    time_zone: str | None = None
    """IANA name such as ``Europe/Berlin``; the machine's own time where it is not given."""
    shift_starts: tuple[time, ...] = SHIFT_STARTS
    """Times of day at which shifts begin, in rising order: ``["06:00", "14:00", "22:00"]``."""

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is not None:
            zone_of(name)
        return name

    @field_validator("shift_starts", mode="before")
    @classmethod
    def _are_times_of_day(cls, starts: object) -> object:
        if not isinstance(starts, list | tuple) or not starts:
            raise ValueError('give at least one time of day, such as ["06:00"]')
        found = tuple(time_of_day(start) for start in starts)
        if any(later <= earlier for earlier, later in pairwise(found)):
            raise ValueError("give them in rising order, each once")
        return found

    @property
    def clock(self) -> PlantClock:
        """What tells the plant's time."""
        zone = zone_of(self.time_zone) if self.time_zone is not None else None
        return PlantClock(zone, self.shift_starts)


class AuthSettings(Section):
    """Who may use the API and the dashboard."""

    require_login: bool = True
    session_hours: float = Field(default=12.0, gt=0, le=24 * 90)
    login_attempts_per_minute: int = Field(default=10, ge=1)


class TufSettings(Section):
    """The signed model repository."""

    dir: Path = Path("var/tuf")
    """Holds ``metadata/`` and ``targets/``, which the web server gives to the cells."""
    keys_dir: Path = Path("var/tuf-keys")
    """Keys that sign each release; the server needs them."""
    offline_keys_dir: Path = Path("var/tuf-offline")
    """The root key; keep this folder on a stick in a safe once the repository is made."""
    root_file: Path = Path("var/root.json")
    """Copy of the first root: what a cell is given when it is set up."""
    timestamp_days: float = Field(default=7, gt=0)
    snapshot_days: float = Field(default=30, gt=0)
    targets_days: float = Field(default=365, gt=0)
    root_days: float = Field(default=3650, gt=0)


class ReviewSettings(Section):
    """Which labels a second person must see before they count."""

    second_share: float = Field(default=0.0, ge=0, le=1)
    """Part of all pictures, chosen by their hash."""
    second_categories: tuple[str, ...] = ()
    """Pictures on which the first reviewer marked one of these, always."""
    min_iou: float = Field(default=0.5, gt=0, lt=1)
    """Boxes of two reviewers that overlap less are not the same box."""


class BackupSettings(Section):
    """Where the backups go that are asked for on the page Admin."""

    dir: Path = Path("var/backups")
    """Holds keys too: a disk of its own, that only the server can read."""


class InspectionSettings(Section):
    """``POST /v1/inspect``: pictures that robots send to the server."""

    workers: int = Field(default=1, ge=1, le=64)
    """Pictures that are judged at once."""
    queue: int = Field(default=16, ge=0, le=10_000)
    """More may wait; the next one is answered with 429."""
    max_pixels: int = Field(default=50_000_000, ge=1)
    timeout_s: float = Field(default=5.0, gt=0, le=300)
    recipes_dir: Path | None = None
    """Holds ``*.toml`` recipes to judge by; without one, any defect rejects."""


class RetentionSettings(Section):
    """After how many days each kind is dropped; 0: never. Figures stay, the audit log always."""

    results_days: int = Field(default=0, ge=0)
    """Results with their causes, and what was found downstream."""
    pending_days: int = Field(default=0, ge=0)
    """Pictures that nobody has labelled."""
    audit_days: int = Field(default=0, ge=0)
    """Of these, those that were kept by chance alone."""
    rejected_days: int = Field(default=0, ge=0)
    """Pictures that a reviewer threw away."""
    labelled_days: int = Field(default=0, ge=0)
    """Labelled pictures; what went into a snapshot stays in it."""
    station_events_days: int = Field(default=0, ge=0)
    dead_letters_days: int = Field(default=90, ge=0)
    hour: int = Field(default=2, ge=0, le=23)
    """When the serving process applies it, every day, UTC."""

    @property
    def is_limited(self) -> bool:
        """Whether anything is ever dropped."""
        return any(value for name, value in self if name.endswith("_days"))


class RetrainingSettings(Section):
    """When and how a new model is trained."""

    enabled: bool = True
    dir: Path = Path("var/runs")
    """A folder for each run: log, checkpoints, report, bundle."""
    bundles_dir: Path = Path("var/bundles")
    """Released bundles with their float checkpoints."""
    command: tuple[str, ...] = ()
    """What to run instead of this Python's ``sightline-train``; arguments are appended."""
    master: str = "local[2]"
    workers: int = Field(default=1, ge=1)
    budget: str = Field(default="45m", pattern=r"^\d+(\.\d+)?[smh]$")
    init: str = "released"
    """``released``: the running bundle's float checkpoint; else what ``sightline-train`` takes."""
    name: str = Field(default="detector", pattern=r"^[a-z0-9][a-z0-9\-]{0,63}$")
    """Name of the first model that is trained here; later ones keep their parent's."""
    extra_arguments: tuple[str, ...] = ()
    min_new_labels: int = Field(default=100, ge=0)
    """New labels since the newest snapshot that start a run by themselves; 0: never."""
    min_per_new_category: int = Field(default=10, ge=0)
    """Boxes wanted of a category that the running model does not know."""
    on_drift: bool = False
    """Start a run, too, when a cell's records have drifted since its model came."""
    min_drift_labels: int = Field(default=20, ge=1)
    """New labels that such a run wants."""
    drift_period_s: float = Field(default=600.0, gt=0)
    """How often drift is looked for."""
    cool_down_s: float = Field(default=1800.0, ge=0)
    """Rest after a run that failed or was refused."""
    nice: int = Field(default=10, ge=0, le=19)
    """Lowers the priority of training, so that cells on the same machine keep their latency."""
    cron: str | None = None
    """Five-field cron expression of a fixed schedule, in UTC."""
    check_period_s: float = Field(default=30.0, gt=0)
    auto_promote: bool = False
    """Approve and roll out a candidate that passed every gate without a person's button."""
    timeout_factor: float = Field(default=3.0, ge=1)
    """Training that takes this many times its budget, from its last start on, is stopped."""


class GateSettings(Section):
    """What a candidate must reach on the locked split; `cloud.gates` tells the rules."""

    min_locked_images: int = Field(default=20, ge=1)
    min_map50_gain: float = Field(default=0.0, ge=-1, le=1)
    """mAP@0.5 that it must gain over the running model."""
    max_class_drop: float = Field(default=0.01, ge=0, le=1)
    """Loss allowed to the categories that the running model knows."""
    max_int8_drop: float = Field(default=0.01, ge=0, le=1)
    max_int8_class_drop: float = Field(default=0.05, ge=0, le=1)
    latency_budget_ms: float = Field(default=50.0, gt=0)
    """Median time for one picture."""


class RolloutSettings(Section):
    """How a release reaches the cells."""

    canary_cells: int = Field(default=1, ge=1)
    wave_ratio: float = Field(default=1.0, gt=0, le=1)
    """Share of the remaining cells in each wave after the canary."""
    canary_parts: int = Field(default=20, ge=0)
    shadow_parts: int = Field(default=5, ge=0)
    success_ratio: float = Field(default=1.0, gt=0, le=1)
    """Share of a wave that must be active before the next wave starts."""
    max_failed_cells: int = Field(default=0, ge=0)
    """More failed cells than this stop the rollout."""
    wave_timeout_s: float = Field(default=3600.0, gt=0)
    check_period_s: float = Field(default=2.0, gt=0)


class Settings(BaseSettings):
    """Everything a cloud process is told; read once, in the CLI."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        nested_model_default_partial_update=True,
    )

    database: DatabaseSettings = DatabaseSettings()
    storage: StorageSettings = StorageSettings()
    broker: BrokerSettings = BrokerSettings()
    ingest: IngestSettings = IngestSettings()
    http: HttpSettings = HttpSettings()
    plant: PlantSettings = PlantSettings()
    auth: AuthSettings = AuthSettings()
    tuf: TufSettings = TufSettings()
    review: ReviewSettings = ReviewSettings()
    inspection: InspectionSettings = InspectionSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    gates: GateSettings = GateSettings()
    rollout: RolloutSettings = RolloutSettings()
    backup: BackupSettings = BackupSettings()
    retention: RetentionSettings = RetentionSettings()

    @model_validator(mode="after")
    def _open_only_on_loopback(self) -> Self:
        if not self.auth.require_login and not self.http.is_loopback:
            raise ValueError(
                "auth.require_login = false is only allowed with http.host = 127.0.0.1"
            )
        return self

    def anchored(self, folder: Path) -> "Settings":
        """The same settings with every relative path taken from ``folder``."""
        sections: dict[str, Section] = {}
        for name in type(self).model_fields:
            section: Section = getattr(self, name)
            paths = {
                key: folder / value for key, value in section if isinstance(value, Path)
            } | _anchored_urls(section, folder)
            sections[name] = section.model_copy(update=paths)
        return self.model_copy(update=sections)


def _anchored_urls(section: Section, folder: Path) -> dict[str, str]:
    if isinstance(section, DatabaseSettings):
        url = make_url(section.url)
        if url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}:
            url = url.set(database=str(folder / str(url.database)))
        if section.password is not None:
            url = url.set(password=section.password.get_secret_value())
        return {"url": url.render_as_string(hide_password=False)}
    if isinstance(section, StorageSettings):
        urls = {"url": section.url, "snapshots_url": section.snapshots_url}
        return {
            key: value if "://" in value else str(folder / value) for key, value in urls.items()
        }
    return {}


def load_settings(path: Path | None, *, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the file and the environment.

    Args:
        path: the TOML file; None stands for defaults with paths relative to the current folder.
        environ: the environment; the process's own when not given.

    Raises:
        ConfigurationError: the file is missing or not TOML, a key, section or variable is
            unknown, a value breaks a rule, or a secret stands in the file; one line.
    """
    environ = os.environ if environ is None else environ
    _check_variables(environ)
    if path is not None and not path.is_file():
        raise ConfigurationError(f"settings file {path} does not exist")
    secrets_dir = environ.get(SECRETS_VARIABLE)

    class _Settings(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del init_settings, dotenv_settings
            sources = [env_settings]
            if secrets_dir is not None:
                sources.append(
                    NestedSecretsSettingsSource(
                        file_secret_settings,
                        secrets_dir=secrets_dir,
                        secrets_nested_delimiter="__",
                        secrets_prefix="",
                    )
                )
            if path is not None:
                toml = TomlConfigSettingsSource(settings_cls, path)
                _check_secrets(toml.toml_data, path)
                sources.append(toml)
            return tuple(sources)

    try:
        settings: Settings = _Settings()
    except ValidationError as error:
        raise ConfigurationError(f"settings {path or 'defaults'}: {first_fault(error)}") from error
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"settings {path or 'environment'}: {error}") from error
    folder = path.resolve().parent if path is not None else Path.cwd()
    try:
        return settings.anchored(folder)
    except ArgumentError as error:
        raise ConfigurationError("database.url is not a database URL") from error


def _fields() -> Iterator[tuple[str, str, Any]]:
    for section, field in Settings.model_fields.items():
        annotation: Any = field.annotation
        for key, inner in annotation.model_fields.items():
            yield section, key, inner.annotation


def _check_variables(environ: Mapping[str, str]) -> None:
    known = {f"{ENV_PREFIX}{section}__{key}".upper() for section, key, _ in _fields()}
    for name in environ:
        if name.upper().startswith(ENV_PREFIX) and name.upper() not in known:
            raise ConfigurationError(f"environment variable {name} names no setting")


def _check_secrets(document: Mapping[str, Any], path: Path) -> None:
    for section, key, annotation in _fields():
        is_secret = SecretStr in (annotation, *get_args(annotation))
        table = document.get(section)
        if is_secret and isinstance(table, dict) and key in table:
            raise ConfigurationError(
                f"{path} holds the secret {section}.{key}: "
                f"set {ENV_PREFIX}{section.upper()}__{key.upper()} instead"
            )
