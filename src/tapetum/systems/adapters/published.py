"""Hub entries of adapters: no named weights, and the loader of adapter files. Imports no torch."""

PUBLISHED = ()
"""None yet."""
HEADERS = {"adapter": "tapetum.systems.adapters.files:load_whole"}
"""Entry in the header of a safetensors file to what loads it."""
