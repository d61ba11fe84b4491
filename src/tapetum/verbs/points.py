"""Points to track: a grid, a table, or one by one; (frame, x, y) in raster pixels, checked against the video."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from tapetum.errors import BadInput

Point = tuple[float, float, float]
"""frame, x, y in raster pixels of the video."""

GRID = 10
"""Points a side of the grid that is laid where nothing else is asked for."""


def choose_points(
    width: int,
    height: int,
    frames: int | None,
    *,
    grid: int | None = None,
    frame: int = 0,
    points: str | Path | None = None,
    query: Iterable[Sequence[str | float]] = (),
) -> list[Point]:
    """Give the points that were asked for, for a video of this size; `frames` is None where nobody knows their number.

    Raises BadInput where more than one of `grid`, `points` and `query` is given, and for a point that is not in the video.

    >>> choose_points(64, 48, 6, grid=1, frame=2), choose_points(64, 48, 6, query=[(0, 10.5, 20), ("1,5,5",)])
    ([(2, 32.0, 24.0)], [(0.0, 10.5, 20.0), (1.0, 5.0, 5.0)])
    """
    asked = list(query)
    if (grid is not None) + (points is not None) + bool(asked) > 1:
        raise BadInput("more than one of --grid, --points and --query was given; choose one of them")
    if points is not None:
        named = read_points(Path(points))
    elif asked:
        named = [point for group in asked for point in _parse_group(group)]
    else:
        named = [("--grid", point) for point in grid_points(GRID if grid is None else grid, frame, width, height)]
    if not named:
        raise BadInput("--query has no point; give frame, x and y as in --query 0,120.5,80")
    for name, point in named:
        check_point(name, point, width, height, frames)
    return [point for _, point in named]


def grid_points(side: int, frame: int, width: int, height: int) -> list[Point]:
    """Give the centres of `side` x `side` cells of a picture, row by row, on one frame.

    Raises BadInput where `side` is not from 1 to 1000.

    >>> grid_points(2, 3, 64, 48)
    [(3, 16.0, 12.0), (3, 48.0, 12.0), (3, 16.0, 36.0), (3, 48.0, 36.0)]
    """
    if not 1 <= side <= 1000:
        raise BadInput(f"--grid is {side}; give a number of points a side from 1 to 1000")
    cells = [(index + 0.5) / side for index in range(side)]
    return [(frame, x * width, y * height) for y in cells for x in cells]


def _parse_group(group: Sequence[str | float]) -> list[tuple[str, Point]]:
    """Points of one --query: texts, or the three numbers of one point."""
    texts = [group] if isinstance(group, str) else list(group)
    if texts and all(isinstance(text, str) for text in texts):
        return [(f"--query {text}", parse_point(str(text))) for text in texts]
    text = ",".join(f"{number}" for number in texts)
    return [(f"--query {text}", parse_point(text))] if texts else []


def parse_point(text: str) -> Point:
    """Read frame, x and y from a text. Raises BadInput where it is none.

    >>> parse_point("0,120.5,80")
    (0.0, 120.5, 80.0)
    """
    try:
        t, x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise BadInput(f"--query {text!r} is not a point; give frame, x and y as in --query 0,120.5,80") from None
    return t, x, y


def read_points(path: Path) -> list[tuple[str, Point]]:
    """Read points of a CSV file with the header t,x,y or x,y, each with the name of its line for messages.

    Raises BadInput where the file cannot be read or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise BadInput(f"cannot read points from {path}: {reason}; give a CSV file with the header t,x,y") from error
    rows = csv.reader(text.splitlines())
    header = [name.strip().lower() for name in next(rows, [])]
    if any(header.count(name) > 1 for name in "txy") or not {"x", "y"} <= set(header):
        raise BadInput(f"{path} begins with the header {','.join(header)[:80]!r}; it must be t,x,y (or x,y)")
    columns = [header.index(name) if name in header else None for name in ("t", "x", "y")]
    points = []
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        name = f"line {rows.line_num} of {path}"
        try:
            t, x, y = (0.0 if column is None else float(row[column]) for column in columns)
        except (ValueError, IndexError):
            raise BadInput(f"{name} is {','.join(row)[:80]!r}; it must hold numbers for {','.join(header)[:80]}") from None
        points.append((name, (t, x, y)))
    if not points:
        raise BadInput(f"{path} holds no points; put one on each line below the header")
    return points


def check_point(name: str, point: Point, width: int, height: int, frames: int | None) -> None:
    """Raise `BadInput` unless the point lies in a video of this size and, if that is known, this number of frames."""
    t, x, y = point
    if not all(map(math.isfinite, point)):
        raise BadInput(f"{name}: the point {t:g},{x:g},{y:g} holds NaN or infinity; give finite numbers for t,x,y")
    if t < 0 or (frames is not None and t > frames - 1):
        has = "" if frames is None else f", which has {frames} frames (0 to {frames - 1})"
        raise BadInput(f"{name}: frame {t:g} is not in the video{has}")
    if not (0 <= x <= width and 0 <= y <= height):
        raise BadInput(f"{name}: the point {x:g},{y:g} is outside the picture of {width}x{height} pixels")
