"""``POST /v1/inspect`` of the server, with the baseline that comes with Sightline."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from cloud.app import build_context, create_app
from cloud.central_inspection import CentralInspection, InspectionLimits, PictureOrder, load_runtime
from cloud.db.session import Database
from cloud.db.tables import Release
from cloud.errors import BusyError, UnavailableError
from cloud.learning import LearningServices
from cloud.settings import InspectionSettings, Settings
from models.contract.inspection_answer import InspectionAnswer

PLATE = Path(__file__).parents[3] / "models" / "released" / "plate"
GOLDEN = PLATE / "golden" / "0.png"
RECIPE = """
recipe_id = "plate"
version = 3
part_type = "cover plate"
image_width_px = 640
image_height_px = 512
[[views]]
name = "top"
[[views.expected]]
name = "bolts"
category = "bolt"
count = 99
"""


class Robot:
    """Sends pictures without a socket."""

    def __init__(self, context_of: Callable[[], tuple[object, LearningServices]]) -> None:
        self.app, self.learning = context_of()

    def send(self, content: bytes, path: str = "", **headers: str) -> httpx.Response:
        kind = {"content-type": "image/png"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)  # type: ignore[arg-type]
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1:8080"
            ) as client:
                return await client.post(f"/v1/inspect{path}", content=content, headers=kind)

        return asyncio.run(ask())


@pytest.fixture
def robot(settings: Settings, database: Database, tmp_path: Path) -> Iterator[Robot]:
    assert database.is_sqlite
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "plate.recipe.toml").write_text(RECIPE)
    given = settings.model_copy(
        update={
            "inspection": InspectionSettings(
                recipes_dir=recipes, max_pixels=1_000_000, timeout_s=60
            )
        }
    )
    context = build_context(given)
    context.learning.repository.ensure()
    yield Robot(lambda: (create_app(context, with_dashboard=False), context.learning))
    context.learning.inspections.inspection.stop()
    context.database.close()


def test_a_picture_is_judged_with_the_released_model(robot: Robot) -> None:
    content = GOLDEN.read_bytes()
    early = robot.send(content)
    assert (early.status_code, early.json()["title"]) == (409, "No model is released")
    assert "sightline-cloud release" in early.json()["detail"]
    robot.learning.registry.approve(
        robot.learning.registry.add(PLATE, actor="mara").release, actor="mara"
    )
    answer = robot.send(content, "?part_id=P-7", idempotency_key="order-1")
    assert answer.status_code == 200
    judged = InspectionAnswer.model_validate(answer.json())
    assert (judged.part_id, judged.recipe_id) == ("P-7", "all-defects")
    assert judged.model is not None
    assert judged.model.release == 1
    found = sorted(detection.category for detection in judged.detections if detection.score > 0.5)
    assert found.count("bolt") >= 4
    again = robot.send(content, "?part_id=P-7", idempotency_key="order-1")
    assert again.json() == answer.json(), "the same key gets the same answer"
    reused = robot.send(content, "?part_id=P-8", idempotency_key="order-1")
    assert (reused.status_code, reused.json()["title"]) == (422, "Invalid")
    by_recipe = robot.send(content, "?recipe_id=plate&view=top").json()
    assert (by_recipe["verdict"], by_recipe["recipe_version"]) == ("not_ok", 3)
    assert by_recipe["reasons"][0]["object_name"] == "bolts"


@pytest.mark.parametrize(
    ("content", "path", "headers", "status"),
    [
        pytest.param(b"no picture", "", {}, 422, id="not a picture"),
        pytest.param(b"", "", {}, 422, id="nothing"),
        pytest.param(
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xff\xff\0\0\xff\xff", "", {}, 422, id="a bomb"
        ),
        pytest.param(b"x", "", {"content_type": "text/plain"}, 415, id="text"),
        pytest.param(None, "?recipe_id=other", {}, 404, id="unknown recipe"),
        pytest.param(None, "?recipe_id=plate&view=side", {}, 404, id="unknown view"),
        pytest.param(b"0" * 21_000_000, "", {}, 413, id="too many bytes"),
    ],
)
def test_what_cannot_be_judged_is_a_problem_document(
    robot: Robot, content: bytes | None, path: str, headers: dict[str, str], status: int
) -> None:
    answer = robot.send(GOLDEN.read_bytes() if content is None else content, path, **headers)
    assert answer.status_code == status
    assert answer.json()["status"] == status


def test_the_queue_is_bounded_and_a_late_verdict_is_no_verdict() -> None:
    release = Release(release=1, bundle_id="0" * 16, name="plate", bundle_dir=str(PLATE))
    inspection = CentralInspection(
        lambda: release, limits=InspectionLimits(workers=1, queue=1, timeout_s=0.2)
    )
    held = threading.Event()
    inspection._judge = lambda *_: held.wait(5)  # type: ignore[assignment, method-assign]
    order = PictureOrder(GOLDEN.read_bytes(), "P-1")
    causes: list[BaseException] = []

    def send() -> None:
        try:
            inspection.inspect(order)
        except UnavailableError as error:
            causes.append(error)

    waiting = [threading.Thread(target=send) for _ in range(2)]
    for thread in waiting:
        thread.start()
    while inspection._num_waiting < 2:
        pass
    with pytest.raises(BusyError, match="2 pictures are waiting"):
        inspection.inspect(order)
    for thread in waiting:
        thread.join()
    held.set()
    inspection.stop()
    assert [str(cause) for cause in causes] == ["no verdict within 0.2 s"] * 2


def test_a_server_without_openvino_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "models.detector.runtime", None)
    with pytest.raises(UnavailableError, match=r"pip install 'sightline\[cloud,inspect\]'"):
        load_runtime(PLATE)
