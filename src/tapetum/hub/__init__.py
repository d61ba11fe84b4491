"""Weights by name, and safe reading of foreign files. Imports no torch."""
