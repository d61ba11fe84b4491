"""What the hub knows of adapters: no weights by name, and what loads their files. Imports no torch."""

PUBLISHED = ()
"""None yet."""
HEADERS = {"adapter": "tapetum.systems.adapters.files:load_whole"}
"""Entry in the header of a safetensors file to what loads it."""
