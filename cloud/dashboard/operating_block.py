"""The part of the Quality page about scores: curves of a release, and proposals for recipes."""

from asyncio import to_thread
from typing import Any

from nicegui import ui

from cloud.api.context import Context
from cloud.auth import Identity
from cloud.dashboard import wording
from cloud.dashboard.elements import ThresholdCurve
from cloud.dashboard.pieces import button, chip, confirm, empty, panel, skeleton, text
from cloud.dashboard.quality_view import Json, curve_view
from cloud.db.recipe_tables import ProposalState, RecipeProposal
from cloud.db.tables import Release, ReleaseState, Role
from cloud.errors import CloudError
from cloud.operating_points import read_curves

NUM_PROPOSALS = 8
NUM_RELEASES = 20
NUM_RECIPES = 3
STATES = {
    ProposalState.OPEN: ("open", "unsure"),
    ProposalState.ACCEPTED: ("in the recipe", "ok"),
    ProposalState.DECLINED: ("declined", ""),
}


class OperatingBlock:
    """Curves and proposals in one browser."""

    def __init__(self, context: Context, identity: Identity) -> None:
        self._context = context
        self._identity = identity
        self._release = 0
        self._recipes: list[str] = []
        self._curves = ui.element("div")
        with self._curves:
            skeleton(300)
        self._proposals = ui.element("div")

    async def load(self) -> None:
        """Read and show both."""
        releases = await to_thread(self._context.learning.registry.recent, limit=NUM_RELEASES)
        usable = [row for row in releases if row.state is not ReleaseState.WITHDRAWN]
        in_use = [row for row in usable if row.state is ReleaseState.ROLLED_OUT]
        first = next(iter([*in_use, *usable]), None)
        if first is None:
            self._curves.clear()
            with self._curves, panel("What another score would give"):
                empty("No release yet", "Curves come with the first model that is measured.")
            return
        await self._choose(first.release, usable)
        await self._show_proposals()

    async def _choose(self, release: int, known: list[Release]) -> None:
        self._release = release
        curves = await to_thread(read_curves, self._context.database, release)
        views = [curve_view(curve) for curve in curves]
        names = {row.release: f"{row.name} r{row.release}" for row in known}

        async def change(event: Any) -> None:  # noqa: ANN401 - NiceGUI's event
            await self._choose(int(event.value), known)

        self._curves.clear()
        with self._curves, ui.element("section").classes("sl-panel"):
            with ui.element("div").classes("sl-panel__head"):
                with ui.element("h2"):
                    text("What another score would give, on the locked set")
                ui.select(names, value=release, on_change=change).props(
                    "outlined dense options-dense"
                ).classes("sl-field sl-push")
            if not views:
                empty(
                    f"Nobody measured {names[release]} at every score",
                    "Curves come with models that were trained or evaluated by this version.",
                )
                return
            ThresholdCurve(
                release=release,
                title=names[release],
                curves=views,
                may_propose=self._identity.may(Role.QUALITY),
                on_said=self._said,
            )

    async def _said(self, answer: Json) -> None:
        _notify(answer)
        await self._show_proposals()

    async def _show_proposals(self) -> None:
        rows = await to_thread(self._context.proposals.recent, limit=NUM_PROPOSALS)
        self._recipes = await to_thread(self._context.drafts.known)
        self._proposals.clear()
        if not rows:
            return
        with (
            self._proposals,
            panel("Proposals for recipes"),
            ui.element("ul").classes("sl-proposals"),
        ):
            for row in rows:
                with ui.element("li"):
                    self._proposal(row)

    def _proposal(self, row: RecipeProposal) -> None:
        words, tone = STATES[row.state]
        chip(words, tone, sign="ok" if row.state is ProposalState.ACCEPTED else "")
        with ui.element("div").classes("sl-grow"):
            with ui.element("div"):
                text(changes_text(row)).style("font-weight: 500")
            ago = wording.ago_text(row.created_at)
            who = f"{row.created_by}, {ago}, from release {row.release}"
            if row.decided_by:
                who += f"; decided by {row.decided_by}"
            text(f"{who}. {row.note}" if row.note else f"{who}.", "sl-small sl-muted")
        if row.state is ProposalState.OPEN and self._identity.may(Role.CONTROLS):
            self._choices(row)

    def _choices(self, row: RecipeProposal) -> None:
        button("Decline", self._decision(row.id, accept=False), small=True)
        for recipe_id in self._recipes[:NUM_RECIPES]:
            button(
                f"Send in {recipe_id}", self._sending(row.id, recipe_id), kind="primary", small=True
            )
        if not self._recipes:  # somebody changed the recipe's file at the cells
            taken = self._decision(row.id, accept=True)
            button("It is in the recipe", taken, kind="primary", small=True)

    def _sending(self, proposal_id: int, recipe_id: str) -> Any:  # noqa: ANN401 - a handler
        def ask() -> None:
            words = "Its next version goes to every cell that has it, between two parts."
            confirm(f"Send {recipe_id} with these scores?", words, "Send", send)

        async def send() -> None:
            actor = self._identity.name
            try:
                pushes = await to_thread(
                    self._context.drafts.send, proposal_id, recipe_id, actor=actor
                )
                cells = f"{len(pushes)} cell" + ("" if len(pushes) == 1 else "s")
                _notify({"ok": True, "text": f"Sent to {cells}"})
            except CloudError as error:
                _notify({"ok": False, "text": str(error)})
            await self._show_proposals()

        return ask

    def _decision(self, proposal_id: int, *, accept: bool) -> Any:  # noqa: ANN401 - a handler
        async def decide() -> None:
            decide_it = self._context.proposals.decide
            try:
                await to_thread(decide_it, proposal_id, accept=accept, actor=self._identity.name)
            except CloudError as error:
                _notify({"ok": False, "text": str(error)})
            await self._show_proposals()

        return decide


def changes_text(row: RecipeProposal) -> str:
    """What is proposed, and what the locked set says about it."""
    parts = []
    for name, value in sorted(row.thresholds.items()):
        expected = row.expected.get(name, {})
        before = (expected.get("before") or {}).get("threshold")
        words = f"{wording.plain(name)} " + (f"{before:.2f} → " if before is not None else "")
        found = expected.get("recall")
        parts.append(
            f"{words}{value:.2f}"
            + (f" ({wording.ratio_text(found)} found)" if found is not None else "")
        )
    return ", ".join(parts)


def _notify(answer: Json) -> None:
    words = wording.sentence(str(answer.get("text", "")))
    ui.notify(words, type="positive" if answer.get("ok") else "negative", timeout=6000)
