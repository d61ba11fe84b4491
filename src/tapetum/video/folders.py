"""Files of images and of videos in folders: which extensions they have, and in what order they are read."""

import os
import re
from pathlib import Path

from tapetum.core.errors import BadInput

HEIC = frozenset((".heic", ".heif"))
"""File extensions of images for which Pillow needs the package pillow-heif (`tapetum[heic]`)."""
IMAGES = HEIC | {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm"}
"""File extensions that are taken as images."""
VIDEOS = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".3gp"),
    *(".ogv", ".gif", ".mxf", ".mjpeg", ".mjpg", ".y4m", ".dv", ".asf"),
}
"""File extensions that are taken as videos."""
OVERLAY, TRACKS = "overlay.mp4", "tracks.npz"
"""What `tapetum track` leaves in a folder of results, which may lie among the videos."""


def folder_of_images(folder: Path) -> list[Path]:
    """List the images of a folder in natural order; hidden files and subfolders are skipped.

    Raises `BadInput` if there are none.
    """
    names = [entry.name for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith(".")]
    names = [name for name in names if Path(name).suffix.lower() in IMAGES]
    if not names:
        raise BadInput(f"the folder {folder} holds no images (png, jpg, ...); give a folder of frames or a video file")
    return [folder / name for name in sorted(names, key=natural_key)]


def images_below(folder: Path) -> list[Path]:
    """List the images in a folder and in those below it, in natural order; hidden ones and links to folders are skipped.

    Raises `BadInput` if there are none.
    """
    images: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        names = [name for name in names if not name.startswith(".") and Path(name).suffix.lower() in IMAGES]
        images += [path for name in sorted(names, key=natural_key) if (path := Path(place, name)).is_file()]
    if not images:
        raise BadInput(
            f"the folder {folder} holds no images (png, jpg, ...), nor do those below; give images, or a folder of some"
        )
    return images


def natural_key(name: str) -> tuple:
    """Make a key that sorts numbers in names by value.

    >>> sorted(["f10.png", "f2.png", "f1.png"], key=natural_key)
    ['f1.png', 'f2.png', 'f10.png']
    """
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if place % 2 else part.lower() for place, part in enumerate(parts)), name


def find_videos(source: Path) -> list[Path]:
    """List all files below the folder `source` with a video extension, sorted; or `source` itself, if it is a file.

    Hidden files are skipped, as are overlays beside the tracks that they show. Raises BadInput if there are none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise BadInput(f"there is no folder {source}; give one with videos in it")
    videos = videos_below(source)
    if not videos:
        others = sum(p.is_file() for p in source.rglob("*"))
        raise BadInput(
            f"{source} has no video in it ({others} other files); give a folder with mp4, mov, mkv, webm or avi files"
        )
    return videos


def videos_below(folder: Path) -> list[Path]:
    """List what `find_videos` finds, possibly nothing."""
    videos, visited = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add(real)
        folders.sort()  # the same way goes first each time
        files = (Path(place, name) for name in names if not name.startswith(".") and Path(name).suffix.lower() in VIDEOS)
        videos += [file for file in files if file.is_file() and not (file.name == OVERLAY and TRACKS in names)]
    return sorted(videos)


def relative_name(video: Path, source: Path) -> str:
    """Name a video for reports: by its path below the folder."""
    return video.name if video == source else video.relative_to(source).as_posix()
