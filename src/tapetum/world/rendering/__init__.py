"""Images and exact ground truth of a physical episode (`world.bodies.Episode`), on one CPU core.

Episode ──► render_episode ──► RenderedFrame, ...            rgb, depth, instances; float32, memory flat in the frames
   └──────► GroundTruth ─────► pick, follow, masks, boxes    float64, its own equations: the two check each other

camera        where bodies are in camera coordinates at any moment, and in which window of the image
rays          where a pixel's ray meets the faces of a shape (float32); sheets: the same for bent sheets
trace         a whole frame of rays, with finer rays where two surfaces meet in a pixel
texturing     colours of surface points; atlas: photographs and text made ready for it
shadow        light that bodies take from a point; shading: all the light on it
blur          motion blur and depth of field; sensor: exposure, noise, compression
frames        the whole chain for each frame
quadrics      the faces as cut quadrics (float64), and `ground_truth` on top of them
"""

from tapetum.world.rendering.frames import RenderedFrame, render_episode
from tapetum.world.rendering.ground_truth import GroundTruth, InstanceBoxes, InstanceMasks, PointTracks, SurfacePoints
from tapetum.world.rendering.sensor import RenderConfig, random_render_config

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
