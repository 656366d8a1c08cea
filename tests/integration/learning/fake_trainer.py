"""Stands in for ``sightline-train run``: its arguments, events, report and bundle, no training.

The environment variable FAKE_TRAINER says what goes wrong.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from models.contract.bundle import bundle_id_of, hash_files


def say(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    options = "snapshot bundle run init name budget master workers compare"
    for name in options.split():
        parser.add_argument(f"--{name}")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    behaviour = os.environ.get("FAKE_TRAINER", "good")
    run = Path(arguments.run)
    marker = run / "checkpoint"
    is_second = marker.exists()
    marker.touch()
    say(event="progress", stage="fit", step=1, steps=2, loss=1.5, map50=0.4)
    sys.stderr.write("warming up\n")
    sys.stderr.flush()
    if behaviour == "hang" or (behaviour == "hang once" and not is_second):
        time.sleep(60)
    if behaviour == "error":
        say(event="error", message="the snapshot has no pictures to train on")
        return 2
    if behaviour == "crash":
        sys.stderr.write("out of memory\n")
        return 1
    if behaviour == "die" or (behaviour == "die once" and not is_second):
        os.kill(os.getpid(), signal.SIGKILL)
    say(event="progress", stage="fit", step=2, steps=2, loss=0.5, map50=0.9)
    if behaviour == "die in the bundle":
        Path(arguments.bundle).mkdir(parents=True)
        (Path(arguments.bundle) / "model.xml").write_text("half a mod")
        os.kill(os.getpid(), signal.SIGKILL)
    write_bundle(Path(arguments.bundle))
    write_report(run / "report.json", better=behaviour != "worse", compare=arguments.compare)
    say(event="done", bundle=arguments.bundle)
    return 0


def write_bundle(folder: Path) -> None:
    (folder / "golden").mkdir(parents=True)
    (folder / "model.xml").write_text("candidate")
    (folder / "golden" / "0.png").write_bytes(b"png")
    files = hash_files(folder)
    (folder / "manifest.json").write_text(
        json.dumps(
            {
                "bundle_id": bundle_id_of(files),
                "name": "plate",
                "created_at": "2026-03-02T06:00:00Z",
                "categories": [{"name": "bolt", "kind": "object"}, {"name": "torn_label"}],
                "thresholds": {},
                "files": files,
                "golden": [{"file": "golden/0.png", "detections": []}],
                "metrics": {"map50": 0.95},
            }
        )
    )


def write_report(path: Path, *, better: bool, compare: str | None) -> None:
    def evaluation(bolt: float, torn: float) -> dict[str, object]:
        return {
            "map50": (bolt + torn) / 2,
            "map": float("nan"),
            "num_images": 50,
            "per_class": {
                "bolt": {"ap50": bolt, "recall": bolt, "num_boxes": 100},
                "torn_label": {"ap50": torn, "recall": torn, "num_boxes": 20},
            },
            "latency_ms": {"p50": 5.0, "p99": 9.0},
        }

    candidate = evaluation(0.99, 0.9) if better else evaluation(0.5, 0.1)
    report = {
        "master": "local[1]",
        "workers": 1,
        "steps": 2,
        "seconds": 0.1,
        "candidate": candidate,
        "running": evaluation(0.99, 0.0) if compare else None,
        "float": candidate,
    }
    path.write_text(json.dumps(report))


if __name__ == "__main__":
    sys.exit(main())
