"""`tapetum.answer`: which of several answers fits a video best, however long it is."""

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.errors import BadInput
from tapetum.verbs.verb import File, Listener, one_text, verb

if TYPE_CHECKING:
    from tapetum.longvideo.towers import VideoText


@dataclass(frozen=True)
class AnswerOptions:
    """What may be asked of `answer`."""

    video: tyro.conf.Positional[Annotated[Any, one_text("VIDEO")]]
    """A video; in Python also frames, uint8 (t, h, w, 3)."""
    question: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="QUESTION")]
    """What is asked; may be empty, where the answers say all."""
    _: KW_ONLY
    options: tuple[str, ...] = ()
    """The answers to choose from, two or more."""
    model: Annotated[File, tyro.conf.arg(metavar="FILE")] = ""
    """Weights with a text tower, or the folder of a run of `tapetum train longvideo`."""
    rate: float = 1.0
    """Frames looked at in a second of video."""

    def check(self) -> None:
        """Raise `BadInput` for what cannot be done, before anything is."""
        if len(self.options) < 2 or len(set(self.options)) < len(self.options):
            raise BadInput(f"--options are {len(self.options)}; give two or more different answers to choose from")
        if not str(self.model):
            raise BadInput("there is no --model; give the folder of a run of tapetum train longvideo")
        if not self.rate > 0:
            raise BadInput(f"--rate is {self.rate}; give frames a second, more than 0")


@dataclass(frozen=True, kw_only=True)
class Answered:
    """How well each answer fits."""

    answer: str
    """The one that fits best."""
    options: tuple[str, ...]
    cosines: tuple[float, ...]
    """Of each, in -1..1: only their order means something."""

    def as_json(self) -> dict[str, Any]:
        """Say it as JSON values."""
        return {"answer": self.answer, "options": list(self.options), "cosines": list(self.cosines)}


@verb(AnswerOptions)
def answer(options: AnswerOptions, listener: Listener) -> Answered:
    """Choose the answer whose words, after those of the question, are most like the video (MC-ViT, arXiv 2402.05861, 4.2).

    The video is decoded once and never held whole. Raises BadInput for fewer than two answers, a video that cannot be read, and
    weights without a text tower.
    """
    options.check()
    from tapetum.longvideo.watching import embed_words, watch
    from tapetum.video import open_video

    model = load_towers(options.model)
    with open_video(options.video) as video:
        seen = None
        for number, passage in enumerate(watch(model, video, options.rate)):
            listener.progress("watching", number, None)
            seen = passage.so_far
    assert seen is not None
    words = embed_words(model, [f"{options.question} {option}".strip() for option in options.options])
    cosines = tuple(float(value) for value in words @ seen)
    best = max(range(len(cosines)), key=cosines.__getitem__)
    return Answered(answer=options.options[best], options=options.options, cosines=cosines)


def load_towers(place: File) -> "VideoText":
    """Load weights with a text tower. Raises BadInput for others."""
    from tapetum.longvideo.towers import VideoText
    from tapetum.longvideo.weights import load

    model = load(place)
    if not isinstance(model, VideoText):
        raise BadInput(f"{place} has no text tower; give the folder of a run of tapetum train longvideo")
    return model
