"""Corrections of saved tracks, for `tapetum.track`: `--correct id,frame,x,y --tracks old.npz`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.core.errors import BadInput
from tapetum.core.tables import cells_of

if TYPE_CHECKING:
    from tapetum.systems.tap.tracking.corrections import Correction
    from tapetum.types import Tracks
    from tapetum.video import Video


def read_corrected(path: str | Path, video: "Video") -> "tuple[Tracks, Video]":
    """Read the tracks to correct and the video frames they cover. Raises BadInput if they do not belong together."""
    from tapetum.tracks.exchange import check_video, read_tracks, tracked_part

    tracks = read_tracks(path, video=video)
    part = tracked_part(video, tracks)
    check_video(tracks, part)
    return tracks, part


def corrections_of(given: Sequence[str | Sequence[Any]], tracks: "Tracks", video: "Video") -> "list[Correction]":
    """Read corrections, each a point's number or name, a frame of the whole video, x and y.

    Frames are returned as indices among the tracked ones. Raises BadInput for anything malformed or out of range.
    """
    from tapetum.systems.tap.tracking.corrections import numbers_of

    corrections = []
    numbers = range(tracks.frames) if tracks.numbers is None else tracks.numbers.tolist()
    for one in given:
        parts = _parts(one) if isinstance(one, str) else [str(part) for part in one]
        option = f"--correct {','.join(parts)[:80]}"
        try:
            name, (frame, x, y) = parts[0].strip(), (float(part) for part in parts[1:])
        except (ValueError, IndexError):
            raise BadInput(f"{option} is no correction; give point, frame, x and y, as in --correct 3,40,120.5,80") from None
        if frame not in numbers:
            raise BadInput(f"{option}: frame {frame:g} is not in the tracks, which have {_listed(numbers)}")
        if not (0 <= x <= video.width and 0 <= y <= video.height):
            raise BadInput(f"{option}: {x:g},{y:g} is outside the image of {video.width}x{video.height} pixels")
        corrections.append((numbers_of([name], tracks)[0], float(numbers.index(int(frame))), x, y))
    return corrections


def _parts(text: str) -> list[str]:
    """A name, which may contain commas, and three numbers."""
    sign = next((sign for sign in ";\t" if sign in text), ",")
    name, *numbers = text.rsplit(sign, 3)
    return [name, *cells_of(sign.join(numbers))]


def _listed(numbers: Sequence[int]) -> str:
    whole = "" if numbers[-1] - numbers[0] == len(numbers) - 1 else ", not all of them"
    return f"frames {numbers[0]} to {numbers[-1]}{whole}"
