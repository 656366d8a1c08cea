"""The shift report as a page to print."""

from datetime import datetime
from html import escape

from cloud.control_chart import PChart
from cloud.shift_report import ALL_CELLS, DAY_S, ShiftReport, rates_of
from cloud.statistics import ParetoBar, Rate

_STYLE = """
body { font: 14px/1.45 system-ui, "Segoe UI", Roboto, sans-serif; color: #17212b; margin: 24px auto;
  max-width: 900px; padding: 0 16px; }
h1 { font-size: 22px; margin: 0 0 2px; } h2 { font-size: 16px; margin: 26px 0 8px; }
p { margin: 0 0 8px; color: #526070; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: 5px 8px; border-bottom: 1px solid #dbe1e7; }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; color: #526070; font-size: 12.5px; }
td small { color: #526070; display: block; font-size: 11.5px; }
svg { width: 100%; height: auto; }
.bar { background: #14609f; height: 11px; display: inline-block; vertical-align: middle; }
.sign { font-weight: 700; }
@media print { body { margin: 0; max-width: none; } h2 { break-after: avoid; }
  tr { break-inside: avoid; } .bar { print-color-adjust: exact; } }
"""


def report_html(report: ShiftReport) -> str:
    """A page to print: no script, nothing loaded from elsewhere."""
    window = report.window
    since = _local(window.since) if window.since else "the beginning"
    until = _local(window.until or report.made_at)
    where = escape(window.cell or ALL_CELLS)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>Shift report {escape(until)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>Shift report</h1><p>{where}, {since} to {until}. "
        f"Made {_local(report.made_at)}. Intervals are Wilson's, 95 %.</p>"
        f"<h2>Figures</h2>{_figures(report)}"
        f"<h2>Why parts were not OK</h2>{_pareto(report)}"
        f"<h2>Share of parts not OK, in groups of {_length(report.chart.bucket_s)}</h2>"
        f"{_chart(report.chart)}</body></html>"
    )


def _figures(report: ShiftReport) -> str:
    rows = "".join(
        f"<tr><td>{escape(cell)}</td><td>{summary.results:,}</td>"
        f"<td>{summary.verdicts.get('not_ok', 0):,}</td>"
        f"<td>{summary.verdicts.get('not_decidable', 0):,}</td>"
        + "".join(f"<td>{_rate(rate)}</td>" for _, rate in rates_of(summary))
        + f"<td>{summary.reported_escapes} / {summary.reported_false_rejects}</td></tr>"
        for cell, summary in report.summaries.items()
    )
    return (
        "<table><tr><th>Cell</th><th>Inspected</th><th>NOT_OK</th><th>NOT_DECIDABLE</th>"
        "<th>First-pass yield</th><th>Escapes<br>random audit</th>"
        "<th>False rejects<br>reviewed rejects</th>"
        f"<th>Told from downstream:<br>escapes / false rejects</th></tr>{rows}</table>"
    )


def _rate(rate: Rate) -> str:
    if rate.value is None or rate.low is None or rate.high is None:
        return "&ndash;<small>n = 0</small>"
    return (
        f"{rate.value:.1%}<small>{rate.low:.1%} to {rate.high:.1%}, "
        f"{rate.count:,} of {rate.n:,}</small>"
    )


def _pareto(report: ShiftReport) -> str:
    if not report.pareto:
        return "<p>Every part was OK.</p>"
    rows = "".join(
        f"<tr><td>{escape(_words(bar))}</td><td>{bar.count:,}</td><td>{bar.ratio:.1%}</td>"
        f"<td>{bar.cumulative_ratio:.1%}</td>"
        f"<td style='text-align:left;width:40%'>"
        f"<span class='bar' style='width:{100 * bar.ratio:.1f}%'></span></td></tr>"
        for bar in report.pareto
    )
    return (
        "<table><tr><th>Cause</th><th>Count</th><th>Share</th><th>Together</th><th></th></tr>"
        f"{rows}</table>"
    )


def _words(bar: ParetoBar) -> str:
    text = f"{bar.code}: {bar.category}" if bar.category else bar.code
    return text.replace("_", " ")


_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 860, 220, 46, 22


def _chart(chart: PChart) -> str:
    if chart.centre is None:
        return "<p>No parts.</p>"
    top = max(max(point.upper, point.ratio) for point in chart.points) * 1.08 or 1.0
    step = (_WIDTH - _LEFT) / len(chart.points)

    def y(ratio: float) -> float:
        return round((_HEIGHT - _BOTTOM) * (1 - ratio / top) + 4, 1)

    places = [round(_LEFT + step * (index + 0.5), 1) for index in range(len(chart.points))]
    limits = [
        _line(places, [y(value) for value in values], "5 4", "#b3211f")
        for values in ([p.upper for p in chart.points], [p.lower for p in chart.points])
    ]
    shares = _line(places, [y(point.ratio) for point in chart.points], "", "#14609f")
    marks = "".join(
        f"<circle cx='{x}' cy='{y(point.ratio)}' r='3' fill='#14609f'/>"
        if point.signal is None
        else f"<path d='M{x} {y(point.ratio) - 6}l6 6-6 6-6-6z' fill='#b3211f'/>"
        for x, point in zip(places, chart.points, strict=True)
    )
    centre = y(chart.centre)
    signals = "".join(
        f"<li><b>{_local(point.start)}</b>: {point.rejects} of {point.n} ({point.ratio:.1%}), "
        f"{_SIGNALS[point.signal]}</li>"
        for point in chart.points
        if point.signal is not None
    )
    return (
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='p-chart'>"
        f"<line x1='{_LEFT}' x2='{_WIDTH}' y1='{centre}' y2='{centre}' stroke='#76838f'/>"
        f"<text x='0' y='{centre + 4}' font-size='11'>{chart.centre:.1%}</text>"
        f"<text x='0' y='14' font-size='11'>{top:.1%}</text>"
        f"{''.join(limits)}{shares}{marks}</svg>"
        + (f"<ul>{signals}</ul>" if signals else "<p>No group lies outside the limits.</p>")
    )


_SIGNALS = {
    "above": "above the upper limit",
    "below": "below the lower limit",
    "run": "the ninth in a row on one side of the centre",
}


def _line(xs: list[float], ys: list[float], dash: str, colour: str) -> str:
    points = " ".join(f"{x},{y}" for x, y in zip(xs, ys, strict=True))
    return (
        f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='1.5' "
        f"stroke-dasharray='{dash}'/>"
    )


def _length(seconds: int) -> str:
    if seconds >= DAY_S:
        days = seconds // DAY_S
        return "a day" if days == 1 else f"{days} days"
    if seconds >= 3_600:
        hours = seconds // 3_600
        return "an hour" if hours == 1 else f"{hours} hours"
    return f"{seconds // 60} minutes"


def _local(moment: datetime) -> str:
    return f"{moment.astimezone():%d %b %Y %H:%M}"
