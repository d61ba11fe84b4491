"""Copies of LeRobot data sets (version 3) with more columns, such as tracks; the original is never modified.

A feature is a number, a boolean or a text for every frame, or a vector of fixed length. The copy stores its values in the
rows, its name in meta/info.json, and its statistics in meta/stats.json and in the table of episodes (texts have none), so
that the package opens the copy like the original. Quantiles are exact here; the package's are from histograms.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_folder, write_text
from tapetum.core.reading import no_pipe, parse_json, read_json
from tapetum.core.tables import pyarrow_for
from tapetum.video.lerobot import EPISODES, INFO, LeRobotDataset

STATS = "meta/stats.json"
_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_HUB = b"huggingface"
"""Where the package `datasets` describes the columns of a parquet file."""


@dataclass(frozen=True, kw_only=True)
class FrameFeature:
    """A column that is added."""

    name: str
    """Such as tracks.top.xy; what begins with observation or action would be shown to policies."""
    dtype: str
    """float32, int64, bool or string."""
    size: int = 1
    """Numbers of a frame."""
    names: tuple[str, ...] | None = None
    """Of these numbers."""

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name or self.dtype not in ("float32", "int64", "bool", "string") or self.size < 1:
            raise BadInput(f"{self} cannot be a feature; wanted a name without /, a dtype and 1 number or more")


Features = Sequence[FrameFeature]
Columns = Mapping[str, np.ndarray]


def copy_with_features(data: LeRobotDataset, out: Path, features: Features, compute: Callable[[int], Columns]) -> None:
    """Write a copy of a data set with more features into a new folder, whole or not at all.

    `compute` returns the values of an episode by feature, (t,) or (t, k), one row per frame; it is called once per episode.
    Raises BadInput if the folder is not empty or inside the set, a feature exists already, or the values do not match.
    """
    if existing := [feature.name for feature in features if feature.name in data.features]:
        raise BadInput(f"{data.folder} has a feature {existing[0]} already; annotate the set that it was made of")
    if out.is_dir() and any(out.iterdir()):
        raise BadInput(f"{out} is not empty; give --out a new folder for the copy")
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(data.folder)):
        raise BadInput(f"{out} lies in {data.folder}, which is not changed; give --out a folder outside it")
    files = list(dict.fromkeys(episode.rows for episode in data.episodes))
    tables = sorted((data.folder / EPISODES).glob("chunk-*/file-*.parquet"))
    written = {*files, *tables, data.folder / INFO, data.folder / STATS}
    with whole_folder(out) as folder:
        for source in sorted(data.folder.rglob("*")):
            if source.is_file() and source not in written and not source.name.startswith("."):
                target = folder / source.relative_to(data.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(no_pipe(source), target)
        values: dict[int, Columns] = {}
        for file in files:
            for episode in data.episodes:
                if episode.rows == file:
                    values[episode.number] = _checked(compute(episode.number), features, episode.length, episode.number)
            _write_rows(data, file, folder / file.relative_to(data.folder), features, values)
        numbers = [feature for feature in features if feature.dtype != "string"]
        for file in tables:
            _write_episodes(data, file, folder / file.relative_to(data.folder), numbers, values)
        about = {**data.about, "features": {**data.about["features"], **{each.name: _described(each) for each in features}}}
        write_text(folder / INFO, json.dumps(about, indent=4, ensure_ascii=False))
        order = sorted(values)
        stats = _read_stats(data.folder / STATS)
        stats |= {each.name: compute_stats(np.concatenate([values[n][each.name] for n in order])) for each in numbers}
        write_text(folder / STATS, json.dumps(stats, indent=4, ensure_ascii=False))


def compute_stats(values: np.ndarray) -> dict[str, list[float]]:
    """Compute LeRobot's statistics of a feature (n,) or (n, k): extremes, mean, deviation, quantiles, a number for each of k.

    >>> stats = compute_stats(np.array([1.0, 2.0, 3.0]))
    >>> stats["mean"], stats["count"], stats["q50"], round(stats["std"][0], 4)
    ([2.0], [3], [2.0], 0.8165)
    """
    rows = values.reshape(len(values), -1).astype(np.float64)
    figures = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    figures |= {name: np.quantile(rows, share, axis=0) for name, share in _QUANTILES.items()}
    return {**{name: numbers.tolist() for name, numbers in figures.items()}, "count": [len(rows)]}


def _described(feature: FrameFeature) -> dict[str, Any]:
    return {"dtype": feature.dtype, "shape": [feature.size], "names": list(feature.names) if feature.names else None}


def _read_stats(file: Path) -> dict[str, Any]:
    try:
        return dict(read_json(file)) if file.exists() else {}
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"{file} cannot be read ({str(error)[:80]}); get the data set again") from error


def _checked(values: Columns, features: Features, length: int, number: int) -> Columns:
    for each in features:
        shape = values[each.name].shape
        if shape != ((length,) if each.size == 1 else (length, each.size)):
            raise BadInput(f"{each.name} of episode {number} is {shape} for {length} frames of {each.size} numbers")
    return values


def _write_rows(data: LeRobotDataset, file: Path, target: Path, features: Features, values: Mapping[int, Columns]) -> None:
    """A file of rows with the new values beside the existing ones."""
    arrow, parquet = pyarrow_for("writing data sets of LeRobot")
    table = data.read_table(file)
    episode, frame = table["episode_index"].to_numpy(), table["frame_index"].to_numpy()
    described = {}
    for each in features:
        kind = arrow.string() if each.dtype == "string" else arrow.from_numpy_dtype(each.dtype)
        listed = {number: values[number][each.name].tolist() for number in set(episode.tolist())}
        rows = [listed[int(e)][int(f)] for e, f in zip(episode, frame, strict=True)]
        value = {"dtype": each.dtype, "_type": "Value"}
        described[each.name] = value if each.size == 1 else {"feature": value, "length": each.size, "_type": "List"}
        table = table.append_column(each.name, arrow.array(rows, kind if each.size == 1 else arrow.list_(kind, each.size)))
    target.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table.replace_schema_metadata(_with_columns(table.schema.metadata, described)), target)


def _with_columns(metadata: Mapping[bytes, bytes] | None, described: Mapping[str, Any]) -> dict[bytes, bytes]:
    """The description of a parquet file's columns, with the new ones."""
    columns = dict(metadata or {})
    if _HUB in columns:
        try:
            about = parse_json(columns[_HUB])
            about["info"]["features"] |= described
            about.pop("fingerprint", None)  # of the content that was
            columns[_HUB] = json.dumps(about).encode()
        except (ValueError, KeyError, TypeError, AttributeError):
            del columns[_HUB]  # it describes nothing; what reads the file goes by the columns' types
    return columns


def _write_episodes(data: LeRobotDataset, file: Path, target: Path, features: Features, values: Mapping[int, Columns]) -> None:
    """A table of episodes with the statistics of each."""
    arrow, parquet = pyarrow_for("writing data sets of LeRobot")
    table = data.read_table(file)
    numbers = table["episode_index"].to_pylist()
    for each in features:
        rows = [compute_stats(values[number][each.name]) for number in numbers]
        for name in rows[0] if rows else ():
            kind = arrow.list_(arrow.int64() if name == "count" else arrow.float64())
            table = table.append_column(f"stats/{each.name}/{name}", arrow.array([row[name] for row in rows], kind))
    target.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, target)
