"""Hub entries of adapters: no named weights, and the loader of adapter files. Imports no torch."""

PUBLISHED = ()
HEADERS = {"adapter": "tapetum.systems.adapters.files:load_whole"}
