"""The model card: what a bundle was trained on and how good it is, for people."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from models.contract.bundle import BundleManifest
from models.detector.detections import Detections
from models.detector.preprocess import Image
from models.training.metrics import Evaluation

CARD_MARKDOWN = "card.md"
CARD_HTML = "card.html"
EXAMPLE_WIDTH_PX = 420
JPEG_QUALITY = 80
# BGR, readable on dark metal and on white labels alike.
COLOURS = ((80, 200, 0), (255, 160, 0), (200, 80, 200), (0, 80, 255), (0, 180, 255), (60, 60, 230))

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;
color:#1a2330;background:#fff}table{border-collapse:collapse;margin:1rem 0}
th,td{padding:.3rem .8rem;border-bottom:1px solid #d5dbe3;text-align:right}
th:first-child,td:first-child{text-align:left}figure{display:inline-block;margin:.4rem}
figcaption{font-size:.8rem;color:#5a6675}img{border-radius:4px}
@media(prefers-color-scheme:dark){body{color:#dde3ea;background:#12161c}
th,td{border-color:#333c48}}
"""


@dataclass(frozen=True, slots=True)
class Example:
    """A picture for the card with what the model found in it."""

    image: Image
    detections: Detections
    caption: str = ""


def write_card(
    bundle_dir: Path,
    manifest: BundleManifest,
    evaluation: Evaluation,
    *,
    trained_on: str,
    examples: Sequence[Example] = (),
) -> None:
    """Write ``card.md`` and ``card.html`` into a bundle."""
    facts = _facts(manifest, evaluation, trained_on)
    rows = _rows(manifest, evaluation)
    (bundle_dir / CARD_MARKDOWN).write_text(_markdown(manifest.name, facts, rows))
    figures = [_figure(example, manifest) for example in examples]
    (bundle_dir / CARD_HTML).write_text(_html(manifest.name, facts, rows, figures))


def draw(image: Image, detections: Detections, manifest: BundleManifest) -> Image:
    """A copy of a picture with the boxes that reach their operating point."""
    canvas = image.copy()
    names = manifest.category_names
    for box, score, class_id in zip(
        detections.boxes, detections.scores, detections.class_ids, strict=True
    ):
        name = names[class_id]
        if score < manifest.thresholds.get(name, 0.0):
            continue
        x1, y1, x2, y2 = (round(float(value)) for value in box)
        colour = COLOURS[int(class_id) % len(COLOURS)]
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 2, cv2.LINE_AA)
        place = (x1, max(12, y1 - 4))
        text = f"{name} {score:.2f}"
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    return canvas


Facts = list[tuple[str, str]]
HEADER = ("category", "kind", "AP@0.5", "recall", "precision", "threshold", "boxes")


def _facts(manifest: BundleManifest, evaluation: Evaluation, trained_on: str) -> Facts:
    metrics, lineage = manifest.metrics, manifest.lineage
    facts = [
        ("mAP@0.5", _number(metrics.map50)),
        ("mAP@0.5:0.95", _number(metrics.map)),
        ("mAP@0.5 before quantization", _number(metrics.float_map50)),
        ("pictures judged", str(metrics.num_images)),
        ("latency", ", ".join(f"{key} {ms:g} ms" for key, ms in evaluation.latency_ms.items())),
        ("precision", manifest.precision),
        ("trained on", trained_on),
        ("snapshot", lineage.snapshot_id or ""),
        ("run", lineage.run_id or ""),
        ("initial weights", lineage.init or ""),
        ("parent bundle", lineage.parent_bundle_id or ""),
        ("code", lineage.code_version or ""),
        ("made", f"{manifest.created_at:%Y-%m-%d %H:%M} UTC"),
    ]
    return [(name, value) for name, value in facts if value]


def _rows(manifest: BundleManifest, evaluation: Evaluation) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for category in manifest.categories:
        own = evaluation.per_class.get(category.name)
        if own is None:
            continue
        figures = (_number(own.ap50), _number(own.recall), _number(own.precision))
        threshold = f"{manifest.thresholds.get(category.name, 0):.2f}"
        rows.append((category.name, category.kind.value, *figures, threshold, str(own.num_boxes)))
    return rows


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _markdown(name: str, facts: Facts, rows: list[tuple[str, ...]]) -> str:
    lines = [f"# {name}", ""]
    lines += [f"- {key}: {value}" for key, value in facts]
    lines += ["", "| " + " | ".join(HEADER) + " |", "|" + " --- |" * len(HEADER)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n\n" + NOTES + "\n"


NOTES = (
    "Recall and precision are those at the threshold, at an overlap of 0.5. Thresholds were chosen "
    "on validation pictures; the figures come from pictures that were used for neither training "
    "nor thresholds, measured with the very file in this bundle."
)


def _html(name: str, facts: Facts, rows: list[tuple[str, ...]], figures: list[str]) -> str:
    items = "".join(
        f"<tr><td>{html.escape(key)}</td><td>{html.escape(value)}</td></tr>" for key, value in facts
    )
    header = "".join(f"<th>{html.escape(title)}</th>" for title in HEADER)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(name)}</title>'
        f"<style>{STYLE}</style><h1>{html.escape(name)}</h1><table>{items}</table>"
        f"<table><tr>{header}</tr>{body}</table><p>{NOTES}</p>{''.join(figures)}</html>\n"
    )


def _figure(example: Example, manifest: BundleManifest) -> str:
    drawn = draw(example.image, example.detections, manifest)
    scale = EXAMPLE_WIDTH_PX / drawn.shape[1]
    if scale < 1:
        size = (EXAMPLE_WIDTH_PX, max(1, round(drawn.shape[0] * scale)))
        drawn = np.asarray(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, encoded = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    data = base64.b64encode(encoded.tobytes()).decode()
    caption = html.escape(example.caption)
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
