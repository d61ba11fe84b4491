"""A cheap synthetic world of painted planar facets with exact ground truth, for large numbers of clips with tracks.

    sample_world ──► FacetWorld ──► Renderer ──────────► frames, depth, instances ──► expose ──► uint8 clip
                        └─────────► FacetGroundTruth ──► tracks in 2D and 3D, visibility

The idea follows the light generator sketched after Kubric (TAPIR, arXiv 2306.08637, section 4 and appendix): exact tracks by
reprojecting surface coordinates, occlusion by depth.

Importing this imports no torch; accessing `SyntheticClip`, `make_clip` and `make_dataset` does.
"""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes

if TYPE_CHECKING:
    from tapetum.tracks.facets.dataset import SyntheticClip, make_clip, make_dataset
    from tapetum.tracks.facets.world import SceneConfig

__all__ = ["SceneConfig", "SyntheticClip", "make_clip", "make_dataset"]

__getattr__ = lazy_attributes(__name__, {"dataset": ("SyntheticClip", "make_clip", "make_dataset"), "world": ("SceneConfig",)})
