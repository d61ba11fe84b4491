"""Result types that all systems share: tracks, boxes, masks, segments, answers. Frozen, numpy only.

>>> from tapetum.types import Boxes
>>> Boxes(xyxy=[[0, 0, 4, 2]], labels=["cat"]).area.tolist()
[8.0]
"""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes

if TYPE_CHECKING:
    from tapetum.types.regions import Answer, Boxes, Masks, Segments
    from tapetum.types.tracks import Tracks
    from tapetum.types.tracks3d import Tracks3D

__all__ = ["Answer", "Boxes", "Masks", "Segments", "Tracks", "Tracks3D"]

__getattr__ = lazy_attributes(
    __name__, {"regions": ("Answer", "Boxes", "Masks", "Segments"), "tracks": ("Tracks",), "tracks3d": ("Tracks3D",)}
)
