"""The agent's settings: defaults in code, one TOML file, the environment over the file.

``SIGHTLINE_EDGE__SECTION__KEY`` overrides a key. Relative paths are relative to the TOML file.
Passwords come from the environment or from a file of their own, never from the TOML file.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from edge_agent.errors import ConfigurationError
from edge_agent.sections import (
    CameraSettings,
    CellSettings,
    HardExampleSettings,
    HttpSettings,
    LoggingSettings,
    ModelSettings,
    MqttSettings,
    OutboxSettings,
    RecipeSettings,
    RecorderSettings,
    Section,
    StationSettings,
    UpdateSettings,
    UplinkSettings,
)
from models.contract.mistakes import explain
from models.contract.model import ContractError

ENV_PREFIX = "SIGHTLINE_EDGE__"
SECRET_KEYS = frozenset({"password"})
Table = TypeVar("Table", bound=BaseModel)


class Settings(BaseSettings):
    """Everything that the agent is told."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    cell: CellSettings
    camera: CameraSettings
    model: ModelSettings = ModelSettings()
    recipe: RecipeSettings
    broker: MqttSettings = MqttSettings()
    station: StationSettings = StationSettings()
    recorder: RecorderSettings = RecorderSettings()
    uplink: UplinkSettings = UplinkSettings()
    outbox: OutboxSettings = OutboxSettings()
    update: UpdateSettings = UpdateSettings()
    hard_examples: HardExampleSettings = HardExampleSettings()
    http: HttpSettings = HttpSettings()
    logging: LoggingSettings = LoggingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings calls it so
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over the TOML file, which comes in as init values."""
        return env_settings, init_settings


def load_settings(path: Path) -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: the file is missing or wrong, a secret stands in it, or an environment
            variable with our prefix names no setting; one line that says which.
    """
    text, document = _read_toml(path)
    _refuse_secrets(document, path)
    _refuse_unknown_environment(os.environ)
    try:
        settings = Settings(**document)
    except ValidationError as error:
        told = explain(error, path=path, text=text, model=Settings, is_secret=True)
        raise ConfigurationError(told) from error
    except ContractError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return _anchored(settings, path.resolve().parent)


def describe(settings: Settings) -> dict[str, Any]:
    """The effective settings as plain values; secrets masked."""
    return settings.model_dump(mode="json")


def _read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(
            f"configuration {path} cannot be read: {error.strerror}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"configuration {path} is not valid TOML: {error}") from error


def _refuse_secrets(document: Mapping[str, Any], path: Path) -> None:
    for section, table in document.items():
        for key in table if isinstance(table, dict) else ():
            if key in SECRET_KEYS:
                name = f"{ENV_PREFIX}{section}__{key}".upper()
                raise ConfigurationError(
                    f"{path}: {section}.{key} may not stand in the file: "
                    f"set {name} or {section}.{key}_file"
                )


def _refuse_unknown_environment(environment: Mapping[str, str]) -> None:
    # pydantic-settings ignores a misspelt name, and the default would silently stay in force.
    for name in environment:
        if not name.upper().startswith(ENV_PREFIX):
            continue
        section, _, key = name.upper().removeprefix(ENV_PREFIX).lower().partition("__")
        field = Settings.model_fields.get(section)
        table = field.annotation if field else None
        keys = table.model_fields if isinstance(table, type) and issubclass(table, Section) else {}
        if key not in keys:
            raise ConfigurationError(f"environment variable {name} names no setting")


def _anchored(model: Table, base: Path) -> Table:
    """A copy in which every relative path stands on ``base``."""
    changes: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            changes[name] = _anchored(value, base)
        elif isinstance(value, Path):
            changes[name] = base / value.expanduser()
    return model.model_copy(update=changes)
