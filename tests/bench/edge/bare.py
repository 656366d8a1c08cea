"""OpenVINO and nothing else: ``python -m bench.edge.bare BUNDLE PICTURES THREADS``.

Reads lines ``COUNT HZ WITH_DECODING`` and answers each with a JSON list of milliseconds.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import openvino as ov

from edge_agent.adapters.detector import Loading
from edge_agent.bench import compile_bare
from models.detector.preprocess import Image, resize_to_input
from models.detector.spec import read_spec

NUM_WARM_UP = 30


def main() -> None:
    bundle, folder, threads = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    spec = read_spec(bundle)
    paths = sorted(path for path in folder.iterdir() if path.suffix in {".png", ".jpg"})
    files = [path.read_bytes() for path in paths]
    shots = [_decoded(file) for file in files]
    inputs = [ov.Tensor(np.ascontiguousarray(resize_to_input(s, spec)[None])) for s in shots]
    request = compile_bare(bundle, Loading(threads)).create_infer_request()

    def infer(number: int) -> None:
        request.infer([inputs[number % len(inputs)]])

    def decode_and_infer(number: int) -> None:
        small = resize_to_input(_decoded(files[number % len(files)]), spec)
        request.infer([ov.Tensor(small[None], shared_memory=True)])

    for number in range(NUM_WARM_UP):
        infer(number)
    for line in sys.stdin:
        count, hz, with_decoding = line.split()
        work = decode_and_infer if int(with_decoding) else infer
        sys.stdout.write(json.dumps(_times(work, int(count), float(hz))) + "\n")
        sys.stdout.flush()


def _times(work: Callable[[int], None], count: int, hz: float) -> list[float]:
    times = []
    due = time.monotonic()
    for number in range(count):
        if hz:
            time.sleep(max(due - time.monotonic(), 0))
            due += 1 / hz
        before = time.perf_counter()
        work(number)
        times.append((time.perf_counter() - before) * 1000)
    return times


def _decoded(file: bytes) -> Image:
    return np.asarray(cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR), np.uint8)


if __name__ == "__main__":
    main()
