"""Data sets of LeRobot, version 3, read without its package (github.com/huggingface/lerobot, lerobot/datasets, v3.0).

    meta/info.json                                  frames per second, features, patterns of the names below
    meta/episodes/chunk-000/file-000.parquet        a row per episode: its tasks as text, its length, its file of rows, its part
                                                    of each video
    data/chunk-000/file-000.parquet                 a row per frame: state, action, timestamp; many episodes per file
    videos/CAMERA/chunk-000/file-000.mp4            the frames of a camera; many episodes per file

`tapetum.video.episodes` opens episodes as videos, `tapetum.data.lerobot` writes copies with more columns.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import read_json
from tapetum.core.tables import parquet_file, pyarrow_for

INFO, EPISODES = "meta/info.json", "meta/episodes"
ACTION, STATE = "action", "observation.state"
"""Features that policies learn from."""
_FIELD = re.compile(r"\{(chunk_index|file_index|video_key)(?::(0?\dd))?\}")
"""A field of the patterns of names."""


@dataclass(frozen=True, kw_only=True)
class LeRobotEpisode:
    """What the tables say of an episode."""

    number: int
    length: int
    """Frames."""
    tasks: tuple[str, ...]
    rows: Path
    """File with its rows."""
    videos: dict[str, tuple[Path, float]]
    """By camera: the file that it lies in, and from which second on."""


class LeRobotDataset:
    """A data set in a folder; tables are read on first use."""

    def __init__(self, folder: str | os.PathLike[str]):
        """Read meta/info.json. Raises BadInput for another version, or a file with other content."""
        self.folder = Path(folder)
        try:
            about = read_json(self.folder / INFO)
            version = str(about["codebase_version"])
            self.frame_rate = float(about["fps"])
            self.features = {str(name): dict(feature) for name, feature in about["features"].items()}
            self._rows, self._videos = str(about["data_path"]), about.get("video_path")
            self.about: dict[str, Any] = about
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"{self.folder / INFO} cannot be read ({str(error)[:80]}); it is not what LeRobot writes") from error
        if not version.startswith("v3."):
            raise BadInput(
                f"{self.folder} is a LeRobot data set of version {version}, and v3 is read; convert it with its package: "
                "python -m lerobot.datasets.v30.convert_dataset_v21_to_v30"
            )
        if not 0 < self.frame_rate < 1e6:
            raise BadInput(f"{self.folder / INFO} says {self.frame_rate} frames a second; it must be above 0")
        self._cached: tuple[tuple[Path, int], Any] | None = None

    @property
    def cameras(self) -> tuple[str, ...]:
        """List the features that are images, in file order."""
        return tuple(name for name, feature in self.features.items() if feature.get("dtype") in ("video", "image"))

    def camera(self, name: str | None) -> str:
        """Find a camera by its name or the last word of it; None: the first. Raises BadInput unless exactly one matches."""
        if not self.cameras:
            raise BadInput(f"{self.folder} has no camera among its features")
        if name is None:
            return self.cameras[0]
        matching = [each for each in self.cameras if name in (each, each.rsplit(".", 1)[-1])]
        if len(matching) != 1:
            raise BadInput(f"{self.folder} has {len(matching)} cameras named {name!r}; it has {', '.join(self.cameras)}")
        return matching[0]

    def select(self, first: int | None = None, last: int | None = None) -> list[int]:
        """List the numbers of the episodes from `first` to `last`, or of all. Raises BadInput for missing ones."""
        count = len(self.episodes)
        if not count:
            raise BadInput(f"{self.folder} has no episodes")
        if first is None or last is None:
            return list(range(count))
        if not first <= last < count:
            raise BadInput(f"{self.folder} has episodes 0 to {count - 1}, not {first if first == last else f'{first}-{last}'}")
        return list(range(first, last + 1))

    @cached_property
    def episodes(self) -> tuple[LeRobotEpisode, ...]:
        """Read the table of episodes, by number. Raises BadInput if it is missing or damaged."""
        files = sorted((self.folder / EPISODES).glob("chunk-*/file-*.parquet"))
        rows: list[dict[str, Any]] = []
        for file in files:
            table = self.read_table(file, lambda name: not name.startswith("stats/"))
            rows += table.to_pylist()
        try:
            episodes = sorted((self._episode(row) for row in rows), key=lambda episode: episode.number)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise BadInput(f"{self.folder / EPISODES} lacks {error}; write the data set again with LeRobot") from error
        if [episode.number for episode in episodes] != list(range(len(episodes))):
            raise BadInput(f"{self.folder / EPISODES} does not list episodes 0 to {len(episodes) - 1}, each once")
        return tuple(episodes)

    def _episode(self, row: dict[str, Any]) -> LeRobotEpisode:
        def place(pattern: str, of: str, **names: str) -> Path:
            numbers = {name: int(row[f"{of}/{name}"]) for name in ("chunk_index", "file_index")}
            file = _FIELD.sub(lambda field: format({**numbers, **names}[field[1]], field[2] or ""), pattern)
            path = self.folder / file
            if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(self.folder)):
                raise ValueError(f"a file in its folder, and names {file}")
            return path

        videos = {
            name: (place(str(self._videos), f"videos/{name}", video_key=name), float(row[f"videos/{name}/from_timestamp"]))
            for name in self.cameras
            if self.features[name]["dtype"] == "video"
        }
        number, length, tasks = int(row["episode_index"]), int(row["length"]), tuple(map(str, row["tasks"]))
        return LeRobotEpisode(number=number, length=length, tasks=tasks, rows=place(self._rows, "data"), videos=videos)

    def rows(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Read columns of an episode's rows, in the order of its frames: (t,) or (t, k); images as a list of bytes (object)."""
        episode = self.episodes[number]
        table = self._table(episode.rows)
        known = [name for name in self.features if name in table.column_names]
        if missing := [name for name in names if name not in known]:
            raise BadInput(f"{episode.rows} has no feature {missing[0]!r}; it has {', '.join(known)}")
        places = np.flatnonzero(table["episode_index"].to_numpy() == number)
        own = table.take(places[np.argsort(table["frame_index"].to_numpy()[places], kind="stable")])
        if own.num_rows != episode.length:
            raise BadInput(f"{episode.rows} has {own.num_rows} rows of episode {number}; {EPISODES} says {episode.length}")
        return {name: _array(own[name], episode.rows, name) for name in names}

    def _table(self, file: Path) -> Any:
        """The rows of a file; the last file is cached, since episodes are adjacent."""
        key = file, file.stat().st_mtime_ns if file.exists() else 0
        if self._cached is None or self._cached[0] != key:
            table = self.read_table(file)
            arrow, _ = pyarrow_for("reading data sets of LeRobot")
            kinds = dict(zip(table.schema.names, table.schema.types, strict=True))
            for name in ("episode_index", "frame_index", "timestamp"):
                if not arrow.types.is_primitive(kinds.get(name, arrow.string())):
                    raise BadInput(f"{file} has no column {name} of numbers; write the data set again with LeRobot")
            self._cached = key, table
        return self._cached[1]

    def read_table(self, file: Path, chosen: Any = None) -> Any:
        """Read a parquet file, or the columns that `chosen` accepts. Raises BadInput if it is damaged or missing."""
        arrow, parquet = pyarrow_for("reading data sets of LeRobot")
        try:
            opened = parquet.ParquetFile(parquet_file(file, "reading data sets of LeRobot"))
            names = [name for name in opened.schema_arrow.names if chosen is None or chosen(name)]
            return opened.read(names)
        except (OSError, ValueError, arrow.ArrowException) as error:
            raise BadInput(f"{file} cannot be read ({str(error)[:80]}); get the data set again") from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cached": None}


def is_lerobot(folder: str | os.PathLike[str]) -> bool:
    """Check whether a folder has the layout of a LeRobot data set."""
    return os.path.isfile(os.path.join(folder, INFO))


@lru_cache(maxsize=8)
def _opened(folder: str, changed: int) -> LeRobotDataset:
    return LeRobotDataset(folder)


def open_lerobot(folder: str | os.PathLike[str]) -> LeRobotDataset:
    """Open a data set; a recently opened, unchanged one is the same object. Raises BadInput for anything else."""
    if not is_lerobot(folder):
        raise BadInput(f"{folder} is no data set of LeRobot: it has no {INFO}")
    return _opened(os.fspath(folder), os.stat(os.path.join(folder, INFO)).st_mtime_ns)


def _array(column: Any, file: Path, name: str) -> np.ndarray:
    """A column as (t,) or (t, k)."""
    values = column.to_pylist()
    for row, value in enumerate(values):
        if value is None or (isinstance(value, dict) and not isinstance(value.get("bytes"), bytes)):
            raise BadInput(f"{file} has no {name} in row {row} of an episode; get the data set again")
    if values and isinstance(values[0], dict):  # an image
        return np.array([value.get("bytes") for value in values], object)
    try:
        return np.array(values) if values and not isinstance(values[0], str) else np.array(values, object)
    except ValueError as error:
        raise BadInput(f"{file} has rows of {name} of several lengths; get the data set again") from error
