"""Whether a word that is printed on a thing can be read in an image."""

import numpy as np

from tapetum.scenes.bodies.shapes import RoundedBox
from tapetum.scenes.rendering.atlas import word_height
from tapetum.scenes.rendering.ground_truth import GroundTruth, SurfacePoints
from tapetum.scenes.rendering.printed_text import printed_sides

LETTER = 5.0
"""Pixels of width from which on a letter can be read."""


def readable(truth: GroundTruth, body: int, frame: int, enlarged: float) -> bool:
    """Tell whether the word on a body can be read on one of its sides: all of it is seen, from the front, upright and large.

    `enlarged`: how much larger the real image is than the one looked at.
    """
    episode = truth.episode
    text, shape = episode.bodies[body].surface.text, episode.bodies[body].shape
    if not isinstance(shape, RoundedBox):
        return False
    moment = episode.moment(frame)
    turn = episode.camera.world_to_camera[moment, :3, :3] @ episode.rotations(np.array([moment]))[0, body]
    across, up = (g.ravel() for g in np.meshgrid([-0.5, 0.0, 0.5], [-0.5, 0.0, 0.5]))
    for side in printed_sides(shape):
        wide, tall = side.fit(word_height(text))
        place = side.middle + np.outer(across * wide, side.across) + np.outer(up * tall, side.up)
        points = SurfacePoints(np.full(9, body), place, np.tile(side.facing, (9, 1)))
        tracks = truth.follow(points, range(frame, frame + 1))
        towards = -(tracks.xyz[:, 0] / np.linalg.norm(tracks.xyz[:, 0], axis=1, keepdims=True)).mean(0)
        x, y = (tracks.xy[7, 0] - tracks.xy[1, 0]).tolist()
        letter = abs(tracks.xy[5, 0, 0] - tracks.xy[3, 0, 0]) * enlarged / len(text)
        facing = towards @ (turn @ side.facing) > 0.5
        if tracks.visible.all() and facing and -y > 2 * abs(x) and letter > LETTER and -y * enlarged > 1.5 * LETTER:
            return True
    return False
