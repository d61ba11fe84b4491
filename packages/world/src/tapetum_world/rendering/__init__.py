"""Images and exact ground truth of a physical episode (`world.bodies.Episode`), on one CPU core.

Episode ──► render_episode ──► RenderedFrame, ...            rgb, depth, instances; float32, memory flat in the frames
   └──────► GroundTruth ─────► pick, follow, masks, boxes    float64, its own equations: the two check each other

camera        where bodies are in camera coordinates at any moment, and in which window of the image
trace         where rays meet the faces of shapes (float32), finer where two surfaces meet in a pixel; sheets: of bent sheets
texturing     colours of surface points, with photographs and text
shading       all the light on a surface point, and what bodies take from it
frames        the whole chain for each frame: motion blur, depth of field, exposure, noise, compression
quadrics      the faces as cut quadrics (float64), and `ground_truth` on top of them
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
