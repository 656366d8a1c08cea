"""Labels and answers side by side: what a person saw in a picture, and what a model found."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.detector.boxes import Boxes


@dataclass(frozen=True, slots=True)
class Truth:
    """What a person labelled in one picture; ``(N, 4)`` corners in its pixels."""

    image_id: str
    boxes: Boxes
    categories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a model found in one picture, and how long that took.

    Categories are names, so that two models with different label maps can be compared.
    """

    image_id: str
    boxes: Boxes
    scores: npt.NDArray[np.float32]
    categories: tuple[str, ...]
    latency_ms: float = 0.0
