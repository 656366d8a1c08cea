"""`/parts/{part_id}`: all that is known of one part, for whoever must explain it."""

from asyncio import to_thread
from datetime import datetime
from typing import Any

from fastapi import Request
from nicegui import ui

from cloud.auth import Identity
from cloud.dashboard import wording
from cloud.dashboard.elements import Picture
from cloud.dashboard.frame import Frame, guarded
from cloud.dashboard.legend import Legend, read_legend
from cloud.dashboard.links import image_url
from cloud.dashboard.pieces import empty, verdict_text
from cloud.dashboard.result_queries import trace
from cloud.db.tables import Annotation, Image, Release, Result, ReviewStatus
from cloud.results import PartTrace

Json = dict[str, Any]

NOT_SENT = "Only doubtful, rejected and audited parts send their pictures to the cloud."


def install(frame: Frame) -> None:
    """Register the page."""

    async def build(request: Request, identity: Identity) -> None:
        part_id = request.path_params["part_id"]
        found, releases = await to_thread(trace, frame.context.database, part_id)
        legend = await to_thread(read_legend, frame.context.database)
        with frame.page(request, identity, title=part_id, current="/trace"):
            if found.results or found.images:
                _page(part_id, found, releases, legend)
            else:
                with ui.element("section").classes("sl-panel"):
                    empty(
                        f"No part {part_id} is known",
                        "Its record may still be on its way from the cell. "
                        "Check the serial number, or search for it on the page Trace.",
                    )

    # A serial number may hold slashes.
    ui.page("/parts/{part_id:path}")(guarded(frame, build))


def events_of(found: PartTrace) -> list[tuple[datetime, str, str]]:
    """What happened to the part, oldest first: moment, what, and who or where."""
    words = wording.VERDICT_WORDS
    events = [
        *(
            (
                row.created_at,
                f"{words[row.verdict]} at view {row.view}",
                wording.cell_title(row.cell),
            )
            for row in found.results
        ),
        *((row.received_at, "record reached the cloud", "") for row in found.results),
        *(
            (image.received_at, "picture reached the cloud", _kept_because(image))
            for image in found.images
        ),
        *((note.created_at, _decision(note), note.reviewer) for note in found.annotations),
        *(
            (truth.created_at, f"found to be {words[truth.actual]} downstream", "")
            for truth in found.truths
        ),
    ]
    return sorted(events, key=lambda event: event[0])


def _kept_because(image: Image) -> str:
    return wording.join([wording.hard_reason_text(reason) for reason in image.hard_reasons])


def _decision(note: Annotation) -> str:
    if note.decision is ReviewStatus.LABELLED:
        boxes = len(note.boxes)
        return f"labelled with {boxes} {'box' if boxes == 1 else 'boxes'}"
    return "rejected as of no use" if note.decision is ReviewStatus.REJECTED else "label undone"


def _page(part_id: str, found: PartTrace, releases: dict[int, Release], legend: Legend) -> None:
    final = next((row for row in reversed(found.results) if not row.is_partial), None)
    last = final or (found.results[-1] if found.results else None)
    with ui.element("div").classes("sl-page__head"):
        ui.html(f"<h1>{_escaped(part_id)}</h1>", sanitize=False)
        if last is not None:
            verdict_text(last.verdict.value)
            ui.label(
                f"{wording.cell_title(last.cell)}, {last.created_at.astimezone():%d %b %Y %H:%M:%S}"
            ).classes("sl-muted")
        for truth in found.truths:
            is_wrong = truth.said is not None and truth.said != truth.actual
            with ui.element("span").classes("sl-chip " + ("sl-chip--bad" if is_wrong else "")):
                ui.label(f"found to be {wording.VERDICT_WORDS[truth.actual]} downstream")
    with ui.element("div").classes("sl-trace"):
        with ui.element("div").classes("sl-col"):
            for row in reversed(found.results):
                _view(row, found, releases, legend)
        with ui.element("section").classes("sl-panel"):
            with ui.element("div").classes("sl-panel__head"):
                ui.label("What happened").classes("sl-h2")
            with ui.element("ol").classes("sl-panel__body sl-timeline"):
                for moment, what, who in events_of(found):
                    with ui.element("li"):
                        ui.label(f"{moment.astimezone():%H:%M:%S}").classes("sl-num sl-faint")
                        with ui.element("div"):
                            ui.label(wording.sentence(what))
                            if who:
                                ui.label(who).classes("sl-muted sl-small")


def _view(row: Result, found: PartTrace, releases: dict[int, Release], legend: Legend) -> None:
    image = next((item for item in found.images if item.result_id == row.result_id), None)
    note = next((n for n in found.annotations if image and n.image_sha256 == image.sha256), None)
    thresholds = releases[row.release].thresholds if row.release in releases else {}
    with ui.element("section").classes("sl-panel sl-trace__view"):
        with ui.element("div").classes("sl-panel__body"):
            _pictures(row, image, note, legend)
        with ui.element("div").classes("sl-panel__body sl-col"):
            with ui.element("div").classes("sl-row"):
                verdict_text(row.verdict.value)
                ui.label(f"view {row.view}").classes("sl-muted")
                if image is not None:
                    ui.link("Review this picture", f"/review?picture={image.sha256}").classes(
                        "sl-push sl-small"
                    )
                if row.is_partial:
                    ui.label("partial").classes("sl-chip")
            for reason in row.reasons:
                ui.label(wording.reason_text(reason))
            _facts(row, image)
            _detections(row, thresholds)


def _pictures(row: Result, image: Image | None, note: Annotation | None, legend: Legend) -> None:
    found = legend.boxes(row.detections, row.bundle_id)
    if image is None:
        width, height = row.image_width_px or 5, row.image_height_px or 4
        Picture("", width=width, height=height, none="No picture of this view", hint=NOT_SENT)
        return
    if note is None or not note.boxes:
        _picture(image, found, "What the model found")
        return
    with ui.tabs().props("dense no-caps align=left").classes("sl-tabs") as tabs:
        model = ui.tab("model", label="What the model found")
        person = ui.tab("person", label=f"What {note.reviewer} labelled")
    with ui.tab_panels(tabs, value=model, animated=False).classes("sl-tab-panels"):
        with ui.tab_panel(model):
            _picture(image, found, "What the model found")
        with ui.tab_panel(person):
            _picture(image, legend.boxes(note.boxes), "What a person labelled")


def _picture(image: Image, boxes: list[Json], alt: str) -> None:
    Picture(
        image_url(image.sha256),
        width=image.width_px,
        height=image.height_px,
        boxes=boxes,
        alt=alt,
        all_labels=True,
    )


def _facts(row: Result, image: Image | None) -> None:
    facts = [
        ("Recipe", f"{row.recipe_id} v{row.recipe_version}"),
        ("Model", wording.model_text(row.model_name, row.release) or wording.UNKNOWN),
        ("Bundle", row.bundle_id or wording.UNKNOWN),
        ("Verdict in", f"{row.processing_ms:.1f} ms, of it {row.inference_ms:.1f} ms in the model"),
        ("Inspected", f"{row.created_at.astimezone():%d %b %Y %H:%M:%S}"),
        ("In the cloud", f"{row.received_at.astimezone():%d %b %Y %H:%M:%S}"),
        ("Exposure", _exposure(row)),
        ("Trigger", row.trigger_id),
        ("Job", str(row.job_id)),
        ("Result", str(row.result_id)),
    ]
    if image is not None:
        facts += [
            ("Kept because", _kept_because(image)),
            (
                "Review",
                f"{image.status.value}" + (f" by {image.reviewer}" if image.reviewer else ""),
            ),
            ("Snapshot", image.snapshot_id or wording.UNKNOWN),
        ]
    with ui.element("dl").classes("sl-facts"):
        for name, value in facts:
            with ui.element("dt"):
                ui.label(name)
            with ui.element("dd"):
                ui.label(value)


def _exposure(row: Result) -> str:
    if row.mean_grey is None:
        return wording.UNKNOWN
    sharpness = "" if row.sharpness is None else f", sharpness {row.sharpness:.0f}"
    return f"mean grey {row.mean_grey:.0f} of 255{sharpness}"


def _detections(row: Result, thresholds: dict[str, Any]) -> None:
    if not row.detections:
        ui.label("The model found nothing.").classes("sl-muted")
        return
    with ui.element("table").classes("sl-table sl-table--tight"):
        with ui.element("thead"), ui.element("tr"):
            for head in ("Found", "Score", "Counts from", "Box x, y, w, h"):
                with ui.element("th"):
                    ui.label(head)
        with ui.element("tbody"):
            for found in sorted(row.detections, key=lambda item: -float(item["score"])):
                threshold = thresholds.get(found["category"])
                cells = (
                    wording.plain(found["category"]),
                    f"{found['score']:.2f}",
                    wording.UNKNOWN if threshold is None else f"{threshold:.2f}",
                    ", ".join(f"{side:.0f}" for side in found["bbox"]),
                )
                with ui.element("tr"):
                    for cell in cells:
                        with ui.element("td").classes("sl-num"):
                            ui.label(cell)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
