"""Manual corrections of tracks: corrected points are tracked again from all their clicks, all others stay unchanged.

Those of saved tracks come from `tapetum track`: `--correct id,frame,x,y --tracks old.npz`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from tapetum.core.errors import BadInput
from tapetum.core.tables import cells_of
from tapetum.types import Tracks

if TYPE_CHECKING:
    from tapetum.types import Tracks
    from tapetum.video import Video

Correction = tuple[int, float, float, float]


@dataclass(frozen=True)
class Clicks:
    """All clicks of the points that are corrected."""

    queries: Float[np.ndarray, "k 3"]
    """(t, x, y); the first of each point is that of its query, if that still holds."""
    points: Int[np.ndarray, " k"]
    """The number of the point that each is of, in the tracks that are corrected."""

    def firsts(self) -> dict[int, int]:
        """Find the row of the first click of each point."""
        return {int(point): int(np.flatnonzero(self.points == point)[0]) for point in dict.fromkeys(self.points.tolist())}


def gather_clicks(tracks: Tracks, corrections: Sequence[Sequence[float]]) -> Clicks:
    """Gather the clicks of all points in `corrections`: the corrections, earlier clicks (`Tracks.clicked`), and the queries.

    A correction replaces an earlier click or query in the same frame. Raises BadInput for a point or frame that the tracks do
    not have, a fractional frame, and two corrections of a point in one frame.
    """
    if not len(corrections):
        raise BadInput("there is nothing to correct; give the number of a point, frame, x and y")
    corrected: dict[int, dict[int, tuple[float, float, float]]] = {}
    for correction in corrections:
        point, frame, place = _checked(tracks, correction)
        if frame in corrected.setdefault(point, {}):
            raise BadInput(f"point {point} is corrected twice in frame {frame}; give one place")
        corrected[point][frame] = (float(frame), *place)
    rows, points = [], []
    for point, new in sorted(corrected.items()):
        clicks = {}  # earlier ones first, that of the query before all; a dict keeps the place of what is replaced
        t, x, y = (float(number) for number in tracks.queries[point])
        if tracks.clicked is None or t != round(t) or tracks.clicked[point, round(t)]:
            clicks[round(t)] = (t, x, y)
        for frame in () if tracks.clicked is None else np.flatnonzero(tracks.clicked[point]).tolist():
            clicks.setdefault(frame, (float(frame), *(float(number) for number in tracks.xy[point, frame])))
        clicks |= new
        rows += clicks.values()
        points += [point] * len(clicks)
    return Clicks(np.array(rows, np.float32), np.array(points))


def _checked(tracks: Tracks, correction: Sequence[float]) -> tuple[int, int, tuple[float, float]]:
    try:
        point, frame, x, y = (float(number) for number in correction)
    except (TypeError, ValueError):
        raise BadInput(f"the correction {correction!r} is not four numbers; give point, frame, x and y") from None
    if point != int(point if np.isfinite(point) else -1) or not 0 <= point < tracks.points:
        raise BadInput(f"there is no point {point:g} to correct; the tracks have 0 to {tracks.points - 1}")
    if frame != int(frame if np.isfinite(frame) else -1) or not 0 <= frame < tracks.frames:
        raise BadInput(f"point {point:g} is corrected in frame {frame:g}; give a whole number from 0 to {tracks.frames - 1}")
    if not np.isfinite([x, y]).all():
        raise BadInput(f"point {point:g} is corrected to {x:g},{y:g}; give finite numbers")
    return int(point), int(frame), (x, y)


def put_in_place(tracks: Tracks, clicks: Clicks, tracked: Tracks) -> Tracks:
    """Replace the corrected points of tracks by `tracked`, in the order of `clicks`, which are recorded; all others stay
    bit-identical."""
    predicted = ("error_px", "chance_wrong") if tracks.error_px is not None and tracked.error_px is not None else ()
    arrays = {name: np.array(getattr(tracks, name)) for name in ("xy", "visible", "confidence", "queries", *predicted)}
    at_queries = np.arange(tracks.frames) == tracks.queries[:, :1]
    clicked = np.array(at_queries if tracks.clicked is None else tracks.clicked)
    firsts = clicks.firsts()
    rows = list(firsts)
    for name, array in arrays.items():
        array[rows] = getattr(tracked, name)
    clicked[rows] = False if tracked.clicked is None else tracked.clicked
    for point, (t, x, y) in zip(clicks.points, clicks.queries, strict=True):
        if t == round(t):
            arrays["xy"][point, int(t)] = x, y
    arrays["queries"][rows] = clicks.queries[list(firsts.values())]
    return replace(tracks, **{"error_px": None, "chance_wrong": None, **arrays}, clicked=clicked)


def numbers_of(names: Sequence[str], tracks: Tracks) -> list[int]:
    """Look up the numbers of points by number or name, which takes precedence. Raises BadInput for names of no point, or of
    several."""
    known: Mapping[str, list[int]] = {}
    for number, name in enumerate(tracks.names or ()):
        known.setdefault(name, []).append(number)  # type: ignore[attr-defined]
    numbers = []
    for name in names:
        same = known.get(name, []) if name else []
        if len(same) > 1:
            raise BadInput(f"{len(same)} points are called {name!r}; say which by its number: {same[0]} or {same[1]}")
        if not same and not name.isdecimal():
            some = ", ".join([name for name in known if name][:5])
            raise BadInput(f"no point is called {name!r}; give its number{f', or one of {some}' if some else ''}")
        numbers.append(same[0] if same else int(name))
    return numbers


def corrections_of(given: Sequence[str | Sequence[Any]], tracks: "Tracks", video: "Video") -> "list[Correction]":
    """Read corrections, each a point's number or name, a frame of the whole video, x and y, with frames counted among the
    tracked ones. Raises BadInput for anything malformed or out of range."""
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
            whole = "" if numbers[-1] - numbers[0] == len(numbers) - 1 else ", not all of them"
            listed = f"frames {numbers[0]} to {numbers[-1]}{whole}"
            raise BadInput(f"{option}: frame {frame:g} is not in the tracks, which have {listed}")
        if not (0 <= x <= video.width and 0 <= y <= video.height):
            raise BadInput(f"{option}: {x:g},{y:g} is outside the image of {video.width}x{video.height} pixels")
        corrections.append((numbers_of([name], tracks)[0], float(numbers.index(int(frame))), x, y))
    return corrections


def _parts(text: str) -> list[str]:
    sign = next((sign for sign in ";\t" if sign in text), ",")
    name, *numbers = text.rsplit(sign, 3)
    return [name, *cells_of(sign.join(numbers))]
