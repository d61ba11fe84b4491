"""Verbs that make data and files for other programs."""
