"""Metrics shared by several benchmarks: captions, answers, boxes, masks, localisation. Does not import torch itself."""
