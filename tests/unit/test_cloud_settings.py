import os
from pathlib import Path

import pytest

from cloud.errors import ConfigurationError
from cloud.settings import Settings, load_settings


def load(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "cloud.toml"
    path.write_text(text)
    return load_settings(path)


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SIGHTLINE_CLOUD")]:
        monkeypatch.delenv(name)


def test_environment_wins_over_the_file_and_the_file_over_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_CLOUD__HTTP__PORT", "9000")
    settings = load(tmp_path, "[http]\nport = 1\n[broker]\nport = 2\n")
    assert (settings.http.port, settings.broker.port, settings.http.host) == (9000, 2, "127.0.0.1")


def test_relative_paths_are_taken_from_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, '[storage]\nurl = "pictures"\nsnapshots_url = "s3://bucket/x"\n')
    assert settings.database.url == f"sqlite:///{tmp_path}/var/sightline.db"
    assert settings.storage.url == str(tmp_path / "pictures")
    assert settings.storage.snapshots_url == "s3://bucket/x"
    assert settings.tuf.dir == tmp_path / "var/tuf"


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        pytest.param("[http]\nprt = 9", "http.prt", id="misspelt key"),
        pytest.param("[htp]\nport = 9", "htp", id="misspelt section"),
        pytest.param("[http", "cloud.toml", id="not TOML"),
        pytest.param('[broker]\npassword = "hunter2"', "SIGHTLINE_CLOUD__BROKER__PASSWORD",
                     id="secret in the file"),
        pytest.param('[http]\nhost = "0.0.0.0"\n[auth]\nrequire_login = false', "127.0.0.1",
                     id="open to the network without login"),
        pytest.param('[plant]\ntime_zone = "Europe/Berln"', "'Europe/Berln'", id="no such zone"),
        pytest.param('[plant]\nshift_starts = ["6 am"]', "'06:00'", id="no time of day"),
        pytest.param("[plant]\nshift_starts = [6, 14]", "'06:00'", id="a number is no time"),
        pytest.param('[plant]\nshift_starts = ["14:00", "06:00"]', "rising", id="falling starts"),
        pytest.param("[plant]\nshift_starts = []", "plant.shift_starts", id="no shift at all"),
        pytest.param('[database]\nurl = "nonsense"', "database.url", id="not a database"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_one_line_that_names_it(
    tmp_path: Path, text: str, phrase: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path, text)
    assert phrase in str(error.value)
    assert "\n" not in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_settings(tmp_path / "none.toml")


def test_a_misspelt_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_CLOUD__HTTP__PROT", "1")
    with pytest.raises(ConfigurationError, match="SIGHTLINE_CLOUD__HTTP__PROT"):
        load_settings(None)


def test_a_secret_comes_from_the_secrets_directory_and_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "broker__password").write_text("hunter2\n")
    monkeypatch.setenv("SIGHTLINE_CLOUD_SECRETS_DIR", str(secrets))
    password = load(tmp_path, "").broker.password
    assert password is not None
    assert password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(password)


def test_the_example_file_is_valid_and_shows_every_section() -> None:
    example = Path(__file__).parents[2] / "deploy/config/cloud.example.toml"
    text = example.read_text()
    load_settings(example)
    for section in Settings.model_fields:
        assert f"[{section}]" in text
