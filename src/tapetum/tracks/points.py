"""Points to track: a grid, a table, or one by one; (frame, x, y) in raster pixels, checked against the video. A
grid may lie on a region: a box, or the white pixels of a mask."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe, read_bytes
from tapetum.core.tables import CsvRows, cells_of, unguarded

if TYPE_CHECKING:
    import numpy as np

Point = tuple[float, float, float]

_MOST_BYTES = 1 << 28
GRID = 10
"""Points a side of the grid that is laid where nothing else is asked for."""


@dataclass(frozen=True)
class PointRequest:
    """The points that were asked for."""

    points: list[Point]
    ids: list[str] | None = None
    """What the point of each click is known by; None where no point is clicked twice."""
    row_names: list[str] | None = None
    """A name for each click, empty where it has none; None where none has."""

    @property
    def firsts(self) -> list[int]:
        """List the rows of the first click of each point."""
        if self.ids is None:
            return list(range(len(self.points)))
        return [self.ids.index(name) for name in dict.fromkeys(self.ids)]

    @property
    def names(self) -> tuple[str, ...] | None:
        """List a name for each point: the first that one of its clicks has."""
        if self.row_names is None:
            return None
        if self.ids is None:
            return tuple(self.row_names)
        named = {known: name for known, name in reversed(list(zip(self.ids, self.row_names, strict=True))) if name}
        return tuple(named.get(known, "") for known in dict.fromkeys(self.ids))


class PointRow(NamedTuple):
    """A requested point."""

    where: str
    """Where that was, for messages."""
    point: Point
    name: str = ""
    known: str = ""
    """The id of the point that this is a click of; empty if it is a point of its own."""


def request_points(
    width: int,
    height: int,
    frames: int | None,
    *,
    grid: int | None = None,
    frame: int = 0,
    points: str | Path | None = None,
    query: Iterable[str | Sequence[Any]] = (),
    region: Any = None,
) -> PointRequest:
    """Build the requested points for a video of this size and number of frames, None if unknown.

    Points of the file `points` come first, then those of `query`; without any there is a grid, in its `region` if there is one.
    Raises BadInput if `grid` or `region` is combined with other points, and for a point outside the video.
    """
    from tapetum.types.checks import unmasked

    single = list(unmasked(query, "query"))
    others = [option for option, given in (("--points", points is not None), ("--query", bool(single))) if given]
    for option, given in (("--grid", grid is not None), ("--region", region is not None)):
        if given and others:
            raise BadInput(f"{option} was given with {' and '.join(others)}; choose a grid, or points of your own")
    if others:
        rows = read_points(Path(points)) if points is not None else []
        rows += [row for group in single for row in _parse_group(group)]
    else:
        side = GRID if grid is None else grid
        laid = grid_points(side, frame, width, height) if region is None else region_points(region, side, frame, width, height)
        rows = [PointRow("--grid", point) for point in laid]
    if not rows:
        raise BadInput("--query has no point; give frame, x and y as in --query 0,120.5,80")
    for row in rows:
        check_point(row.where, row.point, width, height, frames)
    ids = [row.known or f" {number}" for number, row in enumerate(rows)]
    twice = len(set(ids)) < len(ids)
    named = any(row.name for row in rows)
    return PointRequest([row.point for row in rows], ids if twice else None, [row.name for row in rows] if named else None)


def grid_points(side: int, frame: int, width: float, height: float) -> list[Point]:
    """Compute the centres of `side` x `side` cells of an image, row by row, on one frame.

    Raises BadInput if `side` is not from 1 to 1000.

    >>> grid_points(2, 3, 64, 48)
    [(3, 16.0, 12.0), (3, 48.0, 12.0), (3, 16.0, 36.0), (3, 48.0, 36.0)]
    """
    if not 1 <= side <= 1000:
        raise BadInput(f"--grid is {side}; give a number of points a side from 1 to 1000")
    cells = [(index + 0.5) / side for index in range(side)]
    return [(frame, x * width, y * height) for y in cells for x in cells]


def check_support(count: int) -> None:
    """Raises BadInput if `count` support points are no square grid."""
    if not 0 <= count <= 1024 or math.isqrt(count) ** 2 != count:
        raise BadInput(f"--support is {count}; give a square number up to 1024, such as 64, or 0 for none")


def support_points(points: Sequence[Point], count: int, width: float, height: float) -> list[Point]:
    """Compute a square grid of `count` support points around each point, on its frame and within the image.

    It reaches as far as TAPNext++'s of VOTSp: 32 pixels of a frame of 512x512.
    """
    check_support(count)
    side = math.isqrt(count)
    along = [0.0] if side == 1 else [(2 * k / (side - 1) - 1) / 16 for k in range(side)]
    return [
        (t, min(max(x + right * width, 0), width), min(max(y + down * height, 0), height))
        for t, x, y in points for down in along for right in along
    ]  # fmt: skip


def _parse_group(group: str | Sequence[str | float]) -> list[PointRow]:
    texts = [group] if isinstance(group, str) else list(group)
    if texts and all(isinstance(text, str) for text in texts):
        return [PointRow(f"--query {text}", parse_point(str(text))) for text in texts]
    text = ",".join(f"{number}" for number in texts)
    return [PointRow(f"--query {text}", parse_point(text))] if texts else []


def parse_point(text: str) -> Point:
    """Read frame, x and y from a text. Raises BadInput if it has another form."""
    try:
        t, x, y = (float(part) for part in cells_of(text))
    except ValueError:
        raise BadInput(f"--query {text!r} is not a point; give frame, x and y as in --query 0,120.5,80") from None
    return t, x, y


def read_points(path: Path) -> list[PointRow]:
    """Read points of a CSV file with the header t,x,y or x,y, optionally with columns `name` and `id`; rows of one id are
    clicks of one point. Cells are separated by commas, tabs, or semicolons, with which numbers may have decimal commas.

    Raises BadInput if the file cannot be read or holds something else.
    """
    try:
        text = read_bytes(path, _MOST_BYTES, pipes=True).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise BadInput(f"cannot read points from {path}: {reason}; give a CSV file with the header t,x,y") from error
    try:
        return _points_of(path, CsvRows(text))
    except csv.Error as error:
        raise BadInput(f"{path} is not a csv file ({error}); give one with the header t,x,y") from error


def _points_of(path: Path, rows: CsvRows) -> list[PointRow]:
    header = [name.strip().lower() for name in next(rows, [])]
    if any(header.count(name) > 1 for name in ("t", "x", "y", "name", "id")) or not {"x", "y"} <= set(header):
        raise BadInput(f"{path} begins with the header {','.join(header)[:80]!r}; it must be t,x,y (or x,y), once each")
    columns = [header.index(name) if name in header else None for name in ("t", "x", "y")]
    words = [header.index(name) if name in header else None for name in ("name", "id")]
    points = []
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        name = f"line {rows.line_num} of {path}"
        try:
            t, x, y = (0.0 if column is None else float(row[column]) for column in columns)
        except (ValueError, IndexError):
            raise BadInput(f"{name} is {','.join(row)[:80]!r}; it must hold numbers for {','.join(header)[:80]}") from None
        called, known = ("" if column is None else row[column].strip() if column < len(row) else "" for column in words)
        called, known = unguarded(called), unguarded(known)
        if not (called.isprintable() and known.isprintable()):
            raise BadInput(f"{name} has a name or id that cannot be printed; leave out line breaks and the like")
        points.append(PointRow(name, (t, x, y), called, known))
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
        raise BadInput(f"{name}: the point {x:g},{y:g} is outside the image of {width}x{height} pixels")


_LOSSY = (".jpg", ".jpeg", ".webp", ".heic", ".heif")


def region_points(region: Any, side: int, frame: int, width: int, height: int) -> list[Point]:
    """Compute the centres of a grid of `side` x `side` cells that lie on a region of an image, row by row.

    `region` is a box x1,y1,x2,y2 in raster pixels, as text or four numbers, or a mask of the image's size, as a file (PNG) or
    an array (h, w), whose bounding box the cells fill. Raises BadInput if it is neither, is outside the image, or has no centre
    on it.
    """
    mask = None if (box := _box(region, width, height)) is not None else _mask(region, width, height)
    if mask is not None:
        import numpy as np

        down, across = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if not len(down):
            raise BadInput(f"the mask {_named(region)} is all black; paint the region in it white")
        box = float(across[0]), float(down[0]), float(across[-1] + 1), float(down[-1] + 1)
    assert box is not None
    x1, y1, x2, y2 = box
    points: list[Point] = [(frame, x1 + x, y1 + y) for _, x, y in grid_points(side, frame, x2 - x1, y2 - y1)]
    if mask is not None:
        points = [point for point in points if mask[int(point[2]), int(point[1])]]
    if not points:
        raise BadInput(f"none of {side}x{side} points lies on the mask {_named(region)}; give a larger --grid")
    return points


def _box(region: Any, width: int, height: int) -> tuple[float, float, float, float] | None:
    parts = cells_of(region) if isinstance(region, str) else region
    if isinstance(parts, Path) or not isinstance(parts, Sequence) or len(parts) != 4 or Path(str(region)).exists():
        return None
    try:
        x1, y1, x2, y2 = (float(part) for part in parts)
    except (TypeError, ValueError):
        return None
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise BadInput(
            f"--region {_named(region)} is no box in an image of {width}x{height} pixels; give x1,y1,x2,y2, left before right "
            "and upper before lower"
        )
    return x1, y1, x2, y2


def _mask(region: Any, width: int, height: int) -> "np.ndarray":
    import numpy as np

    mask = read_mask(Path(region)) if isinstance(region, str | Path) else np.asarray(region) != 0
    if mask.shape != (height, width):
        size = "x".join(str(number) for number in mask.shape[::-1])
        raise BadInput(f"the mask {_named(region)} has {size} pixels, the image {width}x{height}; give one of its size")
    return mask


def read_mask(path: Path) -> "np.ndarray":
    """Read a mask (h, w) of bools: opaque pixels that are not black; with a palette, those whose index is not 0. Raises
    BadInput for files that are not images, or with lossy compression."""
    import numpy as np
    from PIL import Image

    if path.suffix.lower() in _LOSSY:
        raise BadInput(f"--region {path} is compressed with loss, so that its black is not black; give a PNG")
    if not path.is_file():
        raise BadInput(f"--region {path} is neither a file nor a box; give a PNG, or x1,y1,x2,y2")
    try:
        with Image.open(no_pipe(path)) as image:
            if image.mode == "P":
                return np.asarray(image) != 0
            clear = np.asarray(image.convert("RGBA"))[..., 3] if "A" in image.mode else np.uint8(255)
            grey = image.mode in ("1", "L", "I", "I;16", "F")
            values = np.asarray(image) if grey else np.asarray(image.convert("RGB")).max(-1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f"--region {path} is no image that can be read ({error}); give a PNG") from error
    return (values != 0) & (clear > 127)


def _named(region: Any) -> str:
    return str(region) if isinstance(region, str | Path) else f"({type(region).__name__})"
