"""Verbs that train networks."""
