"""Reusable networks for pictures and words."""
