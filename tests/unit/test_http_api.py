"""Pictures over HTTP: what is judged, what is sent away, and how."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from uuid import uuid4

import cv2
import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter

from edge_agent.adapters.http_api import HttpLimits, make_app
from edge_agent.adapters.http_openapi import FILE, openapi_text
from edge_agent.adapters.http_server import HttpServer
from edge_agent.errors import (
    ConfigurationError,
    ModelFault,
    NotReadyError,
    OverloadError,
    UnknownNameError,
    UnreadablePictureError,
)
from edge_agent.inspection_ports import Health, PictureRequest
from edge_agent.picture_intake import decode, read_size
from edge_agent.ports import CycleOutcome, Frame, Image
from models.contract.inspection_answer import InspectionAnswer
from models.contract.messages import StationState, Verdict
from models.contract.recipe import Recipe, View
from models.detector.detections import Detections

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RECIPE = Recipe(
    recipe_id="plate",
    version=3,
    part_type="plate",
    image_width_px=32,
    image_height_px=24,
    views=(View(),),
)
IMAGE = np.random.default_rng(1).integers(0, 255, (24, 32, 3)).astype(np.uint8)
JPEG = cv2.imencode(".jpg", IMAGE)[1].tobytes()
PNG = cv2.imencode(".png", IMAGE)[1].tobytes()
AS_JPEG = {"content-type": "image/jpeg"}


class FakeInspector:
    """Finds one bolt in everything, unless told otherwise."""

    def __init__(self) -> None:
        self.requests: list[PictureRequest] = []
        self.images: list[Image] = []
        self.fault: Exception | None = None
        self.never_answers = False
        self.state = Health(True, True, StationState.READY)

    def submit(self, request: PictureRequest) -> "Future[CycleOutcome]":
        if self.fault:
            raise self.fault
        self.images.append(request.read())
        self.requests.append(request)
        done: Future[CycleOutcome] = Future()
        if not self.never_answers:
            done.set_result(
                CycleOutcome(
                    result_id=uuid4(),
                    job_id=uuid4(),
                    trigger_id="http",
                    part_id=request.part_id,
                    recipe=RECIPE,
                    view=RECIPE.views[0],
                    verdict=Verdict.OK,
                    reasons=(),
                    decided_at=NOON,
                    categories=("bolt",),
                    frame=Frame(self.images[-1], 1, NOON),
                    detections=Detections(
                        np.array([[1, 2, 11, 22]], np.float32),
                        np.array([0.9], np.float32),
                        np.array([0]),
                    ),
                )
            )
        return done

    def health(self) -> Health:
        return self.state


@pytest.fixture
def inspector() -> FakeInspector:
    return FakeInspector()


@pytest.fixture
def client(inspector: FakeInspector) -> Iterator[httpx.Client]:
    registry = CollectorRegistry()
    Counter("sightline_test", "A figure.", registry=registry).inc()
    limits = HttpLimits(max_body_bytes=20_000, max_pixels=1_000, max_requests=2, timeout_s=0.05)
    server = HttpServer(make_app(inspector, registry, limits=limits), host="127.0.0.1", port=0)
    server.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=10) as made:
        yield made
    server.stop()


def test_raw_jpeg_gets_a_verdict_with_its_boxes(client: httpx.Client) -> None:
    answer = client.post("/v1/inspect?part_id=P7", content=JPEG, headers=AS_JPEG).json()
    assert (answer["part_id"], answer["verdict"]) == ("P7", "ok")
    assert answer["detections"][0]["category"] == "bolt"
    assert answer["detections"][0]["bbox"] == [1.0, 2.0, 10.0, 20.0]
    assert answer["recipe_version"] == 3


def test_png_arrives_pixel_by_pixel_in_raw_and_in_multipart_form(
    client: httpx.Client, inspector: FakeInspector
) -> None:
    client.post("/v1/inspect", content=PNG, headers={"content-type": "image/png"})
    client.post("/v1/inspect", files={"image": ("part.png", PNG, "image/png")})
    assert len(inspector.images) == 2
    assert all(np.array_equal(image, IMAGE) for image in inspector.images)


def test_repeated_idempotency_key_is_judged_once(
    client: httpx.Client, inspector: FakeInspector
) -> None:
    headers = {**AS_JPEG, "idempotency-key": "K1"}
    first = client.post("/v1/inspect", content=JPEG, headers=headers).json()
    second = client.post("/v1/inspect", content=JPEG, headers=headers).json()
    assert first == second
    assert len(inspector.requests) == 1
    other = client.post("/v1/inspect", content=PNG, headers=headers)
    assert other.status_code == 422


@pytest.mark.parametrize(
    ("fault", "status", "may_retry"),
    [
        pytest.param(OverloadError("pictures"), 429, True, id="queue full"),
        pytest.param(NotReadyError("halted"), 503, True, id="station halted"),
        pytest.param(ModelFault("broken"), 503, True, id="model unusable"),
        pytest.param(UnknownNameError("no recipe"), 404, False, id="unknown recipe"),
    ],
)
def test_station_that_cannot_take_a_picture_says_why(
    client: httpx.Client, inspector: FakeInspector, fault: Exception, status: int, may_retry: bool
) -> None:
    inspector.fault = fault
    answer = client.post("/v1/inspect", content=JPEG, headers=AS_JPEG)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == str(fault)
    assert ("retry-after" in answer.headers) is may_retry


def test_failed_request_is_not_remembered_under_its_key(
    client: httpx.Client, inspector: FakeInspector
) -> None:
    headers = {**AS_JPEG, "idempotency-key": "K1"}
    inspector.fault = NotReadyError("halted")
    assert client.post("/v1/inspect", content=JPEG, headers=headers).status_code == 503
    inspector.fault = None
    assert client.post("/v1/inspect", content=JPEG, headers=headers).status_code == 200


def test_description_of_the_api_is_the_one_in_the_repository() -> None:
    current = openapi_text()
    assert FILE.read_text(encoding="utf-8") == current, (
        "run python -m edge_agent.adapters.http_openapi"
    )


def test_answer_is_what_the_description_says(client: httpx.Client) -> None:
    answer = client.post("/v1/inspect", content=JPEG, headers=AS_JPEG)
    described = InspectionAnswer.model_validate_json(answer.content)
    assert answer.headers["content-type"] == "application/json"
    assert described.model_dump(mode="json") == answer.json()


def test_verdict_that_does_not_come_is_given_up(
    client: httpx.Client, inspector: FakeInspector
) -> None:
    inspector.never_answers = True
    answer = client.post("/v1/inspect", content=JPEG, headers=AS_JPEG)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        pytest.param(b"x" * 20_001, "image/jpeg", 413, id="body too large"),
        pytest.param(JPEG, "text/plain", 415, id="no picture type"),
        pytest.param(b"GIF89a", "image/jpeg", 422, id="neither JPEG nor PNG"),
        pytest.param(JPEG[:200], "image/jpeg", 422, id="cut off before its size"),
        pytest.param(b"", "image/png", 422, id="empty"),
        pytest.param(b"--x--", "multipart/form-data; boundary=x", 422, id="form without a file"),
    ],
)
def test_bad_input_is_refused_before_it_costs_anything(
    client: httpx.Client, inspector: FakeInspector, body: bytes, content_type: str, status: int
) -> None:
    answer = client.post("/v1/inspect", content=body, headers={"content-type": content_type})
    assert answer.status_code == status, answer.text
    assert inspector.requests == []


def test_decompression_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = PNG[:16] + (60_000).to_bytes(4, "big") * 2 + PNG[24:]
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(UnreadablePictureError, match="60000 x 60000"):
        decode(bomb, max_pixels=50_000_000)


def test_size_is_read_from_what_it_is_not_from_what_it_is_called() -> None:
    assert read_size(JPEG) == read_size(PNG) == (32, 24)


@pytest.mark.parametrize("length", range(0, len(JPEG), 37))
def test_cut_off_jpeg_never_does_worse_than_being_refused(length: int) -> None:
    try:
        image = decode(JPEG[:length], max_pixels=1_000)
    except UnreadablePictureError:
        return
    assert image.shape == (24, 32, 3)


def test_probes_tell_live_from_ready(client: httpx.Client, inspector: FakeInspector) -> None:
    assert client.get("/readyz").status_code == 200
    inspector.state = Health(True, False, StationState.HALTED, "stopped by command")
    assert client.get("/healthz").status_code == 200
    not_ready = client.get("/readyz")
    assert (not_ready.status_code, not_ready.json()["text"]) == (503, "stopped by command")


def test_metrics_are_prometheus_text(client: httpx.Client) -> None:
    answer = client.get("/metrics")
    assert "sightline_test_total 1.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


def test_openapi_names_the_picture_and_every_answer(client: httpx.Client) -> None:
    post = client.get("/openapi.json").json()["paths"]["/v1/inspect"]["post"]
    assert {"image/jpeg", "image/png", "multipart/form-data"} <= post["requestBody"][
        "content"
    ].keys()
    assert {"200", "413", "415", "422", "429", "503"} <= post["responses"].keys()


def test_server_answers_on_a_real_port_and_a_taken_one_is_told(inspector: FakeInspector) -> None:
    server = HttpServer(make_app(inspector, CollectorRegistry()), host="127.0.0.1", port=0)
    server.start()
    try:
        answer = httpx.post(
            f"http://127.0.0.1:{server.port}/v1/inspect", content=JPEG, headers=AS_JPEG, timeout=5
        )
        assert answer.status_code == 200
        with pytest.raises(ConfigurationError, match=f"http.port {server.port}"):
            HttpServer(make_app(inspector, CollectorRegistry()), host="127.0.0.1", port=server.port)
    finally:
        server.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "http"]
