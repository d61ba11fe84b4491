"""The Perception Test (arXiv 2305.13786): data, six scorers, baselines, submissions. Imports no torch by itself.

annotations = tapetum.systems.perception_test.read_annotations("object_tracking_valid_subset.json")
scores = tapetum.systems.perception_test.score("object", annotations, "predictions.json")
"""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes

if TYPE_CHECKING:
    from tapetum.systems.perception_test.annotations import read_annotations
    from tapetum.systems.perception_test.evaluate import READINGS, TASKS, score

__all__ = ["READINGS", "TASKS", "read_annotations", "score"]

__getattr__ = lazy_attributes(__name__, {"annotations": ("read_annotations",), "evaluate": ("READINGS", "TASKS", "score")})
