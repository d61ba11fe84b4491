"""Conversion of napari layer data to frames, queries, corrections and `Tracks`, and back. Plain numpy; napari is not imported.

In napari the centre of the first pixel is at 0, 0, in `Tracks` at 0.5, 0.5; axes are time, y, x.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from tapetum.core.errors import BadInput
from tapetum.systems.tap.tracking.corrections import Correction
from tapetum.tracks.tables import filled
from tapetum.types import Tracks
from tapetum.video.draw import point_colours

LayerData = tuple[Any, dict[str, Any], Literal["tracks", "points"]]
"""Data, attributes and kind of a layer, as napari takes them from functions."""
KEY = "tapetum"
"""Under which a Tracks layer keeps its `Tracks` in its metadata: hidden places, confidence and clicks are nowhere else."""
FIRST_PIXEL = 0.5
"""Raster coordinate of what napari calls 0."""
_MOVED = 0.01
"""Pixels from which on a place counts as moved."""


def frames_of(data: Any, rgb: bool, limits: Sequence[float] | None = None) -> UInt8[np.ndarray, "t h w 3"]:
    """Convert the data of an Image layer to frames.

    Args:
        data: (t, y, x) of any numbers, or with `rgb` (t, y, x, 3 or 4); numpy or convertible to it, such as dask.
        rgb: the last axis is colours.
        limits: values of black and white for data that are not uint8; by default minimum and maximum.

    Raises:
        BadInput: other axes, such as those of a volume.
    """
    array = np.asarray(data)
    if array.ndim != 3 + rgb or (rgb and array.shape[-1] not in (3, 4)):
        raise BadInput(f"the Image layer has shape {array.shape}; a video has (time, y, x), in colour (time, y, x, 3)")
    if array.dtype != np.uint8:
        low, high = limits or (float(array.min()), float(array.max()))
        array = np.rint((array - low) * (255 / max(high - low, 1e-12))).clip(0, 255).astype(np.uint8)
    return array[..., :3] if rgb else np.repeat(array[..., None], 3, axis=-1)


def queries_of(points: Float[np.ndarray, "n d"], frames: int) -> Float[np.ndarray, "n 3"]:
    """Convert the data of a Points layer, (time, y, x), to queries (t, x, y); without time, the points are on frame 0.

    Raises BadInput for no points, other axes, and times outside the frames.

    >>> queries_of(np.array([[2, 10.0, 20.0]]), 3).tolist()
    [[2.0, 20.5, 10.5]]
    """
    points = np.asarray(points, np.float64)
    if not len(points):
        raise BadInput("the Points layer is empty; add points to it, on any frame")
    if points.shape[1] not in (2, 3):
        raise BadInput(f"the points have {points.shape[1]} coordinates; give time, y, x")
    times = np.rint(points[:, 0]) if points.shape[1] == 3 else np.zeros(len(points))
    if (outside := (times < 0) | (times > frames - 1)).any():
        raise BadInput(f"a point is at time {times[outside][0]:g}; the image has frames 0 to {frames - 1}")
    return np.column_stack([times, points[:, -1] + FIRST_PIXEL, points[:, -2] + FIRST_PIXEL]).astype(np.float32)


def layers_of(tracks: Tracks, name: str, size: tuple[int, int], scale: Sequence[float] = (1, 1, 1)) -> list[LayerData]:
    """Convert tracks to a Tracks layer `name`, and a Points layer with the same positions that can be moved.

    The layers hold only visible positions and those of the query. The full tracks are in the metadata of the first.

    Args:
        tracks: n points through t frames.
        name: of the Tracks layer; the other is called `places_name(name)`.
        size: width and height of the image in pixels, used to choose colours.
        scale: of the image layer, for time, y and x.
    """
    shown = tracks.visible.copy()
    queried = np.rint(tracks.queries[:, 0]).astype(int).clip(0, max(tracks.frames - 1, 0))
    shown[np.arange(tracks.points), queried] = True
    point, frame = np.nonzero(shown)  # by point, then by frame, as napari has them
    x, y = (tracks.xy[point, frame].astype(np.float64) - FIRST_PIXEL).T
    confidence = tracks.confidence[point, frame]
    first = tracks.xy[np.arange(tracks.points), tracks.visible.argmax(axis=1)]
    colours = np.column_stack([point_colours(first, *size)[point] / 255, np.ones(len(point))])
    names = [""] * tracks.points if tracks.names is None else tracks.names
    about = {"scale": tuple(scale)}
    lines: LayerData = (
        np.column_stack([point, frame, y, x]),
        {"name": name, "features": {"confidence": confidence}, "metadata": {KEY: tracks}, **about},
        "tracks",
    )
    features = {"point": point, "label": [names[k] or str(k) for k in point.tolist()], "confidence": confidence}
    places: LayerData = (
        np.column_stack([frame, y, x]),
        {"name": places_name(name), "features": features, "face_color": colours, "size": 7, **about},
        "points",
    )
    return [lines, places]


def places_name(name: str) -> str:
    """Name the Points layer that belongs to a Tracks layer."""
    return f"{name}: places"


def tracks_of(data: Float[np.ndarray, "r 4"], metadata: Mapping[str, Any], frames: int) -> Tracks:
    """Read the tracks of a Tracks layer: those in its metadata, or else (from another program) its rows ID, T, Y, X.

    Raises BadInput for other axes, and frames outside the image.
    """
    if isinstance(kept := metadata.get(KEY), Tracks) and kept.frames == frames:
        return kept
    data = np.asarray(data, np.float64)
    if data.ndim != 2 or data.shape[1] != 4:
        raise BadInput(f"the Tracks layer has shape {data.shape}; its rows are ID, time, y, x")
    times = np.rint(data[:, 1]).astype(int)
    if not len(data) or times.min() < 0 or times.max() >= frames:
        raise BadInput(f"the Tracks layer is not that of the image, which has frames 0 to {frames - 1}; choose its own")
    row = np.unique(data[:, 0], return_inverse=True)[1]
    xy = np.full((int(row.max()) + 1, frames, 2), np.nan)
    xy[row, times] = data[:, [3, 2]] + FIRST_PIXEL
    visible = np.isfinite(xy[..., 0])
    return filled(xy, visible, visible.astype(np.float32))


def find_corrections(tracks: Tracks, places: Float[np.ndarray, "r 3"], points: Sequence[int] | np.ndarray) -> list[Correction]:
    """Find points that were moved in, or added to, the Points layer of `layers_of`: number of the point, frame, x, y.

    Args:
        tracks: as they were.
        places: data of the layer, (time, y, x).
        points: the feature "point" of each.

    Raises:
        BadInput: nothing was moved; a place is of no point or frame.
    """
    corrections: list[Correction] = []
    for (time, y, x), number in zip(np.asarray(places, np.float64).tolist(), np.asarray(points).tolist(), strict=True):
        frame, point = round(time), round(number)
        if not (0 <= point < tracks.points and 0 <= frame < tracks.frames):
            size = f"{tracks.points} points in {tracks.frames} frames"
            raise BadInput(f"a place is of point {point} in frame {frame}; the tracks have {size}: choose their own layer")
        new = np.array([x, y]) + FIRST_PIXEL
        if np.abs(new - tracks.xy[point, frame]).max() > _MOVED:
            corrections.append((point, float(frame), float(new[0]), float(new[1])))
    if not corrections:
        raise BadInput("no place was moved; select the Points layer of the tracks and drag a point to where it belongs")
    return corrections
