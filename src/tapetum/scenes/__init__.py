"""Synthetic worlds with exact truth. Here: painted facets, a moving camera, lights, blur, noise, compression.

    sample_world ──► FacetWorld ──► Renderer ──► frames, depth, instances ──► expose ──► uint8 clip
                       └─────► FacetGroundTruth ────► tracks in 2D and 3D, visibility

`make_clip` runs the whole chain for one seed; `make_dataset` writes many clips with their truth in the layouts of TAP-Vid and
TAPVid-3D. The idea follows the light generator sketched after Kubric (TAPIR, arXiv 2306.08637, section 4 and appendix): exact
tracks by reprojecting surface coordinates, occlusion by depth. The physical world is in `bodies`, `physics`, `filming`, `sound`
and `words`, each of which says of itself what it does.

Importing this imports no torch; `SyntheticClip`, `make_clip` and `make_dataset` do when they are asked for.
"""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes
from tapetum.scenes.config import SceneConfig
from tapetum.scenes.textures import from_images, procedural, textures

if TYPE_CHECKING:
    from tapetum.scenes.clip import SyntheticClip, make_clip
    from tapetum.scenes.dataset import make_dataset

__all__ = ["SceneConfig", "SyntheticClip", "from_images", "make_clip", "make_dataset", "procedural", "textures"]

__getattr__ = lazy_attributes(__name__, {"clip": ("SyntheticClip", "make_clip"), "dataset": ("make_dataset",)})
