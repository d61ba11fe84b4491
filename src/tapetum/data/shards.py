"""Samples in tar files of WebDataset's layout, read at any place and written whole.

A shard is a tar in which the members of a sample lie side by side and share the key of their names: n01/cat.jpg, n01/cat.cls.

What is unusual: nothing is streamed. An index says where every member lies, so sample k is a few reads at known places,
a pure function of k; order comes from `tapetum.data.samples.Shuffle`.

Source: WebDataset (github.com/webdataset/webdataset), whose shards are read and written alike. Differs from it: random access;
samples must have equal fields; pickles are not loaded; grey images of png stay 2-D (`tapetum.data.fields`).
"""

import io
import itertools
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write, whole_file
from tapetum.core.reading import open_file
from tapetum.data.fields import Sound, decode, encode
from tapetum.data.remote_folder import local_place
from tapetum.data.tar_index import index_of, split_name

Source = str | Path | Sequence[str | Path]
"""A tar, a folder of tars, a pattern such as train-*.tar, or a list of these: paths or addresses."""


def find_tars(source: Source) -> Sequence[Path]:
    """Find the tars that `source` names, those of a folder sorted by name. Raises BadInput where there are none."""
    if not isinstance(source, str | Path):
        listed = [tar for one in source for tar in find_tars(one)]
        if not listed:
            raise BadInput("the list of shards is empty; give one tar or more")
        return listed
    source = local_place(source)
    if source.is_dir():
        tars = sorted(path for path in source.iterdir() if path.suffix == ".tar" and not path.name.startswith("."))
        if not tars:
            raise BadInput(f"there is no .tar in {source}; give a folder with .tar files, which are not compressed")
        return tars
    return sorted(map(Path, glob(str(source)))) or [source]


KEY = "__key__"
"""Name of a sample's key beside its fields."""
_BYTES = 1_000_000_000
"""Size at which a shard is full, whatever the number of its samples."""


class Shards:
    """The samples of one or more tars, in their order: `shards[k]` has a value for each field, and the key as `__key__`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_shards([{"__key__": "a", "cls": 3}, {"__key__": "b", "cls": 5}], folder, "train")
    ...     print(Shards(folder)[1])
    {'__key__': 'b', 'cls': 5}
    """

    def __init__(self, source: Source, *, fields: Sequence[str] | None = None):
        """Open the shards that `find_tars` finds, with the `fields` that every sample must have; by default all there are.

        Raises BadInput for files that are missing, damaged, compressed or no tars, without samples or with unequal fields.
        """
        self.tars = find_tars(source)
        indexes = [index_of(tar) for tar in self.tars]
        names = tuple(dict.fromkeys(name for index in indexes for name in index.fields))
        self.fields = names if fields is None else tuple(fields)
        self._keys = [index.keys for index in indexes]
        self._ends = np.cumsum([len(keys) for keys in self._keys])
        if not len(self):
            raise BadInput(f"there is no sample in {_several(self.tars)}; a sample is one or more files named KEY.ENDING")
        unknown = sorted(set(self.fields) - set(names))
        if unknown:
            raise BadInput(f"there is no field {unknown[0]!r} in {_several(self.tars)}; there are {', '.join(names)}")
        self._places = np.full((2, len(self), len(self.fields)), -1, np.int64)
        for index, end in zip(indexes, self._ends, strict=True):
            rows = slice(end - len(index.keys), end)
            for column, name in enumerate(self.fields):
                if name in index.fields:
                    theirs = index.fields.index(name)
                    self._places[:, rows, column] = index.offsets[:, theirs], index.sizes[:, theirs]
        lacking = np.argwhere(self._places[0] < 0)
        if len(lacking):
            k, column = map(int, lacking[0])
            tar, key = self.locate(k)
            raise BadInput(
                f"{tar}: sample {key} has no field {self.fields[column]!r}, which others have; "
                "all samples must have the same: add it, or name only those to be read (fields)"
            )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, k: int) -> dict[str, Any]:
        """Sample k, decoded. Raises BadInput that names tar and key of a damaged member, IndexError for no such k."""
        tar, key = self.locate(k)
        data = self.read(k)
        return {KEY: key} | {name: decode(name, data[name], f"{tar}: {key}.{name}") for name in self.fields}

    def read(self, k: int) -> dict[str, bytes]:
        """Read the fields of sample k as they are stored."""
        return {name: self.read_field(k, name) for name in self.fields}

    def read_field(self, k: int, field: str) -> bytes:
        """Read one field of sample k as it is stored."""
        tar, key = self.locate(k)
        offset, size = map(int, self._places[:, k, self.fields.index(field)])
        try:
            with open_file(tar) as file:  # for every read: there may be more tars than open files are allowed
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise BadInput(f"cannot read {tar} ({error.strerror}); make it readable and run again") from error
        if len(data) < size:
            raise BadInput(f"{tar}: {key}.{field} is cut off; the file has changed since: copy it again")
        return data

    def locate(self, k: int) -> tuple[Path, str]:
        """Locate the tar of sample k, and its key."""
        if not 0 <= k < len(self):
            raise IndexError(f"sample {k} of {len(self)}")
        shard = int(np.searchsorted(self._ends, k, side="right"))
        keys = self._keys[shard]
        return self.tars[shard], bytes(keys[k - int(self._ends[shard]) + len(keys)]).decode(errors="surrogateescape")

    def column(self, field: str) -> "ShardColumn":
        """Open one field of all samples, without reading the others."""
        return ShardColumn(self, field)


class ShardColumn:
    """One field of all samples, as a sequence of arrays of one shape, or of numbers, that are read when they are asked for."""

    def __init__(self, shards: Shards, field: str):
        if field not in shards.fields:
            raise BadInput(f"there is no field {field!r}; there are {', '.join(shards.fields)}")
        self._shards, self._name = shards, field
        self.shape = (len(shards), *self._value(0).shape)
        """Number of samples, and the shape of each."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, k: int) -> np.ndarray:
        """The value of sample k: of a sound its samples. Raises BadInput for another shape than the first has."""
        value = self._value(k)
        if value.shape != self.shape[1:]:
            tar, key = self._shards.locate(k)
            raise BadInput(f"{tar}: {key}.{self._name} has shape {value.shape}, the first {self.shape[1:]}; bring all to one")
        return value

    def _value(self, k: int) -> np.ndarray:
        tar, key = self._shards.locate(k)
        where = f"{tar}: {key}.{self._name}"
        value = decode(self._name, self._shards.read_field(k, self._name), where)
        value = np.asarray(value.samples if isinstance(value, Sound) else value)
        if value.dtype.kind not in "biufc":
            raise BadInput(f"{where} is no array or number; choose a field of images, sounds, arrays or classes")
        return value


def _several(tars: Sequence[Path]) -> str:
    return str(tars[0]) if len(tars) == 1 else f"{tars[0]} and {len(tars) - 1} more"


def write_shards(
    samples: Iterable[Mapping[str, Any]], folder: str | Path, name: str, *, samples_per_shard: int = 10_000
) -> list[Path]:
    """Write `folder`/`name`-000000.tar and so on, each with its index, and return their paths.

    A sample has its key as `__key__`, and bytes, or a value that `tapetum.data.fields` can store, for each ending. A shard is
    full at `samples_per_shard` samples or 1 GB of fields. The same samples give the same bytes. Each shard
    is there whole or not at all. Raises BadInput where `folder` holds anything, and for samples that could not be read back.
    """
    if samples_per_shard < 1:
        raise BadInput(f"a shard of {samples_per_shard} samples; it must have 1 or more")
    if not name or "/" in name or name.startswith("."):
        raise BadInput(f"shards cannot be named {name!r}; give a name without slashes that begins with no dot")
    folder = Path(folder)
    refuse_content(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    encoded = _encoded(samples)
    paths: list[Path] = []
    for first in encoded:
        path = folder / f"{name}-{len(paths):06d}.tar"
        with whole_file(path) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
            written = 0
            for number, (key, members) in enumerate(itertools.chain([first], encoded), start=1):
                for ending, data in members.items():
                    member = tarfile.TarInfo(f"{key}.{ending}")  # owner 0, time 0
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                    written += len(data)
                if number == samples_per_shard or written >= _BYTES:
                    break
        index_of(path)
        paths.append(path)
    if not paths:
        raise BadInput("there is no sample to write; give one or more")
    return paths


def refuse_content(folder: Path) -> None:
    """Raise BadInput where `folder` is a file or holds anything."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file; give a folder that is empty or not there yet")
    there = next(folder.iterdir(), None) if folder.exists() else None
    if there is not None:
        raise BadInput(f"{folder} is not empty (it holds {there.name}); give a folder that is empty or not there yet")


def _encoded(samples: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Keys and members, checked to be read back as they are."""
    keys: set[str] = set()
    fields: set[str] | None = None
    for number, sample in enumerate(samples):
        key = sample.get(KEY)
        members = {ending: value for ending, value in sample.items() if ending != KEY}
        if not isinstance(key, str) or key in keys or not members:
            trouble = "has no fields" if not members else f"has the {KEY} {key!r}"
            raise BadInput(f"sample {number} {trouble}; each needs a text of its own as {KEY}, and one field or more")
        wrong = next((ending for ending in members if split_name(f"{key}.{ending}") != (key, ending)), None)
        if wrong is not None or "\0" in key:
            raise BadInput(f"{key}.{wrong} is no name of a member: give keys without dots, endings in lower case")
        fields = set(members) if fields is None else fields
        if set(members) != fields:
            odd = sorted(set(members) ^ fields)[0]
            raise BadInput(f"sample {key} {'lacks' if odd in fields else 'has'} {odd!r} unlike those before; give all the same")
        keys.add(key)
        yield key, {ending: encode(ending, value) for ending, value in members.items()}
