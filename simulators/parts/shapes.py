"""Height maps of fasteners and holes, and the normals and occlusion that follow from them.

Everything here is in millimetres on a grid of `SPRITE_PX_PER_MM` and depends on no picture, so
each shape is computed once a process.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from simulators.parts.surfaces import FloatImage, coverage_of, cut, grain, white_noise

CANVAS_PX_PER_MM = 5
SUPERSAMPLING = 2
SPRITE_PX_PER_MM = CANVAS_PX_PER_MM * SUPERSAMPLING

HEX_ACROSS_FLATS_MM = 13.0
"""ISO 4014, M8."""
BOLT_HEAD_HEIGHT_MM = 5.3
WASHER_RADIUS_MM = 8.0
"""ISO 7089 for M8 is 16 mm wide."""
SCREW_RADIUS_MM = 5.0
HOLE_RADIUS_MM = 4.0
POCKET_MARGIN_MM = 1.6
"""By how much the pocket in the plate is larger than its label, on each side."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A height map ready for shading; all fields are ``(S, S)`` float32.

    Attributes:
        nx: x of the unit normals.
        ny: y of the unit normals.
        shadow: What the shape's own hollows leave of the light, 0 to 1.
        alpha: Coverage.
    """

    nx: FloatImage
    ny: FloatImage
    shadow: FloatImage
    alpha: FloatImage


def grid(half_mm: float) -> tuple[FloatImage, FloatImage]:
    """Millimetre coordinates of a square of this half side."""
    size = round(2 * half_mm * SPRITE_PX_PER_MM)
    axis = ((np.arange(size) + 0.5) / SPRITE_PX_PER_MM - half_mm).astype(np.float32)
    xs, ys = np.meshgrid(axis, axis)
    return xs, ys


def shape_of(height_mm: FloatImage, alpha: FloatImage, *, hollow: float = 0.5) -> Shape:
    """Normals by central differences; occlusion from the height lacking to its surroundings."""
    smooth = cv2.GaussianBlur(height_mm, (0, 0), 0.8)
    gx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=SPRITE_PX_PER_MM / 8)
    gy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=SPRITE_PX_PER_MM / 8)
    norm = np.sqrt(gx**2 + gy**2 + 1)
    wide = cv2.GaussianBlur(height_mm, (0, 0), 0.7 * SPRITE_PX_PER_MM)
    lack = np.maximum(wide - height_mm, 0)
    shadow = np.exp(-hollow * lack)
    return Shape(
        nx=np.asarray(-gx / norm, np.float32),
        ny=np.asarray(-gy / norm, np.float32),
        shadow=np.asarray(shadow, np.float32),
        alpha=alpha,
    )


def soft_step(distance_mm: FloatImage, *, width_mm: float = 0.1) -> FloatImage:
    """1 inside (negative distance), 0 outside, linear over ``width_mm``."""
    return np.asarray(np.clip(0.5 - distance_mm / width_mm, 0, 1), np.float32)


def hexagon_distance(xs: FloatImage, ys: FloatImage, across_flats_mm: float) -> FloatImage:
    """Signed distance to a hexagon with flats towards +x."""
    distances = [np.abs(xs * np.cos(a) + ys * np.sin(a)) for a in (0.0, np.pi / 3, 2 * np.pi / 3)]
    return np.asarray(np.maximum.reduce(distances) - across_flats_mm / 2, np.float32)


def hexagon_corners(across_flats_mm: float, angle_deg: float) -> FloatImage:
    """``(6, 2)`` corners, the first between the flats at 0 and 60 degrees."""
    angles = np.radians(angle_deg + 30 + 60 * np.arange(6))
    radius = across_flats_mm / np.sqrt(3)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1).astype(np.float32)


def _raised_text(size: int, text: str, *, height_px: float, down_px: float) -> FloatImage:
    field = np.zeros((size, size), np.uint8)
    scale = height_px / 22
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)
    origin = (int(size / 2 - width / 2), int(size / 2 + down_px + height_px / 2))
    cv2.putText(field, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 2, cv2.LINE_AA)
    return coverage_of(cv2.GaussianBlur(field, (0, 0), 0.9))


@lru_cache(maxsize=8)
def bolt_head(style: str) -> Shape:
    """Hexagon head with its 30 degree chamfer and raised marks."""
    xs, ys = grid(8.2)
    radius = np.hypot(xs, ys)
    edge = hexagon_distance(xs, ys, HEX_ACROSS_FLATS_MM)
    top = np.full_like(xs, BOLT_HEAD_HEIGHT_MM)
    cone = BOLT_HEAD_HEIGHT_MM - np.tan(np.radians(30)) * (radius - 6.05)
    # Forging rounds the upper edge: a quarter circle of 0.35 mm instead of a knife.
    rounding = np.clip(edge + 0.35, 0, 0.35)
    height = np.minimum(top, cone) - 0.9 * rounding**2 / 0.35
    marks = {"head0": ("8.8", "VX"), "head1": ("A2-70", "KM"), "head2": ("10.9", "R")}[style]
    size = xs.shape[0]
    height += 0.16 * _raised_text(size, marks[0], height_px=19, down_px=-15)
    height += 0.16 * _raised_text(size, marks[1], height_px=17, down_px=16)
    if style == "head2":
        height -= 0.45 * soft_step(np.asarray(radius - 4.9, np.float32), width_mm=0.9)
    height += 0.012 * cut(grain(), np.random.default_rng(3), size, size)
    return shape_of(np.asarray(height, np.float32), soft_step(edge))


@lru_cache(maxsize=2)
def washer() -> Shape:
    """Flat washer with broken edges and the marks of turning."""
    xs, ys = grid(8.6)
    radius = np.asarray(np.hypot(xs, ys), np.float32)
    edge = radius - WASHER_RADIUS_MM
    height = np.minimum(1.6, 1.6 - 0.8 * np.clip(edge + 0.5, 0, 0.5) ** 2 / 0.5)
    inner = 4.4 - radius
    height -= 2.2 * np.clip(inner, 0, 0.6)
    turning = white_noise(33, 1, 200)[0]
    height += 0.006 * turning[np.clip(radius * 14, 0, 199).astype(np.int32)]
    height += 0.006 * cut(grain(), np.random.default_rng(4), *xs.shape)
    ring = soft_step(edge) * soft_step(np.asarray(4.1 - radius, np.float32))
    return shape_of(np.asarray(height, np.float32), ring)


@lru_cache(maxsize=2)
def spot_face() -> Shape:
    """The seat of a washer: a shallow turned ring pressed bright, with the chamfer of the hole."""
    xs, ys = grid(9.0)
    radius = np.asarray(np.hypot(xs, ys), np.float32)
    turning = white_noise(35, 1, 400)[0]
    height = -0.35 * soft_step(np.asarray(radius - 8.4, np.float32), width_mm=0.4)
    height += 0.010 * turning[np.clip(radius * 18, 0, 399).astype(np.int32)]
    height -= np.clip(HOLE_RADIUS_MM + 0.9 - radius, 0, 0.9)
    pressed = soft_step(np.asarray(np.abs(radius - 7.9) - 0.12, np.float32), width_mm=0.15)
    height -= 0.08 * pressed
    return shape_of(np.asarray(height, np.float32), soft_step(radius - np.float32(8.5)))


def _cross_recess(xs: FloatImage, ys: FloatImage) -> FloatImage:
    """Depth of a cross recess (ISO 4757 type H): arms that taper towards their ends."""
    depth = np.zeros_like(xs)
    for across, along in ((xs, ys), (ys, xs)):
        width = 0.85 - 0.12 * np.abs(along)
        wall = np.minimum(width - np.abs(across), (2.75 - np.abs(along)) * 0.8)
        depth = np.maximum(depth, np.clip(wall * 3.2, 0, 1.9))
    middle = np.clip((1.45 - np.hypot(xs, ys)) * 3.0, 0, 2.3)
    return np.asarray(np.maximum(depth, middle), np.float32)


def _torx_recess(xs: FloatImage, ys: FloatImage) -> FloatImage:
    """Depth of a hexalobular recess (ISO 10664)."""
    angle = np.arctan2(ys, xs)
    outline = 2.35 + 0.38 * np.cos(6 * angle)
    return np.asarray(np.clip((outline - np.hypot(xs, ys)) * 6, 0, 2.0), np.float32)


@lru_cache(maxsize=8)
def screw_head(style: str) -> Shape:
    """A countersunk head with its recess, or one of the heads that do not belong there."""
    xs, ys = grid(6.2)
    radius = np.asarray(np.hypot(xs, ys), np.float32)
    turning = white_noise(37, 1, 300)[0][np.clip(radius * 16, 0, 299).astype(np.int32)]
    size = SCREW_RADIUS_MM
    if style in {"cross", "torx"}:
        recess = _cross_recess(xs, ys) if style == "cross" else _torx_recess(xs, ys)
        height = 0.012 * turning - recess
        height -= 0.6 * np.clip(radius - (size - 0.45), 0, 0.45)
    elif style == "black_socket":
        hexagon = hexagon_distance(xs, ys, 4.6)
        height = 4.0 - np.clip(-hexagon * 8, 0, 3.0)
        knurl = 0.10 * np.cos(36 * np.arctan2(ys, xs))
        height -= 1.6 * np.clip(radius - (size - 0.7 + knurl), 0, 1.2)
        height += 0.01 * turning
    else:
        height = 2.6 * np.sqrt(np.maximum(1 - (radius / (size + 0.5)) ** 2, 0.02))
        if style == "brass_slot":
            height -= np.clip((0.75 - np.abs(xs)) * 8, 0, 1.6)
        else:
            height -= _cross_recess(xs, ys)
    return shape_of(
        np.asarray(height, np.float32),
        soft_step(radius - np.float32(size)),
        hollow=1.1,
    )


def rotated(shape: Shape, angle_deg: float) -> Shape:
    """The shape turned about its middle; normals turn with it."""
    size = shape.alpha.shape[0]
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), -angle_deg, 1.0)
    stack = cv2.merge([shape.nx, shape.ny, shape.shadow, shape.alpha])
    turned = cv2.warpAffine(stack, matrix, (size, size), flags=cv2.INTER_LINEAR)
    cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    nx, ny = turned[..., 0], turned[..., 1]
    return Shape(
        nx=np.asarray(nx * cos - ny * sin, np.float32),
        ny=np.asarray(nx * sin + ny * cos, np.float32),
        shadow=np.asarray(turned[..., 2], np.float32),
        alpha=np.asarray(turned[..., 3], np.float32),
    )
