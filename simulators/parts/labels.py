"""Printed labels, and what can befall them: gone, skewed, torn."""

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from simulators.parts.canvas import Canvas, Planes
from simulators.parts.lighting import diffuse_lookup, shade
from simulators.parts.shapes import POCKET_MARGIN_MM, SPRITE_PX_PER_MM
from simulators.parts.spec import Generator, Kind, Placed
from simulators.parts.surfaces import FloatImage, clouds, coverage_of, cut, grain

PRINT_PX_PER_MM = SPRITE_PX_PER_MM
CORNER_RADIUS_MM = 1.4

Bytes = npt.NDArray[np.uint8]
Ink = tuple[int, int, int]

PAPERS: dict[tuple[str, str], tuple[Ink, Ink]] = {
    ("type", "a"): ((232, 236, 236), (38, 34, 32)),
    ("type", "b"): ((190, 193, 194), (30, 28, 28)),
    ("type", "c"): ((150, 92, 38), (240, 240, 238)),
    ("caution", "a"): ((40, 190, 240), (24, 26, 28)),
    ("caution", "b"): ((52, 180, 226), (24, 26, 28)),
    ("caution", "c"): ((40, 116, 236), (24, 26, 28)),
}
"""Paper and ink (BGR) by design and variant."""

LINEAR = ((np.arange(256, dtype=np.float32) / 255) ** 2).astype(np.float32)
"""From ink on the scale of the picture to linear light."""

FONT = cv2.FONT_HERSHEY_SIMPLEX
NAMES = ("NORDWERK", "HALDER GmbH", "ASTERMEC", "KIRUNA DRIVES")


@lru_cache(maxsize=64)
def _code_modules(number: int) -> Bytes:
    """``(25, 25)`` 0/255 modules of a QR code with this serial number."""
    code = cv2.QRCodeEncoder.create().encode(f"SL7731-{number:05d}")
    return np.asarray(code, np.uint8)


def _text(field: Bytes, text: str, at_mm: tuple[float, float], height_mm: float, ink: Ink) -> None:
    scale = height_mm * PRINT_PX_PER_MM / 21.0
    thickness = max(1, round(height_mm * 0.9))
    origin = (round(at_mm[0] * PRINT_PX_PER_MM), round(at_mm[1] * PRINT_PX_PER_MM))
    cv2.putText(field, text, origin, FONT, scale, ink, thickness, cv2.LINE_AA)


def _barcode(
    rng: Generator, field: Bytes, box_mm: tuple[float, float, float, float], ink: Ink
) -> None:
    x, y, width, height = (round(value * PRINT_PX_PER_MM) for value in box_mm)
    widths = rng.choice((2, 4, 6), size=200, p=(0.5, 0.3, 0.2))
    bars = np.repeat(np.arange(widths.size) % 2 == 0, widths)[:width]
    field[y : y + height, x : x + width][:, bars] = ink


def _type_label(rng: Generator, width_mm: float, height_mm: float, paper: Ink, ink: Ink) -> Bytes:
    field = _blank(width_mm, height_mm, paper)
    number = int(rng.integers(32))
    _text(field, NAMES[number % len(NAMES)], (2.0, 4.6), 2.6, ink)
    for line, text in enumerate(
        (
            f"TYPE  GX-{120 + number}",
            f"SER   {int(rng.integers(10**5)):05d}-{int(rng.integers(100)):02d}",
            f"24VDC  {1 + number % 5}.{number % 10}A  IP67",
            f"MFG 20{20 + number % 7}-{1 + number % 12:02d}  DE",
        )
    ):
        _text(field, text, (2.0, 8.6 + 2.9 * line), 1.5, ink)
    cv2.line(field, (20, 57), (round(width_mm * 10) - 160, 57), ink, 1)
    _barcode(rng, field, (2.0, height_mm - 5.2, width_mm - 19, 3.8), ink)
    side = 140
    code = cv2.resize(_code_modules(number), (side, side), interpolation=cv2.INTER_NEAREST)
    top, left = round(height_mm * 10) - side - 60, round(width_mm * 10) - side - 14
    patch = field[top : top + side, left : left + side]
    patch[code < 128] = ink
    _text(field, "CE", (width_mm - 8.0, height_mm - 1.6), 3.0, ink)
    return field


def _caution_label(
    rng: Generator, width_mm: float, height_mm: float, paper: Ink, ink: Ink
) -> Bytes:
    field = _blank(width_mm, height_mm, paper)
    triangle = (np.array([[6.2, 1.8], [11.0, 11.4], [1.4, 11.4]]) * PRINT_PX_PER_MM).astype(int)
    cv2.fillPoly(field, [triangle], ink, cv2.LINE_AA)
    inner = (np.array([[6.2, 3.8], [9.4, 10.5], [3.0, 10.5]]) * PRINT_PX_PER_MM).astype(int)
    cv2.fillPoly(field, [inner], paper, cv2.LINE_AA)
    _text(field, "!", (5.6, 9.8), 4.2, ink)
    _text(field, "CAUTION", (13.0, 5.4), 3.0, ink)
    _text(field, "HOT SURFACE", (13.0, 8.6), 1.6, ink)
    _text(field, f"TORQUE {20 + int(rng.integers(9))} Nm", (13.0, 11.6), 1.6, ink)
    cv2.rectangle(field, (6, 6), (round(width_mm * 10) - 7, round(height_mm * 10) - 7), ink, 2)
    return field


def _blank(width_mm: float, height_mm: float, paper: Ink) -> Bytes:
    shape = (round(height_mm * PRINT_PX_PER_MM), round(width_mm * PRINT_PX_PER_MM), 3)
    return np.full(shape, paper, np.uint8)


def _corners(item: Placed) -> FloatImage:
    """``(4, 2)`` corners of the label in millimetres on the plate."""
    half = np.array([item.width_mm, item.height_mm]) / 2
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    angle = np.radians(item.angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(corners @ turn.T + (item.x_mm, item.y_mm), np.float32)


def draw_label(canvas: Canvas, item: Placed) -> FloatImage:
    """Draw one label in its state; answers the outline of its box in millimetres."""
    rng = np.random.default_rng(item.seed)
    if item.kind is Kind.MISSING_LABEL:
        return _empty_pocket(rng, canvas, item)
    paper, ink = PAPERS[item.style, canvas.variant]
    draw = _type_label if item.style == "type" else _caution_label
    print_ = draw(rng, item.width_mm, item.height_mm, paper, ink)
    alpha = _rounded_mask(*print_.shape[:2])
    if item.kind is Kind.TORN_LABEL:
        _residue(rng, canvas, item, strength=0.8)
        print_, alpha = _tear(rng, print_, alpha)
    bleached = float(rng.uniform(0.88, 1.0))
    light = _paper_light(rng, canvas, item, alpha) * alpha * np.float32(bleached)
    _lay(canvas, item, [LINEAR[plane] * light for plane in cv2.split(print_)], alpha)
    return _corners(item)


def _paper_light(rng: Generator, canvas: Canvas, item: Placed, alpha: FloatImage) -> FloatImage:
    """Paper is not flat: bubbles and waves turn its normals a little; its edge has a thickness."""
    height, width = alpha.shape
    waves = cv2.GaussianBlur(cut(clouds(), rng, height, width), (0, 0), 3) * 0.9
    waves = waves + 0.05 * cut(grain(), rng, height, width)
    thickness = cv2.GaussianBlur(alpha, (0, 0), 1.2) * 1.2
    gx = cv2.Sobel(waves + thickness, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    gy = cv2.Sobel(waves + thickness, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    slant_x, slant_y = canvas.slant(item.x_mm, item.y_mm)
    lookup = diffuse_lookup(canvas.lamps, gloss=0.06)
    return shade(lookup, slant_x - np.clip(gx, -0.6, 0.6), slant_y - np.clip(gy, -0.6, 0.6))


def _rounded_mask(height: int, width: int) -> FloatImage:
    mask = np.zeros((height, width), np.uint8)
    radius = round(CORNER_RADIUS_MM * PRINT_PX_PER_MM)
    cv2.rectangle(mask, (radius, 0), (width - radius - 1, height - 1), 255, -1)
    cv2.rectangle(mask, (0, radius), (width - 1, height - radius - 1), 255, -1)
    for x in (radius, width - radius - 1):
        for y in (radius, height - radius - 1):
            cv2.circle(mask, (x, y), radius, 255, -1, cv2.LINE_AA)
    return coverage_of(mask)


def _tear(rng: Generator, print_: Bytes, alpha: FloatImage) -> tuple[Bytes, FloatImage]:
    """Rip a corner or a side off along a ragged line, with white paper fibre at the edge."""
    height, width = alpha.shape
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    corner_x, corner_y = (float(rng.choice((-1, 1))) for _ in range(2))
    along_x, along_y = _tear_direction(rng)
    # Distance from the tear line, positive on the side that is gone.
    field = (xs / width - 0.5) * corner_x * along_x + (ys / height - 0.5) * corner_y * along_y
    share = float(rng.uniform(0.30, 0.55))
    line = float(np.quantile(field, 1 - share))
    scale = min(width / max(abs(along_x), 0.05), height / max(abs(along_y), 0.05))
    distance = (field - line) * scale
    distance += 10 * cut(clouds(), rng, height, width) + 1.8 * cut(grain(), rng, height, width)
    fibre = distance + 9 + 5 * cut(clouds(), rng, height, width)
    bare = (fibre > 0) & (distance <= 0)
    torn = print_.copy()
    fuzz = (226 + 9 * cut(grain(), rng, height, width))[..., None] * np.array((0.98, 1.0, 1.0))
    torn[bare] = np.clip(fuzz, 0, 255)[bare].astype(np.uint8)
    remains = np.clip(0.5 - distance / 1.5, 0, 1).astype(np.float32)
    return torn, alpha * remains


def _tear_direction(rng: Generator) -> tuple[float, float]:
    angle = float(rng.uniform(0, np.pi / 2))
    return float(np.cos(angle)), float(np.sin(angle))


def _lay(canvas: Canvas, item: Placed, planes: Planes, alpha: FloatImage) -> None:
    """Turn the flat label into place and blend it, with the shadow of its edge."""
    height, width = alpha.shape
    tall = _bounds(width, height, item.angle_deg)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -item.angle_deg, 1.0)
    matrix[:, 2] += (tall[0] - width) / 2, (tall[1] - height) / 2
    *turned, coverage = (
        np.asarray(cv2.warpAffine(plane, matrix, tall, flags=cv2.INTER_LINEAR), np.float32)
        for plane in (*planes, alpha)
    )
    shadow = cv2.resize(coverage, (tall[0] // 2, tall[1] // 2), interpolation=cv2.INTER_AREA)
    shadow = np.asarray(cv2.GaussianBlur(shadow, (0, 0), 2.2), np.float32)
    dx, dy = canvas.shadow_direction()
    canvas.darken(item.x_mm + 0.35 * dx, item.y_mm + 0.35 * dy, shadow, 0.55)
    canvas.blend_print(item.x_mm, item.y_mm, turned, coverage)


def _bounds(width: int, height: int, angle_deg: float) -> tuple[int, int]:
    """Even size of the upright box around a turned label, with room for its shadow."""
    cos, sin = abs(np.cos(np.radians(angle_deg))), abs(np.sin(np.radians(angle_deg)))
    wide, tall = width * cos + height * sin + 16, width * sin + height * cos + 16
    return int(wide) // 2 * 2, int(tall) // 2 * 2


def _residue(rng: Generator, canvas: Canvas, item: Placed, *, strength: float) -> None:
    """What the adhesive leaves: a dull, slightly yellow film with ragged patches."""
    height, width = (round(v * PRINT_PX_PER_MM) for v in (item.height_mm, item.width_mm))
    patches = np.clip(0.5 + 0.9 * cut(clouds(), rng, height, width), 0, 1)
    film = np.asarray(_rounded_mask(height, width) * patches * strength, np.float32)
    light = np.full((height, width), float(rng.uniform(0.8, 1.25)), np.float32)
    pad = ((0, height % 2), (0, width % 2))
    canvas.blend(
        item.x_mm, item.y_mm, np.pad(light, pad), (0.20, 0.26, 0.28), np.pad(film * 0.75, pad)
    )


def _empty_pocket(rng: Generator, canvas: Canvas, item: Placed) -> FloatImage:
    """The pocket without its label: bare metal, sometimes with a ghost of adhesive."""
    if rng.random() < 0.6:
        _residue(rng, canvas, item, strength=float(rng.uniform(0.3, 0.9)))
    # A person boxes what is to be seen: the pocket, a little larger than its label.
    margin = 2 * POCKET_MARGIN_MM
    return _corners(
        replace(item, width_mm=item.width_mm + margin, height_mm=item.height_mm + margin)
    )
