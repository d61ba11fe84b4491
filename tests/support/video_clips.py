"""Videos of a moving square that learn-by-text runs may train on: `--data support.video_clips:MovingSquares`."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from tapetum.systems.longvideo.data import CaptionedClip
from tapetum.systems.longvideo.recipes import VideoTextRun
from tapetum.systems.longvideo.video_text import VideoText

DATA = "support.video_clips:MovingSquares"
COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220), "white": (250, 250, 250)}
WAYS = {"right": (0, 1), "left": (0, -1), "down": (1, 0), "up": (-1, 0)}


class MovingSquares:
    """As many videos as are asked for, by number: a square of one of four colours moves one of four ways."""

    count: int | None = None

    def __init__(self, run: VideoTextRun):
        self.run, self.validation_count = run, run.checks

    def training_clip(self, k: int, rng: np.random.Generator) -> CaptionedClip:
        """Draw a video; its words name colour and way, those of its image the colour."""
        draw = np.random.default_rng((self.run.seed, k))
        colour, way = str(draw.choice([*COLOURS])), str(draw.choice([*WAYS]))
        side = self.run.size
        video = draw.integers(0, 90, (self.run.frames, side, side, 3)).astype(np.uint8)
        place, step = draw.integers(side // 3, side // 2, 2), np.array(WAYS[way]) * side // (4 * self.run.frames)
        for t, frame in enumerate(video):
            y, x = place + t * step
            frame[y : y + side // 6, x : x + side // 6] = COLOURS[colour]
        at = int(rng.integers(len(video)))
        return CaptionedClip(video, f"a {colour} square moves {way}", video[at], f"a {colour} square")

    def validation_clip(self, k: int) -> CaptionedClip:
        return self.training_clip(2**32 + k, np.random.default_rng(k))

    def score(self, model: VideoText, vectors: Tensor) -> Mapping[str, float]:
        """Compute how often the right one of all words is nearest."""
        words = [f"a {colour} square moves {way}" for colour in COLOURS for way in WAYS]
        nearest = (model.embed_texts(model.tokens(words)) @ vectors.T).argmax(0)
        return {"recall": float(np.mean([words[n] == self.validation_clip(k).text for k, n in enumerate(nearest.tolist())]))}
