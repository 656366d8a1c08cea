"""The drawing board: linear light of the scene straight from above, before the lens."""

from dataclasses import dataclass

import cv2
import numpy as np

from simulators.parts.lighting import Lamps
from simulators.parts.shapes import CANVAS_PX_PER_MM, SUPERSAMPLING
from simulators.parts.surfaces import FloatImage

CANVAS_WIDTH_MM, CANVAS_HEIGHT_MM = 184.0, 150.0
CANVAS_WIDTH = round(CANVAS_WIDTH_MM * CANVAS_PX_PER_MM)
CANVAS_HEIGHT = round(CANVAS_HEIGHT_MM * CANVAS_PX_PER_MM)
CAMERA_DISTANCE_MM = 420.0

Colour = tuple[float, float, float]
Planes = list[FloatImage]
"""One ``(H, W)`` plane a colour: numpy is twice as fast on planes as on interleaved pixels."""


@dataclass(slots=True, eq=False)
class Canvas:
    """Picture under work.

    Attributes:
        light: ``(3, CANVAS_HEIGHT, CANVAS_WIDTH)`` float32 linear planes, blue first.
        lamps: The light of the scene.
        variant: Look of the part.
        nadir_mm: The point right under the camera; things of height lean away from it.
    """

    light: FloatImage
    lamps: Lamps
    variant: str
    nadir_mm: tuple[float, float]

    def lean(self, x_mm: float, y_mm: float, height_mm: float) -> tuple[float, float]:
        """How far (mm) something this high appears shifted."""
        factor = height_mm / (CAMERA_DISTANCE_MM - height_mm)
        return (x_mm - self.nadir_mm[0]) * factor, (y_mm - self.nadir_mm[1]) * factor

    def slant(self, x_mm: float, y_mm: float) -> tuple[float, float]:
        """What the oblique view adds to the normals here.

        The ray to the camera tilts by x / D; a mirror turns that into half as much normal.
        """
        return (
            (x_mm - self.nadir_mm[0]) / (2 * CAMERA_DISTANCE_MM),
            (y_mm - self.nadir_mm[1]) / (2 * CAMERA_DISTANCE_MM),
        )

    def shadow_direction(self) -> tuple[float, float]:
        """Unit vector along which shadows fall."""
        return -self.lamps.key_direction[0], -self.lamps.key_direction[1]

    def blend(
        self, x_mm: float, y_mm: float, light: FloatImage, colour: Colour, alpha: FloatImage
    ) -> None:
        """Lay a supersampled patch of one colour over the picture.

        Args:
            x_mm: Where its middle goes; resolved to one supersampled pixel.
            y_mm: The same, downwards.
            light: ``(S, T)`` light, S and T even.
            colour: BGR factors.
            alpha: ``(S, T)`` coverage.
        """
        row, column, (lit, coverage) = _coarse(x_mm, y_mm, [light * alpha, alpha])
        self._lay(row, column, [lit * tone for tone in colour], coverage)

    def blend_print(self, x_mm: float, y_mm: float, planes: Planes, alpha: FloatImage) -> None:
        """Lay a supersampled patch of three ``(S, T)`` planes, premultiplied by its coverage."""
        row, column, (*lit, coverage) = _coarse(x_mm, y_mm, [*planes, alpha])
        self._lay(row, column, lit, coverage)

    def _lay(self, row: int, column: int, lit: Planes, coverage: FloatImage) -> None:
        window, part = self._window(row, column, coverage)
        rest = 1 - coverage[part]
        window *= rest
        window += np.stack([patch[part] for patch in lit])

    def _window(
        self, row: int, column: int, patch: FloatImage
    ) -> tuple[FloatImage, tuple[slice, slice]]:
        """The part of the light under a patch, and the part of the patch inside the canvas."""
        top, left = max(row, 0), max(column, 0)
        bottom = max(min(row + patch.shape[0], CANVAS_HEIGHT), top)
        right = max(min(column + patch.shape[1], CANVAS_WIDTH), left)
        part = slice(top - row, bottom - row), slice(left - column, right - column)
        return self.light[:, top:bottom, left:right], part

    def darken(self, x_mm: float, y_mm: float, mask: FloatImage, strength: float) -> None:
        """Multiply the light under a soft ``(S, T)`` mask on canvas pixels, middle at (x, y)."""
        x, y = to_canvas_px(x_mm, y_mm)
        row, column = round(y - mask.shape[0] / 2), round(x - mask.shape[1] / 2)
        window, part = self._window(row, column, mask)
        window *= 1 - strength * mask[part]


def _coarse(x_mm: float, y_mm: float, planes: Planes) -> tuple[int, int, Planes]:
    """Row, column and planes on canvas pixels of a supersampled patch with its middle here."""
    fine_height, fine_width = planes[0].shape
    height, width = fine_height // SUPERSAMPLING, fine_width // SUPERSAMPLING
    left, top = to_canvas_px(x_mm, y_mm)
    left, top = left - width / 2, top - height / 2
    column, row = int(np.floor(left)), int(np.floor(top))
    step_x = round((left - column) * SUPERSAMPLING)
    step_y = round((top - row) * SUPERSAMPLING)
    padded = np.zeros(((height + 1) * SUPERSAMPLING, (width + 1) * SUPERSAMPLING), np.float32)
    answer = []
    for plane in planes:
        padded[step_y : step_y + fine_height, step_x : step_x + fine_width] = plane
        answer.append(
            np.asarray(
                cv2.resize(padded, (width + 1, height + 1), interpolation=cv2.INTER_AREA),
                np.float32,
            )
        )
    return row, column, answer


def to_canvas_px(x_mm: float, y_mm: float) -> tuple[float, float]:
    """Millimetres from the plate's middle to canvas pixels."""
    return (
        CANVAS_WIDTH / 2 + x_mm * CANVAS_PX_PER_MM,
        CANVAS_HEIGHT / 2 + y_mm * CANVAS_PX_PER_MM,
    )
