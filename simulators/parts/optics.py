"""From the scene to the picture: pose, lens, exposure, sensor."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from simulators.parts.canvas import CANVAS_HEIGHT, CANVAS_WIDTH, to_canvas_px
from simulators.parts.shapes import CANVAS_PX_PER_MM
from simulators.parts.spec import Generator, SceneSettings
from simulators.parts.surfaces import FloatImage, cut, sensor_noise

FIELD_OF_VIEW_MM = 160.0
"""Width of the plane of the plate that the picture shows."""
SHOULDER = 0.22
"""Strength of the soft shoulder of the tone curve; a hard clip looks synthetic."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the part lies under the camera.

    Attributes:
        matrix: ``(3, 3)`` from canvas pixels to picture pixels.
        nadir_mm: The point of the plate right under the camera.
    """

    matrix: npt.NDArray[np.float64]
    nadir_mm: tuple[float, float]

    def picture_points(self, points_mm: FloatImage) -> FloatImage:
        """``(N, 2)`` picture pixels of points on the plate."""
        canvas = np.array([to_canvas_px(float(x), float(y)) for x, y in points_mm], np.float32)
        mapped = cv2.perspectiveTransform(canvas[None], self.matrix)
        return np.asarray(mapped[0], np.float32)


def draw_pose(rng: Generator, settings: SceneSettings) -> Pose:
    """A few degrees, a few millimetres, a trace of tilt."""
    jitter = settings.pose_jitter
    angle = np.radians(float(rng.normal(0, 1.6)) * jitter)
    shift = rng.normal(0, 1.6, 2) * jitter
    scale = settings.width_px / (FIELD_OF_VIEW_MM * CANVAS_PX_PER_MM)
    scale *= 1 + float(rng.normal(0, 0.012)) * jitter
    tilt = rng.normal(0, 1.6e-5, 2) * jitter
    to_middle = np.array([[1, 0, -CANVAS_WIDTH / 2], [0, 1, -CANVAS_HEIGHT / 2], [0, 0, 1]])
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [tilt[0], tilt[1], 1]])
    shift_px = shift * settings.width_px / FIELD_OF_VIEW_MM
    to_picture = np.array(
        [
            [1, 0, settings.width_px / 2 + shift_px[0]],
            [0, 1, settings.height_px / 2 + shift_px[1]],
            [0, 0, 1],
        ]
    )
    return Pose(matrix=to_picture @ turn @ to_middle, nadir_mm=(-float(shift[0]), -float(shift[1])))


def take_picture(
    rng: Generator, light: FloatImage, pose: Pose, settings: SceneSettings
) -> npt.NDArray[np.uint8]:
    """Project, blur, expose, add noise, and round to 8 bits.

    Args:
        rng: Random numbers of this exposure.
        light: ``(3, CANVAS_HEIGHT, CANVAS_WIDTH)`` linear planes.
        pose: Where the part lies.
        settings: Size of the picture, lamp age, blur.

    Returns:
        ``(height, width, 3)`` uint8 BGR.
    """
    size = (settings.width_px, settings.height_px)
    picture = cv2.warpPerspective(
        cv2.merge(list(light)), pose.matrix, size, borderMode=cv2.BORDER_REPLICATE
    )
    picture = _blurred(rng, np.asarray(picture, np.float32), settings.blur)
    picture *= _vignette(rng, size, float(rng.normal(1.12, 0.06)))[..., None]
    picture = cv2.sqrt(picture * (1 + SHOULDER) / (1 + SHOULDER * picture))
    noise = 0.0075 * (1 + 1.4 * settings.lamp_ageing) * float(rng.uniform(0.7, 1.3))
    grainy = cut(sensor_noise(), rng, settings.height_px, settings.width_px)
    picture = cv2.addWeighted(picture, 255.0, grainy, 255.0 * noise, 0.5)
    image = np.clip(picture, 0, 255).astype(np.uint8)
    return _squeezed(image, settings.jpeg_quality)


def _blurred(rng: Generator, picture: FloatImage, amount: float) -> FloatImage:
    sigma = amount * float(rng.gamma(4.0, 0.13))
    if sigma > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    length = amount * float(rng.exponential(0.9))
    if length > 1.4:
        picture = cv2.filter2D(picture, -1, _motion_kernel(length, float(rng.uniform(0, np.pi))))
    return np.asarray(picture, np.float32)


def _motion_kernel(length_px: float, angle: float) -> FloatImage:
    """Straight-line motion during the exposure; at most 7 px."""
    kernel = np.zeros((9, 9), np.float32)
    half = min(length_px, 7.0) / 2
    step = np.array([np.cos(angle), np.sin(angle)]) * half
    ends = np.round((4.0 + np.stack([-step, step])) * 16).astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0, 1, cv2.LINE_AA, 4)
    return np.asarray(kernel / kernel.sum(), np.float32)


def _vignette(rng: Generator, size: tuple[int, int], exposure: float) -> FloatImage:
    """Fall-off of the lens and of a lamp that stands nearer to one side."""
    xs = np.linspace(-1, 1, size[0], dtype=np.float32)[None, :]
    ys = np.linspace(-1, 1, size[1], dtype=np.float32)[:, None]
    lean_x, lean_y = rng.normal(0, 0.07, 2)
    field = 1 - 0.10 * (xs**2 + ys**2) + float(lean_x) * xs + float(lean_y) * ys
    return np.asarray(exposure * field, np.float32)


def _squeezed(image: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    if quality <= 0:
        return image
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
