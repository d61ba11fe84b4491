"""Verbs that follow points through video."""
