"""LongViViT (arXiv 2312.07395), MC-ViT (arXiv 2402.05861): video encoders from 16 frames to hours. Imports no torch by itself.

encoder = tapetum.longvideo.build("mcvit-nano")
features = encoder(video)                      # float (b, t, h, w, 3) in -1..1
state = encoder.start(batch=1)                 # or segment by segment, in constant memory with `memory_cap`
state, features = encoder.step(state, segment)
"""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes
from tapetum.systems.longvideo.config import NAMED, VideoConfig, named

if TYPE_CHECKING:
    from tapetum.systems.longvideo.encoder import EncodedVideo, VideoEncoder, build
    from tapetum.systems.longvideo.video_text import VideoText, build_video_text
    from tapetum.systems.longvideo.weights import inflate, load, save

__all__ = [
    "NAMED",
    "EncodedVideo",
    "VideoConfig",
    "VideoEncoder",
    "VideoText",
    "build",
    "build_video_text",
    "inflate",
    "load",
    "named",
    "save",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "encoder": ("VideoEncoder", "EncodedVideo", "build"),
        "video_text": ("VideoText", "build_video_text"),
        "weights": ("inflate", "load", "save"),
    },
)
