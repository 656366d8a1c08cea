"""What the Quality page shows: rates with their intervals, Pareto, p-chart; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from cloud.control_chart import ChartPoint, PChart, Signal
from cloud.dashboard import wording
from cloud.operating_points import ClassCurve
from cloud.statistics import ParetoBar, Rate, Summary

Json = dict[str, Any]

INK = "#7c8b99"
LIMIT, SHARE = "#c5292a", "#2f7fc4"
NUM_CAUSES = 9
NUM_SIGNALS = 4
SIGNAL_WORDS = {
    Signal.ABOVE: "above the upper limit",
    Signal.BELOW: "below the lower limit",
    Signal.RUN: "ninth in a row on one side",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What is counted over one window."""

    summary: Summary
    pareto: Sequence[ParetoBar]
    chart: PChart


def rate_view(rate: Rate) -> Json:
    """A share, its interval and what it was counted over."""
    if rate.value is None or rate.low is None or rate.high is None:
        return {"value": wording.UNKNOWN, "interval": "", "n": 0, "low": 0.0, "high": 0.0}
    digits = 1 if rate.value >= 0.01 or rate.value == 0 else 2
    return {
        "value": wording.ratio_text(rate.value, digits),
        "interval": (
            f"{wording.ratio_text(rate.low, digits)} to {wording.ratio_text(rate.high, digits)}"
        ),
        "n": rate.n,
        "count": rate.count,
        "low": rate.low,
        "high": rate.high,
        "share": rate.value,
    }


def quality_view(figures: Figures, *, link: dict[str, str]) -> Json:
    """The whole page.

    Args:
        figures: What was counted.
        link: Cell and time as the Trace page's address takes them.
    """
    summary = figures.summary
    return {
        "parts": summary.first_pass.n,
        "inspections": summary.results,
        "first_pass": rate_view(summary.first_pass),
        "escapes": rate_view(summary.escapes),
        "false_rejects": rate_view(summary.false_rejects),
        "reported_escapes": summary.reported_escapes,
        "reported_false_rejects": summary.reported_false_rejects,
        "undecidable": summary.verdicts.get("not_decidable", 0),
        "causes": causes(figures.pareto, link),
        "chart": p_chart_options(figures.chart),
        "signals": [_signal(point, point.signal) for point in figures.chart.points if point.signal][
            -NUM_SIGNALS:
        ],
        "num_signals": figures.chart.num_signals,
        "groups": groups_text(figures.chart),
    }


def groups_text(chart: PChart) -> str:
    """How the parts are grouped, and how many groups are too small to be judged."""
    length = wording.duration_text(chart.bucket_s)
    for nothing in (" 00 s", " 00 min"):
        length = length.removesuffix(nothing)
    small = sum(point.is_small for point in chart.points)
    words = f"{len(chart.points)} groups of {length}"
    if small:
        words += f"; {small} of them (hollow) are too small to be judged"
    return words if chart.num_signals else f"{words}; none lies outside the limits"


def causes(bars: Sequence[ParetoBar], link: dict[str, str]) -> list[Json]:
    """Rows of the Pareto, each with the way to its parts; the small ones come together."""
    most = bars[0].count if bars else 0
    rows = [_cause(bar, most, link) for bar in bars[:NUM_CAUSES]]
    rest = bars[NUM_CAUSES:]
    if rest:
        count = sum(bar.count for bar in rest)
        rows.append(
            {
                "words": f"{len(rest)} others",
                "href": "",
                "count": wording.count_text(count),
                "share": wording.ratio_text(sum(bar.ratio for bar in rest), 0),
                "together": wording.ratio_text(1.0, 0),
                "width": 100 * count / most,
            }
        )
    return rows


def _cause(bar: ParetoBar, most: int, link: dict[str, str]) -> Json:
    words = wording.reason_short({"code": bar.code, "category": bar.category})
    wanted = {"category": bar.category} if bar.category else {"code": bar.code}
    return {
        "words": wording.sentence(words),
        "href": f"/trace?{urlencode(link | wanted)}",
        "count": wording.count_text(bar.count),
        "share": wording.ratio_text(bar.ratio, 0),
        "together": wording.ratio_text(bar.cumulative_ratio, 0),
        "width": 100 * bar.count / most,
    }


def _signal(point: ChartPoint, signal: Signal) -> Json:
    return {
        "at": _moment(point.start),
        "text": f"{wording.ratio_text(point.ratio)} of {point.n}, {SIGNAL_WORDS[signal]}",
    }


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone():%d %b %H:%M}"


def p_chart_options(chart: PChart) -> Json | None:
    """ECharts options; None where there are no parts."""
    if chart.centre is None:
        return None
    labels = [_moment(point.start) for point in chart.points]
    return {
        "animation": False,
        "textStyle": {"fontFamily": "Roboto, sans-serif"},
        "grid": {"left": 4, "right": 52, "top": 12, "bottom": 4, "containLabel": True},
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": {
            "type": "category",
            "data": labels,
            "boundaryGap": True,
            "axisLabel": {"color": INK, "hideOverlap": True},
            "axisLine": {"lineStyle": {"color": "rgba(128,144,160,.4)"}},
            "axisTick": {"show": False},
        },
        "yAxis": {
            "type": "value",
            "min": 0,
            "axisLabel": {"color": INK, ":formatter": "(v) => +(100 * v).toFixed(1) + ' %'"},
            "splitLine": {"lineStyle": {"color": "rgba(128,144,160,.18)"}},
        },
        "series": [
            _limit("upper limit", [point.upper for point in chart.points]),
            _limit("lower limit", [point.lower for point in chart.points]),
            _shares(chart),
        ],
    }


def _limit(name: str, values: list[float]) -> Json:
    return {
        "name": name,
        "type": "line",
        "step": "middle",
        "data": [round(value, 5) for value in values],
        "symbol": "none",
        "lineStyle": {"color": LIMIT, "width": 1.4, "type": "dashed"},
        "itemStyle": {"color": LIMIT},
        "tooltip": {":valueFormatter": "(v) => (100 * v).toFixed(1) + ' %'"},
    }


def _shares(chart: PChart) -> Json:
    return {
        "name": "not OK",
        "type": "line",
        "data": [_mark(point) for point in chart.points],
        "lineStyle": {"color": SHARE, "width": 1.8},
        "itemStyle": {"color": SHARE},
        "tooltip": {":valueFormatter": "(v) => (100 * v).toFixed(1) + ' %'"},
        "markLine": {
            "silent": True,
            "symbol": "none",
            "lineStyle": {"color": INK, "type": "solid", "width": 1},
            "label": {"color": INK, "formatter": wording.ratio_text(chart.centre)},
            "data": [{"yAxis": chart.centre}],
        },
    }


def _mark(point: ChartPoint) -> Json:
    """A signal is told by its shape and size as well as by its colour."""
    mark: Json = {"value": round(point.ratio, 5), "symbol": "circle", "symbolSize": 6}
    if point.signal is not None:
        mark |= {"symbol": "diamond", "symbolSize": 15, "itemStyle": {"color": LIMIT}}
    elif point.is_small:
        mark |= {"symbol": "emptyCircle", "symbolSize": 5}
    return mark


def curve_view(curve: ClassCurve) -> Json:
    """One category's curve as the element takes it."""
    return {
        "category": curve.category,
        "words": wording.plain(curve.category),
        "kind": curve.kind,
        "num_boxes": curve.num_boxes,
        "num_images": curve.num_images,
        "chosen": curve.chosen,
        "points": [
            {
                "threshold": point.threshold,
                "recall": point.recall,
                "precision": point.precision,
                "false_alarms_per_image": point.false_alarms_per_image,
            }
            for point in curve.points
        ],
    }
