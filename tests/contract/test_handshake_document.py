"""The written handshake says what the contract and the simulator say."""

import re
from pathlib import Path

from models.contract import asyncapi
from models.contract.messages import Rejection
from simulators.misbehaviour import MISBEHAVIOURS

DOCUMENT = Path(__file__).resolve().parents[2] / "deploy" / "handshake.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_examples_are_the_golden_bytes() -> None:
    quoted = re.findall(r"\((\w+\.\w+\.json)\)\n\n```json\n(.*?)\n```", TEXT, flags=re.DOTALL)
    assert len(quoted) == 10
    for name, text in quoted:
        assert text.encode() == (asyncapi.EXAMPLES / name).read_bytes().rstrip(b"\n")


def test_every_misbehaviour_that_can_be_played_is_described() -> None:
    section = TEXT.split("## When somebody breaks it")[1].split("| what breaks |")[0]
    described = set(re.findall(r"`([a-z_]+)`", section))
    assert set(MISBEHAVIOURS) - {"listens"} <= described


def test_every_rejection_is_described() -> None:
    assert {str(rejection) for rejection in Rejection} - {"not_ready"} <= set(
        re.findall(r"`([a-z_]+)`", TEXT)
    )
