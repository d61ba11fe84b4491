"""Worlds by name. Imports no simulator before one of its worlds is requested."""

import difflib
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.systems.adapters.worlds.world import RobotWorld

TASKS: dict[str, str] = {
    "reach-disc": "reach",
    **dict.fromkeys(("assembly", "bin-picking", "button-press-topdown", "drawer-open", "hammer"), "metaworld"),
    **dict.fromkeys(("knob", "light", "slide-door", "hinge-door", "microwave"), "kitchen"),
    **dict.fromkeys((f"triplet-{k}" for k in range(1, 6)), "stacking"),
}
"""Tasks of recipes, and where they are: those of Meta-World are the paper's five, and any other of its fifty works too."""


def make_world(task: str, camera: str | None = None, pixels: int = 64, **options: Any) -> RobotWorld:
    """Make the world of a task: reach-disc, triplet-1 to triplet-5, one of Franka Kitchen, or any of Meta-World.

    `camera` is by default the world's first; `pixels` is the side of the image. Raises BadInput if there is no such task or
    camera, and MissingExtra if its simulator is not installed.
    """
    if pixels < 8 or pixels > 1024:
        raise BadInput(f"images of {pixels} pixels; give 8 to 1024")
    if task == "reach-disc":
        from tapetum.systems.adapters.worlds.reach import ReachWorld

        if camera not in (None, "top"):
            raise BadInput(f"reach-disc has no camera {camera!r}; it has top")
        return ReachWorld(pixels=pixels, **options)
    if TASKS.get(task) == "kitchen":
        from tapetum.systems.adapters.worlds.kitchen import Kitchen

        return Kitchen(task, camera, pixels, **options)
    if TASKS.get(task) == "stacking":
        from tapetum.systems.adapters.worlds.stacking import Stacking

        return Stacking(task, camera, pixels, **options)
    from tapetum.systems.adapters.worlds import metaworld

    plain = task.removesuffix("-v3")
    if plain not in TASKS and plain not in metaworld.tasks():
        near = difflib.get_close_matches(plain, [*TASKS, *metaworld.tasks()], n=1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(TASKS)} and others of Meta-World"
        raise BadInput(f"there is no task {task!r}; {advice}")
    return metaworld.MetaWorld(plain, camera, pixels, **options)
