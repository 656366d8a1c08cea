"""The model card as one HTML file, light or dark as its reader's screen is."""

import html
from collections.abc import Sequence
from pathlib import Path

from models.contract.bundle import BundleManifest
from models.training.card_facts import CardFacts, Section, escaped, number, span

STYLE = Path(__file__).with_name("card.css").read_text()

# Wider tables, and all pictures, take the whole width of the page.
MAX_NARROW_COLUMNS = 5


def page(manifest: BundleManifest, facts: CardFacts, sections: Sequence[Section]) -> str:
    """Lay out a card's sections."""
    name = html.escape(manifest.name)
    body = "".join(map(_section, sections))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{name}: model card</title><style>{STYLE}</style></head><body><main>"
        f'<h1>{name}</h1><p class="id">bundle made {manifest.created_at:%Y-%m-%d %H:%M} UTC, '
        f"{len(manifest.categories)} categories</p>{_tiles(manifest, facts)}"
        f'<div class="sections">{body}</div></main>'
        "</body></html>\n"
    )


def _tiles(manifest: BundleManifest, facts: CardFacts) -> str:
    own, quantization = facts.evaluation, manifest.quantization
    interval = facts.analysis.map50_interval if facts.analysis else None
    tiles = [
        (
            "mAP@0.5",
            number(own.map50, 3) or "unknown",
            f"95 %: {span(interval)}" if interval else "",
        )
    ]
    recalls = {name: row.recall for name, row in own.per_class.items() if row.recall is not None}
    if recalls:
        worst = min(recalls, key=lambda name: recalls[name])
        tiles.append(("lowest recall", number(recalls[worst], 3), worst))
    if quantization and quantization.float_map50 is not None:
        change = (quantization.int8_map50 or 0.0) - quantization.float_map50
        tiles.append(
            ("INT8 against float", f"{change:+.4f}", f"mAP@0.5; ships {manifest.precision}")
        )
    if facts.speed:
        fastest = facts.speed[0]
        tiles.append(
            ("one picture", f"{fastest.p50_ms:.1f} ms", f"{fastest.precision}, one thread")
        )
    clean = facts.analysis.clean_pictures if facts.analysis else None
    if clean and clean.false_alarms_per_1000 is not None:
        count = f"on {clean.num_images} defect-free pictures"
        tiles.append(("false alarms per 1,000", f"{clean.false_alarms_per_1000:g}", count))
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><span>{html.escape(title)}</span><b>{html.escape(value)}</b>'
            f"<span>{html.escape(note)}&nbsp;</span></div>"
            for title, value, note in tiles
        )
        + "</div>"
    )


def _section(section: Section) -> str:
    text = f"<p>{html.escape(section.text)}</p>" if section.text else ""
    table = _table(section) if section.rows else ""
    is_wide = len(section.header) > MAX_NARROW_COLUMNS or "<figure" in section.extra
    is_wide = is_wide or section.extra.count("<svg") > 1
    style = ' class="wide"' if is_wide else ""
    title = html.escape(section.title)
    return f"<section{style}><h2>{title}</h2>{table}{section.extra}{text}</section>"


def _table(section: Section) -> str:
    head = ""
    if section.header:
        head = "<tr>" + "".join(f"<th>{cell}</th>" for cell in escaped(section.header)) + "</tr>"
    body = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in escaped(row)) + "</tr>"
        for row in section.rows
    )
    style = "" if section.header else ' class="facts"'
    return f"<table{style}>{head}{body}</table>"
