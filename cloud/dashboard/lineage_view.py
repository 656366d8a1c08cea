"""The lineage graph as a drawing: columns of nodes, curves between them. Pure; SVG out."""

from html import escape
from urllib.parse import quote

from cloud.lineage import Lineage, Node, NodeKind

COLUMN_PX, ROW_PX, NODE_W, NODE_H, TOP = 236, 58, 186, 44, 30
MAX_ROWS = 10
TITLES = {
    NodeKind.SNAPSHOT: "Snapshots",
    NodeKind.RUN: "Training runs",
    NodeKind.BUNDLE: "Bundles",
    NodeKind.RELEASE: "Releases",
    NodeKind.CELL: "Cells",
}


def lineage_svg(lineage: Lineage, *, chosen: str = "") -> str:
    """Draw the newest `MAX_ROWS` of each kind; what belongs to the chosen node stands out.

    Args:
        lineage: The graph.
        chosen: Key of a node; empty: none.
    """
    places: dict[str, tuple[int, int]] = {}
    shown: list[Node] = []
    for column, kind in enumerate(NodeKind):
        for row, node in enumerate([n for n in lineage.nodes if n.kind is kind][:MAX_ROWS]):
            places[node.key] = column * COLUMN_PX, TOP + row * ROW_PX
            shown.append(node)
    related = _related(lineage, chosen) if chosen in places else set(places)
    height = max((y for _, y in places.values()), default=TOP) + NODE_H + 6
    width = COLUMN_PX * (len(NodeKind) - 1) + NODE_W
    heads = "".join(
        f'<text class="sl-graph__head" x="{column * COLUMN_PX}" y="14">{TITLES[kind]}</text>'
        for column, kind in enumerate(NodeKind)
    )
    edges = "".join(
        _edge(places[first], places[second], is_dim=not {first, second} <= related)
        for first, second in lineage.edges
        if first in places and second in places
    )
    nodes = "".join(
        _node(node, places[node.key], is_chosen=node.key == chosen, is_far=node.key not in related)
        for node in shown
    )
    return (
        f'<svg class="sl-graph" viewBox="-1 0 {width + 2} {height}" role="img" '
        f'aria-label="Lineage from snapshots to cells" style="min-width: {width * 3 // 4}px">'
        f"{heads}{edges}{nodes}</svg>"
    )


def _related(lineage: Lineage, chosen: str) -> set[str]:
    """What leads to the chosen node, and what came of it."""
    found = {chosen}
    for one, other in ((0, 1), (1, 0)):
        new = {chosen}
        while new:
            new = {edge[other] for edge in lineage.edges if edge[one] in new} - found
            found |= new
    return found


def _edge(first: tuple[int, int], second: tuple[int, int], *, is_dim: bool) -> str:
    x1, y1 = first[0] + NODE_W, first[1] + NODE_H // 2
    x2, y2 = second[0], second[1] + NODE_H // 2
    bend = max(24, (x2 - x1) // 2)
    classes = "sl-graph__edge is-dim" if is_dim else "sl-graph__edge"
    return f'<path class="{classes}" d="M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"/>'


def _node(node: Node, place: tuple[int, int], *, is_chosen: bool, is_far: bool) -> str:
    x, y = place
    classes = ["sl-graph__node", f"is-{node.kind}"]
    classes += ["is-dim"] * (node.is_dim or is_far) + ["is-chosen"] * is_chosen
    return (
        f'<a href="{escape(_href(node))}"><g class="{" ".join(classes)}">'
        f'<rect x="{x}" y="{y}" width="{NODE_W}" height="{NODE_H}" rx="6"/>'
        f'<text x="{x + 12}" y="{y + (19 if node.note else 27)}">{escape(node.title[:24])}</text>'
        + (f'<text class="is-note" x="{x + 12}" y="{y + 35}">{escape(node.note[:28])}</text>')
        * bool(node.note)
        + f"<title>{escape(node.identity)}</title></g></a>"
    )


def _href(node: Node) -> str:
    identity = quote(node.identity, safe="")
    return {
        NodeKind.SNAPSHOT: f"/datasets?snapshot={identity}",
        NodeKind.RUN: f"/training?run={identity}",
        NodeKind.BUNDLE: "/models",
        NodeKind.RELEASE: f"/models?release={identity}",
        NodeKind.CELL: "/fleet",
    }[node.kind]
