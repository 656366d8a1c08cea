"""Labels out to other tools and back, without a loss; archives that are up to no good."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from cloud.dataset import Datasets
from cloud.db.session import Database
from cloud.db.tables import ReviewStatus, Snapshot
from cloud.errors import InvalidError
from cloud.image_store import ImageStore
from cloud.label_archive import export_archive, unpacked
from cloud.label_export import LabelFormat
from cloud.label_import import LabelImport
from cloud.labeling import Labeling
from cloud.review_items import LabelledBox
from cloud.snapshot_pictures import SnapshotPictures
from models.contract.label_formats import read_labels

BOLT = LabelledBox("bolt", (5.0, 6.0, 20.0, 10.0))
TORN = LabelledBox("torn_label", (30.25, 20.5, 12.0, 16.0))
AddImage = Callable[..., str]


@pytest.fixture
def snapshot(
    labeling: Labeling, datasets: Datasets, add_image: AddImage, base_snapshot: Path
) -> Snapshot:
    """Twelve pictures with labels, one of them empty."""
    datasets.register(str(base_snapshot), actor="anna")
    for number in range(12):
        boxes = [] if number == 5 else [BOLT, TORN][: 1 + number % 2]
        labeling.save(
            add_image(number, "novelty"),
            decision=ReviewStatus.LABELLED,
            boxes=boxes,
            reviewer="anna",
        )
    return datasets.build(actor="anna")


def archive_of(snapshot: Snapshot, format_: LabelFormat, *, with_pictures: bool = True) -> bytes:
    pieces = export_archive(snapshot, SnapshotPictures(), format_, with_pictures=with_pictures)
    return b"".join(pieces)


@pytest.fixture
def label_import(database: Database, images: ImageStore, labeling: Labeling) -> LabelImport:
    return LabelImport(database, images=images, labeling=labeling)


@pytest.mark.parametrize(
    ("format_", "place"),
    [
        (LabelFormat.COCO, "annotations/instances_train.json"),
        (LabelFormat.YOLO, "labels/train"),
        (LabelFormat.VOC, "Annotations"),
    ],
)
def test_what_goes_out_is_read_by_the_trainers_own_readers(
    snapshot: Snapshot, tmp_path: Path, format_: LabelFormat, place: str
) -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of(snapshot, format_))) as archive:
        archive.extractall(tmp_path)
    found = read_labels(format_.value, tmp_path / place)
    assert found.refused == ()
    boxes = [box for picture in found.pictures for box in picture.annotations]
    assert {box.category for box in boxes} == {"bolt", "torn_label"}
    bolt = next(box for box in boxes if box.category == "bolt")
    scale = (64, 48) if found.is_relative else (1, 1)
    assert (bolt.x * scale[0], bolt.y * scale[1]) == pytest.approx((5, 6), abs=0.01)
    assert len(list(tmp_path.rglob("*.png"))) == 12


def test_label_studio_gets_percent_and_a_configuration(snapshot: Snapshot) -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of(snapshot, LabelFormat.LABEL_STUDIO))) as archive:
        tasks = json.loads(archive.read("tasks.json"))
        config = ElementTree.fromstring(archive.read("label_config.xml"))  # noqa: S314 - ours
        names = set(archive.namelist())
    assert len(tasks) == 12
    assert {label.get("value") for label in config.iter("Label")} == {"bolt", "torn_label"}
    assert config.find("Image").get("value") == "$image"  # type: ignore[union-attr]
    task = next(task for task in tasks if task["annotations"][0]["result"])
    assert task["data"]["image"].removeprefix("/data/local-files/?d=") in names
    (result, *_) = task["annotations"][0]["result"]
    assert (result["from_name"], result["to_name"]) == ("label", "image")
    assert result["value"]["rectanglelabels"] == ["bolt"]
    assert result["value"]["x"] == pytest.approx(100 * 5 / 64)
    assert result["value"]["height"] == pytest.approx(100 * 10 / 48)


def test_fiftyone_gets_data_and_labels_json(snapshot: Snapshot) -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of(snapshot, LabelFormat.FIFTYONE))) as archive:
        document = json.loads(archive.read("labels.json"))
        names = set(archive.namelist())
    assert {f"data/{image['file_name']}" for image in document["images"]} < names
    assert {annotation["iscrowd"] for annotation in document["annotations"]} == {0}


@pytest.mark.parametrize("format_", [LabelFormat.COCO, LabelFormat.YOLO, LabelFormat.VOC])
def test_labels_come_back_onto_the_pictures_that_are_here(
    snapshot: Snapshot, label_import: LabelImport, format_: LabelFormat
) -> None:
    archive = archive_of(snapshot, format_, with_pictures=False)
    with unpacked(io.BytesIO(archive)) as folder:
        again = label_import.take(folder, format_.value, actor="ben")
    assert again.num_added == 0
    assert again.refused == {}
    # What another tool has rounded is a new label; what it left alone is none.
    assert again.num_labelled + again.num_unchanged == 12
    assert format_ is LabelFormat.YOLO or again.num_labelled == 0


def test_new_pictures_come_with_their_labels_and_categories(
    label_import: LabelImport, labeling: Labeling, tmp_path: Path, database: Database
) -> None:
    picture = np.full((48, 64, 3), 90, np.uint8)
    cv2.imwrite(str(tmp_path / "part7.png"), picture)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    document = {
        "images": [
            {"id": 1, "file_name": "part7.png", "width": 64, "height": 48},
            {"id": 2, "file_name": "broken.jpg", "width": 64, "height": 48},
            {"id": 3, "file_name": "elsewhere.jpg", "width": 64, "height": 48},
        ],
        "categories": [{"id": 4, "name": "dent", "supercategory": "defect"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 4, "bbox": [1, 2, 30, 20]},
            {"id": 2, "image_id": 1, "category_id": 9, "bbox": [1, 2, 30, 20]},
        ],
    }
    (tmp_path / "labels.json").write_text(json.dumps(document))
    outcome = label_import.take(tmp_path, "coco", actor="ben")
    assert (outcome.num_added, outcome.num_labelled) == (1, 0)
    assert outcome.categories == ("dent",)
    assert sum(outcome.refused.values()) == 3
    (item,) = labeling.queue(limit=9, status=ReviewStatus.LABELLED)
    assert (item.image.part_id, item.image.reviewer) == ("part7", "ben")
    assert item.annotations == (LabelledBox("dent", (1.0, 2.0, 30.0, 20.0)),)
    again = label_import.take(tmp_path, "coco", actor="ben")
    assert (again.num_added, again.num_unchanged) == (0, 1)
    assert database.is_sqlite


def zipped(*entries: tuple[str, bytes]) -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    stream.seek(0)
    return stream


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        pytest.param(io.BytesIO(b"no archive"), "readable ZIP", id="no archive"),
        pytest.param(zipped(("../../etc/cron.d/x", b"")), "leads outside", id="climbs out"),
        pytest.param(zipped(("/etc/passwd", b"")), "leads outside", id="from the root"),
        pytest.param(zipped(("..\\x", b"")), "leads outside", id="climbs out on Windows"),
        pytest.param(zipped(("a", b"\0" * 10_000_000)), "too much", id="a bomb"),
        pytest.param(zipped(("a", b""), ("a/b", b"")), "readable ZIP", id="a file as a folder"),
        pytest.param(zipped(("x" * 300, b"")), "readable ZIP", id="a name that is too long"),
    ],
)
def test_an_archive_that_is_up_to_no_good_is_refused(archive: io.BytesIO, words: str) -> None:
    with pytest.raises(InvalidError, match=words), unpacked(archive):
        pass


@pytest.mark.parametrize("labels_format", ["coco", "yolo", "voc"])
def test_an_archive_without_labels_is_told(
    label_import: LabelImport, tmp_path: Path, labels_format: str
) -> None:
    with pytest.raises(InvalidError):
        label_import.take(tmp_path, labels_format, actor="ben")


@pytest.mark.parametrize("number", ["Infinity", "NaN", "1" + "0" * 400])
def test_numbers_that_are_none_leave_a_box_out(
    label_import: LabelImport, tmp_path: Path, number: str
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 64, 3), 90, np.uint8))
    document = (
        '{"images": [{"id": 1, "file_name": "a.png", "width": N}],'
        ' "categories": [{"id": 1, "name": "dent"}],'
        ' "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, N, 9]}]}'
    )
    (tmp_path / "labels.json").write_text(document.replace(" N", f" {number}"))
    outcome = label_import.take(tmp_path, "coco", actor="ben")
    assert sum(outcome.refused.values()) == 1
