"""Shot detection: frames to shots, shots to clips, and which clips are worth learning from.

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
    buffer: list[tuple[np.ndarray, np.ndarray]] = []
    changes: list[float] = []  # changes[i]: from frame i - 1 to frame i of `buffer`
    begin = 0
    for frame in frames:
        image = Image.fromarray(frame)
        square = np.asarray(image.resize((config.size, config.size), Image.Resampling.BILINEAR))
        small = np.asarray(image.resize(SMALL, Image.Resampling.BOX), dtype=np.float32)
        changes.append(float(np.abs(small - buffer[-1][1]).mean()) if buffer else 0.0)
        buffer.append((square, small))
        at = len(buffer) - 3
        if at > 0 and _is_cut(changes, at, config):
            yield _shot(begin, True, buffer[:at])
            begin, buffer, changes = begin + at, buffer[at:], [0.0, *changes[at + 1 :]]
        elif len(buffer) == config.longest + config.shortest + 2:
            yield _shot(begin, False, buffer[: config.longest])
            begin, buffer, changes = begin + config.longest, buffer[config.longest :], changes[config.longest :]
    for at in (len(buffer) - 2, len(buffer) - 1):
        if at > 0 and _is_cut(changes, at, config):
            yield _shot(begin, True, buffer[:at])
            begin, buffer = begin + at, buffer[at:]
            break
    if buffer:
        yield _shot(begin, True, buffer)


def _is_cut(changes: Sequence[float], at: int, config: FootageConfig) -> bool:
    around = [changes[i] for i in (at - 2, at - 1, at + 1, at + 2) if 0 < i < len(changes)]
    usual = float(np.mean(around)) if around else 0.0
    return changes[at] >= config.cut_least and changes[at] >= config.cut_ratio * usual


def _shot(begin: int, whole: bool, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Shot:
    return Shot(begin, whole, [square for square, _ in pairs], [small for _, small in pairs])


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
    """Explain why a clip is not worth learning from: short, dark, blank or still; None if it is.

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
