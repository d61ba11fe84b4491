"""LongViViT (arXiv 2312.07395), MC-ViT (arXiv 2402.05861): video encoders from 16 frames to hours. Imports no torch by itself.

encoder = tapetum.longvideo.build("mcvit-nano")
features = encoder(video)                      # float (b, t, h, w, 3) in -1..1
state = encoder.start(batch=1)                 # or segment by segment, in constant memory with `memory_cap`
state, features = encoder.step(state, segment)
"""

from typing import TYPE_CHECKING, Any

from tapetum.longvideo.config import NAMED, VideoConfig, named

if TYPE_CHECKING:
    from tapetum.longvideo.encoder import VideoEncoder, VideoFeatures, build
    from tapetum.longvideo.inflation import inflate
    from tapetum.longvideo.towers import VideoText, build_towers
    from tapetum.longvideo.weights import load, save

__all__ = [
    "NAMED",
    "VideoConfig",
    "VideoEncoder",
    "VideoFeatures",
    "VideoText",
    "build",
    "build_towers",
    "inflate",
    "load",
    "named",
    "save",
]

_HOMES = {
    "VideoEncoder": "encoder",
    "VideoFeatures": "encoder",
    "VideoText": "towers",
    "build": "encoder",
    "build_towers": "towers",
    "inflate": "inflation",
    "load": "weights",
    "save": "weights",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"tapetum.longvideo.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tapetum.longvideo' has no attribute {name!r}")
