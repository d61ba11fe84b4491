"""A plugin of napari (npe2): points of a Points layer are tracked through an Image layer, and put right by moving them.

napari.yaml   the manifest, which napari finds by the entry point `napari.manifest`
commands      what the two widgets do with layers
layers        layer data to frames, queries, corrections and `Tracks`, and back; needs no napari
"""
