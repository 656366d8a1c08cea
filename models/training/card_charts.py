"""The model card's charts: small inline SVGs that take their colours from the page."""

import html
from collections.abc import Iterable, Mapping, Sequence

from models.training.analysis import ClassAnalysis
from models.training.operating_point import Curve
from models.training.reliability import Reliability

WIDTH, HEIGHT = 250, 190
LEFT, RIGHT, TOP, BOTTOM = 34, 10, 24, 30

Point = tuple[float, float]


def grid(charts: Iterable[str]) -> str:
    """Charts side by side."""
    return f'<div class="charts">{"".join(charts)}</div>'


def legend(entries: Mapping[str, str]) -> str:
    """What the colours mean; a CSS class by its text."""
    return (
        '<p class="legend">'
        + "".join(
            f'<span><i class="{style}"></i>{html.escape(text)}</span>'
            for style, text in entries.items()
        )
        + "</p>"
    )


def precision_recall(name: str, own: ClassAnalysis) -> str:
    """Precision over recall, with the operating point."""
    points = [(place / 100, value) for place, value in enumerate(own.precision_at_recall)]
    marks = []
    place = own.curve.at(own.curve.chosen)
    recall, precision = own.curve.recall[place], own.curve.precision[place]
    if recall is not None and precision is not None:
        marks.append(_dot((recall, precision)))
    return _chart(name, [_line(points, "one"), *marks], x="recall", y="precision")


def threshold_curve(name: str, curve: Curve) -> str:
    """Recall, precision and expected cost over the threshold; the cost in parts of its largest."""
    most = max(curve.expected_cost) or 1.0
    cost = [value / most for value in curve.expected_cost]
    lines = [
        _area(list(zip(curve.thresholds, cost, strict=True)), "cost"),
        _line(_known(curve.thresholds, curve.precision), "two"),
        _line(_known(curve.thresholds, curve.recall), "one"),
        _upright(curve.chosen),
    ]
    return _chart(f"{name}: {curve.chosen:.2f}", lines, x="threshold")


def reliability_chart(title: str, reliability: Reliability) -> str:
    """Share of hits over score, with 95 % intervals; on the diagonal scores mean what they say."""
    marks = [_line([(0, 0), (1, 1)], "guide")]
    for entry in reliability.bins:
        if entry.mean_score is None or entry.hit_ratio is None:
            continue
        x = entry.mean_score
        marks.append(_line([(x, entry.hit_ratio_low), (x, entry.hit_ratio_high)], "whisker"))
        marks.append(_dot((x, entry.hit_ratio)))
    return _chart(title, marks, x="score", y="share of hits")


def _known(xs: Sequence[float], ys: Sequence[float | None]) -> list[Point]:
    return [(x, y) for x, y in zip(xs, ys, strict=True) if y is not None]


def _chart(title: str, marks: Iterable[str], *, x: str, y: str = "") -> str:
    text = html.escape(title)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text}">'
        f'<text class="title" x="{LEFT}" y="14">{text}</text>'
        f"{_axes(x, y)}{''.join(marks)}</svg>"
    )


def _axes(x: str, y: str) -> str:
    parts = []
    for value in (0.0, 0.5, 1.0):
        level = _at((0, value))[1]
        parts.append(
            f'<line class="axis" x1="{LEFT}" y1="{level}" x2="{WIDTH - RIGHT}" y2="{level}"/>'
            f'<text class="tick" x="{LEFT - 5}" y="{level + 3}" text-anchor="end">{value:g}</text>'
        )
        across = _at((value, 0))[0]
        parts.append(
            f'<text class="tick" x="{across}" y="{HEIGHT - BOTTOM + 13}"'
            f' text-anchor="middle">{value:g}</text>'
        )
    middle = _at((0.5, 0))[0]
    parts.append(
        f'<text class="tick" x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{x}</text>'
    )
    if y:
        parts.append(f'<text class="tick" x="{WIDTH - RIGHT}" y="14" text-anchor="end">{y}</text>')
    return "".join(parts)


def _at(point: Point) -> Point:
    x, y = point
    across = LEFT + x * (WIDTH - LEFT - RIGHT)
    up = TOP + (1 - y) * (HEIGHT - TOP - BOTTOM)
    return round(across, 1), round(up, 1)


def _line(points: Sequence[Point], style: str) -> str:
    path = " ".join(f"{x},{y}" for x, y in map(_at, points))
    return f'<polyline class="{style}" points="{path}"/>' if points else ""


def _area(points: Sequence[Point], style: str) -> str:
    closed = [(points[0][0], 0.0), *points, (points[-1][0], 0.0)]
    path = " ".join(f"{x},{y}" for x, y in map(_at, closed))
    return f'<polygon class="{style}" points="{path}"/>'


def _upright(value: float) -> str:
    (x, low), (_, high) = _at((value, 0)), _at((value, 1))
    return f'<line class="chosen" x1="{x}" y1="{low}" x2="{x}" y2="{high}"/>'


def _dot(point: Point) -> str:
    x, y = _at(point)
    return f'<circle class="dot" cx="{x}" cy="{y}" r="4"/>'
