"""Images and exact truth of a physical episode (`scenes.bodies.Episode`), on one core of a CPU.

Episode ──► film ───► Frame, Frame, ...      rgb, depth, instances; float32, a generator: memory flat in the frames
   └──────► Truth ──► pick, follow, masks, boxes     float64, its own formulas: the two check each other

view        where bodies are in camera coordinates at any moment, and in which window of the image
cast        where a pixel's ray meets a shape (float32); sheets: the same for bent sheets
trace       a whole frame of rays, with finer rays where two surfaces meet in a pixel
surface     colours of surface points; paint: photographs and text made ready for it
distance    distance to a shape, for shadows and dark corners; light: all the light on a point
lens        motion blur and depth of field; sensor: exposure, noise, compression
film        the whole chain for each frame
pieces      shapes as cut quadrics, and Truth on top of them in `truth`
"""

from tapetum.scenes.rendering.frames import RenderedFrame, render_episode
from tapetum.scenes.rendering.ground_truth import GroundTruth, InstanceBoxes, InstanceMasks, PointTracks, SurfacePoints
from tapetum.scenes.rendering.sensor import RenderConfig, random_render_config

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
