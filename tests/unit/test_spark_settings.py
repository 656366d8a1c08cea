from pathlib import Path

import pytest

from models.training.cores import usable_cores
from models.training.spark_defaults import read_defaults


def test_defaults_are_read_as_spark_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "spark-defaults.conf"
    path.write_text("# a note\nspark.master   yarn\nspark.a=b c \nother.b 1\n\nspark.c: d\n")
    assert read_defaults(path) == {"spark.master": "yarn", "spark.a": "b c", "spark.c": "d"}


def test_no_defaults_where_there_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    assert read_defaults() == {}


@pytest.mark.parametrize(
    ("quota", "is_limited"),
    [
        pytest.param("100000 100000", True, id="one core"),
        pytest.param("50000 100000", True, id="half a core is one"),
        pytest.param("max 100000", False, id="no limit"),
        pytest.param("odd", False, id="something else"),
    ],
)
def test_quota_of_a_container_limits_the_cores(
    quota: str, is_limited: bool, tmp_path: Path
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    all_cores = usable_cores(tmp_path / "none")
    assert usable_cores(tmp_path / "cpu.max") == (1 if is_limited else all_cores)
