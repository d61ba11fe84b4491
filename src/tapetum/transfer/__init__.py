"""Evaluation of features: nearest neighbours, probes, segmentation heads. Imports no torch by itself."""
