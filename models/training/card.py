"""The model card: what a bundle was trained on and how good it is, for people.

It is made of sections. `write_card` lays them out twice: ``card.md`` holds their words and tables,
``card.html`` their charts and pictures too, all in one file that asks for nothing from outside.
"""

from collections.abc import Sequence
from pathlib import Path

from models.contract.bundle import BundleManifest
from models.training.card_facts import CardFacts, DataRow, Section, SpeedRow
from models.training.card_html import page
from models.training.card_pictures import Example, MistakePicture
from models.training.card_sections import sections_of

__all__ = ["CardFacts", "DataRow", "Example", "MistakePicture", "SpeedRow", "write_card"]

CARD_MARKDOWN = "card.md"
CARD_HTML = "card.html"


def write_card(folder: Path, manifest: BundleManifest, facts: CardFacts) -> None:
    """Write ``card.md`` and ``card.html`` into a folder, such as the bundle's."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = sections_of(manifest, facts)
    (folder / CARD_MARKDOWN).write_text(_markdown(manifest.name, sections))
    (folder / CARD_HTML).write_text(page(manifest, facts, sections))


def _markdown(name: str, sections: Sequence[Section]) -> str:
    lines = [f"# {name}", ""]
    for section in sections:
        if not (section.rows or section.text):
            continue
        lines += [f"## {section.title}", ""]
        if section.header:
            lines += ["| " + " | ".join(section.header) + " |"]
            lines += ["|" + " --- |" * len(section.header)]
            lines += ["| " + " | ".join(row) + " |" for row in section.rows]
        else:
            lines += [f"- {key}: {value}" for key, value in section.rows]
        lines += [""] if section.rows else []
        lines += [section.text, ""] if section.text else []
    return "\n".join(lines).rstrip() + "\n"
