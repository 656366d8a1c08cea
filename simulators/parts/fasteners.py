"""Bolts on washers, countersunk screws and empty holes, drawn into the scene."""

from functools import lru_cache

import cv2
import numpy as np

from simulators.parts.canvas import Canvas, Colour
from simulators.parts.lighting import diffuse_lookup, metal_lookup, shade
from simulators.parts.shapes import (
    BOLT_HEAD_HEIGHT_MM,
    CANVAS_PX_PER_MM,
    HEX_ACROSS_FLATS_MM,
    HOLE_RADIUS_MM,
    SCREW_RADIUS_MM,
    SPRITE_PX_PER_MM,
    WASHER_RADIUS_MM,
    Shape,
    bolt_head,
    hexagon_corners,
    rotated,
    screw_head,
    spot_face,
    washer,
)
from simulators.parts.spec import Generator, Kind, Placed
from simulators.parts.surfaces import FloatImage, coverage_of

ZINC: Colour = (0.90, 0.91, 0.90)
STEEL: Colour = (0.74, 0.76, 0.77)
BRASS: Colour = (0.30, 0.66, 0.90)
OUTLINE_POINTS = 48
LOOSE_EXTRA_HEIGHT_MM = 5.5

Outline = FloatImage
"""``(N, 2)`` points in millimetres whose bounds are the true box."""


def circle_outline(x_mm: float, y_mm: float, radius_mm: float) -> Outline:
    """Points around a circle."""
    angles = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
    points = [x_mm + radius_mm * np.cos(angles), y_mm + radius_mm * np.sin(angles)]
    return np.stack(points, axis=1).astype(np.float32)


@lru_cache(maxsize=8)
def _soft_disc(radius_mm: float, blur_mm: float) -> FloatImage:
    half = int((radius_mm + 3 * blur_mm) * CANVAS_PX_PER_MM)
    ys, xs = np.mgrid[-half:half, -half:half].astype(np.float32) + np.float32(0.5)
    disc = np.clip(radius_mm * CANVAS_PX_PER_MM - np.hypot(xs, ys), 0, 1).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(disc, (0, 0), blur_mm * CANVAS_PX_PER_MM), np.float32)


def _cast_shadow(
    canvas: Canvas, x_mm: float, y_mm: float, radius_mm: float, height_mm: float
) -> None:
    """Contact shadow all around, and the longer one away from the main lamp."""
    dx, dy = canvas.shadow_direction()
    reach = 0.45 * height_mm
    canvas.darken(x_mm, y_mm, _soft_disc(radius_mm + 0.3, 0.9), 0.50)
    canvas.darken(
        x_mm + dx * reach,
        y_mm + dy * reach,
        _soft_disc(radius_mm, round(0.6 + 0.12 * height_mm, 1)),
        0.42,
    )


def draw_fastener(rng: Generator, canvas: Canvas, item: Placed) -> Outline:
    """Draw one bolt, screw or hole and answer its outline."""
    if item.kind in {Kind.BOLT, Kind.LOOSE_BOLT}:
        return _bolt(rng, canvas, item)
    if item.kind is Kind.MISSING_BOLT:
        return _empty_hole(rng, canvas, item)
    return _screw(rng, canvas, item)


def _light(canvas: Canvas, shape: Shape, lookup: FloatImage, item: Placed) -> FloatImage:
    slant_x, slant_y = canvas.slant(item.x_mm, item.y_mm)
    return np.asarray(
        shade(lookup, shape.nx + slant_x, shape.ny + slant_y) * shape.shadow, np.float32
    )


def _jittered(rng: Generator, colour: Colour, spread: float = 0.04) -> Colour:
    blue, green, red = np.asarray(colour) * (1 + rng.normal(0, spread)) + rng.normal(0, 0.01, 3)
    return float(blue), float(green), float(red)


def _bolt(rng: Generator, canvas: Canvas, item: Placed) -> Outline:
    loose = item.kind is Kind.LOOSE_BOLT
    lookup = metal_lookup(canvas.lamps, roughness=0.055)
    _seat(canvas, item)
    washer_dx, washer_dy = (rng.uniform(-2.2, 2.2, 2) if loose else rng.normal(0, 0.15, 2)).tolist()
    _cast_shadow(canvas, item.x_mm + washer_dx, item.y_mm + washer_dy, WASHER_RADIUS_MM, 1.6)
    ring = washer()
    canvas.blend(
        item.x_mm + washer_dx,
        item.y_mm + washer_dy,
        _light(canvas, ring, lookup, item),
        _jittered(rng, STEEL),
        ring.alpha,
    )

    extra = LOOSE_EXTRA_HEIGHT_MM if loose else 0.0
    height = BOLT_HEAD_HEIGHT_MM + extra
    tilt = rng.normal(0, 1, 2)
    tilt = tilt / np.hypot(*tilt) * (rng.uniform(0.14, 0.22) if loose else 0.012)
    base_dx, base_dy = canvas.lean(item.x_mm, item.y_mm, 1.6 + extra)
    top_dx, top_dy = canvas.lean(item.x_mm, item.y_mm, 1.6 + height)
    top_dx, top_dy = top_dx + tilt[0] * height, top_dy + tilt[1] * height
    if loose:
        base_dx, base_dy = base_dx + tilt[0] * extra, base_dy + tilt[1] * extra
        _shank(canvas, item, (base_dx, base_dy))
    shadow_x, shadow_y = canvas.shadow_direction()
    reach = 0.35 * height
    canvas.darken(item.x_mm, item.y_mm, _soft_disc(7.0, 0.6), 0.35 if not loose else 0.15)
    canvas.darken(
        item.x_mm + shadow_x * reach,
        item.y_mm + shadow_y * reach,
        _soft_disc(6.8, 1.1 if not loose else 1.9),
        0.5,
    )
    zinc = _jittered(rng, ZINC)
    _walls(canvas, item, lookup, zinc, ((base_dx, base_dy), (top_dx, top_dy)))
    head = rotated(bolt_head(item.style), item.angle_deg)
    tilted = Shape(
        nx=head.nx + np.float32(tilt[0]),
        ny=head.ny + np.float32(tilt[1]),
        shadow=head.shadow,
        alpha=head.alpha,
    )
    light = _light(canvas, tilted, lookup, item)
    canvas.blend(item.x_mm + top_dx, item.y_mm + top_dy, light, zinc, head.alpha)
    corners = hexagon_corners(HEX_ACROSS_FLATS_MM, item.angle_deg)
    middle = np.array([item.x_mm, item.y_mm], np.float32)
    ring_outline = circle_outline(item.x_mm + washer_dx, item.y_mm + washer_dy, WASHER_RADIUS_MM)
    top = np.array([top_dx, top_dy], np.float32)
    return np.concatenate([ring_outline, corners + middle + top])


def _walls(
    canvas: Canvas,
    item: Placed,
    lookup: FloatImage,
    colour: Colour,
    shifts: tuple[tuple[float, float], tuple[float, float]],
) -> None:
    """The six side faces of the head, as far as the oblique view shows them."""
    half_mm = 12.0 if item.kind is Kind.LOOSE_BOLT else 8.6
    size = round(2 * half_mm * SPRITE_PX_PER_MM)
    corners = hexagon_corners(HEX_ACROSS_FLATS_MM, item.angle_deg)
    base, top = (corners + np.asarray(shift, np.float32) for shift in shifts)
    light, alpha = np.zeros((size, size), np.float32), np.zeros((size, size), np.uint8)
    for index in range(6):
        following = (index + 1) % 6
        quad = np.stack([base[index], base[following], top[following], top[index]])
        outward = corners[index] + corners[following]
        outward /= np.hypot(*outward)
        level = float(shade(lookup, [[outward[0] * 0.88]], [[outward[1] * 0.88]])[0, 0])
        points = ((quad + half_mm) * SPRITE_PX_PER_MM * 16).astype(np.int32)
        cv2.fillConvexPoly(alpha, points, 255, cv2.LINE_AA, 4)
        cv2.fillConvexPoly(light, points, level * 0.8 + 0.03, cv2.LINE_8, 4)
    coverage = coverage_of(alpha)
    canvas.blend(item.x_mm, item.y_mm, light, colour, coverage)


def _shank(canvas: Canvas, item: Placed, lean_mm: tuple[float, float]) -> None:
    """The bare thread between a loose head and the washer."""
    size = round(20 * SPRITE_PX_PER_MM)
    light, alpha = np.zeros((size, size), np.float32), np.zeros((size, size), np.uint8)
    for step in np.linspace(0, 1, 9):
        x, y = (np.array(lean_mm) * step + 10) * SPRITE_PX_PER_MM
        centre, radius = (round(x), round(y)), round(HOLE_RADIUS_MM * SPRITE_PX_PER_MM)
        cv2.circle(alpha, centre, radius, 255, -1, cv2.LINE_AA)
        cv2.circle(light, centre, radius, 0.10 if round(step * 8) % 2 else 0.34, -1, cv2.LINE_AA)
    canvas.blend(item.x_mm, item.y_mm, light, STEEL, coverage_of(alpha))


def _seat(canvas: Canvas, item: Placed) -> None:
    shape = spot_face()
    lookup = metal_lookup(canvas.lamps, roughness=0.09)
    light = _light(canvas, shape, lookup, item)
    canvas.blend(item.x_mm, item.y_mm, light, STEEL, shape.alpha)


def _empty_hole(rng: Generator, canvas: Canvas, item: Placed) -> Outline:
    """A threaded hole: bright seat, chamfer, rings of thread, darkness."""
    _seat(canvas, item)
    size = round(10 * SPRITE_PX_PER_MM)
    light, alpha = np.zeros((size, size), np.float32), np.zeros((size, size), np.uint8)
    deep_x, deep_y = canvas.lean(item.x_mm, item.y_mm, -16.0)
    num_rings = 9
    for ring in range(num_rings):
        depth = ring / (num_rings - 1)
        # A ring deeper down looks shifted towards the optical axis, and a little smaller.
        centre = np.array([deep_x * depth + 5, deep_y * depth + 5]) * SPRITE_PX_PER_MM
        radius = HOLE_RADIUS_MM * (1 - 0.035 * ring - (0.05 if ring % 2 else 0.0))
        level = (0.30 if ring % 2 == 0 else 0.09) * (1 - depth) ** 1.2 + 0.012
        point = (round(float(centre[0]) * 16), round(float(centre[1]) * 16))
        length = round(radius * SPRITE_PX_PER_MM * 16)
        cv2.circle(light, point, length, level, -1, cv2.LINE_AA, 4)
        if ring == 0:
            cv2.circle(alpha, point, length, 255, -1, cv2.LINE_AA, 4)
    kx, ky = canvas.lamps.key_direction
    ys, xs = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    # The wall away from the lamp catches the light.
    light *= np.clip(1.0 - 1.1 * (xs * kx + ys * ky), 0.15, 2.2)
    colour = _jittered(rng, STEEL)
    canvas.blend(item.x_mm, item.y_mm, light, colour, coverage_of(alpha))
    return circle_outline(item.x_mm, item.y_mm, WASHER_RADIUS_MM)


def _screw(rng: Generator, canvas: Canvas, item: Placed) -> Outline:
    shape = rotated(screw_head(item.style), item.angle_deg)
    raised = item.kind is Kind.WRONG_SCREW
    height = 2.6 if raised else 0.0
    dx, dy = canvas.lean(item.x_mm, item.y_mm, height)
    if raised:
        _cast_shadow(canvas, item.x_mm, item.y_mm, SCREW_RADIUS_MM, 4.0)
    else:
        canvas.darken(item.x_mm, item.y_mm, _soft_disc(SCREW_RADIUS_MM + 0.55, 0.25), 0.75)
    if item.style == "black_socket":
        lookup = diffuse_lookup(canvas.lamps, gloss=0.5)
        colour: Colour = (0.085, 0.08, 0.078)
    else:
        lookup = metal_lookup(canvas.lamps, roughness=0.06)
        colour = _jittered(rng, BRASS if item.style.startswith("brass") else ZINC, 0.03)
    light = _light(canvas, shape, lookup, item)
    canvas.blend(item.x_mm + dx, item.y_mm + dy, light, colour, shape.alpha)
    return circle_outline(item.x_mm + dx, item.y_mm + dy, SCREW_RADIUS_MM)
