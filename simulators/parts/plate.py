"""The machined plate itself, on its fixture."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from simulators.parts.canvas import (
    CANVAS_HEIGHT,
    CANVAS_WIDTH,
    Canvas,
    Colour,
    to_canvas_px,
)
from simulators.parts.lighting import Lamps, diffuse_lookup, metal_lookup, shade
from simulators.parts.shapes import CANVAS_PX_PER_MM, POCKET_MARGIN_MM
from simulators.parts.spec import Generator, PartSpec
from simulators.parts.surfaces import (
    FloatImage,
    brushed,
    clouds,
    coverage_of,
    cut,
    grain,
    milled,
    white_noise,
)

CHAMFER_MM = 1.6
POCKET_DEPTH_MM = 0.35
COVER_HEIGHT_MM = 1.2


@dataclass(frozen=True, slots=True, eq=False)
class Relief:
    """What the drawing alone decides; ``(CANVAS_HEIGHT, CANVAS_WIDTH)`` float32 each."""

    nx: FloatImage
    ny: FloatImage
    shadow: FloatImage
    alpha: FloatImage
    drop_shadow: FloatImage


def _millimetres() -> tuple[FloatImage, FloatImage]:
    xs = ((np.arange(CANVAS_WIDTH) + 0.5 - CANVAS_WIDTH / 2) / CANVAS_PX_PER_MM).astype(np.float32)
    ys = ((np.arange(CANVAS_HEIGHT) + 0.5 - CANVAS_HEIGHT / 2) / CANVAS_PX_PER_MM).astype(
        np.float32
    )
    grid_x, grid_y = np.meshgrid(xs, ys)
    return np.asarray(grid_x, np.float32), np.asarray(grid_y, np.float32)


def _rounded_box(
    xs: FloatImage, ys: FloatImage, width: float, height: float, radius: float
) -> FloatImage:
    """Signed distance to a rectangle with rounded corners."""
    dx = np.abs(xs) - (width / 2 - radius)
    dy = np.abs(ys) - (height / 2 - radius)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return np.asarray(outside + np.minimum(np.maximum(dx, dy), 0) - radius, np.float32)


def _engraving() -> FloatImage:
    field = np.zeros((CANVAS_HEIGHT, CANVAS_WIDTH), np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    for text, x_mm, y_mm, scale in (
        ("7731-204", -47.0, 34.5, 0.62),
        ("REV C", -47.0, 38.5, 0.42),
        ("M8 25Nm", 14.0, -36.0, 0.46),
        ("IN", -66.5, -10.0, 0.45),
    ):
        x, y = to_canvas_px(x_mm, y_mm)
        cv2.putText(field, text, (int(x), int(y)), font, scale, 255, 2, cv2.LINE_AA)
    return coverage_of(cv2.GaussianBlur(field, (0, 0), 0.6))


@lru_cache(maxsize=4)
def relief_of(spec: PartSpec) -> Relief:
    """Heights of the bare plate: chamfer, cover, pockets, dowel holes, engraving."""
    xs, ys = _millimetres()
    edge = _rounded_box(xs, ys, spec.width_mm, spec.height_mm, spec.corner_radius_mm)
    height = 8.0 - np.clip(edge + CHAMFER_MM, 0, CHAMFER_MM)
    cover_x, cover_y, cover_radius = spec.cover_mm
    cover = np.hypot(xs - cover_x, ys - cover_y) - cover_radius
    height += COVER_HEIGHT_MM * np.clip(0.5 - cover / 0.9, 0, 1)
    height -= 0.9 * np.clip(1 - np.abs(cover - 1.0) / 0.5, 0, 1)
    for place in spec.labels:
        pocket = _rounded_box(
            xs - place.x_mm,
            ys - place.y_mm,
            place.width_mm + 2 * POCKET_MARGIN_MM,
            place.height_mm + 2 * POCKET_MARGIN_MM,
            2.0,
        )
        height -= POCKET_DEPTH_MM * np.clip(0.5 - pocket / 0.5, 0, 1)
    hollow = np.zeros_like(xs)
    for pin_x, pin_y in spec.pins_mm:
        pin = np.hypot(xs - pin_x, ys - pin_y)
        height -= 0.5 * np.clip(2.1 - pin, 0, 0.6)
        hollow = np.maximum(hollow, np.clip((1.6 - pin) / 0.3, 0, 1))
    height -= 0.14 * _engraving()
    smooth = cv2.GaussianBlur(np.asarray(height, np.float32), (0, 0), 0.7)
    gx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=CANVAS_PX_PER_MM / 8)
    gy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=CANVAS_PX_PER_MM / 8)
    norm = np.sqrt(gx**2 + gy**2 + 1)
    inside = np.minimum(height, 9.5)
    lack = np.maximum(cv2.GaussianBlur(np.asarray(inside, np.float32), (0, 0), 4) - inside, 0)
    alpha = np.clip(0.5 - edge * CANVAS_PX_PER_MM, 0, 1)
    drop = cv2.GaussianBlur(np.asarray(alpha, np.float32), (0, 0), 14)
    return Relief(
        nx=np.asarray(-gx / norm, np.float32),
        ny=np.asarray(-gy / norm, np.float32),
        shadow=np.asarray(np.exp(-0.9 * lack) * (1 - 0.93 * hollow), np.float32),
        alpha=np.asarray(alpha, np.float32),
        drop_shadow=np.asarray(drop, np.float32),
    )


def draw_plate(
    rng: Generator, spec: PartSpec, lamps: Lamps, variant: str, nadir_mm: tuple[float, float]
) -> Canvas:
    """The bare plate on its fixture, ready for fasteners."""
    relief = relief_of(spec)
    canvas = Canvas(
        light=_fixture(rng, lamps, relief), lamps=lamps, variant=variant, nadir_mm=nadir_mm
    )
    shaded = _plate_surface(rng, relief, canvas)
    canvas.light *= 1 - relief.alpha
    canvas.light += shaded
    _turned_cover(rng, spec, canvas)
    return canvas


def _fixture(rng: Generator, lamps: Lamps, relief: Relief) -> FloatImage:
    """A dull dark table under the plate, and the plate's shadow on it."""
    tone = float(rng.uniform(0.035, 0.10))
    texture = cut(grain(), rng, CANVAS_HEIGHT, CANVAS_WIDTH)
    patches = cut(clouds(), rng, CANVAS_HEIGHT, CANVAS_WIDTH)
    light = np.float32(0.16 * tone) * texture + np.float32(0.14 * tone) * patches
    light += np.float32(tone)
    dx, dy = -lamps.key_direction[0] * 22, -lamps.key_direction[1] * 22
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    drop = cv2.warpAffine(relief.drop_shadow, matrix, (CANVAS_WIDTH, CANVAS_HEIGHT))
    light *= 1 - np.float32(0.85) * drop
    np.maximum(light, 0.004, out=light)
    colour = np.array((1.04, 1.0, 0.96), np.float32) + rng.normal(0, 0.03, 3).astype(np.float32)
    return np.stack([light * tone for tone in colour]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Finish:
    """How a plate is machined: texture, how far it turns the normals, how rough, which colour."""

    texture: str
    turn_x: float
    turn_y: float
    roughness: float
    stretch: tuple[float, float]
    tone: float
    colour: Colour
    coated: bool = False


FINISHES = {
    "a": Finish("brushed", 0.004, 0.035, 0.10, (0.02, 0.16), 0.05, (0.96, 0.97, 0.98)),
    "b": Finish("milled", 0.045, 0.025, 0.10, (0.07, 0.04), 0.05, (0.78, 0.80, 0.81)),
    "c": Finish("grain", 0.05, 0.05, 0.20, (0.0, 0.0), 0.03, (0.17, 0.15, 0.14), coated=True),
}
TEXTURES = {"brushed": brushed, "milled": milled, "grain": grain}


def _plate_surface(rng: Generator, relief: Relief, canvas: Canvas) -> FloatImage:
    finish = FINISHES[canvas.variant]
    texture = cut(TEXTURES[finish.texture](), rng, CANVAS_HEIGHT, CANVAS_WIDTH)
    stains = cut(clouds(), rng, CANVAS_HEIGHT, CANVAS_WIDTH)
    xs, ys = _slants(canvas)
    nx = relief.nx + xs + np.float32(finish.turn_x) * texture
    ny = relief.ny + ys + np.float32(finish.turn_y) * texture
    if finish.coated:
        lookup = diffuse_lookup(canvas.lamps, gloss=0.35)
    else:
        lookup = metal_lookup(canvas.lamps, roughness=finish.roughness, stretch=finish.stretch)
    light = shade(lookup, nx, ny)
    light *= relief.shadow * relief.alpha
    light *= 1 + np.float32(finish.tone) * texture
    light *= 1 + np.float32(0.035) * stains
    tones = (np.asarray(finish.colour) * (1 + rng.normal(0, 0.012, 3))).astype(np.float32)
    return np.stack([light * tone for tone in tones])


def _slants(canvas: Canvas) -> tuple[FloatImage, FloatImage]:
    """Oblique view over the whole canvas, as a row and a column."""
    left, top = canvas.slant(-CANVAS_WIDTH / 2 / CANVAS_PX_PER_MM, -CANVAS_HEIGHT / 2 / 5)
    right, bottom = canvas.slant(CANVAS_WIDTH / 2 / CANVAS_PX_PER_MM, CANVAS_HEIGHT / 2 / 5)
    xs = np.linspace(left, right, CANVAS_WIDTH, dtype=np.float32)[None, :]
    ys = np.linspace(top, bottom, CANVAS_HEIGHT, dtype=np.float32)[:, None]
    return xs, ys


def _turned_cover(rng: Generator, spec: PartSpec, canvas: Canvas) -> None:
    """The cover was faced on a lathe: fine circles that throw a bow-tie of light."""
    x_mm, y_mm, radius_mm = spec.cover_mm
    radius_mm -= 0.8
    half = int(radius_mm * CANVAS_PX_PER_MM)
    centre_x, centre_y = (int(value) for value in to_canvas_px(x_mm, y_mm))
    rows, columns = slice(centre_y - half, centre_y + half), slice(centre_x - half, centre_x + half)
    ys, xs = np.mgrid[-half:half, -half:half].astype(np.float32) + np.float32(0.5)
    radius = np.hypot(xs, ys) + np.float32(1e-3)
    ux, uy = xs / radius, ys / radius
    circles = white_noise(41 + int(rng.integers(4)), 1, half + 2)[0]
    groove = circles[np.minimum(radius, half).astype(np.int32)]
    slant_x, slant_y = canvas.slant(x_mm, y_mm)
    lookup = metal_lookup(canvas.lamps, roughness=0.05)
    light = np.zeros_like(radius)
    for tilt, share in ((-0.34, 0.14), (-0.17, 0.22), (0.0, 0.28), (0.17, 0.22), (0.34, 0.14)):
        tilts = tilt + np.float32(0.05) * groove
        light += share * shade(lookup, ux * tilts + slant_x, uy * tilts + slant_y)
    light *= 1 + 0.03 * groove
    bore = np.clip((np.abs(radius - 26) - 2) / 1.5, 0, 1)
    light *= 0.45 + 0.55 * bore
    light *= np.where(radius < 25, 0.86, 1.0)
    alpha = np.clip(half - radius, 0, 1)
    light *= alpha * (0.5 if canvas.variant == "c" else 1.0)
    window = canvas.light[:, rows, columns]
    window *= 1 - alpha
    window += np.stack([light * np.float32(tone) for tone in (0.90, 0.93, 0.95)])
