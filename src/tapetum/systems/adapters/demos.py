"""Demonstrations: observations and actions of experts. Imports no torch by itself.

    DIR/demos.json          format, task, camera, pixels, action_size, own_size, horizon, and of each episode its file, seed,
                            steps and whether it ended well
    DIR/episode-0000.npz    frames uint8 (t, h, w, 3), own float32 (t, p), actions float32 (t, a), successes bool (t,)

Each frame precedes its action. LeRobot data sets are read too: the frames of one camera, `observation.state` and `action`. They
have no world to try a policy in, so its error is measured on held-out episodes; and frames are resized while they are read.
"""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_folder, write_json
from tapetum.core.reading import no_pipe, read_json
from tapetum.systems.adapters.worlds.world import RobotWorld, roll
from tapetum.video.episodes import EpisodeVideo, parse_episode_address
from tapetum.video.lerobot import ACTION, STATE, open_lerobot

if TYPE_CHECKING:
    from tapetum.encoders.config import Preprocessing

LIST = "demos.json"
FORMAT = 1
AFTER = 5
"""Steps that a demonstration goes on after the task is done."""
HELD_OUT = 10
"""One episode in this many is held out; of fewer, the last."""
_AT_A_TIME = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Demonstrations:
    """Demonstrations of one task by one camera, one frame after the other."""

    task: str
    camera: str
    frames: UInt8[np.ndarray, "n h w 3"]
    own: Float32[np.ndarray, "n p"]
    actions: Float32[np.ndarray, "n a"]
    episode: Int64[np.ndarray, " n"]
    """Number of the episode of each frame."""
    seeds: tuple[int, ...]
    """Of the episodes, or their numbers in the data set that they are of."""
    horizon: int
    """Steps of an episode in the world that they are of; 0: there is no such world here."""

    def __len__(self) -> int:
        return len(self.frames)

    def some(self, episodes: Sequence[int]) -> "Demonstrations":
        rows = np.isin(self.episode, episodes)
        arrays = {name: getattr(self, name)[rows] for name in ("frames", "own", "actions", "episode")}
        return replace(self, **arrays, seeds=tuple(self.seeds[i] for i in episodes))


def make_demos(
    world: RobotWorld,
    out: Path,
    *,
    n: int,
    seed: int = 0,
    noise: float = 0.0,
    progress: Callable[[int, int | None], None] = lambda done, count: None,
) -> tuple[int, int]:
    """Write n episodes of the world's expert that ended well into a new folder; give how many were played, and frames kept.

    `seed` is that of the first episode; `noise` is the deviation of noise on executed actions, so that there are frames that
    show recovery. Raises BadInput if the folder is not empty, or the expert fails more often than it succeeds.
    """
    if n < 1:
        raise BadInput(f"asked for {n} demonstrations: give --n 1 or more")
    if (out / LIST).exists():
        raise BadInput(f"{out} holds demonstrations already; choose another folder")
    rows: list[dict[str, Any]] = []
    played = frames = 0
    with whole_folder(out, (LIST,)) as folder:
        while len(rows) < n:
            if played >= 2 * n + 5:
                raise BadInput(f"the expert of {world.name} did it in {len(rows)} of {played} episodes; lower --noise")
            episode = roll(world, None, seed + played, stop_after=AFTER, noise=noise)
            played += 1
            if not episode.last:
                continue
            name = f"episode-{len(rows):04d}.npz"
            arrays = {key: getattr(episode, key) for key in ("frames", "own", "actions", "successes")}
            np.savez_compressed(folder / name, **arrays)
            rows.append({"file": name, "seed": episode.seed, "steps": len(episode.frames), "success": episode.last})
            frames += len(episode.frames)
            progress(len(rows), n)
        about = {"format": FORMAT, "task": world.name, "camera": world.camera, "pixels": int(episode.frames.shape[1])}
        about |= {"action_size": world.action_size, "own_size": world.own_size, "horizon": world.horizon, "noise": noise}
        write_json(folder / LIST, {**about, "episodes": rows})
    return played, frames


def read_demos(folder: Path) -> Demonstrations:
    """Read demonstrations. Raises BadInput for a folder without any, and for files that are inconsistent or contain NaN."""
    try:
        about = read_json(folder / LIST)
        files = [folder / Path(str(row["file"])).name for row in about["episodes"]]
        seeds = tuple(int(row["seed"]) for row in about["episodes"])
        sizes, horizon = (int(about["action_size"]), int(about["own_size"])), int(about["horizon"])
        task, camera = str(about["task"]), str(about["camera"])
    except FileNotFoundError as error:
        raise BadInput(f"{folder} holds no demonstrations: there is no {LIST}; make some: tapetum data demos") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder / LIST} cannot be read ({str(error)[:80]}); make the demonstrations again") from error
    if not files:
        raise BadInput(f"{folder / LIST} lists no episodes; make the demonstrations again")
    frames, own, actions = zip(*(_episode(file, *sizes) for file in files), strict=True)
    if len({each.shape[1:] for each in frames}) > 1:
        raise BadInput(f"the episodes in {folder} have frames of several sizes; make them again with one")
    return Demonstrations(
        task=task,
        camera=camera,
        frames=np.concatenate(frames),
        own=np.concatenate(own),
        actions=np.concatenate(actions),
        episode=np.repeat(np.arange(len(files)), list(map(len, frames))),
        seeds=seeds,
        horizon=horizon,
    )


def _episode(path: Path, action_size: int, own_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        with np.load(no_pipe(path), allow_pickle=False) as stored:
            frames, own, actions = (stored[key] for key in ("frames", "own", "actions"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path} is no episode ({str(error)[:80]}); make the demonstrations again") from error
    steps = len(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not steps:
        raise BadInput(f"{path} has frames {frames.dtype} {frames.shape}; wanted uint8 (steps, rows, columns, 3)")
    for name, array, size in (("actions", actions, action_size), ("own", own, own_size)):
        if array.shape != (steps, size):
            raise BadInput(f"{path} has {name} {array.shape} for {steps} frames; wanted ({steps}, {size}) as {LIST} says")
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise BadInput(f"{path} has {name} that are not finite numbers; leave that episode out, or make it again")
    return frames, own.astype(np.float32), actions.astype(np.float32)


def track_features(camera: str) -> tuple[str, str]:
    """Name the features of a camera with tracks: positions in pixels, and what is visible."""
    short = camera.rsplit(".", 1)[-1]
    return f"tracks.{short}.xy", f"tracks.{short}.visible"


def read_lerobot_demos(
    source: str | Path, preprocessing: "Preprocessing", columns: Callable[[str], Sequence[str]] = lambda camera: ()
) -> Demonstrations:
    """Read the demonstrations of a data set, or of the episodes and the camera given in an address.

    Frames are resized to squares of the preprocessing's height, as it resizes them. `own` is the state, or the `columns` for
    a camera, one beside the other. Raises BadInput for a set without actions, camera or columns, and for values that are not
    finite.
    """
    from tapetum.encoders.features import prepare
    from tapetum.systems.adapters.data import square

    address = parse_episode_address(source)
    if address is None:
        raise BadInput(f"{source} is no data set of LeRobot; give its folder, or SET#episode=0-9,camera=NAME")
    data = open_lerobot(address.folder)
    if ACTION not in data.features:
        raise BadInput(f"{data.folder} has no {ACTION!r} among its features; a policy learns from actions")
    how = replace(square(preprocessing, preprocessing.size[0]), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    camera, numbers = data.camera(address.camera), data.select(address.first, address.last)
    names = tuple(columns(camera)) or ((STATE,) if STATE in data.features else ())
    if missing := [name for name in names if name not in data.features]:
        raise BadInput(f"{data.folder} has no {missing[0]}; tapetum.data.lerobot.copy_with_features writes it into a copy")
    frames, own, actions = [], [], []
    for number in numbers:
        with EpisodeVideo(data, number, camera) as video:
            for start in range(0, len(video), _AT_A_TIME):
                levels = prepare(video[start : start + _AT_A_TIME], how).byte()
                frames.append(levels.movedim(1, -1).numpy())
            rows = data.rows(number, (ACTION, *names))
            parts = [_numbers(rows[name], f"{name} of {video.name}") for name in names]
            own.append(np.concatenate(parts, 1) if parts else np.zeros((len(video), 0), np.float32))
            actions.append(_numbers(rows[ACTION], f"{ACTION} of {video.name}"))
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
    """Split demonstrations by episode for training and evaluation; a single episode is not split."""
    count = len(demos.seeds)
    checks = [k for k in range(count) if k % HELD_OUT == HELD_OUT - 1] or ([count - 1] if count > 1 else [])
    if not checks:
        return demos, None
    return demos.some([k for k in range(count) if k not in checks]), demos.some(checks)


def _numbers(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind not in "fiub" or values.ndim > 2:
        raise BadInput(f"{name} is {values.dtype} {values.shape}; wanted numbers, a row a frame")
    if not np.isfinite(values).all():
        raise BadInput(f"{name} has numbers that are not finite; leave that episode out, as in SET#episode=0-9")
    return values.reshape(len(values), -1).astype(np.float32)
