"""Takes the README's screenshots of a running dashboard.

``python tests/e2e/take_screenshots.py http://127.0.0.1:8080 deploy/screenshots [line review …]``

Pictures of parts make large PNGs, so each screenshot is reduced to a palette.
"""

import argparse
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
PATHS = {"line": "/", "review": "/review", "models": "/models"}
SETTLE_MS = 5_000
NUM_COLOURS = 224
NUM_EXACT = 48
"""The most frequent colours are text and surfaces: they stay as they are."""
NUM_SAMPLES = 60_000

Rgb = npt.NDArray[np.uint8]


def reduce(png: bytes) -> bytes:
    """The same picture with at most `NUM_COLOURS` colours."""
    bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    colours, inverse, counts = np.unique(
        rgb.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True
    )
    palette = _palette(colours, counts)
    nearest = np.empty(len(colours), np.uint8)
    for start in range(0, len(colours), 8192):
        part = colours[start : start + 8192, None, :].astype(np.float32)
        distance = ((part - palette[None].astype(np.float32)) ** 2).sum(-1)
        nearest[start : start + 8192] = distance.argmin(1)
    return _encode(nearest[inverse.reshape(-1)].reshape(rgb.shape[:2]), palette)


def _palette(colours: Rgb, counts: npt.NDArray[np.int64]) -> Rgb:
    order = np.argsort(-counts)
    exact, rest = colours[order[:NUM_EXACT]], order[NUM_EXACT:]
    if len(rest) <= NUM_COLOURS - NUM_EXACT:
        return colours[order]
    samples = np.repeat(colours[rest].astype(np.float32), np.minimum(counts[rest], 8), axis=0)
    if len(samples) > NUM_SAMPLES:
        chosen = np.random.default_rng(0).choice(len(samples), NUM_SAMPLES, replace=False)
        samples = samples[chosen]
    cv2.setRNGSeed(1)
    _, _, centres = cv2.kmeans(
        samples,
        NUM_COLOURS - NUM_EXACT,
        np.zeros((len(samples), 1), np.int32),
        (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5),
        1,
        cv2.KMEANS_PP_CENTERS,
    )
    return np.vstack([exact, np.clip(centres.round(), 0, 255)]).astype(np.uint8)


def _encode(indices: Rgb, palette: Rgb) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    height, width = indices.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in indices)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"PLTE", palette.tobytes())
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


def take(page: Page, url: str) -> bytes:
    page.goto(url)
    page.wait_for_timeout(SETTLE_MS)
    return page.screenshot()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=list(PATHS))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        for name in arguments.names:
            png = reduce(take(page, arguments.url + PATHS[name]))
            (arguments.folder / f"{name}.png").write_bytes(png)
        chromium.close()


if __name__ == "__main__":
    main()
