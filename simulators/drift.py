"""How the world changes while a line runs: new defects, an ageing lamp, a new look of the part."""

from dataclasses import dataclass

from simulators.parts import CLASSIC_DEFECTS, Kind


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds for one part.

    Attributes:
        defects: Kinds and how often a part has at least one of them, tried in this order.
        variant: Look of the part.
        lamp_ageing: 0 for a new lamp, 1 for an old one.
    """

    defects: tuple[tuple[tuple[Kind, ...], float], ...]
    variant: str
    lamp_ageing: float


@dataclass(frozen=True, slots=True)
class DriftSchedule:
    """A cell's future, by the number of the part.

    Attributes:
        known: Defects that occur from the beginning.
        known_rate: Share of parts with at least one of them.
        emerging: Defects that begin later.
        emerging_from: The first part that may have one of them.
        emerging_rate: Share of parts with one of them from then on.
        variants: Looks that go round, part by part.
        new_variant: Look that replaces them.
        new_variant_from: The first part that has it; None for never.
        lamp_parts: Number of parts over which the lamp grows old; 0 for never.
    """

    known: tuple[Kind, ...] = CLASSIC_DEFECTS
    known_rate: float = 0.25
    emerging: tuple[Kind, ...] = ()
    emerging_from: int = 0
    emerging_rate: float = 0.5
    variants: tuple[str, ...] = ("a", "b")
    new_variant: str = "c"
    new_variant_from: int | None = None
    lamp_parts: int = 0

    def at(self, index: int) -> Conditions:
        """What holds for the part with this index, the first being 0."""
        defects = [(self.known, self.known_rate)]
        if self.emerging and index >= self.emerging_from:
            defects.insert(0, (self.emerging, self.emerging_rate))
        has_new_look = self.new_variant_from is not None and index >= self.new_variant_from
        return Conditions(
            defects=tuple(defects),
            variant=self.new_variant if has_new_look else self.variants[index % len(self.variants)],
            lamp_ageing=min(index / self.lamp_parts, 1.0) if self.lamp_parts else 0.0,
        )
