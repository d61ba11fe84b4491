"""`tapetum.app.make.data`: checks the data of published recipes, and writes and shows shards of training samples."""

import json
from dataclasses import KW_ONLY, dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.commands import Command, Group, with_json
from tapetum.app.make.check_data import check
from tapetum.app.make.demos import make as make_demos
from tapetum.app.make.fetch_perception_test import fetch_perception_test
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.files import whole_folder, write_text


@dataclass(frozen=True)
class ShardsWriteOptions:
    """Write tar shards (WebDataset's layout) of a folder or of parquet files, byte for byte.

    The folder may hold a folder for each class, or files of which those with one stem belong together (1.jpg, 1.txt).
    Classes are numbered in sorted order; their names are written to classes.json.
    """

    source: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="SOURCE")]
    """Folder, or parquet file of the Hugging Face hub."""
    _: KW_ONLY
    out: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Folder to write, new or empty. It gets all shards, or none where something fails."""
    layout: Literal["classes", "stems", "parquet"] | None = None
    """How the source is laid out; by default that is found out."""
    name: str = "shard"
    """What the shards are called: NAME-000000.tar and so on."""
    samples_per_shard: Annotated[int, tyro.conf.arg(metavar="N")] = 10_000
    """Samples of a shard at most."""
    bytes_per_shard: Annotated[int, tyro.conf.arg(metavar="N")] = 1_000_000_000
    """Bytes after which a shard is ended."""
    shuffle: Annotated[int | None, tyro.conf.arg(metavar="SEED")] = None
    """Write samples in an order drawn by this seed; by default in that of their names or rows."""


@dataclass(frozen=True, kw_only=True)
class ShardsWritten(Result):
    """Shards in a folder."""

    out: Path
    """The folder."""
    samples: int
    """In all of them."""
    shards: int
    """Tar files."""
    bytes: int
    """Size of all."""

    def as_text(self) -> str:
        return f"wrote {self.samples:,} samples in {_counted(self.shards)}, {_size(self.bytes)}, into {self.out}"


@verb(ShardsWriteOptions, apart=("source",), data=("source",))
def write(options: ShardsWriteOptions, listener: Listener) -> ShardsWritten:
    """Write tar shards (in WebDataset's layout) from a folder or parquet files, byte for byte.

    The folder may hold one folder per class, or files grouped by stem (1.jpg, 1.txt). Classes are numbered in sorted order;
    their names are written to classes.json. Raises BadInput for a source that is neither, and for a folder `out` that is not
    empty.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import tapetum
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "in").mkdir()
    ...     _ = (Path(folder) / "in" / "1.txt").write_text("one")
    ...     made = tapetum.app.make.data.write(f"{folder}/in", out=f"{folder}/out", layout="stems")
    ...     shown = tapetum.app.make.data.show((f"{folder}/out",))
    >>> made.samples, shown.first.key, shown.first.fields[0].name
    (1, '1', 'txt')
    """
    from tapetum.data.shard_sources import open_source
    from tapetum.data.shards import refuse_content, write_shards

    out = Path(options.out)
    refuse_content(out)
    source = open_source(Path(options.source), options.layout)

    def counted(samples: Any) -> Any:
        listener.progress("writing", 0, len(source))
        for done, sample in enumerate(samples):
            yield sample
            listener.progress("writing", done + 1, len(source))

    with whole_folder(out) as folder:
        paths = write_shards(
            counted(iter(source) if options.shuffle is None else source.shuffled(options.shuffle, folder.parent)),
            folder,
            options.name,
            samples_per_shard=options.samples_per_shard,
            bytes_per_shard=options.bytes_per_shard,
        )
        written = sum(path.stat().st_size for path in paths)
        if source.classes is not None:
            write_text(folder / "classes.json", json.dumps(list(source.classes), ensure_ascii=False, indent=0) + "\n")
    return ShardsWritten(out=out, samples=len(source), shards=len(paths), bytes=written)


@dataclass(frozen=True)
class ShardsShowOptions:
    """Describe shards: samples, bytes, and the fields of the first sample."""

    shards: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="SHARDS")]
    """Tar files, a folder of them, or a pattern such as 'train-*.tar'."""


@dataclass(frozen=True, kw_only=True)
class ShownField:
    """One field of a sample."""

    name: str
    """Ending of its file."""
    bytes: int
    """As stored."""
    type: str
    """Type of the decoded value."""
    shape: tuple[int, ...] | None
    """Shape of the decoded value, if it is an array; of sound that of its samples."""
    sample_rate: int | None
    """Samples of sound per second."""

    def as_json(self) -> dict[str, Any]:
        shape = None if self.shape is None else list(self.shape)
        known = {"name": self.name, "bytes": self.bytes, "type": self.type, "shape": shape, "rate": self.sample_rate}
        return {key: value for key, value in known.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class ShownSample:
    """One sample."""

    key: str
    """Its name."""
    fields: tuple[ShownField, ...]
    """What it holds."""

    def as_json(self) -> dict[str, Any]:
        return {"key": self.key, "fields": [field.as_json() for field in self.fields]}


@dataclass(frozen=True, kw_only=True)
class ShardsShown(Result):
    """Contents of shards."""

    samples: int
    """In all of them."""
    shards: int
    """Tar files."""
    bytes: int
    """Size of all."""
    first: ShownSample
    """The first sample."""

    def as_json(self) -> dict[str, Any]:
        return {"samples": self.samples, "shards": self.shards, "bytes": self.bytes, "first": self.first.as_json()}

    def as_text(self) -> str:
        count, size = _counted(self.shards), _size(self.bytes)
        lines = [f"{self.samples:,} samples in {count}, {size}; the first is {self.first.key}"]
        for field in self.first.fields:
            shape = "x".join(map(str, field.shape or ()))
            lines.append(f"{field.name:16} {field.bytes:>12,} bytes  {field.type:8} {shape}".rstrip())
        return "\n".join(lines)


@verb(ShardsShowOptions, data=("shards",))
def show(options: ShardsShowOptions, listener: Listener) -> ShardsShown:
    """Describe shards: samples, bytes, and the fields of the first sample. Raises BadInput for files that are not shards."""
    from tapetum.data.shards import KEY, Shards

    shards = Shards(options.shards)
    stored, first = shards.read(0), shards[0]
    fields = tuple(_field(name, len(stored[name]), first[name]) for name in shards.fields)
    size = sum(tar.stat().st_size for tar in shards.tars)
    return ShardsShown(
        samples=len(shards), shards=len(shards.tars), bytes=size, first=ShownSample(key=first[KEY], fields=fields)
    )


def _field(name: str, size: int, value: Any) -> ShownField:
    sample_rate = getattr(value, "sample_rate", None)
    array = value if sample_rate is None else value.samples
    if hasattr(array, "dtype"):
        return ShownField(name=name, bytes=size, type=str(array.dtype), shape=tuple(array.shape), sample_rate=sample_rate)
    return ShownField(name=name, bytes=size, type=type(array).__name__, shape=None, sample_rate=sample_rate)


@dataclass(frozen=True, kw_only=True)
class FetchedBenchmark(Result):
    """A benchmark on this machine."""

    name: str
    """What `eval tapvid --data` takes."""
    path: Path
    """Folder of its pickles."""
    bytes: int
    """Size of all."""
    licence: str

    def as_text(self) -> str:
        return f"{self.path}    tapetum eval tapvid --data {self.name}\nlicence: {self.licence}"


@dataclass(frozen=True)
class BenchmarkOptions:
    """Options of `benchmark`."""

    name: tyro.conf.Positional[str]
    """davis, rgb-stacking or robotap."""


@verb(BenchmarkOptions)
def benchmark(options: BenchmarkOptions, listener: Listener) -> FetchedBenchmark:
    """Download a benchmark of point tracking; the next call resumes an interrupted download.

    Raises BadInput for an unknown name, a server that cannot be reached, a damaged file, and a folder that cannot be written.
    """
    from tapetum.bench.published import fetch, find

    entry = find(options.name)
    place = fetch(options.name, listener.progress)
    size = sum(file.stat().st_size for file in place.glob("*.pkl"))
    return FetchedBenchmark(name=entry.name, path=place, bytes=size, licence=entry.licence)


def _counted(shards: int) -> str:
    return "1 shard" if shards == 1 else f"{shards:,} shards"


def _size(count: int) -> str:
    for unit, bytes_of in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= bytes_of:
            return f"{count / bytes_of:.1f} {unit}"
    return f"{count} bytes"


_BENCHMARKS = {
    "davis": "TAP-Vid-DAVIS, 30 real videos",
    "rgb-stacking": "TAP-Vid-RGB-Stacking, 50 synthetic videos of a robot",
    "robotap": "RoboTAP, 265 real videos of robots",
}


def _fetch_command(name: str) -> Command:
    options = make_dataclass("FetchOptions", [], frozen=True)
    options.__doc__ = f"Fetch {_BENCHMARKS[name]}; a fetch that was cut off goes on where it was."
    return Command(with_json(options), lambda given, listener: benchmark.run(BenchmarkOptions(name), listener), "bytes")


COMMANDS = Group(
    """Check the data of published recipes; make and show tar shards, from which training reads any modalities; make
    demonstrations for robots; fetch benchmarks of point tracking and the Perception Test.""",
    {
        "check": check,
        "shards": write,
        "show": show,
        **{f"tapvid-{name}": _fetch_command(name) for name in _BENCHMARKS},
        "demos": make_demos,
        "perception-test": fetch_perception_test,
    },
)
