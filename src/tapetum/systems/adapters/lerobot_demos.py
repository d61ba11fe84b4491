"""Demonstrations in data sets of LeRobot: the frames of one camera, `observation.state` and `action`.

Differs from demonstrations of this package (`demos`): there is no world in which a policy could be tried, so some episodes are
held out and its error on them is measured; and frames are made as small as the trunk takes them while they are read, for those
of a whole set would not fit into memory as they are.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.encoders.config import Preprocessing
from tapetum.encoders.features import prepare
from tapetum.systems.adapters.demos import Demonstrations
from tapetum.systems.adapters.images import square
from tapetum.video.episodes import EpisodeVideo, parse_episode_address
from tapetum.video.lerobot import ACTION, STATE, open_lerobot

_AT_A_TIME = 32
HELD_OUT = 10
"""Of so many episodes one is held out, and at least the last of two or more."""


def read_lerobot_demos(
    source: str | Path, preprocessing: Preprocessing, progress: Callable[[int, int | None], None] = lambda done, count: None
) -> Demonstrations:
    """Read the demonstrations of a data set, or of the episodes and the camera that an address names.

    Frames are resized to squares of the preprocessing's height, as it resizes them. Raises BadInput for a set without actions
    or camera, and for numbers that are not finite.
    """
    address = parse_episode_address(source)
    if address is None:
        raise BadInput(f"{source} is no data set of LeRobot; give its folder, or SET#episode=0-9,camera=NAME")
    data = open_lerobot(address.folder)
    if ACTION not in data.features:
        raise BadInput(f"{data.folder} has no {ACTION!r} among its features; a policy learns from actions")
    how = replace(square(preprocessing, preprocessing.size[0]), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    camera, numbers = data.camera(address.camera), data.select(address.first, address.last)
    frames, own, actions = [], [], []
    for done, number in enumerate(numbers):
        with EpisodeVideo(data, number, camera) as video:
            for start in range(0, len(video), _AT_A_TIME):
                levels = prepare(video[start : start + _AT_A_TIME], how).byte()
                frames.append(levels.movedim(1, -1).numpy())
            states = STATE in data.features
            rows = data.rows(number, (ACTION, *((STATE,) if states else ())))
            own.append(_numbers(rows[STATE], f"{STATE} of {video.name}") if states else np.zeros((len(video), 0), np.float32))
            actions.append(_numbers(rows[ACTION], f"{ACTION} of {video.name}"))
        progress(done + 1, len(numbers))
    return Demonstrations(
        task=data.folder.name,
        camera=camera,
        frames=np.concatenate(frames),
        own=np.concatenate(own),
        actions=np.concatenate(actions),
        episode=np.repeat(np.arange(len(numbers)), [data.episodes[number].length for number in numbers]),
        seeds=tuple(numbers),
        horizon=0,
    )


def hold_out(demos: Demonstrations) -> tuple[Demonstrations, Demonstrations | None]:
    """Split demonstrations by episode into those to learn from and those to check on; a single episode is not split.

    >>> demos = Demonstrations(
    ...     task="set", camera="top", frames=np.zeros((4, 8, 8, 3), np.uint8), own=np.zeros((4, 0), np.float32),
    ...     actions=np.zeros((4, 1), np.float32), episode=np.array([0, 0, 1, 1]), seeds=(5, 7), horizon=0)
    >>> learn, check = hold_out(demos)
    >>> learn.seeds, check.seeds, len(check)
    ((5,), (7,), 2)
    """
    count = len(demos.seeds)
    checks = [k for k in range(count) if k % HELD_OUT == HELD_OUT - 1] or ([count - 1] if count > 1 else [])
    if not checks:
        return demos, None
    return demos.some([k for k in range(count) if k not in checks]), demos.some(checks)


def _numbers(values: np.ndarray, name: str) -> np.ndarray:
    """Numbers as float32 (t, k)."""
    if values.dtype.kind not in "fiub" or values.ndim > 2:
        raise BadInput(f"{name} is {values.dtype} {values.shape}; wanted numbers, a row a frame")
    if not np.isfinite(values).all():
        raise BadInput(f"{name} has numbers that are not finite; leave that episode out, as in SET#episode=0-9")
    return values.reshape(len(values), -1).astype(np.float32)
