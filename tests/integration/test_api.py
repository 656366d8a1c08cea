"""The API over both databases: lists, traces, figures, who may do what, and how errors look."""

import hashlib
import re
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import cv2
import numpy as np
import pytest

from cloud.api.openapi import FILE, openapi_text
from cloud.app import build_context, create_app
from cloud.arrivals import Delivery, read_delivery
from cloud.db.migration import migrate
from cloud.db.tables import Annotation, CategoryRow, Image, ReviewStatus, Role
from cloud.ingest_store import IngestStore
from cloud.settings import Settings
from cloud.tally_store import counted_review
from models.contract.bundle import CategoryKind
from models.contract.messages import (
    DetectionRecord,
    Event,
    HardReason,
    ImageHeader,
    Inspection,
    Reason,
    ReasonCode,
    Truth,
    Verdict,
)
from models.contract.topics import CellAddress, Channel

with warnings.catch_warnings():
    # Starlette asks for a successor of httpx that NiceGUI does not use yet.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

CELL = CellAddress("plant", "assembly", "line1", "cell1")
BOOT = UUID(int=99)
START = datetime(2026, 1, 1, 8, tzinfo=UTC)
PASSWORD = "correct horse"  # noqa: S105 - of the test's own users


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "sqlite":
        url = "sqlite:///cloud.db"
    else:
        url = request.getfixturevalue("postgresql_url")
    plain: dict[str, Any] = {"database": {"url": url}, "storage": {"min_free_bytes": 0}}
    plain["auth"] = {"login_attempts_per_minute": 4}
    return Settings(**plain).anchored(tmp_path)


@pytest.fixture
def world(settings: Settings) -> Iterator["World"]:
    world = World(settings)
    yield world
    world.context.database.close()


class World:
    """A migrated database, the application over it, and a user of each role."""

    def __init__(self, settings: Settings) -> None:
        self.context = build_context(settings)
        migrate(self.context.database)
        self.app = create_app(self.context, with_dashboard=False)
        self.store = IngestStore(self.context.database, self.context.images)
        self.seq = 0

    def client(self, role: Role | None = Role.VIEWER) -> TestClient:
        headers = {}
        if role is not None:
            self.context.accounts.set_user(role, role=role, password=None)
            token = self.context.accounts.issue_token(role, label="test")
            headers = {"Authorization": f"Bearer {token}"}
        return TestClient(self.app, headers=headers, raise_server_exceptions=False)

    def inspect(self, part_id: str, verdict: Verdict, *hard: HardReason, category: str = "") -> int:
        self.seq += 1
        self._event(
            Inspection(
                result_id=UUID(int=self.seq),
                job_id=UUID(int=self.seq),
                trigger_id=f"T{self.seq}",
                part_id=part_id,
                verdict=verdict,
                reasons=(Reason(code=ReasonCode.DEFECT, category=category),) if category else (),
                detections=(DetectionRecord(category="bolt", score=0.9, bbox=(1, 2, 3, 4)),),
                recipe_id="plate",
                recipe_version=1,
                processing_ms=10.0 + self.seq,
                hard_reasons=hard,
            )
        )
        if hard:
            self._picture(part_id, hard)
        return self.seq

    def truth(self, part_id: str, actual: Verdict, said: Verdict) -> None:
        self.seq += 1
        self._event(Truth(part_id=part_id, actual=actual, said=said))

    def label(self, seq: int, *categories: str) -> None:
        with self.context.database.write() as session:
            image = session.query(Image).filter_by(result_id=UUID(int=seq)).one()
            boxes = [{"category": name, "bbox": [1, 1, 5, 5]} for name in categories]
            with counted_review(session, image):
                session.add(
                    Annotation(
                        image_sha256=image.sha256,
                        revision=1,
                        decision=ReviewStatus.LABELLED,
                        boxes=boxes,
                        reviewer="ann",
                        created_at=START,
                    )
                )
                image.status, image.revision = ReviewStatus.LABELLED, 1

    def _event(self, body: Inspection | Truth) -> None:
        event = Event(
            cell=str(CELL),
            boot_id=BOOT,
            seq=self.seq,
            created_at=START + timedelta(minutes=self.seq),
            body=body,
        )
        self._arrive(Delivery(CELL.topic(Channel.EVENT), event.to_bytes(), (), START))

    def _picture(self, part_id: str, hard: tuple[HardReason, ...]) -> None:
        noise = np.random.default_rng(self.seq).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        content = cv2.imencode(".jpg", noise)[1].tobytes()
        header = ImageHeader(
            cell=str(CELL),
            boot_id=BOOT,
            seq=self.seq,
            created_at=START + timedelta(minutes=self.seq),
            result_id=UUID(int=self.seq),
            part_id=part_id,
            sha256=hashlib.sha256(content).hexdigest(),
            width_px=16,
            height_px=16,
            hard_reasons=hard,
        )
        properties = tuple(header.to_user_properties())
        self._arrive(Delivery(CELL.topic(Channel.IMAGE), content, properties, START))

    def _arrive(self, delivery: Delivery) -> None:
        arrival = read_delivery(delivery)
        assert arrival is not None
        assert self.store.write([arrival]) == [arrival]


def test_results_come_newest_first_page_by_page_and_by_filter(world: World) -> None:
    for number in range(7):
        world.inspect(f"P{number}", Verdict.OK)
    world.inspect("P7", Verdict.NOT_OK, HardReason.REJECT, category="scratch")
    client = world.client()
    seen: list[str] = []
    query = {"limit": 3}
    while True:
        page = client.get("/v1/results", params=query).json()
        seen += [item["part_id"] for item in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == [f"P{number}" for number in range(7, -1, -1)]

    def parts(**filters: object) -> list[str]:
        page = client.get("/v1/results", params=filters).json()
        return [item["part_id"] for item in page["items"]]

    assert parts(verdict="not_ok") == parts(category="scratch") == ["P7"]
    assert parts(reason="defect") == parts(hard_reason="reject") == ["P7"]
    assert parts(hard_reason="novelty") == parts(cell="a/b/c/d") == []
    assert parts(until=(START + timedelta(minutes=2)).isoformat()) == ["P0"]


def test_a_part_is_traced_with_its_pictures_labels_and_later_findings(world: World) -> None:
    world.inspect("P1", Verdict.OK)
    seq = world.inspect("P1", Verdict.NOT_OK, HardReason.UNCERTAIN, category="scratch")
    world.label(seq, "scratch")
    world.truth("P1", Verdict.OK, Verdict.NOT_OK)
    client = world.client()
    trace = client.get("/v1/parts/P1").json()
    assert [result["verdict"] for result in trace["results"]] == ["ok", "not_ok"]
    assert trace["results"][1]["detections"][0]["bbox"] == [1, 2, 3, 4]
    assert trace["annotations"][0]["boxes"][0]["category"] == "scratch"
    assert trace["truths"][0]["actual"] == "ok"
    picture = client.get(trace["results"][1]["image"]["url"])
    assert picture.headers["content-type"] == "image/jpeg"
    assert cv2.imdecode(np.frombuffer(picture.content, np.uint8), 1) is not None
    assert client.get(f"/v1/results/{UUID(int=seq)}").json()["part_id"] == "P1"


def test_a_contradicted_verdict_goes_back_into_review_and_into_the_log(world: World) -> None:
    seq = world.inspect("P1", Verdict.NOT_OK, HardReason.REJECT, category="scratch")
    path = f"/v1/results/{UUID(int=seq)}/contradiction"
    assert world.client().post(path, json={"kind": "false_reject"}).status_code == 403
    operator = world.client(Role.OPERATOR)
    noted = operator.post(path, json={"kind": "false_reject"}).json()
    assert (noted["part_id"], noted["has_picture"], noted["is_told"]) == ("P1", True, False)
    image = operator.get("/v1/parts/P1").json()["images"][0]
    assert (image["status"], image["hard_reasons"]) == ("pending", ["reject", "contradiction"])
    assert operator.post(path, json={"kind": "missed_defect"}).status_code == 409
    [entry] = world.client(Role.ADMIN).get("/v1/audit?action=contradict result").json()["items"]
    assert (entry["actor"], entry["details"]["kind"]) == ("operator", "false_reject")


def test_figures_agree_with_a_count_by_hand(world: World) -> None:
    with world.context.database.write() as session:
        for position, name in enumerate(["bolt", "scratch"]):
            kind = CategoryKind.OBJECT if name == "bolt" else CategoryKind.DEFECT
            session.add(
                CategoryRow(
                    name=name, kind=kind, position=position, created_at=START, created_by="x"
                )
            )
    world.inspect("A", Verdict.OK)
    world.inspect("B", Verdict.NOT_OK, category="scratch")
    world.inspect("B", Verdict.OK)  # passed the second time: not first-pass
    escaped = world.inspect("C", Verdict.OK, HardReason.AUDIT)
    fine = world.inspect("D", Verdict.OK, HardReason.AUDIT)
    overkill = world.inspect("E", Verdict.NOT_OK, HardReason.REJECT, category="scratch")
    world.inspect("F", Verdict.NOT_DECIDABLE)
    world.label(escaped, "scratch", "bolt")
    world.label(fine, "bolt")
    world.label(overkill, "bolt")
    world.truth("A", Verdict.NOT_OK, Verdict.OK)
    client = world.client()
    summary = client.get("/v1/statistics/summary").json()
    assert summary["verdicts"] == {"ok": 4, "not_ok": 2, "not_decidable": 1}
    assert (summary["first_pass"]["count"], summary["first_pass"]["n"]) == (3, 6)
    assert (summary["escapes"]["count"], summary["escapes"]["n"]) == (1, 2)
    assert (summary["false_rejects"]["count"], summary["false_rejects"]["n"]) == (1, 1)
    assert summary["reported_escapes"] == 1
    assert summary["hard_images"] == {"audit": 2, "reject": 1}
    assert summary["review"] == dict.fromkeys(map(str, ReviewStatus), 0) | {"labelled": 3}
    records = client.get("/v1/statistics/records").json()
    assert sum(record["num_records"] for record in records) == 8
    bars = client.get("/v1/statistics/pareto").json()
    assert [(bar["category"], bar["count"]) for bar in bars] == [("scratch", 2)]
    points = client.get("/v1/statistics/yield", params={"bucket_s": 120}).json()
    assert sum(point["first_pass"]["n"] for point in points) == 6
    assert points[0]["start"] == START.isoformat().replace("+00:00", "Z")


def test_cells_are_listed_with_their_last_result(world: World) -> None:
    world.inspect("A", Verdict.OK)
    client = world.client()
    [cell] = client.get("/v1/cells").json()["items"]
    assert (cell["cell"], cell["is_online"]) == (str(CELL), False)
    assert cell["last_result"]["part_id"] == "A"
    assert client.get(f"/v1/cells/{CELL}").json() | {"status_age_s": 0} == cell | {
        "status_age_s": 0
    }


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        ("/v1/results/not-a-uuid", 422, "invalid"),
        ("/v1/results?limit=0", 422, "invalid"),
        ("/v1/results?cursor=nonsense", 422, "invalid"),
        ("/v1/results?verdikt=ok", 422, "invalid"),
        ("/v1/results?since=2026-01-01T00:00:00", 422, "invalid"),
        ("/v1/results?part_id=%00", 422, "invalid"),
        (f"/v1/results/{UUID(int=1)}", 404, "not-found"),
        ("/v1/parts/none", 404, "not-found"),
        ("/v1/parts/%00", 404, "not-found"),
        (f"/v1/images/{'0' * 64}", 404, "not-found"),
        ("/v1/images/..%2f..%2fetc%2fpasswd", 404, "not-found"),
        ("/v1/cells/a/b/c/d", 404, "not-found"),
        ("/v1/nothing", 404, "not-found"),
    ],
)
def test_every_error_is_a_problem_document(world: World, path: str, status: int, slug: str) -> None:
    answer = world.client().get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["type"]) == (status, f"urn:sightline:problem:{slug}")
    assert document["detail"]


def test_only_people_who_signed_in_see_anything_and_roles_bound_what_they_do(
    world: World,
) -> None:
    world.context.accounts.set_user("ann", role=Role.QUALITY, password=PASSWORD)
    anybody = world.client(None)
    assert anybody.get("/v1/results").status_code == 401
    assert anybody.get("/healthz").status_code == 200
    wrong = anybody.post("/v1/sessions", json={"name": "ann", "password": "wrong"})
    nobody = anybody.post("/v1/sessions", json={"name": "bob", "password": "wrong"})
    assert (wrong.status_code, wrong.json()["detail"]) == (401, nobody.json()["detail"])
    signed_in = anybody.post("/v1/sessions", json={"name": "ann", "password": PASSWORD})
    assert signed_in.status_code == 201
    assert "httponly" in signed_in.headers["set-cookie"].lower()
    assert anybody.get("/v1/sessions/me").json() == {"name": "ann", "role": "quality"}
    assert anybody.get("/v1/dead-letters").status_code == 403
    assert anybody.delete("/v1/sessions").status_code == 204
    anybody.cookies.clear()
    token = {"Authorization": f"Bearer {signed_in.json()['token']}"}
    assert anybody.get("/v1/results", headers=token).status_code == 401
    assert world.client(Role.ADMIN).get("/v1/dead-letters").json() == {"items": [], "next": None}


def test_guessing_passwords_is_slowed_down(world: World) -> None:
    client = world.client(None)
    attempt = {"name": "ann", "password": "guess"}
    statuses = [client.post("/v1/sessions", json=attempt).status_code for _ in range(5)]
    assert statuses == [401] * 4 + [429]


def test_another_sites_page_can_neither_write_nor_pass_the_size_limit(world: World) -> None:
    client = world.client(Role.ADMIN)
    foreign = client.delete("/v1/sessions", headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    own = client.delete("/v1/sessions", headers={"Origin": "http://testserver"})
    assert own.status_code == 204
    limit = world.context.settings.http.max_body_bytes
    large = client.post("/v1/sessions", content=b"x" * (limit + 1))
    chunked = client.post(
        "/v1/sessions", content=(b"x" * 1_000_000 for _ in range(limit // 10**6 + 1))
    )
    assert (large.status_code, chunked.status_code) == (413, 413)


def test_the_openapi_file_is_up_to_date() -> None:
    assert FILE.read_text(encoding="utf-8") == openapi_text(), "run python -m cloud.api.openapi"


def test_every_endpoint_but_health_sign_in_and_signed_files_needs_a_sign_in(world: World) -> None:
    client = world.client(None)
    values = {"release": "1", "result_id": str(BOOT), "sha256": "0" * 64}
    answers = {}
    for path, operations in client.get("/v1/openapi.json").json()["paths"].items():
        filled = re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], "x"), path)
        for method in operations:
            answers[method, path] = client.request(method, filled, json={}).status_code
    open_to_all = {route for route, status in answers.items() if status != 401}
    assert open_to_all == {("get", "/healthz"), ("get", "/readyz"), ("post", "/v1/sessions")}
    assert len(answers) > 30
