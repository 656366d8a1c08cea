"""Scratches, and the dirt that is no defect."""

import cv2
import numpy as np

from simulators.parts.canvas import CANVAS_HEIGHT, CANVAS_WIDTH, Canvas, to_canvas_px
from simulators.parts.shapes import CANVAS_PX_PER_MM
from simulators.parts.spec import Generator, Placed
from simulators.parts.surfaces import FloatImage, clouds, coverage_of, cut, grain

MIN_SCRATCH_BOX_MM = 7.5
"""People do not draw slivers: a scratch along an axis gets a box of a hand's accuracy."""
SCRATCH_MARGIN_MM = 1.2
SHIFT_BITS = 4


def draw_scratch(canvas: Canvas, item: Placed) -> FloatImage:
    """Cut one to three nearly parallel grooves; answers the outline of their common box."""
    rng = np.random.default_rng(item.seed)
    strokes = [_stroke(rng, item) for _ in range(int(rng.choice((1, 2, 3), p=(0.5, 0.35, 0.15))))]
    # Bare metal flashes on a dull surface; on a bright one the groove's shade is what shows.
    x, y = (round(value) for value in to_canvas_px(item.x_mm, item.y_mm))
    ground = float(canvas.light[1, y - 12 : y + 13, x - 12 : x + 13].mean())
    bright_share = float(np.clip(1.7 - 4.0 * ground, 0.0, 1.0))
    for stroke in strokes:
        _cut_groove(rng, canvas, stroke, is_bright=rng.random() < bright_share)
    points = np.concatenate(strokes)
    return _at_least(points, MIN_SCRATCH_BOX_MM)


def _stroke(rng: Generator, item: Placed) -> FloatImage:
    """``(N, 2)`` points in millimetres of a bowed, slightly unsteady line."""
    half = item.width_mm / 2 * float(rng.uniform(0.8, 1.0))
    along = np.linspace(-half, half, 28)
    bow = float(rng.normal(0, 0.05)) * item.width_mm
    wobble = np.cumsum(rng.normal(0, 0.045, along.size))
    across = bow * (1 - (along / half) ** 2) + wobble + float(rng.normal(0, 0.8))
    angle = np.radians(item.angle_deg)
    xs = item.x_mm + along * np.cos(angle) - across * np.sin(angle)
    ys = item.y_mm + along * np.sin(angle) + across * np.cos(angle)
    return np.stack([xs, ys], axis=1).astype(np.float32)


def _cut_groove(rng: Generator, canvas: Canvas, stroke: FloatImage, *, is_bright: bool) -> None:
    pixels = np.array([to_canvas_px(float(x), float(y)) for x, y in stroke])
    left, top = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 8, 0)
    right, bottom = np.minimum(
        np.ceil(pixels.max(axis=0)).astype(int) + 8, (CANVAS_WIDTH, CANVAS_HEIGHT)
    )
    size = (bottom - top, right - left)
    core, lip = (
        _line(pixels - (left, top) + shift, size, width)
        for shift, width in ((0.0, float(rng.choice((3, 4), p=(0.7, 0.3)))), (2.0, 2.0))
    )
    pressure = 0.82 + 0.25 * cut(clouds(), rng, *size)
    core = np.clip(core * np.clip(pressure, 0.72, 1.15), 0, 1)
    window = canvas.light[:, top:bottom, left:right]
    level = float(rng.uniform(0.85, 1.2)) if is_bright else float(rng.uniform(0.03, 0.07))
    if is_bright:
        window *= 1 - 0.6 * lip
    else:
        window += 0.12 * lip
    window *= 1 - 0.94 * core
    window += np.float32(0.94 * level) * core


def _line(points: FloatImage, size: tuple[int, int], width: float) -> FloatImage:
    mask = np.zeros(size, np.uint8)
    fixed = np.round(points * 2**SHIFT_BITS).astype(np.int32)
    cv2.polylines(mask, [fixed], False, 255, int(width), cv2.LINE_AA, SHIFT_BITS)
    return coverage_of(cv2.GaussianBlur(mask, (3, 3), 0))


def _at_least(points: FloatImage, minimum_mm: float) -> FloatImage:
    low, high = points.min(axis=0) - SCRATCH_MARGIN_MM, points.max(axis=0) + SCRATCH_MARGIN_MM
    lack = np.maximum(minimum_mm - (high - low), 0) / 2
    low, high = low - lack, high + lack
    return np.array(
        [[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]], np.float32
    )


def draw_dirt(rng: Generator, canvas: Canvas, amount: float) -> None:
    """Oil film, smudges, dust and a few chips over everything."""
    if amount <= 0:
        return
    film = cut(clouds(), rng, CANVAS_HEIGHT, CANVAS_WIDTH)
    canvas.light *= np.clip(1 - 0.05 * amount * np.maximum(film - 0.6, 0), 0.55, 1)
    for _ in range(int(rng.poisson(1.2 * amount))):
        _smudge(rng, canvas, amount)
    for _ in range(int(rng.poisson(26 * amount))):
        _speck(rng, canvas)


def _random_px(rng: Generator, margin: int) -> tuple[int, int]:
    return (
        int(rng.integers(margin, CANVAS_WIDTH - margin)),
        int(rng.integers(margin, CANVAS_HEIGHT - margin)),
    )


def _smudge(rng: Generator, canvas: Canvas, amount: float) -> None:
    """A wiped fingerprint of oil: takes contrast away and darkens a little."""
    radius = int(rng.integers(28, 70))
    x, y = _random_px(rng, radius)
    ys, xs = np.mgrid[-1 : 1 : 2j * radius, -1 : 1 : 2j * radius].astype(np.float32)
    angle = float(rng.uniform(0, np.pi))
    u, v = xs * np.cos(angle) + ys * np.sin(angle), -xs * np.sin(angle) + ys * np.cos(angle)
    shape = np.clip(1 - u**2 - (v / 0.55) ** 2, 0, 1)
    streaks = np.clip(0.55 + 0.35 * cut(grain(), rng, 2 * radius, 2 * radius), 0, 1)
    mask = shape * cv2.GaussianBlur(np.asarray(streaks, np.float32), (0, 0), 1.5)
    mask *= min(0.28 * amount * float(rng.uniform(0.5, 1.2)), 0.7)
    window = canvas.light[:, y - radius : y + radius, x - radius : x + radius]
    mean = window.mean(axis=(1, 2)) * np.float32(0.8)
    window *= 1 - mask
    window += mask * mean[:, None, None]


def _speck(rng: Generator, canvas: Canvas) -> None:
    """A grain of dust or a tiny chip, below the size of any defect."""
    x, y = _random_px(rng, 8)
    radius = float(rng.gamma(2.0, 0.28)) * CANVAS_PX_PER_MM / 5
    mask = np.zeros((13, 13), np.uint8)
    length = radius * float(rng.uniform(1, 3.5))
    angle = float(rng.uniform(0, np.pi))
    step = np.array([np.cos(angle), np.sin(angle)]) * length
    ends = np.round((6.5 + np.stack([-step, step])) * 16).astype(int)
    cv2.line(mask, ends[0].tolist(), ends[1].tolist(), 255, max(1, round(radius)), cv2.LINE_AA, 4)
    cover = coverage_of(cv2.GaussianBlur(mask, (3, 3), 0))
    tone = 0.05 if rng.random() < 0.7 else 0.8
    window = canvas.light[:, y - 6 : y + 7, x - 6 : x + 7]
    window *= 1 - 0.7 * cover
    window += 0.7 * tone * cover
