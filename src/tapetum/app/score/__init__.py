"""Verbs that score models and say what runs cost."""
