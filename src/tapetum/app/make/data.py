"""`tapetum.app.make.data`: writes and shows shards of training samples, and fetches benchmarks."""

import json
from dataclasses import KW_ONLY, dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.commands import Command, Group, with_json
from tapetum.app.make.demos import make as make_demos
from tapetum.app.make.fetch_perception_test import fetch_perception_test
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.bench.published import BENCHMARKS
from tapetum.core.files import whole_folder, write_text


@dataclass(frozen=True)
class ShardsWriteOptions:
    """Write tar shards (WebDataset's layout) of a folder, byte for byte.

    The folder may hold a folder for each class, or files of which those with one stem belong together (1.jpg, 1.txt).
    Classes are numbered in sorted order; their names are written to classes.json.
    """

    source: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="SOURCE")]
    """Folder of files."""
    _: KW_ONLY
    out: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Folder to write, new or empty. It gets all shards, or none where something fails."""
    layout: Literal["classes", "stems"] | None = None
    """How the source is laid out; by default that is found out."""
    name: str = "shard"
    """What the shards are called: NAME-000000.tar and so on."""
    samples_per_shard: Annotated[int, tyro.conf.arg(metavar="N")] = 10_000
    """Samples of a shard at most."""
    bytes_per_shard: Annotated[int, tyro.conf.arg(metavar="N")] = 1_000_000_000
    """Bytes after which a shard is ended."""
    shuffle: Annotated[int | None, tyro.conf.arg(metavar="SEED")] = None
    """Write samples in an order drawn by this seed; by default in that of their names."""


@dataclass(frozen=True, kw_only=True)
class ShardsWritten(Result):
    """Shards in a folder."""

    out: Path
    samples: int
    shards: int
    bytes: int

    def as_text(self) -> str:
        return f"wrote {self.samples:,} samples in {_counted(self.shards)}, {_size(self.bytes)}, into {self.out}"


@verb(ShardsWriteOptions, apart=("source",), data=("source",))
def write(options: ShardsWriteOptions, listener: Listener) -> ShardsWritten:
    """Write tar shards (in WebDataset's layout) from a folder, byte for byte.

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
    >>> made.samples, shown.first.key, shown.first.fields[0]["name"]
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
            counted(iter(source) if options.shuffle is None else source.shuffled(options.shuffle)),
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


@dataclass(frozen=True)
class ShownSample:
    """One sample."""

    key: str
    fields: tuple[dict[str, Any], ...]
    """Of each field name, bytes as stored and type; of arrays also their shape, of sound also its sample rate."""


@dataclass(frozen=True, kw_only=True)
class ShardsShown(Result):
    """Contents of shards."""

    samples: int
    shards: int
    bytes: int
    first: ShownSample

    def as_text(self) -> str:
        lines = [f"{self.samples:,} samples in {_counted(self.shards)}, {_size(self.bytes)}; the first is {self.first.key}"]
        for field in self.first.fields:
            shape = "x".join(map(str, field.get("shape", ())))
            lines.append(f"{field['name']:16} {field['bytes']:>12,} bytes  {field['type']:8} {shape}".rstrip())
        return "\n".join(lines)


@verb(ShardsShowOptions, data=("shards",))
def show(options: ShardsShowOptions, listener: Listener) -> ShardsShown:
    """Describe shards: samples, bytes, and the fields of the first sample. Raises BadInput for files that are not shards."""
    from tapetum.data.shards import KEY, Shards

    shards = Shards(options.shards)
    stored, first = shards.read(0), shards[0]
    fields = tuple(_field(name, len(stored[name]), first[name]) for name in shards.fields)
    size = sum(tar.stat().st_size for tar in shards.tars)
    return ShardsShown(samples=len(shards), shards=len(shards.tars), bytes=size, first=ShownSample(first[KEY], fields))


def _field(name: str, size: int, value: Any) -> dict[str, Any]:
    sound = {"rate": value.sample_rate} if hasattr(value, "sample_rate") else {}
    array = value.samples if sound else value
    if hasattr(array, "dtype"):
        return {"name": name, "bytes": size, "type": str(array.dtype), "shape": array.shape, **sound}
    return {"name": name, "bytes": size, "type": type(array).__name__, **sound}


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


def _fetch_command(name: str) -> Command:
    options = make_dataclass("FetchOptions", [], frozen=True)
    options.__doc__ = f"Fetch {BENCHMARKS[name].summary}; a fetch that was cut off goes on where it was."
    return Command(with_json(options), lambda given, listener: benchmark.run(BenchmarkOptions(name), listener), "bytes")


COMMANDS = Group(
    """Make and show tar shards, from which training reads any modalities; make demonstrations for robots; fetch benchmarks of
    point tracking and the Perception Test.""",
    {
        "shards": write,
        "show": show,
        **{f"tapvid-{name}": _fetch_command(name) for name in BENCHMARKS},
        "demos": make_demos,
        "perception-test": fetch_perception_test,
    },
)
