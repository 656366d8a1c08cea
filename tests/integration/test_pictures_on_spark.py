"""Pictures through Spark's executors: in from every label format, out with what was found."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.dataset as ds
import pytest

from models.contract.snapshot import Split
from models.detector.runtime import DetectorRuntime
from models.training.dataset_formats import read_labels
from models.training.errors import InputError
from models.training.import_report import ImportReport
from models.training.picture_files import list_pictures
from models.training.predict import predict, rows_of_folder, rows_of_snapshot
from models.training.predict_stream import check_stream, predict_stream
from models.training.snapshot_io import read_split, snapshot_exists
from models.training.spark_pipeline import ImportSource, import_snapshot
from models.training.spark_session import open_session

WIDTH, HEIGHT = 96, 64
BOXES = {"bolt": (10, 12, 20, 16), "dent": (50, 30, 24, 20)}
NUM_GOOD = 12
BUNDLE = Path(__file__).resolve().parents[2] / "models" / "released" / "plate"
STREAM_WAIT_S = 120.0
FAULTY = ("again", "nearly", "broken", "gone", "odd")


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    with open_session("local[2]", reuse_workers=True) as opened:
        yield opened


def picture(number: int) -> np.ndarray[Any, Any]:
    coarse = np.random.default_rng(number).integers(40, 200, (4, 6, 3), np.uint8)
    made = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    return np.asarray(made, np.uint8)


def write_pictures(folder: Path) -> dict[str, dict[str, tuple[float, ...]]]:
    """Good pictures and one of everything that goes wrong; the boxes of each."""
    folder.mkdir(parents=True)
    labels: dict[str, dict[str, tuple[float, ...]]] = {}
    for number in range(NUM_GOOD):
        suffix = ("png", "jpg", "bmp")[number % 3]
        cv2.imwrite(str(folder / f"{number}.{suffix}"), picture(number))
        labels[str(number)] = dict(BOXES)
    (folder / "again.png").write_bytes((folder / "0.png").read_bytes())
    cv2.imwrite(str(folder / "nearly.jpg"), picture(0))
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:200])
    cv2.imwrite(str(folder / "odd.png"), picture(99))
    labels |= {name: dict(BOXES) for name in FAULTY}
    labels["nearly"] = {"bolt": BOXES["bolt"]}
    labels["odd"] = {"bolt": (200, 12, 20, 16), "dent": (50, 30, 0, 20)}
    return labels


def file_name(folder: Path, stem: str) -> str:
    found = [path.name for path in folder.iterdir() if path.stem == stem]
    return found[0] if found else f"{stem}.png"


def write_coco(root: Path, labels: dict[str, dict[str, tuple[float, ...]]]) -> Path:
    images, annotations = [], []
    for number, (stem, boxes) in enumerate(labels.items()):
        name = file_name(root / "images", stem)
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for category, box in boxes.items():
            place = list(BOXES).index(category)
            annotations.append({"image_id": number, "category_id": place, "bbox": box})
    annotations.append({"image_id": 0, "category_id": 9, "bbox": [1, 1, 5, 5]})
    categories = [{"id": place, "name": name} for place, name in enumerate(BOXES)]
    path = root / "coco.json"
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return path


def write_yolo(root: Path, labels: dict[str, dict[str, tuple[float, ...]]]) -> Path:
    folder = root / "labels"
    folder.mkdir()
    (root / "data.yaml").write_text(f"names: {list(BOXES)}\n")
    for stem, boxes in labels.items():
        lines = []
        for category, (x, y, width, height) in boxes.items():
            relative = ((x + width / 2) / WIDTH, (y + height / 2) / HEIGHT)
            size = (width / WIDTH, height / HEIGHT)
            place = list(BOXES).index(category)
            lines.append(f"{place} " + " ".join(f"{value:.6f}" for value in (*relative, *size)))
        if stem == "0":
            lines.append("9 0.5 0.5 0.1 0.1")
        (folder / f"{stem}.txt").write_text("\n".join(lines))
    return folder


def write_voc(root: Path, labels: dict[str, dict[str, tuple[float, ...]]]) -> Path:
    folder = root / "labels"
    folder.mkdir()
    (folder / "cut.xml").write_text("<annotation><object>")
    for stem, boxes in labels.items():
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin>"
            f"<xmax>{x + width}</xmax><ymax>{y + height}</ymax></bndbox></object>"
            for name, (x, y, width, height) in boxes.items()
        )
        # Drawing tools name the file that they were given, whatever it is called now.
        (folder / f"{stem}.xml").write_text(
            rf"<annotation><filename>C:\drawn\{stem}.tga</filename>{objects}</annotation>"
        )
    return folder


Import = Callable[[Path, str], ImportReport]


@pytest.fixture
def imported(session: Any, tmp_path: Path) -> Import:  # noqa: ANN401 - Spark has no types
    def run(root: Path, label_format: str) -> ImportReport:
        labels = write_pictures(root / "images")
        path = {"coco": write_coco, "yolo": write_yolo, "voc": write_voc}[label_format](
            root, labels
        )
        cv2.imwrite(str(root / "images" / "unlabelled.png"), picture(77))
        source = ImportSource(read_labels(label_format, path), str(root / "images"))
        return import_snapshot(session, [source], str(tmp_path / "snapshot"), parallelism=2)

    return run


@pytest.mark.parametrize("label_format", ["coco", "yolo", "voc"])
def test_every_format_gives_the_same_snapshot_and_the_same_quarantine(
    label_format: str,
    session: Any,  # noqa: ANN401
    imported: Import,
    tmp_path: Path,
) -> None:
    report = imported(tmp_path, label_format)
    refused = {
        "box: no area": 1,
        "box: outside the picture": 1,
        "broken picture": 1,
        "duplicate picture": 1,
        "missing picture": 1,
    }
    # COCO's file says nothing of pictures that it does not name.
    refused |= {} if label_format == "coco" else {"picture without a label file": 1}
    own = {"voc": "broken label file"}.get(label_format, "unknown category")
    assert report.manifest.refused == refused | {own: 1}
    assert report.manifest.notes == {
        "near-duplicate with other labels": 1,
        "near-duplicate, kept in the same split": 1,
    }

    rows = [
        row | {"split": split}
        for split in Split
        for row in read_split(session, report.url, split).toArrow().to_pylist()
    ]
    by_stem = {Path(row["file_name"]).stem: row for row in rows}
    assert sorted(by_stem) == sorted([*map(str, range(NUM_GOOD)), "nearly", "odd"])
    assert by_stem["nearly"]["split"] is by_stem["0"]["split"]
    assert not by_stem["odd"]["annotations"]
    for box in by_stem["2"]["annotations"]:
        values = [box["x"], box["y"], box["width"], box["height"]]
        np.testing.assert_allclose(values, BOXES[box["category"]], atol=1e-3)
    decoded = cv2.imdecode(np.frombuffer(by_stem["2"]["image"], np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded, picture(2))

    listed = [
        json.loads(line)
        for line in (tmp_path / "snapshot" / "refused.jsonl").read_text().splitlines()
    ]
    assert {"kind": "picture", "item": "broken.png", "reason": "broken picture"} in listed
    written = (tmp_path / "snapshot" / "import-report.txt").read_text()
    assert "1 near-duplicate with other labels" in written
    assert "nearly.jpg (see 0.png)" in written


def test_import_without_a_usable_picture_says_why_and_leaves_no_snapshot(
    session: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    write_pictures(tmp_path / "images")
    source = ImportSource(
        read_labels("coco", write_coco(tmp_path, {"broken": {}, "gone": {}})),
        str(tmp_path / "images"),
    )
    expected = "no picture could be used: 1 x broken picture, 1 x missing picture"
    with pytest.raises(InputError, match=expected):
        import_snapshot(session, [source], str(tmp_path / "snapshot"), parallelism=2)
    assert not snapshot_exists(str(tmp_path / "snapshot"))


def test_prediction_is_what_the_runtime_finds(
    session: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    write_pictures(tmp_path / "images")
    events: list[dict[str, Any]] = []
    rows = rows_of_folder(session, list_pictures(str(tmp_path / "images")), 2)
    done = predict(rows, NUM_GOOD + 4, BUNDLE, str(tmp_path / "answers"), events.append)
    assert (done.num_images, done.num_unreadable) == (NUM_GOOD + 4, 1)
    assert events[-1]["step"] == NUM_GOOD + 4
    answers = {
        Path(row["path"]).name: row
        for row in ds.dataset(tmp_path / "answers").to_table().to_pylist()
    }
    assert answers["broken.png"]["problem"] == "broken picture"
    with DetectorRuntime.load(BUNDLE) as runtime:
        found = runtime.infer(np.asarray(cv2.imread(str(tmp_path / "images" / "1.jpg")), np.uint8))
        names = [runtime.categories[class_id] for class_id in found.class_ids]
        limits = runtime.thresholds
    detections = answers["1.jpg"]["detections"]
    assert [detection["category"] for detection in detections] == names
    scores = [detection["score"] for detection in detections]
    np.testing.assert_allclose(scores, found.scores, atol=1e-4)
    assert [detection["counts"] for detection in detections] == [
        score >= limits[name] for name, score in zip(names, scores, strict=True)
    ]


def test_prediction_takes_the_pictures_of_a_snapshot(
    session: Any,  # noqa: ANN401
    imported: Import,
    tmp_path: Path,
) -> None:
    report = imported(tmp_path, "coco")
    rows, total = rows_of_snapshot(session, report.url, list(Split))
    done = predict(rows, total, BUNDLE, str(tmp_path / "answers"), lambda _: None)
    assert done.num_images == total == NUM_GOOD + 2
    ids = ds.dataset(tmp_path / "answers").to_table()["image_id"].to_pylist()
    assert len(set(ids)) == total


def test_stream_that_was_killed_gives_each_picture_once(
    session: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    source, out = tmp_path / "arriving", tmp_path / "answers"
    source.mkdir()
    for number in range(30):
        cv2.imwrite(str(source / f"{number}.png"), picture(number))
    arguments = ["predict", "--bundle", str(BUNDLE), "--stream", str(source), "--out", str(out)]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "models.training.cli", *arguments),
            *("--batch", "3", "--master", "local[1]", "--json"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        give_up = time.monotonic() + STREAM_WAIT_S
        while not (out / "batch=2").exists():
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    finished = list((out / "_stream" / "commits").glob("[0-9]*"))
    assert 1 <= len(finished) < 10
    for number in range(30, 34):
        cv2.imwrite(str(source / f"{number}.png"), picture(number))
    done = predict_stream(
        session, str(source), BUNDLE, str(out), listener=lambda _: None, once=True
    )
    assert done.num_images < 34
    # Read without Spark, which would know what to leave out.
    seen = Counter(
        Path(path).name
        for path in ds.dataset(out, partitioning="hive").to_table()["path"].to_pylist()
    )
    assert seen == Counter(f"{number}.png" for number in range(34))
    with pytest.raises(InputError, match="goes on with"):
        check_stream(str(tmp_path), str(out))
