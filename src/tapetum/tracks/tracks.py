"""Tracks: where each queried point is in each frame, and how sure the tracker is.

Plain numpy, no torch: tables of tracks can be read and written by code that never loads a model.
Coordinates are raster pixels of the video: (x, y) with the origin at the outer corner of the top-left pixel, so that
its centre is (0.5, 0.5). Time is a frame number; a fraction lies between two frames.

Four formats by file extension: `npz` (arrays by field name), `csv` (a row for each point and frame), `json` and
`parquet` (like csv, needs the extra `tables`). Every one gives back exactly what was saved.
"""

import csv
import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.errors import BadInput, MissingExtra
from tapetum.files import whole_file

COLUMNS = ("point", "frame", "x", "y", "visible", "confidence")
"""Columns of the csv and parquet tables, which go on with QUERY_COLUMNS."""
QUERY_COLUMNS = ("query_t", "query_x", "query_y")
"""The query of the row's point; repeated in each of its rows so that the table needs no second file."""
WHOLE: Mapping[str, type] = {"point": np.int64, "frame": np.int64, "visible": np.int64}
"""Columns of a csv table that hold whole numbers."""


DAMAGE = (
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    OverflowError,
    RuntimeError,
    csv.Error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy, csv, json and zipfile raise on damaged files, depending on where the damage is."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Tracks of n points through t frames.

    Lists and other number types are converted; a wrong shape or a number that is not finite raises `BadInput`.

    >>> tracks = Tracks(xy=[[[1.5, 2.5], [2.5, 2.5]]], visible=[[True, False]], confidence=[[0.9, 0.2]],
    ...                 queries=[[0, 1.5, 2.5]])
    >>> tracks.points, tracks.frames, tracks.xy.dtype.name
    (1, 2, 'float32')
    """

    xy: np.ndarray
    """float32 (n, t, 2): x, y in raster pixels; a guess where the point is not visible."""
    visible: np.ndarray
    """bool (n, t): the point can be seen and its position is trusted."""
    confidence: np.ndarray
    """float32 (n, t): 0..1, the chance that the point is visible and its position right."""
    queries: np.ndarray
    """float32 (n, 3): frame, x, y of the point that was asked for."""

    def __post_init__(self) -> None:
        xy = _floats("xy", self.xy, 3, 2)
        n, t = xy.shape[:2]
        confidence = _floats("confidence", self.confidence, 2, None)
        queries = _floats("queries", self.queries, 2, 3)
        visible = np.asarray(self.visible)
        if visible.dtype != np.bool_ and not (visible.dtype.kind in "iu" and np.isin(visible, (0, 1)).all()):
            raise BadInput(f"visible of Tracks has dtype {visible.dtype}; it must be bool (or 0 and 1)")
        for name, array, wanted in (
            ("visible", visible, (n, t)),
            ("confidence", confidence, (n, t)),
            ("queries", queries, (n, 3)),
        ):
            if array.shape != wanted:
                raise BadInput(f"{name} of Tracks has shape {array.shape}; with xy of shape {xy.shape} give {wanted}")
        if confidence.size and (confidence.min() < 0 or confidence.max() > 1):
            raise BadInput("confidence of Tracks leaves 0..1; give a probability, not a logit")
        for name, array in (
            ("xy", xy),
            ("visible", visible.astype(np.bool_, copy=False)),
            ("confidence", confidence),
            ("queries", queries),
        ):
            object.__setattr__(self, name, array)

    @property
    def points(self) -> int:
        """Number of points n."""
        return self.xy.shape[0]

    @property
    def frames(self) -> int:
        """Number of frames t."""
        return self.xy.shape[1]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to `path`, in the format of its extension: npz, csv, json or parquet.

        The file appears whole or not at all: it is written beside its place, flushed to the disk and then renamed.
        Raises `BadInput` for another extension or where the place cannot be written, and `MissingExtra` for parquet
        without pyarrow.
        """
        path = Path(path)
        data = _format(path)[0](self)
        with whole_file(path) as temporary:
            temporary.write_bytes(data)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Tracks":
        """Read what `save` wrote; never runs code from the file.

        Raises `BadInput` where the file is missing, damaged or of another layout.
        """
        path = Path(path)
        read = _format(path)[1]
        try:
            data = path.read_bytes()
        except OSError as error:
            reason = error.strerror or error
            raise BadInput(f"cannot read tracks from {path}: {reason}; give a file written by Tracks.save") from error
        try:
            fields = read(data)
        except DAMAGE as error:
            reason = " ".join(str(error).split())
            raise BadInput(f"{path} does not hold tracks ({reason}); give a file written by Tracks.save") from error
        return cls(**fields)


def _floats(name: str, value: Any, dims: int, last: int | None) -> np.ndarray:
    """`value` as a finite float32 array of `dims` axes, the last of size `last`."""
    try:
        array = np.asarray(value, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{name} of Tracks is not an array of numbers: {error}") from error
    if array.ndim != dims or (last is not None and array.shape[-1] != last):
        wanted = ", ".join(["n", "t"][: dims - (last is not None)] + ([str(last)] if last is not None else []))
        raise BadInput(f"{name} of Tracks has shape {array.shape}; it must be ({wanted})")
    if not np.isfinite(array).all():
        raise BadInput(f"{name} of Tracks holds NaN or infinity; every number must be finite")
    return array


def _to_npz(tracks: Tracks) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, xy=tracks.xy, visible=tracks.visible, confidence=tracks.confidence, queries=tracks.queries)
    return buffer.getvalue()


def _from_npz(data: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in ("xy", "visible", "confidence", "queries")}


def _to_json(tracks: Tracks) -> bytes:
    fields = {
        "convention": "raster pixels, x right, y down, centre of the top-left pixel at (0.5, 0.5); queries are t, x, y",
        "shape": [tracks.points, tracks.frames],
        "queries": tracks.queries.tolist(),
        "xy": tracks.xy.tolist(),
        "visible": tracks.visible.tolist(),
        "confidence": tracks.confidence.tolist(),
    }
    return json.dumps(fields).encode()


def _from_json(data: bytes) -> dict[str, Any]:
    fields = json.loads(data)
    n, t = fields["shape"]
    return {
        "xy": np.array(fields["xy"], np.float32).reshape(n, t, 2),
        "visible": np.array(fields["visible"], np.bool_).reshape(n, t),
        "confidence": np.array(fields["confidence"], np.float32).reshape(n, t),
        "queries": np.array(fields["queries"], np.float32).reshape(n, 3),
    }


def columns_of(tracks: Tracks) -> dict[str, np.ndarray]:
    """The table: one row for each point and frame, points first."""
    n, t = tracks.points, tracks.frames
    query = np.repeat(tracks.queries, t, axis=0)
    values = (
        np.repeat(np.arange(n), t),
        np.tile(np.arange(t), n),
        tracks.xy[..., 0].reshape(-1),
        tracks.xy[..., 1].reshape(-1),
        tracks.visible.reshape(-1),
        tracks.confidence.reshape(-1),
        query[:, 0],
        query[:, 1],
        query[:, 2],
    )
    return dict(zip(COLUMNS + QUERY_COLUMNS, values, strict=True))


def tabulated(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns, whose rows may come in any order but must be complete, as arrays (n, t); raises ValueError."""
    for name in COLUMNS + QUERY_COLUMNS:
        if name not in columns:
            raise ValueError(f"no column {name!r}")
    point, frame = columns["point"].astype(np.int64), columns["frame"].astype(np.int64)
    n, t = (int(index.max()) + 1 if index.size else 0 for index in (point, frame))
    order = np.lexsort((frame, point))
    whole = n * t == point.size and np.array_equal(point[order] * t + frame[order], np.arange(n * t))
    if not whole:
        raise ValueError("some point lacks a frame or has one twice")
    return {name: values[order].reshape(n, t) for name, values in columns.items()}


def fields_of(table: dict[str, np.ndarray]) -> dict[str, Any]:
    """The fields of Tracks from arrays (n, t) by the name of their column; raises ValueError."""
    n, t = table["x"].shape
    queries = np.stack([table[name] for name in QUERY_COLUMNS], axis=-1)
    if (queries != queries[:, :1]).any():
        raise ValueError("the query of a point changes between its rows")
    return {
        "xy": np.stack([table["x"], table["y"]], axis=-1),
        "visible": table["visible"].astype(np.bool_),
        "confidence": table["confidence"],
        "queries": queries[:, 0] if t else np.zeros((n, 3), np.float32),
    }


def csv_table(columns: dict[str, np.ndarray]) -> bytes:
    """Columns of numbers as csv, truth values as 0 and 1; `csv_columns` gives back the same numbers."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    numbers = [values.astype(np.int64) if values.dtype == np.bool_ else values for values in columns.values()]
    for start in range(0, len(numbers[0]), 10_000):  # in parts: Ctrl-C waits for the end of each call of writerows
        # str of a float32 is the shortest text that reads back to the same float32.
        writer.writerows(zip(*(map(str, values[start : start + 10_000]) for values in numbers), strict=True))
    return file.getvalue().encode()


def csv_columns(data: bytes, dtypes: Mapping[str, type] = WHOLE) -> dict[str, np.ndarray]:
    """The columns of a csv file by name, as float32 where `dtypes` says nothing else; raises ValueError."""
    rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    header = next(rows, [])
    body = [row for row in rows if row]
    if any(len(row) != len(header) for row in body):
        raise ValueError("a row has another number of columns than the header")
    columns = {}
    for index, name in enumerate(header):
        texts = [row[index] for row in body]
        dtype = dtypes.get(name, np.float32)
        columns[name] = np.array(texts, dtype=np.str_).astype(dtype) if texts else np.zeros(0, dtype)
    return columns


def _to_parquet(tracks: Tracks) -> bytes:
    arrow, parquet = _pyarrow("writing parquet")
    buffer = io.BytesIO()
    parquet.write_table(arrow.table(columns_of(tracks)), buffer)
    return buffer.getvalue()


def _from_parquet(data: bytes) -> dict[str, Any]:
    arrow, parquet = _pyarrow("reading parquet")
    try:
        table = parquet.read_table(io.BytesIO(data))
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(str(error)) from error
    return fields_of(tabulated({name: table.column(name).to_numpy() for name in table.column_names}))


def _pyarrow(purpose: str) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "tables", purpose) from error
    return pyarrow, pyarrow.parquet


_FORMATS: dict[str, tuple[Callable[[Tracks], bytes], Callable[[bytes], dict[str, Any]]]] = {
    ".npz": (_to_npz, _from_npz),
    ".csv": (lambda tracks: csv_table(columns_of(tracks)), lambda data: fields_of(tabulated(csv_columns(data)))),
    ".json": (_to_json, _from_json),
    ".parquet": (_to_parquet, _from_parquet),
}


def _format(path: Path) -> tuple[Callable[[Tracks], bytes], Callable[[bytes], dict[str, Any]]]:
    try:
        return _FORMATS[path.suffix.lower()]
    except KeyError:
        found = f"the extension {path.suffix!r}" if path.suffix else "no extension"
        raise BadInput(f"{path} has {found}; tracks are stored as npz, csv, json or parquet") from None
