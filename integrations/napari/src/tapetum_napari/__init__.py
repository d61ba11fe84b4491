"""A napari plugin (npe2): tracks the points of a Points layer through an Image layer, and corrects tracks of moved points.

napari.yaml   the manifest, which napari finds by the entry point `napari.manifest`
commands      what the two widgets do with layers
layers        layer data to frames, queries, corrections and `Tracks`, and back; needs no napari
"""
