import http.client
import itertools
from urllib.parse import urlsplit

import pytest

from models.contract.messages import Event, PlcResult, Trigger
from models.contract.model import ContractError
from simulators.camera import CameraFault, MjpegCamera
from simulators.drift import DriftSchedule
from simulators.errors import SimulatorError
from simulators.faults import malformed_payloads
from simulators.sources import RenderedSource


def test_malformed_payloads_keep_no_contract_and_repeat_by_seed() -> None:
    payloads = list(itertools.islice(malformed_payloads(7), 45))
    assert payloads == list(itertools.islice(malformed_payloads(7), 45))
    readers = (Event.from_bytes, Trigger.from_bytes, PlcResult.from_bytes)
    for payload, read in itertools.product(payloads, readers):
        with pytest.raises(ContractError):
            read(payload)


def test_a_network_camera_streams_parts_and_can_go_away() -> None:
    source = RenderedSource("camera", "CAM", 1, DriftSchedule(), 160, 128)
    camera = MjpegCamera(source, period_s=0.01)
    camera.start()
    port = urlsplit(camera.url).port
    assert port is not None
    try:
        stream = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        stream.request("GET", "/")
        beginning = stream.getresponse().read(2_000)
        assert beginning.startswith(b"--frame\r\nContent-Type: image/jpeg")
        stream.close()
        assert _snapshot(port)[1].startswith(b"\xff\xd8")
        camera.lens.fault = CameraFault.GONE
        assert _snapshot(port)[0] == 503
        with pytest.raises(SimulatorError, match=f"port {port} is taken"):
            MjpegCamera(source, port=port)
    finally:
        camera.stop()


def _snapshot(port: int) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/snapshot.jpg")
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body
