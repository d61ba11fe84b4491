"""The published systems, a folder each. Imports none of them by itself."""

from tapetum.core.lazy import lazy_attributes

__getattr__ = lazy_attributes(
    __name__, modules=("adapters", "hip", "longvideo", "odin", "paligemma", "perception_test", "pretraining", "tap", "tapvid3d")
)
