"""What a classifier might make of an image."""

import numpy as np

from tapetum.encoders.imagenet import class_names
from tapetum.encoders.naming import ClassEvidence


def evidence(regions: dict[str, float] | None = None, **likely: float) -> ClassEvidence:
    """Evidence of one image: probabilities by the names of classes, with _ for a space; all others share the rest."""
    rows = []
    for given in (likely, regions or {}):
        row = np.full(1000, (1 - sum(given.values())) / 1000)
        for name, p in given.items():
            row[class_names().index(name.replace("_", " "))] += p
        rows.append(row)
    return ClassEvidence(whole=rows[0][None], regions=rows[1][None, None])
