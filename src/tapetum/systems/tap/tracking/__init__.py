"""Tracking with a network: whole clips, long videos in windows, frames one by one, and places made exact."""
