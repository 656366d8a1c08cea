import json
from pathlib import Path

import pytest

from models.contract.bundle import CategoryKind
from models.training.dataset_formats import Annotation, kind_of, read_labels
from models.training.errors import InputError

COCO = {
    "images": [
        {"id": 7, "file_name": "line1/a.jpg", "width": 64, "height": 48, "part_id": "P-1"},
        {"id": 9, "file_name": "b.png", "width": 64, "height": 48},
    ],
    "categories": [{"id": 3, "name": "bolt", "supercategory": "object"}, {"id": 5, "name": "dent"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 12]},
        {"id": 2, "image_id": 8, "category_id": 3, "bbox": [1, 2, 10, 12]},
        {"id": 3, "image_id": 9, "category_id": 4, "bbox": [1, 2, 10, 12]},
        {"id": 4, "image_id": 9, "category_id": 5, "bbox": [1, 2]},
        {"id": 5, "image_id": 9, "category_id": 5, "bbox": [0, 0, 9, 9], "iscrowd": 1},
    ],
}


def coco_file(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(document))
    return path


def test_coco_keeps_picture_numbers_and_part_ids(tmp_path: Path) -> None:
    labels = read_labels("coco", coco_file(tmp_path, COCO))
    first, second = labels.pictures
    assert (first.source_id, first.part_id, first.file_name) == (7, "P-1", "line1/a.jpg")
    assert second.part_id == "b"
    assert first.annotations == (Annotation("bolt", 1, 2, 10, 12),)
    assert labels.category_ids == {"bolt": 3, "dent": 5}


def test_coco_annotations_that_cannot_be_used_are_listed_with_their_reason(tmp_path: Path) -> None:
    labels = read_labels("coco", coco_file(tmp_path, COCO))
    assert [refusal.reason for refusal in labels.refused] == [
        "unknown picture",
        "unknown category",
        "no box",
        "crowd region",
    ]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("not json", id="no JSON"),
        pytest.param("[]", id="a list"),
        pytest.param('{"images": []}', id="half of it missing"),
        pytest.param(
            '{"images": [{"id": 1}], "categories": [], "annotations": []}', id="no file name"
        ),
    ],
)
def test_file_that_is_not_coco_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(InputError, match="is not a COCO label file") as caught:
        read_labels("coco", path)
    assert "\n" not in str(caught.value)


def test_missing_label_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no label file .*gone\.json"):
        read_labels("coco", tmp_path / "gone.json")


@pytest.mark.parametrize(
    ("name", "supercategory", "kind"),
    [
        pytest.param("missing_screw", "", CategoryKind.DEFECT, id="missing something"),
        pytest.param("screw", "", CategoryKind.OBJECT, id="the thing that can be missing"),
        pytest.param("scratch", "", CategoryKind.DEFECT, id="nothing known: never pass it"),
        pytest.param("scratch", "object", CategoryKind.OBJECT, id="the file knows better"),
    ],
)
def test_kind_of_a_category(name: str, supercategory: str, kind: CategoryKind) -> None:
    assert kind_of(name, ["screw", "missing_screw", "scratch"], supercategory) is kind


def test_caller_decides_the_kind_in_the_end(tmp_path: Path) -> None:
    labels = read_labels("coco", coco_file(tmp_path, COCO), objects=["dent"], defects=["bolt"])
    assert [category.kind for category in labels.categories] == ["defect", "object"]


def test_yolo_boxes_become_corner_based_and_stay_relative(tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / "classes.txt").write_text("bolt\ndent\n")
    (folder / "a.txt").write_text("1 0.5 0.5 0.2 0.4\n9 0.5 0.5 0.1 0.1\nx\n\n")
    labels = read_labels("yolo", folder)
    assert labels.is_relative
    assert labels.pictures[0].file_name == "a"
    assert labels.pictures[0].annotations == (Annotation("dent", 0.4, 0.3, 0.2, 0.4),)
    assert [refusal.reason for refusal in labels.refused] == ["unknown category", "no box"]


def test_yolo_without_class_names_says_what_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / "a.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    with pytest.raises(InputError, match=r"no classes\.txt"):
        read_labels("yolo", folder)


VOC = """<annotation><filename>a.jpg</filename>
<object><name>bolt</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>13</xmax><ymax>24</ymax></bndbox>
</object><object><name>dent</name></object></annotation>"""


def test_voc_corners_become_width_and_height(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(VOC)
    (tmp_path / "b.xml").write_text("<annotation>")
    labels = read_labels("voc", tmp_path)
    assert labels.pictures[0].annotations == (Annotation("bolt", 3, 4, 10, 20),)
    assert [refusal.reason for refusal in labels.refused] == ["no box", "broken label file"]


def test_voc_takes_any_path_for_the_name_and_keeps_the_size_drawn_on(tmp_path: Path) -> None:
    size = "<size><width>60</width><height>40</height></size>"
    drawn = VOC.replace("a.jpg</filename>", rf"C:\pictures\a.jpg</filename>{size}")
    (tmp_path / "a.xml").write_text(drawn)
    (tmp_path / "b.xml").write_text(VOC.replace("<filename>a.jpg</filename>", ""))
    first, second = read_labels("voc", tmp_path).pictures
    assert (first.file_name, first.stem, first.size) == ("a.jpg", "a", (60, 40))
    assert (second.file_name, second.size) == ("b.jpg", None)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("train: ../x\nnames: ['bolt', \"dent\"]\nnc: 2\n", id="list"),
        pytest.param("names:\n  0: bolt\n  1: dent  # deep\nnc: 2\n", id="numbered"),
        pytest.param("nc: 2\nnames:\n- bolt\n- dent\n", id="below one another"),
        pytest.param("names: {0: bolt, 1: dent}\n", id="numbered in a line"),
    ],
)
def test_yolo_takes_its_class_names_from_a_data_yaml(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "labels" / "train"
    folder.mkdir(parents=True)
    (tmp_path / "data.yaml").write_text(text)
    (folder / "a.txt").write_text(
        "1 0.5 0.5 0.2 0.4 0.9\n0 0.25 0.25 0.5 0.25 0.5 0.75\n1 0.5 0.5\n"
    )
    labels = read_labels("yolo", folder)
    assert [category.name for category in labels.categories] == ["bolt", "dent"]
    (picture,) = labels.pictures
    assert picture.annotations == (
        Annotation("dent", 0.4, 0.3, 0.2, 0.4),
        Annotation("bolt", 0.25, 0.25, 0.25, 0.5),
    )
    assert [refusal.reason for refusal in labels.refused] == ["no box"]


def test_boxes_of_categories_that_nobody_asked_for_are_listed(tmp_path: Path) -> None:
    labels = read_labels("coco", coco_file(tmp_path, COCO), categories=["dent"])
    assert [category.name for category in labels.categories] == ["dent"]
    assert labels.refused[-1].item == "bolt in line1/a.jpg"
    assert labels.pictures[0].annotations == ()


def test_one_annotation_without_sense_does_not_spoil_a_coco_file(tmp_path: Path) -> None:
    odd = [
        *("text", {"id": 8, "image_id": [7], "category_id": 3}),
        {"id": 9, "image_id": 7, "category_id": 3, "bbox": ["a", 1, 2, 3]},
    ]
    labels = read_labels(
        "coco", coco_file(tmp_path, COCO | {"annotations": COCO["annotations"] + odd})
    )
    assert [refusal.reason for refusal in labels.refused[-3:]] == [
        "no box",
        "unknown picture",
        "no box",
    ]
    assert labels.refused[-1].item == "annotation 9 of line1/a.jpg"
