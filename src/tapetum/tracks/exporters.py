"""Layouts in which tracks are written for other programs, in one table that a package's entry point can join.

    layout        file  coordinates                                         hidden points
    dlc, napari   .csv  pixels, (0, 0) the centre of the first              left out
    sleap, coco   .h5, .json  likewise, see `poses`                         NaN; 0, 0, 0
    tapvid        .pkl  0 to 1 from edge to edge                            marked
    nuke          .nk   pixels from the bottom left; frames count from 1    the track is disabled
    aftereffects  .txt  raster pixels                                       no key
    cvat          .xml  raster pixels                                       outside
    blender       .py   0 to 1 from the bottom left; frames count from 1    the marker is muted

Those of nuke, aftereffects, cvat and blender are text. Nuke: a Tracker4 node to paste or to read as a script. After Effects:
what it pastes from the clipboard, a Position block for each point. CVAT for video 1.1: a track of points for each point, whose
label is its name. Blender: a script for its text editor, which adds markers to the clip that is open or was opened first.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

import numpy as np

from tapetum.core.errors import BadInput, did_you_mean
from tapetum.core.files import write_text
from tapetum.core.plugins import installed, load_entry
from tapetum.tracks import tables
from tapetum.tracks.poses import frame_numbers, point_names, write_coco, write_sleap
from tapetum.tracks.tapvid import TapVidEntry, write_entries
from tapetum.types.tracks import Tracks
from tapetum.video import Video


class Exporter(NamedTuple):
    """How tracks are written in a layout; what an entry point of "tapetum.exporters" names."""

    suffix: str
    write: Callable[[Tracks, Path, Video | None], object]
    """Writes the file whole, or not at all."""
    needs: str = ""
    """What is needed of the video, if anything is."""


def find_exporter(layout: str) -> Exporter:
    """Look up a layout. Raises BadInput if there is none of this name."""
    if layout in EXPORTERS:
        return EXPORTERS[layout]
    if layout in installed("exporter"):
        return load_entry("exporter", layout)
    names = [*EXPORTERS, *installed("exporter")]
    raise BadInput(f"there is no layout {layout!r}; {did_you_mean(layout, names, 'choose one of ' + ', '.join(names))}")


def _table(rows: Callable[[Tracks], object]) -> Callable[[Tracks, Path, Video | None], object]:
    def write(tracks: Tracks, path: Path, video: Video | None) -> None:
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(rows(tracks))  # pyright: ignore[reportArgumentType]
        write_text(path, file.getvalue())

    return write


def _tapvid(tracks: Tracks, path: Path, video: Video | None) -> None:
    assert video is not None
    points, name = tracks.xy.astype(np.float64) / (video.width, video.height), Path(video.name).stem
    write_entries(path, {name: TapVidEntry(name=name, video=video[:], points=points, occluded=~tracks.visible)})


_COLUMNS = """5 1 20 enable e|3 1 75 name|2 1 58 track_x|2 1 58 track_y|2 1 63 offset_x|2 1 63 offset_y|4 1 27 T|4 1 27 R
4 1 27 S|2 0 45 error|1 1 0 error_min|1 1 0 error_max|1 1 0 pattern_x|1 1 0 pattern_y|1 1 0 pattern_r
1 1 0 pattern_t|1 1 0 search_x|1 1 0 search_y|1 1 0 search_r|1 1 0 search_t|2 1 0 key_track|2 1 0 key_search_x
2 1 0 key_search_y|2 1 0 key_search_r|2 1 0 key_search_t|2 1 0 key_track_x|2 1 0 key_track_y|2 1 0 key_track_r
2 1 0 key_track_t|2 1 0 key_centre_offset_x|2 1 0 key_centre_offset_y"""
"""Of the table of Nuke's Tracker4: type, whether it is shown, width, name, and the label, which mostly is the name."""


def _nuke(tracks: Tracks, path: Path, video: Video | None) -> None:
    assert video is not None
    frames, columns = (frame_numbers(tracks) + 1).tolist(), []
    for column in _COLUMNS.replace("\n", "|").split("|"):
        kind, shown, width, name, *label = column.split()
        columns.append(f"{{ {kind} {shown} {width} {name} {label[0] if label else name} 1 }}")
    rows = []
    for name, xy, visible in zip(_plain_names(tracks), tracks.xy.tolist(), tracks.visible.tolist(), strict=True):
        changes = [k for k in range(len(visible)) if k == 0 or visible[k] != visible[k - 1]]
        enable = " ".join(f"x{frames[k]} {int(visible[k])}" for k in changes)
        x, y = (" ".join(f"x{t} {value:.4f}" for t, value in zip(frames, axis, strict=True)) for axis in (
            [p[0] for p in xy], [video.height - p[1] for p in xy])
        )  # fmt: skip
        zero = f"{{curve K x{frames[0]} 0}}"
        places = f'{{curve K {enable}}} "{name}" {{curve {x}}} {{curve {y}}} {zero} {zero}'
        rows.append(f"{{ {places} 1 0 0 {zero} 1 0 -16 -16 16 16 -32 -32 32 32 {'{} ' * 11}}}")
    head = f"Tracker4 {{\n inputs 0\n tracks {{ {{ 1 {len(columns)} {tracks.points} }}"
    end = f"}}\n}}\n reference_frame {frames[0]}\n center {{{video.width / 2:g} {video.height / 2:g}}}\n name Tracker1\n}}\n"
    write_text(path, "\n".join([head, "{", *columns, "}", "{", *rows, end]))


def _after_effects(tracks: Tracks, path: Path, video: Video | None) -> None:
    assert video is not None
    head = {"Units Per Second": f"{video.frame_rate:g}", "Source Width": video.width, "Source Height": video.height}
    head |= {"Source Pixel Aspect Ratio": 1, "Comp Pixel Aspect Ratio": 1}
    lines = ["Adobe After Effects 8.0 Keyframe Data", "", *(f"\t{name}\t{value}" for name, value in head.items()), ""]
    frames = frame_numbers(tracks).tolist()
    for xy, visible in zip(tracks.xy.tolist(), tracks.visible.tolist(), strict=True):
        keys = [f"\t{t}\t{x:.4f}\t{y:.4f}\t0\t" for t, (x, y), there in zip(frames, xy, visible, strict=True) if there]
        lines += ["Transform\tPosition", "\tFrame\tX pixels\tY pixels\tZ pixels\t", *keys, ""]
    write_text(path, "\n".join([*lines, "", "End of Keyframe Data", ""]))


def _cvat(tracks: Tracks, path: Path, video: Video | None) -> None:
    frames, lines = frame_numbers(tracks).tolist(), ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>"]
    lines += ["  <version>1.1</version>"]
    for number, name in enumerate(point_names(tracks)):
        lines.append(f'  <track id="{number}" label={quoteattr(name)} source="auto">')
        for t, (x, y), there in zip(frames, tracks.xy[number].tolist(), tracks.visible[number].tolist(), strict=True):
            shape = f'outside="{int(not there)}" occluded="0" keyframe="1" points="{x:.4f},{y:.4f}" z_order="0"'
            lines.append(f'    <points frame="{t}" {shape}></points>')
        lines.append("  </track>")
    write_text(path, "\n".join([*lines, "</annotations>", ""]))


_BLENDER = '''"""Adds tracking markers to the movie clip that is open, or was opened first: Scripting > Open > Run Script."""
import bpy

clip = getattr(bpy.context, "edit_movieclip", None) or bpy.data.movieclips[0]
for name, markers in {tracks}:
    track = clip.tracking.tracks.new(name=name, frame=markers[0][0])
    for frame, x, y, hidden in markers:
        track.markers.insert_frame(frame, co=(x, y)).mute = bool(hidden)
'''


def _blender(tracks: Tracks, path: Path, video: Video | None) -> None:
    assert video is not None
    frames = (frame_numbers(tracks) + 1).tolist()
    xy = np.round(tracks.xy / [video.width, video.height] * [1, -1] + [0, 1], 7).tolist()
    rows = [
        [name, [[t, *place, int(not there)] for t, place, there in zip(frames, xy[k], tracks.visible[k].tolist(), strict=True)]]
        for k, name in enumerate(point_names(tracks))
    ]
    write_text(path, _BLENDER.replace("{tracks}", json.dumps(rows)))


def _plain_names(tracks: Tracks) -> list[str]:
    """Choose names without what means something to Tcl."""
    return [re.sub(r"[^\w .-]", "_", name) for name in point_names(tracks)]


EXPORTERS: Mapping[str, Exporter] = {
    "dlc": Exporter(".csv", _table(tables.dlc_rows)),
    "napari": Exporter(".csv", _table(tables.napari_rows)),
    "tapvid": Exporter(".pkl", _tapvid, "its frames, which a TAP-Vid pickle holds beside the points"),
    "sleap": Exporter(".h5", write_sleap),
    "coco": Exporter(".json", lambda tracks, path, video: video and write_coco(tracks, path, video), "its size"),
    "nuke": Exporter(".nk", _nuke, "its size"),
    "aftereffects": Exporter(".txt", _after_effects, "its size and frame rate"),
    "cvat": Exporter(".xml", _cvat),
    "blender": Exporter(".py", _blender, "its size"),
}
