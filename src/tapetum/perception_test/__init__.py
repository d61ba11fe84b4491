"""The Perception Test (arXiv 2305.13786): data, six scorers, baselines, submissions. Imports no torch by itself.

annotations = tapetum.perception_test.read_annotations("object_tracking_valid_subset.json")
scores = tapetum.perception_test.score("object", annotations, "predictions.json")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapetum.perception_test.annotations import read_annotations
    from tapetum.perception_test.evaluate import READINGS, TASKS, score

__all__ = ["READINGS", "TASKS", "read_annotations", "score"]

_PLACES = {"READINGS": "evaluate", "TASKS": "evaluate", "read_annotations": "annotations", "score": "evaluate"}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"tapetum.perception_test.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'tapetum.perception_test' has no attribute {name!r}")
