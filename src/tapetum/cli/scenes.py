"""`tapetum scenes`: synthetic videos with exact truth."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tapetum.cli.output import print_json, progress


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Make synthetic videos with exact truth, as a TAP-Vid pickle and TAPVid-3D files."""

    action: tyro.conf.Positional[Literal["make"]]
    """What to do."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    """Folder to write into."""
    n: int
    """Number of videos."""
    seed: int = 0
    """The same seed makes the same videos."""
    textures: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder or parquet file of pictures to paint surfaces with; by default patterns that are made up."""
    size: int = 256
    """Width and height in pixels."""
    frames: int = 24
    """Frames of each video."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print a summary as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        from tapetum.scenes import make_dataset

        with progress() as bars:
            task = bars.add_task("rendering", total=self.n)
            path = make_dataset(
                self.out,
                n=self.n,
                seed=self.seed,
                textures=self.textures,
                size=self.size,
                frames=self.frames,
                progress=lambda done: bars.update(task, completed=done),
            )
        if self.json:
            print_json({"videos": self.n, "frames": self.frames, "size": self.size, "tapvid": str(path)})
        else:
            print(f"made {self.n} videos of {self.frames} frames\ntapvid  {path}")
