"""Metrics that several benchmarks share: captions, answers, boxes, masks, localisation. Imports no torch by itself."""
