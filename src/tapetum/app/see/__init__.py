"""Verbs that say what is in images, recordings and videos."""
