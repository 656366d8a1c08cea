"""What a model card tells, and the parts that it is made of."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from models.training.analysis import Analysis
from models.training.card_pictures import Example, MistakePicture
from models.training.intervals import Interval
from models.training.metrics import Evaluation
from models.training.operating_point import Curve

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DataRow:
    """One split of the data."""

    split: str
    num_images: int
    boxes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """Time for one picture, alone on one thread of the machine that made the bundle."""

    precision: str
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card tells; what is left out is not told.

    Attributes:
        evaluation: of the bundle's own file.
        float_evaluation: of the network before quantization, at the same operating points.
        analysis: of the same answers as ``evaluation``.
        curves: of the pictures that the thresholds were chosen on.
        judged_on: which pictures, in words.
        trained_on: one sentence: which pictures, how many, how long.
        data: the splits.
        speed: INT8 and float.
        mistakes: the worst.
        examples: pictures with what the model found.
    """

    evaluation: Evaluation
    float_evaluation: Evaluation | None = None
    analysis: Analysis | None = None
    curves: Mapping[str, Curve] = field(default_factory=dict)
    judged_on: str = ""
    trained_on: str = ""
    data: Sequence[DataRow] = ()
    speed: Sequence[SpeedRow] = ()
    mistakes: Sequence[MistakePicture] = ()
    examples: Sequence[Example] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the card.

    Attributes:
        rows: of a table; pairs of name and value where there is no ``header``.
        extra: charts and pictures, as HTML.
    """

    title: str
    rows: Sequence[Row] = ()
    header: Row = ()
    text: str = ""
    extra: str = ""


def number(value: float | None, digits: int = 4) -> str:
    """A figure, or nothing."""
    return "" if value is None else f"{value:.{digits}f}"


def span(interval: Interval | None) -> str:
    """An interval, or nothing."""
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def escaped(cells: Iterable[str]) -> list[str]:
    """Texts that are safe in HTML."""
    return [html.escape(cell) for cell in cells]
