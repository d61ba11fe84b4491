"""Clips with exact tracks to train point trackers on: where they come from, how they are altered, how a tracker is scored."""
