"""`tapetum.app.make.demos`: demonstrations by a scripted expert, to train policies on."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput


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
def make(options: DemosOptions, listener: Listener) -> DemosMade:
    """Record n demonstrations by a scripted expert, with observations and actions; see `tapetum.systems.adapters.demos`.

    Raises BadInput for an unknown task or camera and for a folder that already holds demonstrations, MissingExtra if the
    simulator is not installed.

    >>> import tempfile
    >>> from tapetum.app.make.demos import make
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = make("reach-disc", n=2, out=f"{folder}/demos", pixels=24)
    >>> made.n, made.played
    (2, 2)
    """
    from tapetum.systems.adapters.demos import make_demos
    from tapetum.systems.adapters.worlds.world import make_world

    if options.noise < 0 or options.seed < 0:
        raise BadInput(f"--noise is {options.noise} and --seed {options.seed}; they must be 0 or more")
    world = make_world(options.task, options.camera, options.pixels)
    try:
        out = Path(options.out or f"{world.name}-{world.camera}")
        played, frames = make_demos(
            world,
            out,
            n=options.n,
            seed=options.seed,
            noise=options.noise,
            progress=listener.counting("demonstrations"),
        )
    finally:
        world.close()
    return DemosMade(out=out, task=world.name, camera=world.camera, n=options.n, frames=frames, played=played)
