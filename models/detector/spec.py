"""What a detector is made of: all that training, evaluation and serving must agree on."""

from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from models.contract.bundle import SPEC_NAME
from models.contract.model import ContractError, Frozen, first_fault

# A strong object is answered by up to a dozen anchors; fewer candidates than that for each answer
# that is wanted, and faint objects lose their place in NMS to copies of strong ones.
CANDIDATES_PER_DETECTION = 10

Stride = Literal[8, 16, 32, 64, 128, 256, 512]
STRIDES: tuple[int, ...] = get_args(Stride)
"""Pixels of the input between the places of a level."""
AnchorSize = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
"""Width and height of an anchor in pixels of the network's input."""


class DetectorSpec(Frozen):
    """Architecture and geometry of one SSDLite detector on MobileNetV2.

    A category's place in ``categories`` is its class id. The network reads ``input_height`` x
    ``input_width`` pixels in OpenCV's BGR order; every level is a feature map of that stride with
    its own heads and its own anchors.
    """

    schema_version: str = Field(default="1.0", pattern=r"^1\.\d+$")
    categories: tuple[str, ...] = Field(min_length=1)
    input_height: int = Field(ge=32, le=4096)
    input_width: int = Field(ge=32, le=4096)
    width_multiplier: float = Field(default=1.0, gt=0, le=2)
    levels: tuple[Stride, ...] = Field(min_length=1)
    anchors: tuple[tuple[AnchorSize, ...], ...]
    neck: Literal["none", "fpnlite"] = "fpnlite"
    neck_channels: int = Field(default=96, ge=8)
    center_scale: float = Field(default=10.0, gt=0)
    """Box codes are offsets in anchor sizes times this (published SSD: 10 and 5)."""
    size_scale: float = Field(default=5.0, gt=0)
    nms_iou: float = Field(default=0.6, gt=0, lt=1)
    score_floor: float = Field(default=0.01, gt=0, lt=1)
    max_detections: int = Field(default=100, ge=1)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len(set(self.categories)) != len(self.categories):
            raise ValueError("two categories have the same name")
        if any(fine >= coarse for fine, coarse in zip(self.levels, self.levels[1:], strict=False)):
            raise ValueError("levels must be rising strides, each once")
        if len(self.anchors) != len(self.levels) or not all(self.anchors):
            raise ValueError("every level needs at least one anchor")
        return self

    def with_categories(self, categories: tuple[str, ...]) -> "DetectorSpec":
        """The same detector for another label map; its anchors and input stay."""
        return self.model_copy(update={"categories": categories})

    @property
    def level_shapes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each level's feature map (strided layers round up)."""
        return tuple(
            (-(-self.input_height // stride), -(-self.input_width // stride))
            for stride in self.levels
        )

    @property
    def num_anchors(self) -> int:
        """Anchors over all levels: the length of the network's outputs."""
        return sum(
            rows * columns * len(sizes)
            for (rows, columns), sizes in zip(self.level_shapes, self.anchors, strict=True)
        )

    @property
    def num_candidates(self) -> int:
        """Best answers of a picture that enter NMS, over all anchors and classes together."""
        answers = self.num_anchors * len(self.categories)
        return min(answers, CANDIDATES_PER_DETECTION * self.max_detections)


def read_spec(bundle_dir: Path) -> DetectorSpec:
    """Read the spec of a bundle.

    Raises:
        ContractError: there is none or it is not valid.
    """
    path = bundle_dir / SPEC_NAME
    try:
        return DetectorSpec.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ContractError(f"{bundle_dir}: no readable {SPEC_NAME}") from error
    except ValidationError as error:
        raise ContractError(f"{path}: {first_fault(error)}") from error
