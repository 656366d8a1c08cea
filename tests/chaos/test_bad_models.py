"""Rows 15 to 18: releases that are forged, old, cut short, or bad, on a running line."""

import json
import os
import shutil
import signal
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cloud.settings import TufSettings
from cloud.tuf_repository import TufRepository
from edge_agent.adapters.resuming_fetcher import CHUNK_BYTES
from models.contract.bundle import ModelRef, target_path
from models.contract.messages import DesiredModel, ModelPhase, Reported
from models.contract.topics import Channel
from simulators.chaos.edge import CELL, EdgeAgent
from simulators.chaos.line import ToyLine
from simulators.chaos.processes import wait_for
from simulators.chaos.stage import IS_FULL, Stage
from simulators.chaos.toy_model import ToyFault, make_toy_bundle, ref_of
from simulators.chaos.update_server import UpdateServer
from simulators.errors import SimulatorError

WAIT_S = 90.0
BAD = {
    ToyFault.BROKEN: "cannot be read",
    ToyFault.FORGETFUL: "golden check",
    ToyFault.BLIND: "shadow",
    ToyFault.NAN: "numbers that are none",
    ToyFault.SLOW: "inference takes",
    ToyFault.HARSH: "rejects",
    ToyFault.LENIENT: "passes",
}
STEPS = (
    ModelPhase.DOWNLOADING,
    ModelPhase.VERIFYING,
    ModelPhase.COMPILING,
    ModelPhase.CHECKING,
    ModelPhase.SHADOW,
    ModelPhase.CANARY,
)


@dataclass
class Fleet:
    """A cloud that signs and wishes, and one cell whose line runs."""

    folder: Path
    repository: TufRepository
    server: UpdateServer
    client: mqtt.Client
    edge: EdgeAgent
    line: ToyLine
    reports: list[Reported] = field(default_factory=list)
    release: int = 1
    rollout_id: str = ""

    def publish(
        self, bundle: Path, *, is_wanted: bool = True, shadow: int = 5, canary: int = 10
    ) -> ModelRef:
        """Sign the next release and, if it is wanted, say so."""
        self.release += 1
        ref = ref_of(bundle, self.release)
        archive = self.folder / f"r{ref.release}.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(bundle, arcname=".")
        custom: dict[str, int | str] = {"release": ref.release, "bundle_id": ref.bundle_id}
        self.repository.publish(target_path(ref.name, ref.release), archive, custom)
        if is_wanted:
            self.desire(ref, shadow=shadow, canary=canary)
        return ref

    def desire(self, ref: ModelRef, *, shadow: int = 5, canary: int = 10) -> None:
        self.rollout_id = f"R{ref.release}-{time.monotonic_ns()}"
        desired = DesiredModel(
            model=ref,
            rollout_id=self.rollout_id,
            shadow_parts=shadow,
            canary_parts=canary,
            issued_at=datetime.now(UTC),
        )
        topic = CELL.topic(Channel.DESIRED_MODEL)
        self.client.publish(topic, desired.to_bytes(), qos=1, retain=True)

    def wait(self, condition: Callable[[Reported], bool], what: str) -> Reported:
        """Wait for a report of that kind about the last wish; the first one."""

        def found() -> Reported | None:
            answers = (r for r in list(self.reports) if r.rollout_id == self.rollout_id)
            return next((report for report in answers if condition(report)), None)

        try:
            wait_for(lambda: found() is not None, WAIT_S, what)
        except SimulatorError as error:
            os.kill(self.edge.process.pid, signal.SIGABRT)  # its threads say where they are
            time.sleep(1)
            raise AssertionError(f"{error}: {self.edge.process.log[-9000:]}") from error
        report = found()
        assert report is not None
        return report

    def wait_refused(self, ref: ModelRef) -> str:
        report = self.wait(
            lambda r: (
                r.desired == ref
                and r.phase in {ModelPhase.FAILED, ModelPhase.ROLLED_BACK}
                and bool(r.error)
            ),
            f"refusal of release {ref.release}",
        )
        return report.error

    def wait_active(self, ref: ModelRef) -> None:
        self.wait(
            lambda r: r.phase is ModelPhase.ACTIVE and r.model == ref, f"release {ref.release}"
        )

    def archive_of(self, ref: ModelRef) -> Path:
        return next(
            path
            for path in self.repository.targets_folder.rglob("*.tar")
            if f"{ref.release:06d}" in path.name or str(ref.release) in path.name
        )


@pytest.fixture
def fleet(chaos: Stage) -> Iterator[Fleet]:
    folder = chaos.folder
    settings = TufSettings(
        dir=folder / "tuf",
        keys_dir=folder / "keys",
        offline_keys_dir=folder / "offline",
        root_file=folder / "root.json",
    )
    repository = TufRepository(settings)
    repository.ensure()
    server = UpdateServer(folder / "tuf")
    chaos.cleanups.append(server.stop)
    broker = chaos.new_broker()
    update = f'enabled = true\nbase_url = "{server.url}"\nroot = "{folder}/root.json"'
    edge = chaos.agent(broker.port, update=update)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="cloud", protocol=mqtt.MQTTv5)
    reports: list[Reported] = []
    client.on_message = lambda _c, _d, message: reports.append(
        Reported.from_bytes(bytes(message.payload))
    )
    client.on_connect = lambda c, *_: c.subscribe(CELL.topic(Channel.REPORTED), qos=1)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    line = chaos.line(broker.port, edge, period_s=0.05)
    yield Fleet(folder, repository, server, client, edge, line, reports)
    line.stop()
    client.disconnect()
    client.loop_stop()


def kept_promises(fleet: Fleet) -> str:
    """The line went on all the while: no part missed, none judged wrongly."""
    fleet.line.stop()
    promises = fleet.line.promises()
    assert promises.broken == promises.missed_connected == 0
    return f"{promises.verdicts} verdicts, 0 missed"


def forged(metadata: bytes) -> str:
    """The same metadata with another signature under it."""
    document = json.loads(metadata)
    signature = document["signatures"][0]
    first = signature["sig"][0]
    signature["sig"] = ("1" if first == "0" else "0") + signature["sig"][1:]
    return json.dumps(document)


@pytest.mark.skipif(not IS_FULL, reason="its short form is integration/test_tuf_client.py")
def test_forged_and_old_releases_are_refused_and_the_line_goes_on(
    fleet: Fleet, chaos: Stage
) -> None:
    bundle = make_toy_bundle(fleet.folder / "v2", "scratch", "torn_label")
    metadata = fleet.repository.metadata_folder
    ref = fleet.publish(bundle, is_wanted=False)
    archive, before = fleet.archive_of(ref), shutil.copytree(metadata, fleet.folder / "before")
    whole, causes = archive.read_bytes(), []

    def refused(how: str) -> None:
        fleet.desire(ref)
        causes.append(f"{how}: {fleet.wait_refused(ref)[:60]}")
        assert fleet.reports[-1].model is not None
        assert fleet.reports[-1].model.release == 0

    places = [len(whole) // 2, 600, len(whole) - 700] if chaos.is_full else [len(whole) // 2]
    for place in places:
        archive.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        refused(f"byte {place} changed")
    archive.write_bytes(whole)
    wrong = ref.model_copy(update={"bundle_id": "0" * 16})
    fleet.desire(wrong)
    causes.append(f"another bundle wished for: {fleet.wait_refused(wrong)[:60]}")
    fleet.desire(ref)
    fleet.wait_active(ref)
    newer = fleet.publish(
        make_toy_bundle(fleet.folder / "v3", "scratch", "dent", "torn_label"), is_wanted=False
    )
    for name in ("timestamp.json", "snapshot.json", "targets.json") if chaos.is_full else ():
        found = max(metadata.glob(f"*{name}"), key=lambda path: path.stat().st_mtime_ns)
        text = found.read_bytes()
        found.write_text(forged(text))
        fleet.desire(newer)
        causes.append(f"{name} changed: {fleet.wait_refused(newer)[:60]}")
        found.write_bytes(text)
    fleet.desire(newer)
    fleet.wait_active(newer)
    shutil.rmtree(metadata)
    shutil.copytree(before, metadata)  # yesterday's repository, played back
    fleet.release += 1
    late = newer.model_copy(update={"release": newer.release + 1})
    fleet.desire(late)
    causes.append(f"played back: {fleet.wait_refused(late)[:60]}")
    fleet.desire(ref)
    causes.append(f"older release: {fleet.wait_refused(ref)[:60]}")
    assert fleet.reports[-1].model == newer
    figure = f"{kept_promises(fleet)}; " + "; ".join(causes)
    chaos.row(15, "tampered, foreign, replayed or older release", len(causes), "I5", figure)


def test_download_cut_and_agent_killed_at_each_step_ends_with_the_whole_model(
    fleet: Fleet, chaos: Stage
) -> None:
    cuts = (0.01, 0.5, 0.99) if chaos.is_full else (0.5,)
    steps = STEPS if chaos.is_full else ()
    names = iter("abcdefghijklm")
    for share in cuts:
        bundle = make_toy_bundle(
            fleet.folder / f"cut{share}", "scratch", next(names), size_bytes=4_000_000
        )
        fleet.server.cut_at, fleet.server.sent_bytes = share, 0
        ref = fleet.publish(bundle)
        fleet.wait_active(ref)
        size = fleet.archive_of(ref).stat().st_size
        # The piece that the connection broke off in is fetched once more.
        assert fleet.server.sent_bytes < size + CHUNK_BYTES, "resumed where it was cut"
    for step in steps:
        bundle = make_toy_bundle(
            fleet.folder / f"at-{step}", "scratch", next(names), size_bytes=4_000_000
        )
        ref = fleet.publish(bundle)
        fleet.wait(lambda r, p=step, w=ref: r.desired == w and r.phase is p, f"phase {step}")  # type: ignore[misc]
        fleet.edge.process.kill()
        fleet.edge.process.start()
        fleet.wait_active(ref)
    figure = f"cut at {', '.join(f'{share:.0%}' for share in cuts)}, resumed to the byte"
    if steps:
        figure += f"; killed while {', '.join(steps)}, whole each time"
    fleet.line.stop()
    promises = fleet.line.promises()
    assert promises.broken == 0
    chaos.row(
        17, "download cut, agent killed at each step", len(cuts) + len(steps), "I5 I6", figure
    )


def test_bad_model_never_stays_and_no_trigger_is_lost(fleet: Fleet, chaos: Stage) -> None:
    faults = list(BAD) if chaos.is_full else [ToyFault.HARSH]
    causes = []
    for fault in faults:
        bundle = make_toy_bundle(fleet.folder / f"bad-{fault}", "scratch", fault=fault)
        # Latency and rejects show in the canary window; the others never get as far.
        shadow = 0 if fault in {ToyFault.SLOW, ToyFault.HARSH, ToyFault.LENIENT} else 5
        canary = 200 if fault is ToyFault.LENIENT else 20
        ref = fleet.publish(bundle, shadow=shadow, canary=canary)
        cause = fleet.wait_refused(ref)
        causes.append(f"{fault}: {cause.replace(f'{fleet.folder}/', '')[:70]}")
        fleet.desire(ref.model_copy(update={"release": ref.release}))
        assert "quarantined" in fleet.wait_refused(ref)
        assert fleet.reports[-1].model is not None
        assert fleet.reports[-1].model.release == 0
    fleet.line.stop()
    promises = fleet.line.promises()
    assert (promises.missed_connected, promises.contradictions, promises.late_ok) == (0, 0, 0)
    figure = f"{promises.verdicts} verdicts, 0 missed; " + "; ".join(causes)
    chaos.row(18, "bad model", len(faults), "I5 I6", figure)
