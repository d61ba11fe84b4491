"""Frames to shots, shots to clips, and which clips are worth learning from.

Judged on small copies of the frames, of 64x36 pixels, in levels of 0 to 255. The thresholds are ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from tapetum.systems.tap.bootstrap.config import FootageConfig

SMALL = (64, 36)
"""Width and height of the copies on which shots and clips are judged."""


@dataclass
class Shot:
    """A run of frames with no cut, or the first of a long one."""

    begin: int
    whole: bool
    """It goes to a cut or to the end: not so for the first frames of a long run."""
    frames: list[UInt8[np.ndarray, "s s 3"]]
    small: list[Float[np.ndarray, "36 64 3"]]


def shots(frames: Iterator[UInt8[np.ndarray, "h w 3"]], config: FootageConfig) -> Iterator[Shot]:
    """Resize frames and part them into shots. From a long one `config.longest` frames are taken off while there is enough left
    for a clip.

    So memory has a bound. A cut is where the change from a frame to the next is both large and far above that of its neighbours
    (two on each side), so two frames are looked ahead.
    """
    held: list[tuple[np.ndarray, np.ndarray]] = []
    changes: list[float] = []  # changes[i]: from frame i - 1 to frame i of `held`
    begin = 0
    for frame in frames:
        image = Image.fromarray(frame)
        square = np.asarray(image.resize((config.size, config.size), Image.Resampling.BILINEAR))
        small = np.asarray(image.resize(SMALL, Image.Resampling.BOX), dtype=np.float32)
        changes.append(float(np.abs(small - held[-1][1]).mean()) if held else 0.0)
        held.append((square, small))
        at = len(held) - 3
        if at > 0 and _is_cut(changes, at, config):
            yield _shot(begin, True, held[:at])
            begin, held, changes = begin + at, held[at:], [0.0, *changes[at + 1 :]]
        elif len(held) == config.longest + config.shortest + 2:
            yield _shot(begin, False, held[: config.longest])
            begin, held, changes = begin + config.longest, held[config.longest :], changes[config.longest :]
    for at in (len(held) - 2, len(held) - 1):
        if at > 0 and _is_cut(changes, at, config):
            yield _shot(begin, True, held[:at])
            begin, held = begin + at, held[at:]
            break
    if held:
        yield _shot(begin, True, held)


def _is_cut(changes: Sequence[float], at: int, config: FootageConfig) -> bool:
    around = [changes[i] for i in (at - 2, at - 1, at + 1, at + 2) if 0 < i < len(changes)]
    usual = float(np.mean(around)) if around else 0.0
    return changes[at] >= config.cut_least and changes[at] >= config.cut_ratio * usual


def _shot(begin: int, whole: bool, held: list[tuple[np.ndarray, np.ndarray]]) -> Shot:
    return Shot(begin, whole, [square for square, _ in held], [small for _, small in held])


def cut(
    shot: Shot, config: FootageConfig
) -> Iterator[tuple[int, UInt8[np.ndarray, "t s s 3"], Float[np.ndarray, "t 36 64 3"]]]:
    """Cut a shot into clips: its frames in even pieces, or in fewer where those would be too short; (begin, frames, small
    copies)."""
    count = len(shot.frames)
    pieces = -(-count // config.longest)
    if count / pieces < config.shortest:
        pieces = max(1, count // config.shortest)
    for number in range(pieces):
        begin, end = count * number // pieces, count * (number + 1) // pieces
        end = min(end, begin + config.longest)
        yield begin, np.stack(shot.frames[begin:end]), np.stack(shot.small[begin:end])


def unfit(small: Float[np.ndarray, "t 36 64 3"], config: FootageConfig, frames: int) -> str | None:
    """Say why a clip is not worth learning from: short, dark, blank or still; None if it is.

    >>> unfit(np.zeros((24, 36, 64, 3)), FootageConfig(), 24)
    'dark'
    """
    if frames < config.shortest:
        return "short"
    if small.mean() < config.dark:
        return "dark"
    if small.std(axis=(1, 2)).mean() < config.blank:
        return "blank"
    if np.abs(small - small[0]).mean(axis=(1, 2, 3)).max() < config.still:
        return "still"
    return None
