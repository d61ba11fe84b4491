"""Synthetic worlds with exact ground truth.

    facets      painted planar facets, a moving camera, blur, noise, compression: `make_clip`, `make_dataset`
    bodies      the record of a physical episode: shapes, poses, contacts, actions, camera, light
    physics     MuJoCo simulates an episode of a seed, with a hand that acts
    rendering   images of an episode by ray tracing, and its ground truth: tracks, masks, boxes, depth
    sound       its sound, synthesised from contacts
    words       scene graphs, captions, and questions that cannot be answered without looking

Importing this imports no torch; accessing `SyntheticClip`, `make_clip` and `make_dataset` does.
"""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes

if TYPE_CHECKING:
    from tapetum.world.facets.dataset import SyntheticClip, make_clip, make_dataset
    from tapetum.world.facets.world import SceneConfig

__all__ = ["SceneConfig", "SyntheticClip", "make_clip", "make_dataset"]

__getattr__ = lazy_attributes(
    __name__,
    {"facets.dataset": ("SyntheticClip", "make_clip", "make_dataset"), "facets.world": ("SceneConfig",)},
)
