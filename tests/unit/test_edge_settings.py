"""What the agent is told, and what it refuses to be told."""

from pathlib import Path

import pytest

from edge_agent.errors import ConfigurationError
from edge_agent.settings import describe, load_settings

MINIMAL = """
[cell]
site = "plant"
area = "assembly"
line = "line1"
cell = "cell1"
[camera]
path = "spool"
[recipe]
path = "plate.toml"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(MINIMAL)
    return path


def test_relative_paths_stand_on_the_file(config: Path) -> None:
    settings = load_settings(config)
    assert settings.camera.path == config.parent / "spool"
    assert settings.outbox.path == config.parent / "data/outbox"


def test_environment_goes_before_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(MINIMAL + "[broker]\nport = 1\nhost = 'cell-broker'\n")
    monkeypatch.setenv("SIGHTLINE_EDGE__BROKER__PORT", "1999")
    broker = load_settings(config).broker
    assert (broker.port, broker.host) == (1999, "cell-broker")


def test_secret_is_never_printed(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_EDGE__BROKER__PASSWORD", "hunter2")
    settings = load_settings(config)
    assert settings.broker.secret() == "hunter2"
    assert "hunter2" not in str(describe(settings))
    monkeypatch.setenv("SIGHTLINE_EDGE__BROKER__PORT", "hunter3")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config)
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    ("addition", "said"),
    [
        pytest.param("[brokr]\n", "brokr", id="a misspelt section"),
        pytest.param("[broker]\nprot = 1\n", "broker.prot", id="a misspelt key"),
        pytest.param("[broker]\nport = 70000\n", "broker.port", id="out of range"),
        pytest.param("[broker]\npassword = 'x'\n", "BROKER__PASSWORD", id="a secret in the file"),
        pytest.param("[update]\nenabled = true\n", "root", id="updates without a root"),
        pytest.param("[broker", "not valid TOML", id="no TOML"),
    ],
)
def test_mistake_in_the_file_is_one_line_that_names_it(
    config: Path, addition: str, said: str
) -> None:
    config.write_text(MINIMAL + addition)
    with pytest.raises(ConfigurationError, match=said) as caught:
        load_settings(config)
    assert "\n" not in str(caught.value)


def test_place_that_no_topic_can_carry_is_refused(config: Path) -> None:
    config.write_text(MINIMAL.replace('"line1"', '"line/1"'))
    with pytest.raises(ConfigurationError, match="line"):
        load_settings(config)


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_settings(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("name", ["BROKER__PROT", "BROKR__PORT", "BROKER"])
def test_misspelt_environment_name_is_an_error(
    config: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"SIGHTLINE_EDGE__{name}", "1")
    with pytest.raises(ConfigurationError, match=name):
        load_settings(config)
