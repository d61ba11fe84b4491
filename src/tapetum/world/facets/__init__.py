"""A cheap synthetic world of painted planar facets with exact ground truth, for large numbers of clips with tracks.

    sample_world ──► FacetWorld ──► Renderer ──────────► frames, depth, instances ──► expose ──► uint8 clip
                        └─────────► FacetGroundTruth ──► tracks in 2D and 3D, visibility

The idea follows the light generator sketched after Kubric (TAPIR, arXiv 2306.08637, section 4 and appendix): exact tracks by
reprojecting surface coordinates, occlusion by depth.
"""
