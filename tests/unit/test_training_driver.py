"""What the driver of a fit decides before and after Spark works."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.contract.bundle import Category
from models.contract.snapshot import Split
from models.detector.anchors import anchor_boxes
from models.detector.boxes import encode_boxes
from models.detector.spec import DetectorSpec
from models.training.auto_setup import Wishes, choose_levels, choose_setup
from models.training.errors import InputError
from models.training.fit import choose_rows, open_run
from models.training.fit_settings import OUTCOME_NAME, FitOutcome, FitSettings, RunState
from models.training.java import find_java, java_major
from models.training.preparation import FitRequest, chosen_settings
from models.training.snapshot_io import IndexRow
from models.training.spark_errors import is_lost_worker, one_line
from models.training.spark_session import local_slots
from models.training.validation import decode_answers

BOXES = (("bolt", 0.0, 0.0, 20.0, 20.0),)
SPEC = DetectorSpec(
    categories=("bolt", "dent"),
    input_height=64,
    input_width=96,
    levels=(8, 16),
    anchors=(((16, 16), (24, 12)), ((32, 32),)),
)


def index_row(number: int, split: Split) -> IndexRow:
    return IndexRow(f"{number:064x}", split, f"P{number}", 96, 64, BOXES)


def test_rows_are_dealt_evenly_and_validation_pictures_never_train() -> None:
    rows = [index_row(n, Split.TRAIN) for n in range(9)]
    rows += [index_row(n, Split.VAL) for n in range(20, 24)]
    rows += [index_row(99, Split.LOCKED)]
    places = choose_rows(rows, FitSettings(max_validation_pictures=2), 2)
    train = [place.partition for place in places.values() if place.split is Split.TRAIN]
    assert sorted(np.bincount(train)) == [4, 5]
    assert sum(place.split is Split.VAL for place in places.values()) == 2
    assert f"{99:064x}" not in places


def test_snapshot_without_validation_pictures_lends_some_of_its_own() -> None:
    places = choose_rows([index_row(n, Split.TRAIN) for n in range(40)], FitSettings(), 1)
    kept = [place.split for place in places.values()]
    assert (kept.count(Split.TRAIN), kept.count(Split.VAL)) == (36, 4)


def run_state(**changes: object) -> RunState:
    facts: dict[str, Any] = {
        "snapshot_id": "0" * 16,
        "snapshot_url": "snap",
        "init": "none",
        "name": "plate",
        "categories": (Category(name="bolt"), Category(name="dent")),
        "spec": SPEC,
        "settings": FitSettings(),
    }
    return RunState(**(facts | changes))


def request(tmp_path: Path, **changes: object) -> FitRequest:
    facts: dict[str, Any] = {
        "snapshot_url": "snap",
        "init": "none",
        "run_dir": tmp_path / "run",
        "name": "plate",
        "workers": 1,
        "budget_s": 60.0,
        "overrides": {},
    }
    return FitRequest(**(facts | changes))


def test_interrupted_run_goes_on_by_itself_and_another_run_starts_anew(tmp_path: Path) -> None:
    assert not open_run(request(tmp_path), run_state())
    assert open_run(request(tmp_path), run_state())
    assert not open_run(request(tmp_path), run_state(snapshot_id="1" * 16))


def test_finished_run_starts_anew_unless_its_result_is_wanted(tmp_path: Path) -> None:
    asked = request(tmp_path)
    open_run(asked, run_state())
    outcome = FitOutcome(steps=1, samples=1, seconds=1, workers=1)
    (asked.run_dir / OUTCOME_NAME).write_text(outcome.model_dump_json())
    assert open_run(request(tmp_path, resume=True), run_state())
    assert not open_run(asked, run_state())
    assert not (asked.run_dir / OUTCOME_NAME).exists()


def test_resume_refuses_where_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        open_run(request(tmp_path, resume=True), run_state())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param({"learning_rat": "1"}, "no such setting", id="misspelt"),
        pytest.param({"batch": "many"}, "batch", id="no number"),
        pytest.param({"new_share": "2"}, "new_share", id="out of range"),
    ],
)
def test_wrong_setting_is_refused_in_one_line(
    tmp_path: Path, overrides: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        chosen_settings(request(tmp_path, overrides=overrides), {})
    assert "\n" not in str(caught.value)


def test_levels_reach_from_the_smallest_boxes_to_the_largest() -> None:
    assert choose_levels(np.full((50, 2), 30, np.float32)) == (8, 16)
    assert choose_levels(np.full((50, 2), 200, np.float32))[-1] >= 32


def test_input_has_the_shape_of_the_pictures_and_room_for_small_boxes() -> None:
    rows = [
        IndexRow("0", Split.TRAIN, "P", 1280, 1024, (("bolt", 0.0, 0.0, size, size),))
        for size in (60.0, 80.0, 100.0)
    ]
    spec = choose_setup(rows, ["bolt"], Wishes()).spec
    assert (spec.input_width, spec.input_height) == (576, 480)
    assert choose_setup(rows, ["bolt"], Wishes(320, 256)).spec.input_width == 320


def test_decoded_answers_are_the_boxes_that_were_encoded() -> None:
    anchors = anchor_boxes(SPEC)
    wanted = np.array([[10, 12, 30, 28]], np.float32)
    nearest = int(np.abs(anchors - wanted).sum(axis=1).argmin())
    logits = np.full((len(anchors), 2), -9, np.float32)
    codes = np.zeros((len(anchors), 4), np.float32)
    logits[nearest, 1] = 3
    codes[nearest] = encode_boxes(wanted, anchors[[nearest]], center_scale=10, size_scale=5)[0]
    boxes, scores, class_ids = decode_answers(logits, codes, SPEC)
    assert boxes == pytest.approx(wanted, abs=1e-3)
    assert class_ids.tolist() == [1]
    assert scores == pytest.approx([0.9526], abs=1e-3)


def test_nothing_found_is_no_box() -> None:
    boxes, scores, _ = decode_answers(
        np.full((SPEC.num_anchors, 2), -9, np.float32),
        np.zeros((SPEC.num_anchors, 4), np.float32),
        SPEC,
    )
    assert boxes.shape == (0, 4)
    assert len(scores) == 0


def test_cause_of_a_failed_job_is_the_python_error_inside_it() -> None:
    text = (
        "Job aborted due to stage failure\nTraceback (most recent call last):\n"
        '  File "x.py", line 1, in f\nValueError: 3 training pictures are too few for 4 ranks\n'
        "\tat org.apache.spark.api.python\n"
    )
    assert one_line(RuntimeError(text)) == "3 training pictures are too few for 4 ranks"
    assert not is_lost_worker(RuntimeError(text))


def test_killed_worker_is_worth_another_start() -> None:
    assert is_lost_worker(RuntimeError("Python worker exited unexpectedly (crashed)"))


@pytest.mark.parametrize(("master", "slots"), [("local", 1), ("local[3]", 3), ("local[2,4]", 2)])
def test_slots_of_a_local_master(master: str, slots: int) -> None:
    assert local_slots(master) == slots


def test_master_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="is not a master"):
        local_slots("local[two]")


def java_home(folder: Path, version: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").touch(mode=0o755)
    (folder / "release").write_text(f'JAVA_VERSION="{version}"\n')
    return folder


@pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("1.8.0_402", 8), ("21", 21)])
def test_version_of_a_java_home(tmp_path: Path, version: str, major: int) -> None:
    assert java_major(java_home(tmp_path / "jdk", version)) == major


def test_java_home_wins_unless_it_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.training.java.JVM_FOLDERS", (tmp_path / "jvm",))
    good = java_home(tmp_path / "jvm" / "java-21", "21.0.2")
    old = java_home(tmp_path / "old", "11.0.1")
    assert find_java({"JAVA_HOME": str(old), "PATH": ""}) == good
    monkeypatch.setattr("models.training.java.JVM_FOLDERS", ())
    with pytest.raises(InputError, match="Java 17 or 21"):
        find_java({"JAVA_HOME": str(old), "PATH": ""})
