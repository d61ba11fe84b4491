"""The mask of one object through a video, from clicks or boxes: `solve` one frame, `clip` all, `files` of other programs."""

from tapetum.tracks.masks.clip import GONE, ClipMasks, Keyframe, Motion, check_prompts, segment_clip
from tapetum.tracks.masks.solve import Prompt, PromptableModel, outline, outline_map

__all__ = [
    "GONE",
    "ClipMasks",
    "Keyframe",
    "Motion",
    "Prompt",
    "PromptableModel",
    "check_prompts",
    "outline",
    "outline_map",
    "segment_clip",
]
