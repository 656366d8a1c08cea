"""The detector as a service author would write it; runs in the peers' own environment."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov

INPUT_HEIGHT, INPUT_WIDTH = 256, 320
MIN_SCORE = 0.1


class Model:
    """The same network with the same options as the agent's."""

    def __init__(self, bundle: str, threads: int) -> None:
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": "1",
            "ENABLE_CPU_PINNING": "NO",
            "INFERENCE_NUM_THREADS": str(threads),
        }
        compiled = ov.Core().compile_model(str(Path(bundle) / "model.xml"), "CPU", options)
        self._request = compiled.create_infer_request()

    def __call__(self, body: bytes) -> dict[str, Any]:
        image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        height, width = image.shape[:2]
        small = cv2.resize(image, (INPUT_WIDTH, INPUT_HEIGHT))
        self._request.infer([small[None]])
        rows = self._request.get_tensor("detections").data
        scale = np.array([width / INPUT_WIDTH, height / INPUT_HEIGHT] * 2, np.float32)
        kept = rows[rows[:, 1] >= MIN_SCORE]
        found = [(int(r[0]), float(r[1]), (r[2:] * scale).tolist()) for r in kept]
        return {"detections": [{"class_id": c, "score": s, "bbox": b} for c, s, b in found]}
