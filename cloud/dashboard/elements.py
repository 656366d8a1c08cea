"""The dashboard's own elements: Vue components in ``static`` with their Python face."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nicegui.element import Element

from cloud.auth import Identity

STATIC = Path(__file__).parent / "static"

Json = dict[str, Any]


class Picture(
    Element,
    component="static/picture.js",
    # What every component imports; registered once, for all of them.
    esm={"sightline-ui": str(STATIC / "lib")},
):
    """A picture with boxes over it that scales with the page."""

    def __init__(
        self,
        url: str,
        *,
        width: int,
        height: int,
        boxes: Sequence[Json] = (),
        alt: str = "",
        all_labels: bool = False,
        none: str = "No picture",
        hint: str = "",
    ) -> None:
        super().__init__()
        self._props.update(
            url=url,
            width=width,
            height=height,
            boxes=list(boxes),
            alt=alt,
            all_labels=all_labels,
            none=none,
            hint=hint,
        )


class SiteHeader(Element, component="static/site_header.js"):
    """The header; its badge shows whether the page is live."""

    def __init__(
        self,
        *,
        pages: Sequence[dict[str, str]],
        current: str,
        identity: Identity,
        can_sign_out: bool,
    ) -> None:
        super().__init__()
        self._props.update(
            site="",
            current=current,
            pages=list(pages),
            counts={},
            user=identity.name,
            role=identity.role.value if can_sign_out else "",
            can_sign_out=can_sign_out,
            beat=0,
            problem="",
        )

    def show(self, *, beat: int, site: str, counts: dict[str, int], problem: str) -> None:
        """Take over what changes."""
        self._props.update(beat=beat, site=site, counts=counts, problem=problem)
        self.update()


class CellCard(Element, component="static/cell_card.js"):
    """One cell on the Line page."""

    def __init__(
        self,
        cell: Json,
        *,
        server_ms: float,
        may_report: bool,
        on_said: Callable[[Json], Any],
        on_open: Callable[[str], Any],
    ) -> None:
        super().__init__()
        self._props.update(cell=cell, server_ms=server_ms, may_report=may_report)
        self._cell = cell
        self.on("said", lambda event: on_said(event.args))
        self.on("open", lambda event: on_open(str(event.args)))

    def show(self, cell: Json, *, server_ms: float) -> None:
        """Show the cell's new state; nothing is sent when it is the old one."""
        if cell == self._cell:
            return
        self._cell = cell
        self._props.update(cell=cell, server_ms=server_ms)
        self.update()


class ContradictButton(Element, component="static/contradict_button.js"):
    """One tap that says a verdict was wrong; the browser asks the API and tells the answer."""

    def __init__(self, kind: str, result_id: str, *, on_said: Callable[[Json], Any]) -> None:
        super().__init__()
        words = {"false_reject": "False reject", "missed_defect": "Missed defect"}[kind]
        self._props.update(kind=kind, words=words, result_id=result_id)
        self.on("said", lambda event: on_said(event.args))


class ResultsTable(Element, component="static/results_table.js"):
    """Inspections with a page more when the end comes into sight."""

    def __init__(self, *, on_more: Callable[[], Any], on_refresh: Callable[[], Any]) -> None:
        super().__init__()
        self._props.update(rows=[], has_more=False, loading=True, newer=0, searched="")
        self.on("more", on_more)
        self.on("refresh", on_refresh)

    def show(self, rows: list[Json], *, has_more: bool, loading: bool, searched: str = "") -> None:
        """Replace the rows; ``searched`` says how far back a slow search has come."""
        self._props.update(
            rows=list(rows), has_more=has_more, loading=loading, searched=searched, newer=0
        )
        self.update()

    def show_newer(self, count: int) -> None:
        """Offer to show rows that came since."""
        if self._props["newer"] != count:
            self._props["newer"] = count
            self.update()


class ThresholdCurve(Element, component="static/threshold_curve.js"):
    """Curves of every category with an operating point to drag; it proposes through the API."""

    def __init__(
        self,
        *,
        release: int,
        title: str,
        curves: Sequence[Json],
        may_propose: bool,
        on_said: Callable[[Json], Any],
    ) -> None:
        super().__init__()
        self._props.update(
            release=release, title=title, curves=list(curves), may_propose=may_propose
        )
        self.on("said", lambda event: on_said(event.args))


class LoginForm(Element, component="static/login_form.js"):
    """Name and password."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self._props.update(next=target)
