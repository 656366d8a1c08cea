"""Who may read and write what at the uplink broker, with the very ACL that is deployed.

What counts is what was delivered: mosquitto grants a subscription that the ACL forbids, and then
sends nothing.
"""

import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from cloud.broker import BrokerLink
from cloud.settings import BrokerSettings
from simulators.ports import free_port

DEPLOYED = Path(__file__).resolve().parents[2] / "deploy" / "mosquitto"
CELL, OTHER = "plant/hall/line1/cell1", "plant/hall/line1/cell2"
PASSWORDS = {"sightline-cloud": "of the cloud", CELL: "of one", OTHER: "of two"}
WAIT_S = 20.0


def run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail(f"mosquitto does not listen on {port}")


def make_certificates(folder: Path) -> None:
    """An authority, the broker's certificate, and one that ran out yesterday."""
    run(folder, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=test CA",
        "-keyout", "ca.key", "-out", "ca.crt")  # fmt: skip
    (folder / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01\n")
    (folder / "ca.conf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\n"
        "certificate=ca.crt\nprivate_key=ca.key\ndefault_md=sha256\npolicy=p\nunique_subject=no\n"
        "[p]\ncommonName=supplied\n"
    )
    for name, start, end in (
        ("server", "20200101000000Z", "20991231000000Z"),
        ("expired", "20200101000000Z", "20210101000000Z"),
    ):
        run(folder, "openssl", "req", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
            "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        run(folder, "openssl", "ca", "-batch", "-config", "ca.conf", "-in", f"{name}.csr",
            "-out", f"{name}.crt", "-startdate", start, "-enddate", end,
            "-extfile", "san")  # fmt: skip


@dataclass
class Access:
    """Two brokers of the deployed settings: one with a good certificate, one with an old one."""

    folder: Path
    port: int
    expired_port: int


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    tool = shutil.which("mosquitto_passwd")
    if program is None or tool is None or shutil.which("openssl") is None:
        pytest.skip("mosquitto, mosquitto_passwd or openssl is not installed")
    folder = tmp_path_factory.mktemp("broker")
    make_certificates(folder)
    (folder / "passwd").touch()
    for name, password in PASSWORDS.items():
        run(folder, tool, "-b", "passwd", name, password)
    shutil.copy(DEPLOYED / "sightline.acl", folder / "acl")
    ports, processes = {}, []
    for name in ("server", "expired"):
        ports[name] = free_port()
        text = (DEPLOYED / "uplink.conf").read_text()
        for before, after in (
            ("listener 8883", f"listener {ports[name]} 127.0.0.1"),
            ("/etc/mosquitto/certs/ca.crt", str(folder / "ca.crt")),
            ("/etc/mosquitto/certs/server.crt", str(folder / f"{name}.crt")),
            ("/etc/mosquitto/certs/server.key", str(folder / f"{name}.key")),
            ("/etc/mosquitto/sightline.passwd", str(folder / "passwd")),
            ("/etc/mosquitto/sightline.acl", str(folder / "acl")),
            ("persistence true", "persistence false"),
        ):
            assert before in text
            text = text.replace(before, after)
        user = "\nuser root\n" if os.geteuid() == 0 else "\n"
        (folder / f"{name}.conf").write_text(text + user)
        process = subprocess.Popen([program, "-c", str(folder / f"{name}.conf")])
        processes.append(process)
        wait_for_port(ports[name], process)
    yield Access(folder, ports["server"], ports["expired"])
    for process in processes:
        process.kill()
        process.wait()


@dataclass
class Client:
    """One account, and everything that it was sent."""

    client: mqtt.Client
    refused: threading.Event = field(default_factory=threading.Event)
    ready: threading.Event = field(default_factory=threading.Event)
    got: list[tuple[str, bytes]] = field(default_factory=list)

    def publish(self, topic: str, payload: bytes) -> None:
        self.client.publish(topic, payload, qos=1).wait_for_publish(WAIT_S)

    def wait_for(self, payload: bytes) -> None:
        until = time.monotonic() + WAIT_S
        while payload not in [content for _, content in self.got]:
            assert time.monotonic() < until, f"{payload!r} never came"
            time.sleep(0.01)


@pytest.fixture
def connect(access: Access) -> Iterator[Callable[..., Client]]:
    made: list[mqtt.Client] = []

    def start(name: str | None, password: str | None, *topics: str) -> Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        made.append(client)
        own = Client(client)
        client.tls_set_context(ssl.create_default_context(cafile=str(access.folder / "ca.crt")))
        if name is not None:
            client.username_pw_set(name, password)

        def on_connect(_c: object, _d: object, _f: object, reason: ReasonCode, _p: object) -> None:
            if reason.is_failure:
                own.refused.set()
            elif topics:
                client.subscribe([(topic, 1) for topic in topics])
            else:
                own.ready.set()

        client.on_connect = on_connect
        client.on_subscribe = lambda *_: own.ready.set()
        client.on_message = lambda _c, _d, message: own.got.append(
            (message.topic, bytes(message.payload))
        )
        client.connect("127.0.0.1", access.port)
        client.loop_start()
        return own

    yield start
    for client in made:
        client.disconnect()
        client.loop_stop()


def of(cell: str, channel: str) -> str:
    return f"sightline/v1/{cell}/{channel}"


@pytest.mark.parametrize(
    ("name", "password"), [(None, None), (CELL, "wrong"), ("nobody", "x"), (CELL, PASSWORDS[OTHER])]
)
def test_who_is_nobody_or_has_the_wrong_password_is_not_let_in(
    connect: Callable[..., Client], name: str | None, password: str | None
) -> None:
    assert connect(name, password).refused.wait(WAIT_S)


def test_a_cell_reads_and_writes_its_own_topics_and_nothing_else(
    connect: Callable[..., Client],
) -> None:
    cloud = connect("sightline-cloud", PASSWORDS["sightline-cloud"], "sightline/v1/#")
    mine = connect(CELL, PASSWORDS[CELL], of(CELL, "down/#"), of(OTHER, "down/ack"))
    nosy = connect(
        OTHER, PASSWORDS[OTHER], "#", "sightline/v1/+/+/+/+/down/ack", of(CELL, "up/event"),
        f"$share/ingest-records/{of('+/+/+/+', 'up/event')}", "$SYS/#",
    )  # fmt: skip
    for client in (cloud, mine, nosy):
        assert client.ready.wait(WAIT_S)
    mine.publish(of(CELL, "up/event"), b"mine")
    mine.publish(of(OTHER, "up/event"), b"forged")
    nosy.publish(of(CELL, "down/model"), b"forged model")
    cloud.publish(of(CELL, "down/ack"), b"ack for one")
    cloud.publish(of(OTHER, "down/ack"), b"ack for two")
    # Messages between two clients keep their order: behind the last one, nothing is on its way.
    nosy.publish(of(OTHER, "up/event"), b"last of two")
    mine.publish(of(CELL, "up/event"), b"last of one")
    cloud.wait_for(b"last of one")
    cloud.wait_for(b"last of two")
    mine.wait_for(b"ack for one")
    nosy.wait_for(b"ack for two")
    told = [content for _, content in cloud.got]
    assert b"mine" in told
    assert b"forged" not in told
    assert b"forged model" not in told
    assert [content for _, content in mine.got] == [b"ack for one"]
    assert {topic for topic, _ in nosy.got} <= {of(OTHER, "down/ack"), of(OTHER, "up/event")}


# paho leaves its socket open where a handshake fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_whose_certificate_has_run_out_is_not_talked_to(access: Access) -> None:
    connected = {}
    for name, port in (("good", access.port), ("expired", access.expired_port)):
        settings = BrokerSettings.model_validate(
            {
                "host": "localhost", "port": port, "username": CELL, "password": PASSWORDS[CELL],
                "ca_file": access.folder / "ca.crt", "reconnect_cap_s": 0.3,
            }
        )  # fmt: skip
        link = BrokerLink(settings, f"test-{name}")
        link.start()
        until = time.monotonic() + (WAIT_S if name == "good" else 2.0)
        while not link.is_connected and time.monotonic() < until:
            time.sleep(0.02)
        connected[name] = link.is_connected
        link.stop()
    assert connected == {"good": True, "expired": False}
