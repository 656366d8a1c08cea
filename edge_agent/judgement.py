"""From what the detector found to a verdict: the rules that the cloud's own inspection shares."""

from models.detector.judgement import (
    LabelMap,
    judge_view,
    unknown_expected,
    unknown_forbidden,
)

__all__ = ["LabelMap", "judge_view", "unknown_expected", "unknown_forbidden"]
