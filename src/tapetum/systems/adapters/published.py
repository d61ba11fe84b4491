"""Entries of adapters for the hub: no weights by name, and the loader of their files. Imports no torch."""

PUBLISHED = ()
"""None yet."""
HEADERS = {"adapter": "tapetum.systems.adapters.files:load_whole"}
"""Entry in the header of a safetensors file to what loads it."""
