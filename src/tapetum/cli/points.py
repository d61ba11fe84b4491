"""Points that a command line asks for: read from text and tables, checked against the video."""

import csv
import math
from pathlib import Path

from tapetum.errors import BadInput

Queries = list[tuple[float, float, float]]
"""frame, x, y of each point, in raster pixels of the video."""


def parse_query(text: str) -> tuple[float, float, float]:
    """Frame, x, y from a text such as "0,120.5,80".

    >>> parse_query("0,120.5,80")
    (0.0, 120.5, 80.0)
    """
    try:
        t, x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise BadInput(f"--query {text!r} is not a point; give frame, x and y as in --query 0,120.5,80") from None
    return t, x, y


def read_points(path: Path) -> list[tuple[str, tuple[float, float, float]]]:
    """Points of a CSV file with the header t,x,y or x,y, each with the name of its line for messages."""
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


def check_query(name: str, point: tuple[float, float, float], width: int, height: int, frames: int | None) -> None:
    """Raise `BadInput` unless the point lies in a video of this size and, if that is known, this number of frames."""
    t, x, y = point
    if not all(map(math.isfinite, point)):
        raise BadInput(f"{name}: the point {t:g},{x:g},{y:g} holds NaN or infinity; give finite numbers for t,x,y")
    if t < 0 or (frames is not None and t > frames - 1):
        has = "" if frames is None else f", which has {frames} frames (0 to {frames - 1})"
        raise BadInput(f"{name}: frame {t:g} is not in the video{has}")
    if not (0 <= x <= width and 0 <= y <= height):
        raise BadInput(f"{name}: the point {x:g},{y:g} is outside the picture of {width}x{height} pixels")
