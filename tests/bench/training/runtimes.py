"""The INT8 bundle beside the same weights in float: OpenVINO, TensorFlow, LiteRT, ONNX Runtime."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from .report import REPOSITORY, say

BUNDLE = REPOSITORY / "models" / "released" / "plate"
INSTALL_TIMEOUT_S = 600
PROBE_TIMEOUT_S = 1800
ROUNDS, QUICK_ROUNDS = 9, 2
WHY = (
    "One picture at a time and one thread, as a cell runs it. The INT8 file also holds what the"
    " others leave to the caller: the choice of boxes (NMS)."
)


def measure(work: Path, *, is_quick: bool) -> dict[str, Any]:
    ended = subprocess.run(
        [
            *(_environment(work), str(Path(__file__).with_name("runtime_probe.py"))),
            *("--bundle", str(BUNDLE), "--work", str(work / "exports")),
            *("--rounds", str(QUICK_ROUNDS if is_quick else ROUNDS)),
        ],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=PROBE_TIMEOUT_S,
        check=True,
    )
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    per_s = found["per_s"]
    others = {name: round(per_s["openvino_int8"] / rate, 2) for name, rate in per_s.items()}
    del others["openvino_int8"]
    top = {"int8_images_per_s": per_s["openvino_int8"], "int8_speed_up_over": others}
    return {"top": top, "why": WHY, **found}


def _environment(work: Path) -> str:
    """Python with the other runtimes, beside all that this one has; this one if that fails."""
    folder = work / "venv"
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if ready.exists():
        return str(python)
    venv.create(folder, with_pip=True, clear=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    own = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "sightline.pth").write_text("\n".join(own) + "\n")
    wanted = str(Path(__file__).with_name("requirements.txt"))
    try:
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", wanted],
            timeout=INSTALL_TIMEOUT_S,
            check=True,
        )
    except (subprocess.SubprocessError, OSError) as error:
        say(f"other runtimes cannot be installed here and are left out: {error}")
        return sys.executable
    ready.touch()
    return str(python)
