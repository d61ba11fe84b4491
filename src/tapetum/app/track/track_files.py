"""Further outputs of `tapetum.track`: a single file instead of a folder, the network's features of the frames, a report.

For the report each point is tracked back from where it was last visible to its clicks. Where the two paths part, the point may
be lost: Kalal, Mikolajczyk and Matas, "Forward-Backward Error" (ICPR 2010).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.app.track.point_tasks import Cut, NewPoints, Progress
from tapetum.app.track.show import write_overlay
from tapetum.app.verb import File, Listener
from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.files import Results, check_place, same_place, second_name
from tapetum.core.stages import stage
from tapetum.tracks.points import PointRequest

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32

    from tapetum.app.track.track import TrackOptions, TrackSettings
    from tapetum.systems.tap.tracking.feature_file import FeatureFile
    from tapetum.tracks.doubtful import Span
    from tapetum.types import Tracks
    from tapetum.video import Video

OVERLAY, TRACKS, TABLE = "overlay.mp4", "tracks.npz", "tracks.csv"
FEATURES, FEATURES_MIB = "features.bin", 1024
"""Cached network features of the frames, and the most MiB that a report keeps meanwhile."""
FILES = {
    **dict.fromkeys((".mp4", ".webm", ".gif"), "overlay"),
    ".npz": "tracks",
    ".json": "tracks",
    ".parquet": "tracks",
    ".csv": "table",
}
"""Extensions of a single file written instead of a folder, and its content."""


def open_features(options: "TrackOptions", written: "Results | None", scratch: Path | None) -> "FeatureFile":
    """Open the file of frame features: written to the folder of results if asked for, or to `scratch`; read only when tracks
    are corrected, for features are stored rounded, and a command must reproduce its numbers."""
    from tapetum.systems.tap.tracking.feature_file import FeatureFile

    folder = written.folder if written is not None and options.keep_features else scratch
    source = None if options.tracks is None else Path(options.tracks).parent / FEATURES
    return FeatureFile(source, None if folder is None else folder / FEATURES, (options.keep_features or FEATURES_MIB) << 20)


def finish_features(features: "FeatureFile", out: Path) -> tuple[str, ...]:
    """Finish the saved features; return their name if those in the folder are no longer of use."""
    features.close()
    if features.source is not None and features.read and (features.target is None or not features.target.exists()):
        if same_place(features.source.parent, out):
            return ()
        if features.target is None:
            return (FEATURES,)
        with suppress(OSError):  # they only save time
            second_name(features.source, features.target)
    return (FEATURES,)


def one_file(out: File | None) -> Path | None:
    """Get the path of the single file that `out` names by its extension, None for a folder."""
    path = None if out is None else Path(out)
    return path if path is not None and path.suffix.lower() in FILES and not path.is_dir() else None


def check_file(file: Path, options: "TrackOptions") -> None:
    """Raise BadInput, before any work, if one file is not enough or cannot be written."""
    if options.three_d:
        raise BadInput(f"--out {file} is one file, and --3d writes several; give a folder")
    check_place(file, (options.video, options.reference, options.points, options.region))
    if file.suffix.lower() == ".parquet":
        from tapetum.core.tables import pyarrow_for

        pyarrow_for("writing parquet")


def write_file(file: Path, video: "Video", tracks: "Tracks", options: "TrackSettings", listener: Listener) -> None:
    """Write the tracks or the overlay atomically."""
    if FILES[file.suffix.lower()] == "overlay":
        with stage("overlay"):
            write_overlay(file, video, tracks, "rainbow" if options.view == "rainbow" else "tracks", listener, options)
    else:
        with stage("write"):
            tracks.save(file)


def track_back(
    tracker: Any, part: Cut, tracks: "Tracks", progress: Progress, features: "FeatureFile | None" = None
) -> "Float32[np.ndarray, 'n t']":
    """Compute the distance in pixels between each point's track and its path back by `tracker`; NaN outside the frames between
    its clicks and the frames of `part` where it was last, and first, visible."""
    import numpy as np

    from tapetum.tracks.doubtful import click_range, last_visible

    distances = np.full(tracks.visible.shape, np.nan, np.float32)
    size = part.video.width, part.video.height
    ends = [
        (point, direction, end)
        for point in range(tracks.points)
        for direction in (1, -1)
        if (end := last_visible(tracks, point, direction, *size)) is not None
    ]
    if not ends:
        return distances
    request = PointRequest([(float(end), *tracks.xy[point, end].tolist()) for point, _, end in ends])
    back = NewPoints(part, request).track(tracker, [], progress, features)
    for (point, direction, end), path in zip(ends, back.xy, strict=True):
        first, last = click_range(tracks, point)
        between = slice(int(last), end + 1) if direction > 0 else slice(end, int(np.ceil(first)) + 1)
        apart = np.linalg.norm(path - tracks.xy[point], axis=1)[between]
        distances[point, between] = np.fmax(distances[point, between], apart)  # a click is the end of both ways
    return distances


def span_lines(spans: "Sequence[Span]", tracks: "Tracks") -> list[str]:
    """Write spans, one per line, and the share of visible places that is expected wrong."""
    from tapetum.tracks.doubtful import expected_share

    names, share = tracks.names or [""] * tracks.points, expected_share(tracks) or 0.0
    last = f", {spans[-1].left:.1%} once these are right" if spans else ""
    lines = [
        f"doubt    {names[span.point] or f'point {span.point}'}, frames {span.first} to {span.last}: "
        f"about {span.error_px:.1f} px off, wrong with a chance of {span.chance_wrong:.2f}"
        for span in spans
    ] or ["doubt    none"]
    return [*lines, f"expected {share:.1%} of the visible places are wrong{last}"]


def save(tracks: "Tracks", folder: Path) -> None:
    """Write the tracks as an array file and as a table."""
    tracks.save(folder / TRACKS)
    tracks.save(folder / TABLE)


def no_overlay(error: Exception) -> str:
    """Explain briefly why there is no overlay."""
    reason = str(error) if isinstance(error, TapetumError) else f"{type(error).__name__}: {error}"
    return f"there is no {OVERLAY}: {' '.join(reason.split())[:300]}"


def draw(written: "Results", video: "Video", tracks: "Tracks", settings: "TrackSettings", listener: Listener) -> Path | None:
    """Draw the overlay; on failure, report the reason and return None, since the tracks are saved."""
    try:
        write_file(written.folder / OVERLAY, video, tracks, settings, listener)
        written.commit()
    except Exception as error:  # whatever it is, the tracks are worth more
        size = f"frames of {video.width}x{video.height}"
        listener.note(
            f"{no_overlay(error).replace(str(written.folder), str(written.out))} ({size}); the tracks are in {written.out}"
        )
        return None
    return written.out / OVERLAY


@contextmanager
def tracks_kept(out: Path | None) -> Iterator[None]:
    """Add to any error that the tracks are saved."""
    try:
        yield
    except BaseException as error:
        if out is not None:
            error.add_note(f"the tracks are in {out}")
        raise


def file_lines(summary: dict[str, Any]) -> list[str]:
    """List the files of a summary, one per line."""
    return [f"{name:8} {summary[name]}" for name in ("overlay", "tracks", "table") if summary.get(name)]
