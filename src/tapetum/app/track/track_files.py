"""Further outputs of `tapetum.track`: a single file instead of a folder, the network's features of the frames, a report."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.app.track.show import write_overlay
from tapetum.app.verb import File, Listener
from tapetum.core.errors import BadInput
from tapetum.core.files import Results, same_place, second_name

if TYPE_CHECKING:
    from tapetum.app.track.cut import Cut
    from tapetum.app.track.track import TrackOptions
    from tapetum.systems.tap.tracking.feature_file import FeatureFile
    from tapetum.types import Tracks
    from tapetum.video import Video

FEATURES, FEATURES_MIB = "features.bin", 1024
"""What the network saw of the frames, beside the tracks; and how large that may be if nothing else is asked for."""
FILES = {
    **dict.fromkeys((".mp4", ".webm", ".gif"), "overlay"),
    ".npz": "tracks",
    ".json": "tracks",
    ".parquet": "tracks",
    ".csv": "table",
}
"""Endings of a single file that is written instead of a folder, and what it is."""


def open_features(options: "TrackOptions", written: "Results | None") -> "FeatureFile":
    """Open the file of frame features: read when tracks are corrected, and written to the folder of results.

    Points that are tracked from scratch read none: features are stored rounded, and a command must reproduce its numbers.
    """
    from tapetum.systems.tap.tracking.feature_file import FeatureFile

    mib = FEATURES_MIB if options.keep_features is None else options.keep_features
    source = None if options.tracks is None else Path(options.tracks).parent / FEATURES
    target = None if written is None or not mib else written.folder / FEATURES
    return FeatureFile(source, target, mib << 20)


def finish_features(features: "FeatureFile", out: Path) -> tuple[str, ...]:
    """Finish the saved features; return their name if those in the folder are no longer of use."""
    features.close()
    if features.target is not None and features.source is not None and features.read and not features.target.exists():
        if same_place(features.source.parent, out):
            return ()
        with suppress(OSError):  # they only save time
            second_name(features.source, features.target)
    return (FEATURES,)


def one_file(out: File | None) -> Path | None:
    """Get the path of the single file that `out` names by its extension, None for a folder.

    >>> one_file("points.csv"), one_file("result"), one_file(None)
    (PosixPath('points.csv'), None, None)
    """
    path = None if out is None else Path(out)
    return path if path is not None and path.suffix.lower() in FILES and not path.is_dir() else None


def check_file(file: Path, options: "TrackOptions") -> None:
    """Raise BadInput, before any work, if one file is not enough or cannot be written."""
    if options.three_d:
        raise BadInput(f"--out {file} is one file, and --3d writes several; give a folder")
    if not file.absolute().parent.is_dir():
        raise BadInput(f"--out {file}: there is no folder {file.parent}; make it first")
    for name in ("video", "reference", "points", "region"):
        given = getattr(options, name)
        if isinstance(given, str | Path) and same_place(given, file):
            raise BadInput(f"--out {file} is what is read; give another name")
    if file.suffix.lower() == ".parquet":
        from tapetum.core.tables import pyarrow_for

        pyarrow_for("writing parquet")


def write_file(file: Path, video: "Video", tracks: "Tracks", options: "TrackOptions", listener: Listener) -> None:
    """Write the tracks or the overlay atomically."""
    if FILES[file.suffix.lower()] == "overlay":
        write_overlay(file, video, tracks, "rainbow" if options.view == "rainbow" else "tracks", listener, options)
    else:
        tracks.save(file)


def write_report_page(report: Path, part: "Cut", tracker: Any, tracks: "Tracks", listener: Listener, out: Path | None) -> None:
    """Write the report of the tracks, which are tracked back for it; frame features in `out` are used if present."""
    from tapetum.app.track.report import write_track_report
    from tapetum.app.track.track_back import track_back
    from tapetum.systems.tap.tracking.feature_file import FeatureFile

    features = FeatureFile(None if out is None else out / FEATURES, None, 0)
    backward = track_back(tracker, part, tracks, listener.counting("tracking back"), features)
    features.close()
    video = part.video
    lines = [
        f"{tracks.points} points through {tracks.frames} frames of {video.width}x{video.height} pixels; "
        f"{tracks.visible.mean():.0%} of the places are visible.",
    ]
    write_track_report(report, video, tracks, listener, lines, backward)
