"""Tracks in the layouts of other programs: tables of DeepLabCut and napari, pickles of TAP-Vid.

    layout   file   coordinates                                   lost when written
    tapetum  any    raster pixels                                 nothing
    dlc      .csv   pixels, (0, 0) the centre of the first        queries, positions where hidden
    napari   .csv   pixels, (0, 0) the centre of the first        queries, positions where hidden, confidence
    tapvid   .pkl   0 to 1 from edge to edge                      queries, positions where hidden, confidence

`exporters` lists these and those that are only written.

Fields that a layout lacks are filled in on reading: the query is where the point is first visible; missing positions are
interpolated, or copied from the first or the last; confidence is 1 where there is a position. A position of DeepLabCut is
visible if its likelihood is above 0.5.

DeepLabCut's labels are clicks in napari, where the first pixel spans -0.5 to 0.5: half a pixel less than our raster
coordinates. Plain numpy: no torch, no pandas, and no code in a file is ever run.
"""

import glob
import os
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import named_path
from tapetum.tracks import tables
from tapetum.tracks.exporters import find_exporter
from tapetum.tracks.tapvid import read_entries
from tapetum.types.tracks import COLUMNS, Tracks
from tapetum.video import Video
from tapetum.video.types import VideoSubset

_BY_SUFFIX = {".pkl": "tapvid", ".h5": "sleap", ".nk": "nuke"}

_ASIDE = 1.0
"""Pixels by which a query may lie outside the image, as annotations at its edge do."""


def read_tracks(path: str | os.PathLike[str], *, video: Video | None = None, name: str | None = None) -> Tracks:
    """Read tracks from a file of any layout, detected from the extension and the header: .npz, .json, .parquet or .csv of
    `Tracks.save`; .csv of DeepLabCut (three header rows, or four with individuals), or with columns ID, T, Y, X as of napari;
    .pkl of TAP-Vid, with the `name` of a video if it has several.

    The tracks' own `video`, unchecked (`check_video`), gives the number of frames for napari, and the size for TAP-Vid, in
    place of the frames in the pickle. Raises BadInput if the file does not exist, has an unknown layout, or is damaged; the
    message names the line.
    """
    path = named_path(path)
    suffix = path.suffix.lower()
    if name is not None and suffix != ".pkl":
        raise BadInput(f"{path} holds one set of tracks; the name of a video ({name}) is for TAP-Vid pickles (.pkl)")
    if suffix == ".pkl":
        return _from_tapvid(path, video, name)
    if suffix in (".h5", ".hdf5"):
        raise BadInput(f"{path} is HDF5, which is not read; DeepLabCut writes the same as csv: analyze_videos_converth5_to_csv")
    if suffix != ".csv":
        return Tracks.load(path)
    header = tables.columns(path)
    if set(COLUMNS) <= set(header):
        return Tracks.load(path)
    if header[:1] == ["scorer"]:
        return tables.from_dlc(path)
    if {"y", "x"} <= set(header) and not set(header).isdisjoint(tables.TRACK_ID):
        return tables.from_napari(path, 0 if video is None else len(video))
    if header[:2] == ["index", "axis-0"]:
        raise BadInput(f"{path} is a layer of napari without track ids; give a table with the columns ID,T,Y,X")
    raise BadInput(
        f"{path} begins with {','.join(header)[:60]!r}; a table of tracks begins with {','.join(COLUMNS)} (ours), "
        "scorer (DeepLabCut) or ID,T,Y,X (napari)"
    )


def write_tracks(
    tracks: Tracks, path: str | os.PathLike[str], layout: str | None = None, *, video: Video | None = None
) -> Path:
    """Write tracks in a layout (`exporters`, or "tapetum", that of `Tracks.save`, the default but for .pkl, .h5 and .nk).

    dlc: scorer `tapetum`, body parts by the names of points, x, y empty where hidden, the likelihood is the confidence. napari:
    a row per visible point. tapvid: the frames of the `video` are stored too. Skipped frames keep the video's numbers but in
    tapvid. Visible positions are restored exactly from dlc and napari, and to a ten-millionth of the image's size from tapvid.
    The file appears whole or not at all.

    Raises BadInput: an unknown layout, another extension, a video that is missing or does not match, a path that cannot be
    written.
    """
    path = named_path(path)
    layout = layout or _BY_SUFFIX.get(path.suffix.lower(), "tapetum")
    if layout == "tapetum":
        return tracks.save(path)
    exporter = find_exporter(layout)
    if path.suffix.lower() != exporter.suffix:
        raise BadInput(
            f"{path} has the extension {path.suffix or '(none)'}; the layout {layout} is written as {exporter.suffix}"
        )
    if exporter.needs and video is None:
        raise BadInput(f"{path} needs the video, for {exporter.needs}; give the video")
    if exporter.needs and video is not None:
        check_video(tracks, video)
    exporter.write(tracks, path, video)
    return path


def check_video(tracks: Tracks, video: Video) -> None:
    """Raise `BadInput` if these cannot be the tracks of `video`: other frames, or queries outside its image or its frames."""
    if tracks.frames != len(video):
        raise BadInput(f"the tracks have {tracks.frames} frames but {video.name} has {len(video)}; give their own video")
    times = tracks.queries[:, 0]
    if len(late := np.flatnonzero((times < 0) | (times > tracks.frames - 1))):
        raise BadInput(
            f"point {late[0]} of the tracks was asked for on frame {times[late[0]]:g}, which {video.name} does not have "
            f"(0 to {tracks.frames - 1}); give the video that they come from"
        )
    outside = (tracks.queries[:, 1:] < -_ASIDE) | (tracks.queries[:, 1:] > np.array([video.width, video.height]) + _ASIDE)
    if outside.any():
        point = int(outside.any(axis=1).argmax())
        _, x, y = tracks.queries[point]
        raise BadInput(
            f"point {point} of the tracks starts at {x:g},{y:g}, outside the {video.width}x{video.height} pixels of "
            f"{video.name}; give the video that they come from, at its own size"
        )


def tracked_part(video: Video, tracks: Tracks) -> Video:
    """Select the frames of a video that the tracks cover. Raises BadInput if it does not have them."""
    if tracks.numbers is None:
        return video
    if tracks.frames and tracks.numbers[-1] >= len(video):
        raise BadInput(f"the tracks go to frame {tracks.numbers[-1]}, and {video.name} has {len(video)}; give their own video")
    return VideoSubset(video, tracks.numbers.tolist())


def _from_tapvid(path: Path, video: Video | None, name: str | None) -> Tracks:
    if not path.is_file():
        raise BadInput(f"there is no file {path}; give a TAP-Vid pickle")
    names, chosen = [], None
    for entry in read_entries(glob.escape(os.fspath(path))):
        names.append(entry.name)
        if entry.name == name or (name is None and len(names) == 1):
            chosen = entry
        if entry.name == name:
            break
    if chosen is None or (name is None and len(names) > 1):
        some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        content = f"holds {len(names)} videos" if name is None else f"has no video {name}"
        raise BadInput(f"{path} {content}; name one of {some}")
    entry = chosen
    if video is None:
        height, width = next(entry.images()).shape[:2]
    else:
        height, width = video.height, video.width
    xy = np.where(entry.occluded[..., None], np.nan, entry.points) * np.array([width, height])
    return tables.filled(xy, ~entry.occluded, (~entry.occluded).astype(np.float32))
