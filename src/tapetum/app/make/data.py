"""`tapetum.app.make.data`: writes shards of training samples, records demonstrations, and fetches benchmarks."""

import json
from dataclasses import KW_ONLY, dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.commands import Command, Group, with_json
from tapetum.app.make.fetch_perception_test import fetch_perception_test
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.bench.published import BENCHMARKS, fetch
from tapetum.core.fields import check_options
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
        samples = counted(iter(source) if options.shuffle is None else source.shuffled(options.shuffle))
        paths = write_shards(samples, folder, options.name, samples_per_shard=options.samples_per_shard)
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


@dataclass(frozen=True)
class DemosOptions:
    """Let a scripted expert do a task in a simulator, and write what was seen and done.

    Then a policy learns from it: tapetum adapt DIR --task clone --out RUN.
    """

    task: Annotated[str, tyro.conf.arg(metavar="TASK")]
    """reach-disc, which needs no simulator; triplet-1 to triplet-5, stacking by colour (MuJoCo, which the extra
    robot brings); a task of Meta-World, such as drawer-open, hammer, assembly, bin-picking or button-press-topdown; or
    knob, light, slide-door, hinge-door or microwave of Franka Kitchen (of the extra robot)."""
    _: KW_ONLY
    n: Annotated[int, tyro.conf.arg(metavar="N")] = 25
    """Demonstrations: episodes that the expert ended well."""
    out: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder to write, new or empty; by default TASK-CAMERA."""
    camera: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """By default the task's first: left of Meta-World, which also has right, top, and those of the package, such as corner2."""
    pixels: Annotated[int, tyro.conf.arg(metavar="N")] = 64
    """Side of the images."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Of the first episode; the next have the numbers after it."""
    noise: Annotated[float, tyro.conf.arg(metavar="X")] = 0.0
    """Deviation of noise on what the expert does (actions are -1 to 1), so that it shows how to get back on the way, too."""


@dataclass(frozen=True, kw_only=True)
class DemosMade(Result):
    """Demonstrations in a folder."""

    out: Path
    task: str
    camera: str
    n: int
    frames: int
    played: int
    """Episodes that were played for them."""

    def as_text(self) -> str:
        return f"{self.out}: {self.n} demonstrations of {self.task} by camera {self.camera}, {self.frames:,} frames"


@verb(DemosOptions)
def make_demos(options: DemosOptions, listener: Listener) -> DemosMade:
    """Record n demonstrations by a scripted expert, with observations and actions; see `tapetum.systems.adapters.demos`.

    Raises BadInput for an unknown task or camera and for a folder that already holds demonstrations, MissingExtra if the
    simulator is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = make_demos("reach-disc", n=2, out=f"{folder}/demos", pixels=24)
    >>> made.n, made.played
    (2, 2)
    """
    from tapetum.systems.adapters import demos
    from tapetum.systems.adapters.worlds.world import make_world

    check_options(options, noise="[0, inf)", seed="[0, inf)")
    world = make_world(options.task, options.camera, options.pixels)
    try:
        out = Path(options.out or f"{world.name}-{world.camera}")
        played, frames = demos.make_demos(
            world, out, n=options.n, seed=options.seed, noise=options.noise, progress=listener.counting("demonstrations")
        )
    finally:
        world.close()
    return DemosMade(out=out, task=world.name, camera=world.camera, n=options.n, frames=frames, played=played)


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
