"""Sources for long-video training in the synthetic world: ordered events in place of a data set, and the stage films.

`tapetum` registers both by name: clips of `ordered-events`, and the task of the stage `films`.
"""

import time
from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems.longvideo.data import CaptionedClip
from tapetum.systems.longvideo.recipes import MADE_UP, VideoTextRun
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.train.launch import is_main
from tapetum.world.ordered_events import OrderedEventsConfig, gallery, make_ordered_events
from tapetum.world.training.film_task import FilmTask
from tapetum.world.training.films import has_features, write_features

_VALIDATION = 1 << 32
"""Numbers of videos from here on are never learned from."""


class OrderedEventClips:
    """Ordered events (`tapetum.world.ordered_events`). The text of an image names its object."""

    count: int | None = None

    def __init__(self, run: VideoTextRun):
        """Raises BadInput for the stage questions, and frames that are not a multiple of an event's."""
        if run.stage == "questions":
            raise BadInput(f"{MADE_UP} ask no questions; give a folder of tapetum scenes episodes")
        if run.frames % run.event_frames:
            raise BadInput(f"{run.frames} frames are no multiple of events of {run.event_frames}; mend one")
        self.run, self.validation_count = run, run.checks
        events = run.frames // run.event_frames
        self.config = OrderedEventsConfig(events=events, length=run.event_frames, size=run.size)

    def training_clip(self, k: int, rng: np.random.Generator) -> CaptionedClip:
        made = make_ordered_events(self.run.seed, k, self.config)
        at = int(rng.integers(len(made.video)))
        return CaptionedClip(made.video, made.caption, made.video[at], made.events[at // self.config.length].image_words)

    def validation_clip(self, k: int) -> CaptionedClip:
        return self.training_clip(validation_number(k), np.random.default_rng(k))

    def score(self, model: VideoText, vectors: Tensor) -> Mapping[str, float]:
        """Compute recall of the correct one of 64 captions, and of the correct order of a video's own events."""
        correct = ordered = 0
        for k, row in enumerate(vectors):
            captions = gallery(self.run.seed, validation_number(k), self.config)
            scores = model.embed_texts(model.tokens(captions.captions)) @ row
            correct += int(scores.argmax()) == captions.answer
            own = list(captions.orders)
            ordered += own[int(scores[own].argmax())] == captions.answer
        return {"recall": correct / len(vectors), "order": ordered / len(vectors), "order_chance": 1 / self.config.orders}


def validation_number(k: int) -> int:
    """Compute the number of validation video k."""
    return _VALIDATION + k


class CachedFilmTask(FilmTask):
    """The stage films, which fills the cache of features before the first step."""

    def prepare(self, say: Callable[[str], None]) -> None:
        """Compute missing story features on the first process, while the others wait."""
        if not self.run.cache:
            return
        if not self.run.start:
            raise BadInput("--cache is of features of weights that stay as they are; give those to begin with, --start")
        if is_main():
            write_features(self.run, self.model().eval(), say)
        while not has_features(self.run):
            time.sleep(1)
