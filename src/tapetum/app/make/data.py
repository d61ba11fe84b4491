"""`tapetum.app.make.data`: writes shards of training samples, and fetches benchmarks."""

import json
from dataclasses import KW_ONLY, dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.commands import Command, Group, with_json
from tapetum.app.make.demos import make as make_demos
from tapetum.app.make.fetch_perception_test import fetch_perception_test
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.bench.published import BENCHMARKS, fetch
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
        shards = "1 shard" if self.shards == 1 else f"{self.shards:,} shards"
        units = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
        size = next((f"{self.bytes / count:.1f} {unit}" for unit, count in units if self.bytes >= count), f"{self.bytes} bytes")
        return f"wrote {self.samples:,} samples in {shards}, {size}, into {self.out}"


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
    >>> made.samples, made.shards
    (1, 1)
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


@dataclass(frozen=True, kw_only=True)
class FetchedBenchmark(Result):
    """A benchmark on this machine."""

    name: str
    """What `eval tapvid --data` takes."""
    path: Path
    bytes: int
    licence: str

    def as_text(self) -> str:
        return f"{self.path}    tapetum eval tapvid --data {self.name}\nlicence: {self.licence}"


def _fetch_command(name: str) -> Command:
    def work(given: Any, listener: Listener) -> FetchedBenchmark:
        place = fetch(name, listener.progress)
        size = sum(file.stat().st_size for file in place.glob("*.pkl"))
        return FetchedBenchmark(name=name, path=place, bytes=size, licence=BENCHMARKS[name].licence)

    options = make_dataclass("FetchOptions", [], frozen=True)
    options.__doc__ = f"Fetch {BENCHMARKS[name].summary}; a fetch that was cut off goes on where it was."
    return Command(with_json(options), work, "bytes")


COMMANDS = Group(
    """Make tar shards, from which training reads any modalities; make demonstrations for robots; fetch benchmarks of
    point tracking and the Perception Test.""",
    {
        "shards": write,
        **{f"tapvid-{name}": _fetch_command(name) for name in BENCHMARKS},
        "demos": make_demos,
        "perception-test": fetch_perception_test,
    },
)
