"""Counts of the package and their limits."""
