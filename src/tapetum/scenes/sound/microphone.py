"""What reaches the microphone: how strong a blow or a stretch of rubbing is there, and on which side.

The microphone is at the camera. Strength falls with distance; the delay on the way (3 ms a metre) is left out, so that what is
heard is when it is seen.
"""

import numpy as np

from tapetum.scenes.bodies.body import Body
from tapetum.scenes.bodies.episode import Episode
from tapetum.scenes.sound.contacts import Rub
from tapetum.scenes.sound.materials import TIMBRES
from tapetum.scenes.sound.modes import Modes
from tapetum.scenes.types import F64, I64, Bool

GAIN = 1.1
"""Amplitude of a blow of 1 newton second, 1 m away; 1 is full scale."""
POWER = 0.7
"""Amplitude goes with the impulse to this power: ears and cameras press loud and soft together."""
DIRECT = 0.4
"""Share of a blow that is heard as a click, before anything rings."""
RUBBING = {"sliding": 0.05, "rolling": 0.02}
"""Amplitude at 1 newton and 1 m/s, 1 m away."""
NEAREST = 0.3
"""Metres: nothing is heard as if it were nearer."""


def at_microphone(episode: Episode, time: F64, place: F64) -> tuple[F64, F64, Bool]:
    """Tell for places (c, 3) at times (c,) in seconds: gain by distance, side (-1 left to 1 right), whether in the image."""
    moment = np.clip((time * episode.rate * episode.moments_per_frame).astype(np.int64), 0, episode.poses.shape[0] - 1)
    matrix = episode.camera.world_to_camera[moment]
    here = np.einsum("cij,cj->ci", matrix[:, :3, :3], place) + matrix[:, :3, 3]
    far = np.maximum(np.linalg.norm(here, axis=1), NEAREST)
    fx, fy, cx, cy = episode.camera.intrinsics[moment].T
    depth = np.maximum(here[:, 2], 1e-9)
    x, y = fx * here[:, 0] / depth + cx, fy * here[:, 1] / depth + cy
    h, w = episode.size
    return 1 / far, here[:, 0] / far, (here[:, 2] > 1e-9) & (x >= 0) & (x < w) & (y >= 0) & (y < h)


def panned(side: F64, channels: int) -> F64:
    """Compute gains (channels, c) of one channel, or of left and right with equal power in all."""
    if channels == 1:
        return np.ones((1, len(side)))
    angle = (np.clip(side, -1, 1) + 1) * np.pi / 4
    return np.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)])


def contact_s(bodies: tuple[Body, ...], pairs: I64, speed: F64) -> F64:
    """Compute for how long (c,) two bodies touch in a blow: the softer one rules; slower blows last longer (Hertz, 1882)."""
    each = np.array([TIMBRES[b.material].contact_s for b in bodies])
    return each[pairs].max(1) * np.clip(speed, 0.05, 5.0) ** -0.2


def excited(modes: Modes, touch_s: F64) -> F64:
    """Compute how strongly (c, m) blows that last `touch_s` (c,) set modes going: high modes need short blows."""
    return modes.strength / (1 + (2 * modes.frequency * touch_s[:, None]) ** 2)


def rub_amplitude(episode: Episode, rub: Rub) -> F64:
    """Compute the amplitude (m,) of a stretch of rubbing 1 m away."""
    rough = np.mean([TIMBRES[episode.bodies[j].material].rough for j in rub.bodies])
    return RUBBING[rub.kind] * rough * np.sqrt(np.minimum(rub.force, 5.0)) * np.minimum(rub.speed, 3.0) ** 0.7
