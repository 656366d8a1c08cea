"""The model card's sections: figures put into words and tables, each with its charts."""

from models.contract.bundle import BundleManifest
from models.training import card_charts as charts
from models.training.analysis import Analysis
from models.training.card_facts import CardFacts, Row, Section, number, span
from models.training.card_pictures import example_figure, gallery, mistake_figure
from models.training.object_sizes import SizeFigures


def sections_of(manifest: BundleManifest, facts: CardFacts) -> list[Section]:
    """All sections that there are figures for, in the order of the card."""
    made = [
        _overview(facts),
        _quantization(manifest, facts),
        _classes(manifest, facts),
        _operating_point(manifest, facts),
        _curves(facts.analysis),
        _sizes(facts.analysis),
        _confusion(facts.analysis),
        _calibration(facts.analysis),
        _clean(facts.analysis),
        _speed(facts),
        _mistakes(facts, "miss", "Worst misses"),
        _mistakes(facts, "false alarm", "Worst false alarms"),
        _examples(manifest, facts),
        _data(facts),
        _lineage(manifest),
    ]
    return [section for section in made if section is not None]


def _overview(facts: CardFacts) -> Section:
    own, before = facts.evaluation, facts.float_evaluation
    interval = facts.analysis.map50_interval if facts.analysis else None
    rows = [
        ("mAP@0.5", number(own.map50) + (f" (95 %: {span(interval)})" if interval else "")),
        ("mAP@0.5:0.95", number(own.map)),
        ("mAP@0.5 before quantization", number(before.map50 if before else None)),
        ("pictures judged", f"{own.num_images} {facts.judged_on}".strip()),
        ("trained on", facts.trained_on),
    ]
    return Section("Overview", [row for row in rows if row[1]])


def _classes(manifest: BundleManifest, facts: CardFacts) -> Section:
    header = ("category", "kind", "AP@0.5", "95 %", "recall", "95 %", "precision", "threshold")
    rows = []
    for category in manifest.categories:
        own = facts.evaluation.per_class.get(category.name)
        if own is None:
            continue
        close = facts.analysis.per_class.get(category.name) if facts.analysis else None
        rows.append(
            (
                category.name,
                category.kind.value,
                number(own.ap50),
                span(close.ap50_interval if close else None),
                number(own.recall),
                span(close.recall_interval if close else None),
                number(own.precision),
                f"{manifest.thresholds.get(category.name, 0):.2f}",
                str(own.num_boxes),
            )
        )
    text = (
        "Recall and precision are those at the threshold, at an overlap of 0.5. AP intervals come "
        "from drawing the pictures anew 300 times, those of recall are Wilson's."
    )
    return Section("Categories", rows, (*header, "boxes"), text)


def _operating_point(manifest: BundleManifest, facts: CardFacts) -> Section | None:
    point = manifest.operating_point
    if point is None or not facts.curves:
        return None
    rows = []
    for name, curve in facts.curves.items():
        place = curve.at(curve.chosen)
        rows.append(
            (
                name,
                f"{curve.chosen:.2f}",
                f"{curve.best:.2f}",
                number(curve.recall[place], 3),
                number(curve.precision[place], 3),
                number(curve.false_alarms_per_image[place], 3),
                number(curve.expected_cost[place], 3),
            )
        )
    header = ("category", "threshold", "cheapest", "recall", "precision", "false alarms/picture")
    text = (
        f"Chosen on {point.num_images} {point.chosen_on} pictures: an escape costs "
        f"{point.escape_cost:g}, a false reject {point.false_reject_cost:g}. A missed defect is an "
        "escape and a false one a false reject; a missed object is a false reject, and one found "
        "where none is may hide a missing one: an escape. The threshold is never above that of the "
        "bundle that was trained on. All figures of this section are those of the choice, not of "
        "the judgement above."
    )
    drawn = charts.legend(
        {"one": "recall", "two": "precision", "cost": "expected cost, of its largest"}
    ) + charts.grid(charts.threshold_curve(name, curve) for name, curve in facts.curves.items())
    return Section("Operating points", rows, (*header, "cost/picture"), text, drawn)


def _clean(analysis: Analysis | None) -> Section | None:
    if analysis is None:
        return None
    own = analysis.clean_pictures
    if own.false_alarms_per_1000 is None:
        return Section("False alarms", text=f"Not measured: {own.note}.")
    ratio = number(own.rejected_ratio, 3)
    interval = span((own.rejected_low or 0.0, own.rejected_high or 0.0))
    rows = [
        ("defect-free pictures", str(own.num_images)),
        ("false alarms per 1,000 of them", f"{own.false_alarms_per_1000:g}"),
        ("share of them with a false alarm", f"{ratio} (95 %: {interval})"),
    ]
    text = "Boxes of defects that reach their operating point where no defect is labelled."
    return Section("False alarms", rows, text=text)


def _curves(analysis: Analysis | None) -> Section | None:
    if analysis is None:
        return None
    drawn = [
        charts.precision_recall(name, own)
        for name, own in analysis.per_class.items()
        if own.precision_at_recall
    ]
    if not drawn:
        return None
    return Section(
        "Precision over recall",
        extra=charts.grid(drawn) + "<p>The dot is the operating point.</p>",
    )


def _sizes(analysis: Analysis | None) -> Section | None:
    if analysis is None or not analysis.sizes.own:
        return None
    rows = [_size_row("this data's thirds", own) for own in analysis.sizes.own]
    rows += [_size_row("COCO areas", own) for own in analysis.sizes.coco]
    header = ("by", "size", "side of a square", "boxes", "AP@0.5", "recall", "95 %")
    return Section("Object sizes", rows, header)


def _size_row(kind: str, own: SizeFigures) -> Row:
    high = "" if own.high_px is None else f"{own.high_px:g}"
    bounds = f"{own.low_px:g} to {high} px" if high else f"from {own.low_px:g} px"
    interval = None if own.recall_low is None else (own.recall_low, own.recall_high or 0.0)
    row = (kind, own.name, bounds, str(own.num_boxes), number(own.ap50, 3))
    return (*row, number(own.recall, 3), span(interval))


def _confusion(analysis: Analysis | None) -> Section | None:
    if analysis is None:
        return None
    own = analysis.confusion
    rows = [
        (name, *(str(count) if count else "·" for count in counts))
        for name, counts in zip(own.names, own.counts, strict=True)
    ]
    return Section(
        "Confusion",
        rows,
        ("labelled as \\ found as", *own.names),
        "At the operating points; boxes and labels are paired by place alone.",
    )


def _calibration(analysis: Analysis | None) -> Section | None:
    if analysis is None or analysis.reliability.ece is None:
        return None
    own = analysis.reliability
    rows = [("all", str(own.num_boxes), number(own.ece, 3))]
    rows += [
        (name, str(close.reliability.num_boxes), number(close.reliability.ece, 3))
        for name, close in analysis.per_class.items()
    ]
    text = (
        "Of boxes that score 0.8, eight of ten should be right. The expected calibration error is "
        "the mean distance from that, over boxes that score 0.05 or more."
    )
    drawn = charts.grid([charts.reliability_chart("all categories", own)])
    return Section("Calibration of scores", rows, ("category", "boxes", "ECE"), text, drawn)


def _quantization(manifest: BundleManifest, facts: CardFacts) -> Section | None:
    own = manifest.quantization
    if own is None:
        return None
    rows = [("mAP@0.5", number(own.int8_map50), number(own.float_map50))]
    rows += [
        (f"recall of {name}", number(pair.int8), number(pair.float_model))
        for name, pair in own.recall.items()
    ]
    float_own = facts.float_evaluation
    if float_own is not None and manifest.precision == "int8":
        rows.insert(1, ("mAP@0.5:0.95", number(facts.evaluation.map), number(float_own.map)))
    tried = "; ".join(
        f"{entry.recipe}: " + (", ".join(entry.faults) or "within the limits")
        for entry in own.attempts
    )
    text = (
        f"Shipped: {own.shipped}. Allowed are {own.max_map50_drop:g} mAP@0.5 and "
        f"{own.max_recall_drop:g} recall of any category. {tried}."
    )
    if own.precision_in_force:
        text += f" Layers that are not INT8 run in {own.precision_in_force}."
    return Section("INT8 against float", rows, ("", "INT8", "float"), text)


def _mistakes(facts: CardFacts, kind: str, title: str) -> Section | None:
    shown = [own for own in facts.mistakes if own.mistake.kind == kind]
    if not shown:
        return None
    legend = charts.legend({"wrong": "mistake", "label": "labelled", "found": "found"})
    return Section(title, extra=legend + gallery(map(mistake_figure, shown)))


def _examples(manifest: BundleManifest, facts: CardFacts) -> Section | None:
    if not facts.examples:
        return None
    names, points = manifest.category_names, dict(manifest.thresholds)
    figures = (example_figure(example, names, points) for example in facts.examples)
    return Section("What it sees", extra=gallery(figures, is_large=True))


def _speed(facts: CardFacts) -> Section | None:
    rows: list[Row] = [
        (own.precision, f"{own.p50_ms:.1f}", f"{own.p99_ms:.1f}") for own in facts.speed
    ]
    latency = facts.evaluation.latency_ms
    if latency:
        rows.append(("while judging", *(f"{latency.get(key, 0):.1f}" for key in ("p50", "p99"))))
    if not rows:
        return None
    text = "One picture on one thread, with scaling, decoding and NMS."
    return Section("Speed", rows, ("", "median ms", "99th percentile ms"), text)


def _data(facts: CardFacts) -> Section | None:
    if not facts.data:
        return None
    names = sorted({name for row in facts.data for name in row.boxes})
    rows = [
        (row.split, str(row.num_images), *(str(row.boxes.get(name, 0)) for name in names))
        for row in facts.data
    ]
    return Section("Data", rows, ("split", "pictures", *names))


def _lineage(manifest: BundleManifest) -> Section:
    own = manifest.lineage
    rows = [
        ("snapshot", own.snapshot_id),
        ("run", own.run_id),
        ("initial weights", own.init),
        ("parent bundle", own.parent_bundle_id),
        ("code", own.code_version),
        ("made", f"{manifest.created_at:%Y-%m-%d %H:%M} UTC"),
    ]
    return Section("Lineage", [(name, value) for name, value in rows if value])
