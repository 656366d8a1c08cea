"""The whole loop once, with every real part: broker, cloud, cells, Spark, signed model, swap.

Short in training (a few steps from the released baseline), complete in everything else. Meanwhile
the ingest and the broker are killed: neither may cost a record.
"""

import shutil
import threading
import time
from pathlib import Path

import psutil
import pytest

from simulators.demo import DemoPlan, Learning, run_demo
from simulators.demo.plan import BASELINE

pytestmark = [pytest.mark.timeout(480)]
KILL_AFTER_S = (25.0, 35.0)


def children_called(*words: str) -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if all(word in line for word in words):
            found.append(process)
    return found


class Saboteur(threading.Thread):
    """Kills the ingest, then the broker: the order that loses records where PUBACK is trusted."""

    def __init__(self, spared: list[psutil.Process]) -> None:
        super().__init__(name="saboteur", daemon=True)
        self.killed: list[str] = []
        self._spared = spared

    def run(self) -> None:
        begin = time.monotonic()
        for after_s, name, words in (
            (KILL_AFTER_S[0], "ingest", ("sightline-cloud", "ingest")),
            (KILL_AFTER_S[1], "broker", ("mosquitto",)),
        ):
            time.sleep(max(0.0, begin + after_s - time.monotonic()))
            for process in children_called(*words):
                if process not in self._spared:
                    process.kill()
                    self.killed.append(name)


@pytest.mark.usefixtures("mosquitto_program")
@pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")
def test_loop_turns_once_and_loses_nothing_when_ingest_and_broker_are_killed(
    tmp_path: Path, unused_port: int
) -> None:
    plan = DemoPlan(
        data_dir=tmp_path / "demo",
        port=unused_port,
        report=tmp_path / "report.json",
        once=True,
        bundle=BASELINE,
        cadence_s=0.5,
        emerging_from=3,
        # Few bad parts: a model that learned for four steps must not look, to the canary window
        # of a few parts, like one that rejects everything.
        known_rate=0.1,
        emerging_rate=0.3,
        canary_parts=6,
        shadow_parts=2,
        parts_after_swap=3,
        time_limit_s=420.0,
        learning=Learning(
            base_pictures=30,
            min_new_labels=8,
            min_per_new_category=1,
            seconds_per_label=0.05,
            # Hardly another model, so that the cells' own canary finds nothing to roll back.
            extra_arguments=("--steps", "4", "--batch", "4", "--set", "learning_rate=0.00001"),
            # Four steps teach nothing: what is tested is the way, not the gain.
            min_map50_gain=-1.0,
            max_class_drop=1.0,
            max_int8_drop=1.0,
            max_int8_class_drop=1.0,
            min_locked_images=1,
            latency_budget_ms=10_000.0,
        ),
    )
    before = psutil.Process().children(recursive=True)
    saboteur = Saboteur(spared=before)
    saboteur.start()
    report = run_demo(plan)

    assert set(saboteur.killed) == {"ingest", "broker"}
    assert report["records_made"] == report["records_in_cloud"] > 0
    assert report["duplicates"] == 0
    assert report["hard_images"]
    assert report["labels"] >= 8
    assert report["retraining"]["master"].startswith("local")
    assert report["model_after"]["release"] > report["model_before"]["release"]
    assert report["triggers_missed_during_swap"] == 0
    assert plan.report is not None
    assert plan.report.exists()
    # Python's own tracker of shared memory lives as long as the test run.
    expected = [*before, *children_called("multiprocessing.resource_tracker")]
    assert [one for one in psutil.Process().children(recursive=True) if one not in expected] == []
