"""From what the detector found to a verdict: the rules that the cloud's own inspection shares."""

from models.detector.judgement import (
    LabelMap,
    is_sound,
    judge_view,
    unknown_expected,
    unknown_forbidden,
)

__all__ = ["LabelMap", "is_sound", "judge_view", "unknown_expected", "unknown_forbidden"]
