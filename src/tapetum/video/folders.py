"""The videos in a folder and below, by the endings of their names."""

import os
from pathlib import Path

VIDEO_SUFFIXES = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".3gp"),
    *(".ogv", ".gif", ".mxf", ".mjpeg", ".mjpg", ".y4m", ".dv", ".asf"),
}
"""Endings of files that are taken to be videos."""
_OVERLAY, _TRACKS = "overlay.mp4", "tracks.npz"
"""What `tapetum track` leaves in a folder of results, which may lie among the videos."""


def videos_below(folder: Path) -> list[Path]:
    """List all files below a folder that have the ending of a video, sorted; there may be none.

    Hidden files are left out, and overlays beside the tracks that they show. Links to folders are followed, each folder once.
    """
    videos: list[Path] = []
    visited: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add(real)
        folders.sort()  # the same way goes first each time
        files = (Path(place, name) for name in names if not name.startswith("."))
        drawn = _OVERLAY if _TRACKS in names else None
        videos += [each for each in files if each.suffix.lower() in VIDEO_SUFFIXES and each.name != drawn and each.is_file()]
    return sorted(videos)
