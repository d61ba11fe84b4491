"""`tapetum.app.see.answer_live`: multiple-choice answers about a camera's stream, passage by passage, in constant memory."""

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import tyro

from tapetum.app.see.answer import WATCHERS, AnswerOptions, ChosenAnswer, answer, choose_frame_rate, load_watcher
from tapetum.app.see.settings import names_photographs
from tapetum.app.verb import Listener, Result, narrowed, verb
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

    from tapetum.systems.longvideo.streaming import StreamingModel
    from tapetum.video import LiveVideo

MEMORIES = 512
"""That a layer holds at most, where the weights set no cap."""


@dataclass(frozen=True, kw_only=True)
class LivePassage(Result):
    """Scores of the options for a passage of a live video."""

    start_s: float
    stop_s: float
    answer: str
    """The option that fits this passage best; with a memory it has seen what was before."""
    scores: tuple[float, ...]
    """Of each option: cosines, or mean log-probabilities."""
    so_far: str
    """The option that fits best all that was seen up to here."""
    memory_bytes: int

    def as_json(self) -> dict[str, Any]:
        about = {"start_s": self.start_s, "stop_s": self.stop_s, "answer": self.answer, "scores": list(self.scores)}
        return {"type": "passage", **about, "so_far": self.so_far, "memory_bytes": self.memory_bytes}

    def as_text(self) -> str:
        scores = " ".join(f"{score:.3f}" for score in self.scores)
        return f"{self.start_s:8.1f} - {self.stop_s:8.1f}  {self.answer}  ({scores})"


@dataclass(frozen=True)
class AnswerLiveOptions(AnswerOptions):
    """Options of `answer_live`."""

    _: KW_ONLY
    memories: int = MEMORIES
    """Memories that a layer holds at most, for weights without a cap of their own."""
    each: tyro.conf.Suppress[Callable[[LivePassage], object] | None] = None
    """Called with each passage as soon as it is known."""

    def check(self) -> None:
        """Raise `BadInput` for options that cannot work, before any work starts."""
        super().check()
        if names_photographs(self.model):
            raise BadInput(f"{self.model} cannot follow a stream; give {WATCHERS}")
        if self.memories < 1:
            raise BadInput(f"--memories is {self.memories}; it must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class ChosenLive(Result):
    """The answer about all of a live source."""

    came_in_parts = True

    answer: str
    """The option that fits best all that was seen."""
    passages: int
    frames: int
    dropped: int
    """That came while others were being looked at."""

    def as_text(self) -> str:
        return f"all in all: {self.answer}"


@verb(AnswerLiveOptions)
def answer_live(options: AnswerLiveOptions, listener: Listener) -> ChosenLive:
    """Choose the answer that fits each passage of a camera, an address, a pipe or a file as frames arrive.

    Memory use is constant. It stops at the end of the source, or with Ctrl-C. Raises BadInput for a source that cannot be
    opened or fails, and for weights with joint memory, which process whole videos only.
    """
    options.check()
    import torch

    from tapetum.app.track.live import stopped_by_signals
    from tapetum.systems.longvideo.captioner import Captioner
    from tapetum.systems.longvideo.streaming import VideoOptionScorer, make_passage, preprocess_frames
    from tapetum.video import LiveVideo

    model = bounded(load_watcher(options.model, options.by), options.memories)
    config, count, frames, last = model.config.video, 0, 0, None
    state = model.video.start(1)
    means = model.cell_means() if isinstance(model, Captioner) else None
    scorer = None if isinstance(model, Captioner) else VideoOptionScorer(model, options.question, options.options)
    with LiveVideo(options.video) as live, stopped_by_signals(live, listener, "interrupted"), torch.inference_mode():
        for start, stop, part in _segments(live, model, choose_frame_rate(model, options.frame_rate)):
            state, features = model.video.step(state, preprocess_frames(model, part))
            if isinstance(model, Captioner):
                assert means is not None
                own = model.latents_of(model.cell_means().add(features))
                both = [own, model.latents_of(means.add(features))]
                scores = [tuple(model.score_options(encoded, options.question, options.options)) for encoded in both]
            else:
                assert scorer is not None
                scores = [tuple(each.tolist()) for each in scorer.add(make_passage(model, start, stop, features))]
            best = [options.options[max(range(len(each)), key=each.__getitem__)] for each in scores]
            last = LivePassage(
                start_s=start, stop_s=stop, answer=best[0], scores=scores[0], so_far=best[1], memory_bytes=state.bytes
            )
            count, frames = count + 1, frames + len(part)
            if options.each is not None:
                options.each(last)
            listener.status(f"{stop:.0f} s: {last.answer}")
        listener.status("")
        dropped = live.dropped
    if last is None:
        raise BadInput(f"{options.video} gave no frame; is anything sent there?")
    assert config.memory != "joint"
    return ChosenLive(answer=last.so_far, passages=count, frames=frames, dropped=dropped)


def bounded(model: "StreamingModel", memories: int) -> "StreamingModel":
    """Cap the memories of a model if necessary. Raises BadInput for one that cannot process an endless stream."""
    from tapetum.systems.longvideo.weights import continue_from

    config = model.config.video
    if config.memory == "joint":
        raise BadInput(
            "the memory of these weights is joint, which sees whole videos only; --online takes those of the stage consolidated"
        )
    if config.pooling != "mean":
        raise BadInput(f"the pooling of these weights is {config.pooling}, which keeps every moment; --online takes the mean")
    if config.memory_cap is not None or config.memory in ("streaming", "compressed"):
        return model
    encoder = continue_from(model.video, memory_cap=memories)
    model.video = encoder
    object.__setattr__(model, "config", replace(cast(Any, model.config), video=encoder.config))
    return model


def _segments(live: "LiveVideo", model: "StreamingModel", frame_rate: float) -> "Iterator[tuple[float, float, np.ndarray]]":
    """Collect `frame_rate` frames a second, one segment at a time: start and end in seconds, and small frames."""
    import numpy as np

    from tapetum.video.types import resize_frame

    rows, columns = model.config.video.size
    part, times, due = [], [], None
    for moment in live:
        due = moment.time_s if due is None else due
        if moment.time_s < due - 1e-6:
            continue
        part.append(resize_frame(moment.frame, columns, rows))
        times.append(moment.time_s)
        due = max(due + 1 / frame_rate, moment.time_s)  # what was missed is not made up for
        if len(part) == model.config.video.segment_frames:
            yield times[0], due, np.stack(part)
            part, times = [], []
    if part:
        yield times[0], times[-1] + 1 / frame_rate, np.stack(part)


@dataclass(frozen=True, kw_only=True)
class AnswerCommandOptions(AnswerOptions):
    """Choose among several answers the one that fits a video best, however long it is.

    With weights of tapetum train longvideo: by similarity it compares the video with question and answer; by likelihood a
    language model that looks at the video says how likely each answer is. By default the classifier efficientnet-lite2 (extra
    [imagenet]) compares answers that are nouns, or says that it cannot.
    """

    online: bool = False
    """Answer for each passage of a camera, an address, a pipe or a file as it comes, in constant memory, until Ctrl-C: a line a
    passage, or of JSON (type passage)."""


@verb(AnswerCommandOptions, data=("video",))
def answer_any(options: AnswerCommandOptions, listener: Listener) -> ChosenAnswer | ChosenLive:
    """Run `tapetum answer`, with or without --online."""
    if options.online:
        return answer_live.run(narrowed(AnswerLiveOptions, options, each=listener.part), listener)
    return answer.run(options, listener)
