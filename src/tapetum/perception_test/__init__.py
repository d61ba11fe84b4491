"""The Perception Test (arXiv 2305.13786): data, six scorers, baselines, submissions. Imports no torch by itself.

annotations = tapetum.perception_test.read_annotations("object_tracking_valid_subset.json")
scores = tapetum.perception_test.score("object", annotations, "predictions.json")
"""

from tapetum.perception_test.annotations import read_annotations
from tapetum.perception_test.evaluate import READINGS, TASKS, score

__all__ = ["READINGS", "TASKS", "read_annotations", "score"]
