"""Clips of painted facets (`tapetum.tracks.facets`) with exact tracks, as a source of training data for trackers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.identity import source_label
from tapetum.data.textures import open_textures
from tapetum.tracks.facets import SceneConfig, make_clip
from tapetum.tracks.facets.world import describe_config
from tapetum.tracks.training.clips import ClipDataset, DrawnClips, TrackedClip
from tapetum.tracks.training.recipes import SceneRun

POINTS_PER_CLIP = 384
"""Tracks kept with a cached clip; each showing picks some of them."""


class FacetClips:
    """The source of clips named facets."""

    def check(self, run: SceneRun) -> None:
        """Raise BadInput for episodes, which are of bodies."""
        if run.episodes is not None:
            raise BadInput(f"--episodes {run.episodes} is not used by scenes of facets alone; add --world bodies or both")

    def open(
        self, run: SceneRun, count: int, *, part: str, cache: str | Path | None, size: int, frames: int
    ) -> Sequence[ClipDataset]:
        hard = run.hard_share
        config = SceneConfig(size=(size, size), frames=frames, cover_share=hard, turn_share=hard, repeat_share=hard)
        return [SceneClips(count, seed=run.seed, config=config, textures=run.textures, part=part, cache=cache)]


class SceneClips(DrawnClips):
    """Clips of synthetic scenes."""

    def __init__(
        self,
        count: int,
        *,
        seed: int = 0,
        config: SceneConfig | None = None,
        textures: str | Path | None = None,
        part: str = "all",
        cache: str | Path | None = None,
    ):
        self.seed, self.config, self.textures, self.part = seed, config or SceneConfig(), textures, part
        super().__init__(count, cache)

    def label(self) -> dict[str, Any]:
        scene, textures = describe_config(self.config), str(source_label(self.textures))
        return {"seed": self.seed, "scene": scene, "textures": textures, "part": self.part}

    def draw(self, k: int) -> TrackedClip:
        clip = make_clip((self.seed, k), self.config, open_textures(self.textures, self.part), POINTS_PER_CLIP)
        return TrackedClip(clip.video, clip.truth.xy, clip.truth.visible)
