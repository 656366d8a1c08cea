"""The lamps of the station, as look-up pictures from surface normal to light.

The camera looks straight down, so what a facet shows depends on its normal alone; a lamp is a
lobe around its half vector (Blinn 1977). One 96 x 96 picture a material then shades any number
of pixels by one `cv2.remap`.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from simulators.parts.spec import Generator, SceneSettings
from simulators.parts.surfaces import FloatImage

LOOKUP_SIZE = 96


@dataclass(frozen=True, slots=True)
class Lamps:
    """Where the light of one picture comes from.

    Attributes:
        key_direction: Unit vector in the picture plane towards the main lamp.
        key_tilt: Distance of the main lamp's half vector from the optical axis, 0 to 1.
        tint: BGR colour of the light.
        strength: Overall strength, 1 for a new lamp.
        fill: Strength of the second lamp.
        dome: Strength of the light from all around.
    """

    key_direction: tuple[float, float]
    key_tilt: float
    tint: tuple[float, float, float]
    strength: float
    fill: float
    dome: float


def draw_lamps(rng: Generator, settings: SceneSettings) -> Lamps:
    """Lamps near their nominal place; ageing dims the light and turns it yellow."""
    angle = np.radians(float(rng.normal(-118, 22)))
    age = settings.lamp_ageing
    warm = float(rng.normal(0, 0.012))
    return Lamps(
        key_direction=(float(np.cos(angle)), float(np.sin(angle))),
        key_tilt=float(rng.uniform(0.26, 0.44)),
        tint=(1.03 - 0.24 * age - warm, 1.0 - 0.05 * age, 0.98 + 0.04 * age + warm),
        strength=float(rng.normal(1.0, 0.05)) * (1 - 0.45 * age),
        fill=float(rng.uniform(0.25, 0.5)),
        dome=float(rng.uniform(0.85, 1.1)),
    )


def _grid() -> tuple[FloatImage, FloatImage]:
    axis = np.linspace(-1, 1, LOOKUP_SIZE, dtype=np.float32)
    nx, ny = np.meshgrid(axis, axis)
    return nx, ny


def _lobe(
    nx: FloatImage, ny: FloatImage, centre: tuple[float, float], width: float, length: float
) -> FloatImage:
    """A lamp of soft rectangular shape, long across its direction."""
    norm = float(np.hypot(*centre)) or 1.0
    ux, uy = centre[0] / norm, centre[1] / norm
    along = (nx - centre[0]) * ux + (ny - centre[1]) * uy
    across = -(nx - centre[0]) * uy + (ny - centre[1]) * ux
    flat_top = np.square(np.square(across / length))
    return np.asarray(np.exp(-0.5 * (np.square(along / width) + flat_top)), np.float32)


@lru_cache(maxsize=4)
def _surroundings(lamps: Lamps) -> FloatImage:
    """What a perfect mirror would show, by normal."""
    nx, ny = _grid()
    kx, ky = lamps.key_direction
    tilt = lamps.key_tilt
    slope = np.minimum(np.hypot(nx, ny), 1.0)
    # A steep facet mirrors the dark hall around the station, a flat one the dome.
    dome = lamps.dome * (0.40 - 0.33 * slope * np.sqrt(slope) + 0.10 * (nx * kx + ny * ky))
    # The camera and its lens hole are a darker spot in the middle of the dome.
    dome *= 1 - 0.22 * np.exp(-0.5 * (slope / 0.09) ** 2)
    key = 1.9 * _lobe(nx, ny, (kx * tilt, ky * tilt), 0.09, 0.34)
    second = lamps.fill * _lobe(nx, ny, (-kx * 0.5 + 0.2, -ky * 0.5), 0.10, 0.30)
    rim = 0.22 * np.exp(-0.5 * ((slope - 0.62) / 0.05) ** 2)
    return np.asarray(np.maximum(dome + key + second + rim, 0.015), np.float32)


@lru_cache(maxsize=16)
def metal_lookup(
    lamps: Lamps, *, roughness: float, stretch: tuple[float, float] = (0.0, 0.0)
) -> FloatImage:
    """``(96, 96)`` reflected light for metal; ``stretch`` smears along x and y (brushing)."""
    scale = LOOKUP_SIZE / 2
    sigma_x = max(np.hypot(roughness, stretch[0]) * scale, 0.3)
    sigma_y = max(np.hypot(roughness, stretch[1]) * scale, 0.3)
    mirror = _surroundings(lamps)
    return np.asarray(
        cv2.GaussianBlur(
            mirror, (0, 0), sigmaX=sigma_x, sigmaY=sigma_y, borderType=cv2.BORDER_REPLICATE
        ),
        np.float32,
    )


@lru_cache(maxsize=16)
def diffuse_lookup(lamps: Lamps, *, gloss: float = 0.0) -> FloatImage:
    """``(96, 96)`` light for paint, paper and plastic: Lambert, with a share of gloss."""
    nx, ny = _grid()
    nz = np.sqrt(np.maximum(1 - nx**2 - ny**2, 0.0))
    kx, ky = lamps.key_direction
    elevation = 1.35 - lamps.key_tilt
    lambert = np.maximum((nx * kx + ny * ky) * np.cos(elevation) + nz * np.sin(elevation), 0.0)
    light = (0.42 * lamps.dome * (0.5 + 0.5 * nz) + 0.52 * lambert).astype(np.float32)
    if gloss > 0:
        light = light + gloss * metal_lookup(lamps, roughness=0.12)
    return np.asarray(light, np.float32)


def shade(lookup: FloatImage, nx: npt.ArrayLike, ny: npt.ArrayLike) -> FloatImage:
    """Light of every facet.

    Args:
        lookup: One of the pictures above.
        nx: ``(H, W)`` x of the unit normals, to the right.
        ny: ``(H, W)`` y of the unit normals, downwards.

    Returns:
        ``(H, W)`` light, linear.
    """
    half = np.float32((LOOKUP_SIZE - 1) / 2)
    return np.asarray(
        cv2.remap(
            lookup,
            np.asarray(nx, np.float32) * half + half,
            np.asarray(ny, np.float32) * half + half,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.float32,
    )
