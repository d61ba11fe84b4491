"""Tracking with a network: whole clips, long videos in windows, frame-by-frame streams, and sub-pixel refinement."""
