"""Which share of the model's real mistakes reaches the review queue within 5 % of the pictures.

``make bench-hard-examples``: rendered plates on a line that drifts (new defects, an ageing lamp)
and the released baseline, which knows neither. Beside the agent's choice: random pictures, and the
pictures with the lowest mean score or the highest entropy, both with hindsight: they rank the whole
run, while the agent decides part by part.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.adapters.detector import Loading, load_model
from edge_agent.judgement import LabelMap, judge_view
from edge_agent.miner import HardExampleRules, Miner
from edge_agent.mirror_watch import flips
from edge_agent.ports import CycleOutcome, Frame, Image, LoadedModel
from models.contract.messages import HardReason
from simulators.drift import DriftSchedule
from simulators.parts import Kind
from simulators.recipes import plate_recipe
from simulators.sources import RenderedSource

from .machine import commit, load_average, machine

REPOSITORY = Path(__file__).resolve().parents[2]
BUDGET = 0.05
AUDIT_RATIO = 0.002
FLIP_RATIO = 0.05
FLOOR = 0.1
Scores = npt.NDArray[np.float64]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Case:
    """One part of the drifted line."""

    scores: Scores
    is_mistake: bool
    reasons: tuple[HardReason, ...]


def main() -> int:
    """Run and write ``bench/hard_examples.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=int, default=1000, help="parts of the drifted line")
    parser.add_argument("--usual", type=int, default=200, help="parts before the drift begins")
    parser.add_argument("--seed", type=int, default=78)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench/hard_examples.json")
    options = parser.parse_args()
    begin = time.monotonic()
    figures = run(options.parts, options.usual, options.seed)
    report = {
        "figures": figures,
        "parts": options.parts,
        "seed": options.seed,
        "seconds": round(time.monotonic() - begin, 1),
        "commit": commit(),
        "load_average": load_average(),
        "machine": machine(),
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    return 0


def run(num_parts: int, num_usual: int, seed: int) -> dict[str, Any]:
    """Let the line run and compare the ways of choosing."""
    schedule = DriftSchedule(
        known_rate=0.1,
        emerging=(Kind.TORN_LABEL, Kind.WRONG_SCREW),
        emerging_from=num_usual,
        emerging_rate=0.06,
        lamp_parts=num_usual + num_parts,
    )
    source = RenderedSource("a/b/c/d", "H", seed, schedule)
    model = load_model(REPOSITORY / "models/released/plate", loading=Loading())
    cases = list(_cases(source, model, num_usual + num_parts, seed))[num_usual:]
    mistakes = {number for number, case in enumerate(cases) if case.is_mistake}
    chosen = {number for number, case in enumerate(cases) if case.reasons}
    budget = int(BUDGET * len(cases))
    found = {
        "agent": len(chosen & mistakes) / len(mistakes),
        "random": len(chosen) / len(cases),
        "mean_score": _hindsight(cases, mistakes, budget, _mean_score),
        "entropy": max(
            _hindsight(cases, mistakes, budget, _entropy_mean),
            _hindsight(cases, mistakes, budget, _entropy_max),
        ),
    }
    by_reason = Counter(str(reason) for case in cases for reason in case.reasons)
    hits = Counter(str(r) for case in cases if case.is_mistake for r in case.reasons)
    return {
        "share_of_pictures": round(len(chosen) / len(cases), 4),
        "mistakes": len(mistakes),
        "share_of_mistakes": {name: round(share, 3) for name, share in found.items()},
        "times_random": round(found["agent"] / found["random"], 1),
        "by_reason": {name: [count, hits[name]] for name, count in by_reason.most_common()},
    }


def _cases(source: RenderedSource, model: LoadedModel, count: int, seed: int) -> Iterator[Case]:
    recipe, seconds = plate_recipe(), 0
    rules = HardExampleRules(
        audit_ratio=AUDIT_RATIO,
        reject_ratio=AUDIT_RATIO,
        max_ratio=BUDGET - 2 * AUDIT_RATIO,
        max_per_hour=10**6,
    )
    miner = Miner(rules, monotonic_ns=lambda: seconds * 10**9, seed=seed)
    dice = np.random.default_rng(seed)
    detector = model.detector
    label_map = LabelMap(detector.categories, detector.thresholds)
    for number in range(count):
        part, seconds = source.part(number), number
        image = _decoded(part.picture)
        detections = detector.infer(image)
        verdict, reasons = judge_view([detections], recipe.views[0], recipe, label_map)
        cycle = CycleOutcome(
            result_id=UUID(int=number),
            job_id=UUID(int=number),
            trigger_id=f"t{number}",
            part_id=part.truth.part_id,
            recipe=recipe,
            view=recipe.views[0],
            verdict=verdict,
            reasons=reasons,
            decided_at=NOON,
            model=model.ref,
            categories=detector.categories,
            thresholds=detector.thresholds,
            frame=Frame(image, number, NOON),
            detections=detections,
        )
        why = miner.choose(cycle)
        if dice.random() < FLIP_RATIO and flips(cycle, detector):
            why = (*why, HardReason.FLIP_DISAGREEMENT)
        scores = detections.scores[detections.scores >= FLOOR].astype(np.float64)
        yield Case(scores, verdict is not part.truth.actual, why)


def _decoded(picture: bytes) -> Image:
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("a rendered picture cannot be read")
    return np.asarray(image, np.uint8)


def _hindsight(
    cases: list[Case], mistakes: set[int], budget: int, strength: Callable[[Scores], float]
) -> float:
    """Share of the mistakes among the ``budget`` strongest of the whole run."""
    ranked = sorted(range(len(cases)), key=lambda number: -strength(cases[number].scores))
    return len(set(ranked[:budget]) & mistakes) / len(mistakes)


def _mean_score(scores: Scores) -> float:
    return -float(scores.mean()) if len(scores) else 0.0


def _entropy(scores: Scores) -> Scores:
    shares = np.clip(scores, 1e-6, 1 - 1e-6)
    bits: Scores = -(shares * np.log(shares) + (1 - shares) * np.log(1 - shares))
    return bits


def _entropy_mean(scores: Scores) -> float:
    return float(_entropy(scores).mean()) if len(scores) else 0.0


def _entropy_max(scores: Scores) -> float:
    return float(_entropy(scores).max(initial=0.0))


if __name__ == "__main__":
    sys.exit(main())
