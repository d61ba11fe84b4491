"""`tapetum scenes make`: synthetic videos of painted facets, with exact ground truth."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tapetum.app.commands import Group
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.fields import check_options
from tapetum.core.jobs import Engine


@dataclass(frozen=True)
class MakeOptions:
    """Make synthetic videos with exact truth, as a TAP-Vid pickle and TAPVid-3D files."""

    out: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="DIR")]
    """Folder to write into."""
    _: KW_ONLY
    n: int
    """Number of videos."""
    seed: int = 0
    """The same seed makes the same videos."""
    textures: Annotated[File | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder or parquet file of images to paint surfaces with, or its address; by default patterns that are made up."""
    size: int = 256
    """Width and height in pixels."""
    frames: int = 24
    """Frames of each video."""
    workers: int = 1
    """Processes that work at a time on this machine."""
    engine: Annotated[Engine, tyro.conf.arg(metavar="local|ray")] = "local"
    """What works: processes of this machine, or Ray on a cluster or this machine (needs tapetum[cluster])."""


@dataclass(frozen=True, kw_only=True)
class ScenesMade(Result):
    """Synthetic videos in a folder."""

    videos: int
    frames: int
    size: int
    """Width and height in pixels."""
    tapvid: Path
    """Pickle of TAP-Vid with all of them."""

    def as_text(self) -> str:
        return f"made {self.videos} videos of {self.frames} frames\ntapvid  {self.tapvid}"


@verb(MakeOptions, data=("textures",))
def make(options: MakeOptions, listener: Listener) -> ScenesMade:
    """Make synthetic videos with exact ground truth, as a TAP-Vid pickle and TAPVid-3D files with depth.

    An interrupted run resumes when started again. Raises BadInput for numbers that yield no video, and textures
    that cannot be read.

    >>> import tempfile
    >>> import tapetum
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tapetum.app.make.scenes.make(folder, n=1, size=32, frames=2).tapvid.name
    'tapvid.pkl'
    """
    from tapetum.tracks.facets.dataset import finished, make_dataset

    check_options(options, workers="[1, inf)")
    if done := finished(options.out):
        listener.note(f"{options.out} holds {done} scenes of a run that was interrupted, which are not made again")
    listener.progress("rendering", 0, options.n)
    path = make_dataset(
        options.out,
        n=options.n,
        seed=options.seed,
        textures=options.textures,
        size=options.size,
        frames=options.frames,
        workers=options.workers,
        engine=options.engine,
        progress=lambda done: listener.progress("rendering", done, options.n),
    )
    return ScenesMade(videos=options.n, frames=options.frames, size=options.size, tapvid=path)


COMMANDS = Group(
    """Make synthetic videos and images with exact truth: painted facets (make); with the package tapetum-world also a physical
    world (images, episodes, films).""",
    {"make": make},
)
