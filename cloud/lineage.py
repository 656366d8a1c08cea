"""Where a model comes from and where it went: snapshot, run, bundle, release, cells. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cloud.cell_models import reported_of
from cloud.db.tables import Cell, Release, ReleaseState, RunState, Snapshot, TrainingRun


class NodeKind(StrEnum):
    """What a node of the graph is, in the order of its columns."""

    SNAPSHOT = "snapshot"
    RUN = "run"
    BUNDLE = "bundle"
    RELEASE = "release"
    CELL = "cell"


@dataclass(frozen=True, slots=True)
class Node:
    """A thing with its state in a word."""

    kind: NodeKind
    identity: str
    title: str
    note: str = ""
    is_dim: bool = False
    """It led to nothing, or is out of use."""

    @property
    def key(self) -> str:
        """Unique in the graph."""
        return f"{self.kind}:{self.identity}"


@dataclass(frozen=True, slots=True)
class Lineage:
    """The graph: nodes, newest first in each kind, and edges between their keys."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]


def lineage_of(
    snapshots: Sequence[Snapshot],
    runs: Sequence[TrainingRun],
    releases: Sequence[Release],
    cells: Iterable[Cell],
) -> Lineage:
    """Put the graph together; rows come newest first."""
    nodes: dict[str, Node] = {}
    edges: dict[tuple[str, str], None] = {}

    def add(node: Node) -> str:
        nodes.setdefault(node.key, node)
        return node.key

    def join(first: str, second: str) -> None:
        if first in nodes and second in nodes:
            edges[first, second] = None

    for snapshot in snapshots:
        add(_snapshot(snapshot))
    for run in runs:
        key = add(_run(run))
        if run.snapshot_id:
            join(f"{NodeKind.SNAPSHOT}:{run.snapshot_id}", key)
    for release in releases:
        bundle = add(Node(NodeKind.BUNDLE, release.bundle_id, release.bundle_id[:8], release.name))
        is_first = not release.rollback_of
        run_key = f"{NodeKind.RUN}:{release.run_id}"
        if is_first and release.run_id:
            join(run_key, bundle)
        elif is_first and release.lineage.get("snapshot_id"):
            join(f"{NodeKind.SNAPSHOT}:{release.lineage['snapshot_id']}", bundle)
        join(bundle, add(_release(release)))
    numbers = _newest_of_bundles(releases)
    for cell in cells:
        reported = reported_of(cell)
        model = reported.model if reported else None
        key = add(Node(NodeKind.CELL, cell.cell, "/".join(cell.cell.split("/")[2:])))
        if model is not None:
            number = model.release or numbers.get(model.bundle_id, 0)
            join(f"{NodeKind.RELEASE}:{number}", key)
    return Lineage(tuple(nodes.values()), tuple(edges))


def _newest_of_bundles(releases: Sequence[Release]) -> Mapping[str, int]:
    return {release.bundle_id: release.release for release in reversed(releases)}


def _snapshot(row: Snapshot) -> Node:
    splits = row.manifest.get("splits", {})
    count = sum(split.get("num_images", 0) for split in splits.values())
    return Node(NodeKind.SNAPSHOT, row.snapshot_id, row.snapshot_id[:8], f"{count} pictures")


def _run(row: TrainingRun) -> Node:
    is_dim = row.state in {RunState.FAILED, RunState.CANCELLED, RunState.REFUSED}
    return Node(NodeKind.RUN, row.run_id, row.run_id, row.state.value, is_dim)


def _release(row: Release) -> Node:
    state = row.state.value.replace("_", " ")
    is_dim = row.state is ReleaseState.WITHDRAWN
    return Node(NodeKind.RELEASE, str(row.release), f"r{row.release}", state, is_dim)
