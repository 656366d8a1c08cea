"""Static textures: made once a process from fixed seeds, then cut at random places."""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from simulators.parts.spec import Generator

FloatImage = npt.NDArray[np.float32]

TEXTURE_HEIGHT, TEXTURE_WIDTH = 1024, 1280


def unit(field: npt.NDArray[np.float32]) -> FloatImage:
    """The field with mean 0 and standard deviation 1."""
    centred = field - np.float32(field.mean())
    return np.asarray(centred / np.float32(max(float(centred.std()), 1e-6)), np.float32)


def coverage_of(mask: npt.NDArray[Any]) -> FloatImage:
    """0 to 1 from a drawn 0 to 255 mask."""
    return np.asarray(mask, np.float32) * np.float32(1 / 255)


def white_noise(seed: int, height: int = TEXTURE_HEIGHT, width: int = TEXTURE_WIDTH) -> FloatImage:
    """Normal noise of a fixed seed."""
    return np.random.default_rng(seed).standard_normal((height, width), dtype=np.float32)


@lru_cache(maxsize=8)
def brushed(seed: int = 1) -> FloatImage:
    """Lines along x of many lengths, as a grinding belt leaves them."""
    fine = unit(cv2.blur(white_noise(seed), (41, 1)))
    medium = unit(cv2.GaussianBlur(cv2.blur(white_noise(seed + 1), (141, 1)), (1, 3), 0))
    coarse = unit(cv2.GaussianBlur(cv2.blur(white_noise(seed + 2), (401, 1)), (1, 9), 0))
    return unit(0.55 * fine + 0.35 * medium + 0.3 * coarse)


@lru_cache(maxsize=8)
def milled(seed: int = 5) -> FloatImage:
    """Arcs of a face mill that went over the plate in overlapping passes."""
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[0:TEXTURE_HEIGHT, 0:TEXTURE_WIDTH].astype(np.float32)
    field = np.zeros_like(xs)
    radius, step, feed = 190.0, 240.0, 6.5
    for index in range(int(TEXTURE_HEIGHT / step) + 1):
        middle = (index + 0.5) * step + float(rng.normal(0, 6))
        offset = np.sqrt(np.maximum(radius**2 - (ys - middle) ** 2, 0))
        phase = (xs - offset) / feed + float(rng.uniform())
        marks = np.abs((phase % 1.0) - 0.5) * 2
        depth = np.random.default_rng(seed + index).standard_normal(
            TEXTURE_WIDTH * 2, dtype=np.float32
        )
        marks = marks * 0.7 + depth[np.clip(phase, 0, depth.size - 1).astype(np.int32)] * 0.8
        inside = np.abs(ys - middle) <= step / 2
        field = np.where(inside, marks, field).astype(np.float32)
    return unit(cv2.GaussianBlur(field, (3, 3), 0) + 0.25 * white_noise(seed + 40))


@lru_cache(maxsize=8)
def grain(seed: int = 9) -> FloatImage:
    """Fine isotropic grain of a blasted, cast or coated surface."""
    fine = unit(cv2.GaussianBlur(white_noise(seed), (0, 0), 0.9))
    coarse = unit(cv2.GaussianBlur(white_noise(seed + 1), (0, 0), 3.0))
    return unit(fine + 0.6 * coarse)


@lru_cache(maxsize=8)
def clouds(seed: int = 13) -> FloatImage:
    """Large soft patches, for stains and uneven oil."""
    field = np.zeros((TEXTURE_HEIGHT, TEXTURE_WIDTH), np.float32)
    for octave, (rows, columns) in enumerate(((6, 8), (12, 16), (32, 40), (96, 120))):
        small = white_noise(seed + octave, rows, columns)
        size = (TEXTURE_WIDTH, TEXTURE_HEIGHT)
        field += cv2.resize(small, size, interpolation=cv2.INTER_CUBIC) * 0.6**octave
    return unit(field)


@lru_cache(maxsize=4)
def sensor_noise(seed: int = 21) -> FloatImage:
    """Noise of a colour sensor: mostly common to the three channels."""
    common = white_noise(seed)
    channels = [
        cv2.GaussianBlur(0.75 * common + 0.66 * white_noise(seed + 1 + c), (3, 3), 0.55)
        for c in range(3)
    ]
    return unit(cv2.merge(channels))


def cut(texture: FloatImage, rng: Generator, height: int, width: int) -> FloatImage:
    """A random window of a texture, mirrored at random; no copy is made."""
    if height > texture.shape[0] or width > texture.shape[1]:
        repeat = (-(-height // texture.shape[0]), -(-width // texture.shape[1]))
        texture = np.tile(texture, repeat + (1,) * (texture.ndim - 2))
    top = int(rng.integers(texture.shape[0] - height + 1))
    left = int(rng.integers(texture.shape[1] - width + 1))
    window = texture[top : top + height, left : left + width]
    if rng.random() < 0.5:
        window = window[:, ::-1]
    return window[::-1] if rng.random() < 0.5 else window
