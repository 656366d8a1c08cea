from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.training.picture_store import ROW_GROUP_BYTES, picture_file

TEXTS = ("image_id", "part_id", "source")
SCHEMA = pa.schema([*((name, pa.string()) for name in TEXTS), ("image", pa.binary())])


def rows(*numbers: int, size: int = 10) -> pa.RecordBatch:
    made = [
        {"image_id": str(n), "part_id": "P", "source": "s", "image": bytes(size)} for n in numbers
    ]
    return pa.RecordBatch.from_pylist(made, SCHEMA)


@pytest.mark.parametrize("is_url", [False, True], ids=["path", "URL"])
def test_rows_come_back_as_they_were_written(tmp_path: Path, is_url: bool) -> None:
    (tmp_path / "split=train").mkdir()
    path = tmp_path / "split=train" / "part.parquet"
    with picture_file(f"file://{path}" if is_url else str(path), SCHEMA) as file:
        file.add(rows(1, 2))
        file.add(rows(3))
    assert pq.read_table(path)["image_id"].to_pylist() == ["1", "2", "3"]


def test_row_groups_stay_small_enough_to_hold_in_memory(tmp_path: Path) -> None:
    with picture_file(str(tmp_path / "part.parquet"), SCHEMA) as file:
        for number in range(3):
            file.add(rows(number, size=ROW_GROUP_BYTES * 2 // 3))
    assert pq.ParquetFile(tmp_path / "part.parquet").num_row_groups == 2


def die_while_writing(path: Path) -> None:
    with picture_file(str(path), SCHEMA) as file:
        file.add(rows(1))
        raise ValueError("picture changed")


def test_task_that_died_leaves_nothing_that_a_reader_would_take(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="picture changed"):
        die_while_writing(tmp_path / "part.parquet")
    assert list(tmp_path.iterdir()) == []


def test_second_try_replaces_the_first(tmp_path: Path) -> None:
    for _ in range(2):
        with picture_file(str(tmp_path / "part.parquet"), SCHEMA) as file:
            file.add(rows(1))
    assert pq.read_table(tmp_path / "part.parquet").num_rows == 1
