"""Sets of questions, captions and actions about videos, read from their official files; each module says what a folder has.

    questions    EgoSchema, NExT-QA (of several options, and open), questions of `tapetum scenes episodes`
    captions     MSR-VTT, VATEX, YouCook2, ActivityNet Captions
    actions      Diving48, Something-Something v2; Kinetics is a layout of `tapetum.data.layouts`

No video is opened here. Videos vanish from the web: `video_file` finds what is there under any usual ending, and whoever opens
a file that is not there says so.
"""

from pathlib import Path

ENDINGS = (".mp4", ".mkv", ".webm", ".avi", ".mov")


def video_file(folder: Path, name: str) -> Path:
    """Find the file of a video by its name without an ending: the one that is there, else that with .mp4.

    >>> video_file(Path("videos"), "a").as_posix()
    'videos/a.mp4'
    """
    paths = [folder / f"{name}{ending}" for ending in ENDINGS]
    return next((path for path in paths if path.is_file()), paths[0])


def videos_of(folder: Path) -> Path:
    """Find the folder that has the videos: DIR/videos where there is one, else DIR."""
    return folder / "videos" if (folder / "videos").is_dir() else folder
