"""What a run keeps of each judged picture, written by training and read by the cloud."""

from pathlib import Path

import numpy as np
import pytest

from models.contract.model import ContractError
from models.contract.picture_results import (
    RESULTS_NAME,
    ComparedModel,
    FoundBox,
    PictureResult,
    ResultsHead,
    TrueBox,
    read_results,
    write_results,
)

HEAD = ResultsHead(
    snapshot_id="9e8d7c6b5a493827",
    models={"candidate": ComparedModel(bundle_id="a07be91f3c55d264", thresholds={"bolt": 0.4})},
)
PICTURE = PictureResult(
    image_id="a",
    labels=(TrueBox(category="bolt", bbox=(1, 2, 3, 4)),),
    found={"candidate": (FoundBox(category="bolt", score=0.9, bbox=(1, 2, 3, 5)),)},
)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    write_results(tmp_path / RESULTS_NAME, HEAD, [PICTURE, PICTURE])
    head, pictures = read_results(tmp_path / RESULTS_NAME)
    assert head == HEAD
    assert list(pictures) == [PICTURE, PICTURE]
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS_NAME], "no part is left"


@pytest.mark.parametrize(
    "text", ["", "no json\n", '{"snapshot_id": 1}\n', HEAD.model_dump_json() + "\n{}\n"]
)
def test_a_file_that_is_none_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / RESULTS_NAME
    path.write_text(text)
    with pytest.raises(ContractError) as caught:
        list(read_results(path)[1])
    assert "\n" not in str(caught.value)


def test_a_run_keeps_both_models_and_leaves_noise_and_broken_pictures_out(tmp_path: Path) -> None:
    from models.contract.bundle import read_manifest
    from models.contract.snapshot import Split
    from models.training.evaluate import Judgement
    from models.training.metrics import Evaluation, Found
    from models.training.picture_results import keep_picture_results
    from models.training.snapshot_io import IndexRow

    manifest = read_manifest(Path("models/released/plate").resolve())
    boxes = np.array([[10, 10, 30, 40], [0, 0, 5, 5]], np.float32)
    found = Found("a", boxes, np.array([0.91, 0.01], np.float32), ("bolt", "screw"))
    judged = {
        role: Judgement(Evaluation(), (found,), {"b": "broken picture"})
        for role in ("candidate", "running", "float")
    }
    keep_picture_results(
        tmp_path,
        snapshot_id="9e8d7c6b5a493827",
        index=[
            IndexRow("a", Split.LOCKED, "P1", 64, 48, (("bolt", 10, 10, 20, 30),)),
            IndexRow("b", Split.LOCKED, "P2", 64, 48, ()),
            IndexRow("c", Split.TRAIN, "P3", 64, 48, ()),
        ],
        split=Split.LOCKED,
        judged=judged,
        manifests={"candidate": manifest, "running": manifest},
    )
    head, pictures = read_results(tmp_path / RESULTS_NAME)
    assert set(head.models) == {"candidate", "running"}
    assert head.models["running"].thresholds == manifest.thresholds
    (picture,) = pictures
    assert picture.labels == (TrueBox(category="bolt", bbox=(10, 10, 20, 30)),)
    box = FoundBox(category="bolt", score=0.91, bbox=(10, 10, 20, 30))
    assert picture.found == {"candidate": (box,), "running": (box,)}
