"""Clips with exact tracks for training point trackers: their sources, their augmentation, and the scoring of trackers."""
