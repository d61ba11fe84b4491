"""A tracker that learns from a folder of the user's own videos."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tapetum.core.provenance import guarding_data
from tapetum.systems.tap.bootstrap.config import BootstrapRun
from tapetum.train.launch_config import Launch

if TYPE_CHECKING:
    from tapetum.systems.tap.bootstrap.config import FootageConfig
    from tapetum.systems.tap.bootstrap.footage import FootageDataset
    from tapetum.systems.tap.bootstrap.run import Outcome

Engine = Literal["local", "ray"]


@guarding_data
def bootstrap(
    folder: str | Path,
    recipe: BootstrapRun,
    launch: Launch,
    *,
    engine: Engine = "local",
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int, str], None] = lambda done, count, video: None,
) -> "Outcome | None":
    """Teach a tracker on the videos in `folder`, in the folder `launch.out`; the same call goes on after a stop.

    Args:
        engine: what prepares the videos: this process, one after the other, or Ray, many at a time.
        say: is told what is going on, and what became of the videos, a line at a time.
        progress: is told how many videos of how many are prepared, and which is next; at the end that all are.

    Returns None if `launch.minutes` ended before the run did. Raises BadInput for what the user can mend.
    """
    from tapetum.systems.tap.bootstrap import run
    from tapetum.systems.tap.bootstrap.footage import prepare_all, prepare_on_ray, write_report

    def prepare(source: Path, out: Path, config: "FootageConfig") -> "FootageDataset":
        footage = (prepare_on_ray if engine == "ray" else prepare_all)(source, out, config, progress)
        progress(len(footage.records), len(footage.records), "all")
        for line in write_report(footage, out.parent / "footage.txt"):
            say(line)
        return footage

    return run.bootstrap(folder, recipe, launch, prepare=prepare, say=say)
