"""Decide what each part looks like: tolerances of every fastener and label, and the defects."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from simulators.parts.spec import (
    CLASSIC_DEFECTS,
    HOST_OF_DEFECT,
    Generator,
    Kind,
    LabelPlace,
    Part,
    PartSpec,
    Placed,
)

SCREW_STYLES = ("cross", "torx")
WRONG_SCREW_STYLES = ("brass_slot", "black_socket", "brass_cross")
MAX_SCRATCH_TRIES = 40


def part_rng(seed: int, index: int) -> Generator:
    """Random numbers of one part, independent of every other part of the run."""
    return np.random.default_rng([seed, index])


def choose_defects(
    rng: Generator,
    *,
    rate: float,
    kinds: Sequence[Kind] = CLASSIC_DEFECTS,
    weights: Mapping[Kind, float] | None = None,
) -> tuple[Kind, ...]:
    """Defects of one part: none with probability ``1 - rate``, else one to three."""
    if not kinds or rng.random() >= rate:
        return ()
    shares = np.array([(weights or {}).get(kind, 1.0) for kind in kinds], dtype=np.float64)
    count = int(rng.choice((1, 2, 3), p=(0.62, 0.28, 0.10)))
    chosen = rng.choice(len(kinds), size=count, p=shares / shares.sum())
    return tuple(kinds[int(index)] for index in chosen)


def draw_part(
    rng: Generator,
    *,
    part_id: str = "part",
    spec: PartSpec | None = None,
    defects: Iterable[Kind] = (),
) -> Part:
    """A part with these defects, each on a host of its own.

    A defect that finds no free host (a third missing label on a part with two) is left out.
    """
    spec = spec or PartSpec()
    wanted = list(defects)
    screw_style = SCREW_STYLES[int(rng.integers(len(SCREW_STYLES)))]
    items = [
        *_fill_places(rng, Kind.BOLT, list(spec.bolts_mm), wanted, style=_bolt_style(rng)),
        *_fill_places(rng, Kind.SCREW, list(spec.screws_mm), wanted, style=screw_style),
        *(_label(rng, place, kind) for place, kind in _labels_with_defects(rng, spec, wanted)),
    ]
    scratches: list[Placed] = []
    for _ in range(wanted.count(Kind.SCRATCH)):
        scratches.append(_scratch(rng, spec, scratches))
    items += scratches
    return Part(part_id=part_id, spec=spec, items=tuple(items), seed=int(rng.integers(2**31)))


def _bolt_style(rng: Generator) -> str:
    return f"head{int(rng.integers(3))}"


def _assign(rng: Generator, host: Kind, num_places: int, wanted: Sequence[Kind]) -> list[Kind]:
    kinds = [host] * num_places
    free = list(rng.permutation(num_places))
    for defect in wanted:
        if HOST_OF_DEFECT.get(defect) is host and free:
            kinds[int(free.pop())] = defect
    return kinds


def _fill_places(
    rng: Generator,
    host: Kind,
    places: Sequence[tuple[float, float]],
    wanted: Sequence[Kind],
    *,
    style: str,
) -> list[Placed]:
    items = []
    for (x_mm, y_mm), kind in zip(places, _assign(rng, host, len(places), wanted), strict=True):
        own = style
        if kind is Kind.WRONG_SCREW:
            own = WRONG_SCREW_STYLES[int(rng.integers(len(WRONG_SCREW_STYLES)))]
        items.append(
            Placed(
                kind=kind,
                x_mm=x_mm + float(rng.normal(0, 0.12)),
                y_mm=y_mm + float(rng.normal(0, 0.12)),
                angle_deg=float(rng.uniform(0, 360)),
                style=own,
                seed=int(rng.integers(2**31)),
            )
        )
    return items


def _labels_with_defects(
    rng: Generator, spec: PartSpec, wanted: Sequence[Kind]
) -> list[tuple[LabelPlace, Kind]]:
    kinds = _assign(rng, Kind.LABEL, len(spec.labels), wanted)
    return list(zip(spec.labels, kinds, strict=True))


def _label(rng: Generator, place: LabelPlace, kind: Kind) -> Placed:
    shift, angle = rng.normal(0, 0.35, size=2), float(rng.normal(0, 0.8))
    if kind is Kind.SKEWED_LABEL:
        shift = rng.normal(0, 1.2, size=2)
        angle = float(rng.choice((-1, 1)) * rng.uniform(9, 20))
    if kind is Kind.MISSING_LABEL:
        shift, angle = np.zeros(2), 0.0
    return Placed(
        kind=kind,
        x_mm=place.x_mm + float(shift[0]),
        y_mm=place.y_mm + float(shift[1]),
        angle_deg=angle,
        style=place.design,
        seed=int(rng.integers(2**31)),
        width_mm=place.width_mm,
        height_mm=place.height_mm,
    )


def _scratch(rng: Generator, spec: PartSpec, others: Sequence[Placed]) -> Placed:
    """A scratch on bare plate: one that a bolt or label covers would have no honest box."""
    best = (np.inf, 0.0, 0.0, 0.0, 0.0)
    for _ in range(MAX_SCRATCH_TRIES):
        length = float(rng.uniform(16, 42))
        angle = float(rng.uniform(0, 180))
        reach = length / 2
        x = float(rng.uniform(-1, 1) * (spec.width_mm / 2 - 6))
        y = float(rng.uniform(-1, 1) * (spec.height_mm / 2 - 6))
        covered = _covered_share(spec, x, y, angle, reach)
        covered += sum(
            float(np.hypot(x - other.x_mm, y - other.y_mm) < reach + other.width_mm / 2)
            for other in others
        )
        if covered < best[0]:
            best = (covered, x, y, angle, length)
        if covered == 0:
            break
    _, x, y, angle, length = best
    return Placed(
        kind=Kind.SCRATCH,
        x_mm=x,
        y_mm=y,
        angle_deg=angle,
        seed=int(rng.integers(2**31)),
        width_mm=length,
    )


def _covered_share(spec: PartSpec, x: float, y: float, angle_deg: float, reach: float) -> float:
    steps = np.linspace(-reach, reach, 15)
    radians = np.radians(angle_deg)
    xs, ys = x + steps * np.cos(radians), y + steps * np.sin(radians)
    covered = (np.abs(xs) > spec.width_mm / 2 - 4) | (np.abs(ys) > spec.height_mm / 2 - 4)
    for bolt_x, bolt_y in spec.bolts_mm:
        covered |= np.hypot(xs - bolt_x, ys - bolt_y) < 11
    for screw_x, screw_y in spec.screws_mm:
        covered |= np.hypot(xs - screw_x, ys - screw_y) < 7
    cover_x, cover_y, cover_radius = spec.cover_mm
    covered |= np.abs(np.hypot(xs - cover_x, ys - cover_y) - cover_radius) < 2
    for place in spec.labels:
        covered |= (np.abs(xs - place.x_mm) < place.width_mm / 2 + 3) & (
            np.abs(ys - place.y_mm) < place.height_mm / 2 + 3
        )
    return float(np.mean(covered))
