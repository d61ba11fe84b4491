"""The functions behind the napari plugin's widgets: they take layers and return layers, which replace those of the same name.

Annotations are strings, so that this module can be imported without napari, which builds the widgets from them.
"""

from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum_napari.layers import find_corrections, frames_of, layers_of, places_name, queries_of, tracks_of

MODEL = "tapir-nano"
"""The tracker that comes with the package."""


def track_points(
    image: "napari.layers.Image",  # type: ignore[name-defined]
    points: "napari.layers.Points",  # type: ignore[name-defined]
    model: str = MODEL,
) -> "list[napari.types.LayerDataTuple]":  # type: ignore[name-defined]
    """Track the points of a layer through a video; return a Tracks layer, and its positions as a Points layer.

    Raises BadInput unless the layers are a video and points in it, and if the model is not on this machine.
    """
    import tapetum

    video = _frames(image)
    queries = queries_of(_in_pixels(points, image), len(video))
    tracks = tapetum.load(model).track(video, queries)
    return layers_of(tracks, f"{points.name} tracked", (video.shape[2], video.shape[1]), _scale(image))


def correct_tracks(
    image: "napari.layers.Image",  # type: ignore[name-defined]
    tracks: "napari.layers.Tracks",  # type: ignore[name-defined]
    places: "napari.layers.Points",  # type: ignore[name-defined]
    model: str = MODEL,
) -> "list[napari.types.LayerDataTuple]":  # type: ignore[name-defined]
    """Track the moved points of the Points layer again through their new positions; all others stay unchanged.

    Raises BadInput if nothing was moved, or the layers do not belong together.
    """
    import tapetum

    if places.name != places_name(tracks.name) or "point" not in places.features:
        raise BadInput(f"choose the Points layer {places_name(tracks.name)!r}, which says of which point each place is")
    video = _frames(image)
    before = tracks_of(tracks.data, tracks.metadata, len(video))
    corrections = find_corrections(before, _in_pixels(places, image), places.features["point"].to_numpy())
    after = tapetum.load(model).correct(video, before, corrections)
    return layers_of(after, tracks.name, (video.shape[2], video.shape[1]), _scale(image))


def _frames(image: Any) -> np.ndarray:
    data = image.data[0] if image.multiscale else image.data
    return frames_of(data, image.rgb, tuple(image.contrast_limits))


def _in_pixels(points: Any, image: Any) -> np.ndarray:
    """The positions of a Points layer in pixels of the image, whatever the scales of both."""
    if points.ndim == 2:
        return np.asarray(points.data)
    return np.array([image.world_to_data(points.data_to_world(place)) for place in points.data]).reshape(-1, points.ndim)


def _scale(image: Any) -> tuple[float, ...]:
    return tuple(float(each) for each in image.scale)
