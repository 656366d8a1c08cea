import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.contract.messages import Verdict
from simulators.cloud_client import CloudClient, CloudRefusedError
from simulators.oracle import Hand, Oracle
from simulators.truth import TruePart, TruthBook

CELL = "plant1/assembly/line2/cell1"


class FakeCloud(CloudClient):
    """The review API in memory."""

    def __init__(self, *parts: str) -> None:
        super().__init__("http://127.0.0.1:1")
        self.pending = {f"sha-{part}": part for part in parts}
        self.saved: dict[str, dict[str, Any]] = {}
        self.categories = [{"name": "bolt", "kind": "object"}]
        self.conflict = False

    def get(self, path: str, **_query: str | int | None) -> Any:  # noqa: ANN401
        if path == "categories":
            return self.categories
        items = [
            {"sha256": sha, "part_id": part, "width_px": 640, "height_px": 512, "revision": 0}
            for sha, part in self.pending.items()
        ]
        return {"items": items, "next": None}

    def post(self, path: str, body: Any = None) -> Any:  # noqa: ANN401
        assert path == "categories"
        self.categories.append(body)

    def put(self, path: str, body: Any) -> Any:  # noqa: ANN401
        if self.conflict:
            raise CloudRefusedError(409, "somebody was quicker")
        sha = path.removeprefix("review/")
        self.saved[sha] = body
        del self.pending[sha]


@pytest.fixture
def book(tmp_path: Path) -> Iterator[TruthBook]:
    book = TruthBook(tmp_path / "truth.jsonl")
    boxes = (("bolt", (10.0, 20.0, 30.0, 40.0)), ("torn_label", (600.0, 480.0, 40.0, 32.0)))
    book.add(TruePart("p1", CELL, boxes, Verdict.NOT_OK))
    yield book
    book.close()


def oracle(cloud: FakeCloud, book: TruthBook) -> Oracle:
    return Oracle(cloud, book, defects=["torn_label"], hand=Hand(seconds_per_label=0))


def test_it_draws_the_true_boxes_with_an_unsteady_hand(book: TruthBook) -> None:
    cloud = FakeCloud("p1")
    assert oracle(cloud, book).work_through_page(threading.Event()) == 1
    first, second = cloud.saved["sha-p1"]["annotations"]
    assert first["category"] == "bolt"
    assert first["bbox"] != [10.0, 20.0, 30.0, 40.0]
    assert first["bbox"] == pytest.approx([10.0, 20.0, 30.0, 40.0], abs=6)
    assert second["bbox"][0] + second["bbox"][2] <= 640


def test_it_adds_a_category_that_nobody_knows_yet(book: TruthBook) -> None:
    cloud = FakeCloud("p1")
    oracle(cloud, book).work_through_page(threading.Event())
    assert cloud.categories[-1] == {"name": "torn_label", "kind": "defect"}


def test_it_rejects_a_picture_of_a_part_that_never_was(book: TruthBook) -> None:
    cloud = FakeCloud("somebody-else")
    oracle(cloud, book).work_through_page(threading.Event())
    assert cloud.saved["sha-somebody-else"]["decision"] == "rejected"


def test_it_gives_way_to_somebody_who_was_quicker(book: TruthBook) -> None:
    cloud = FakeCloud("p1")
    cloud.conflict = True
    assert oracle(cloud, book).work_through_page(threading.Event()) == 0
