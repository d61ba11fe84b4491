"""Images and exact ground truth of a physical episode, on one CPU core.

`render_episode` makes rgb, depth and instances in float32; `GroundTruth` finds points, tracks, masks and boxes in float64 by
its own equations (quadrics), so that the two check each other.
"""

from tapetum_world.rendering.frames import RenderConfig, RenderedFrame, random_render_config, render_episode
from tapetum_world.rendering.ground_truth import GroundTruth, InstanceBoxes, InstanceMasks, PointTracks, SurfacePoints

__all__ = [
    "GroundTruth",
    "InstanceBoxes",
    "InstanceMasks",
    "PointTracks",
    "RenderConfig",
    "RenderedFrame",
    "SurfacePoints",
    "random_render_config",
    "render_episode",
]
