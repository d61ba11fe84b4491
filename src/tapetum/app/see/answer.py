"""`tapetum.answer`: multiple-choice question answering about a video of any length."""

from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from statistics import stdev
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.app.see.answer_model import can_answer_photos, is_world, names_other_things, unfamiliar_remark
from tapetum.app.see.settings import AUTO, CANNOT_SAY, CLASSIFIER, names_photographs
from tapetum.app.verb import File, Listener, Result, one_text, verb
from tapetum.bench.word_models import describe_model, next_step
from tapetum.core.errors import BadInput
from tapetum.core.reading import check_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from tapetum.systems.longvideo.captioner import Captioner
    from tapetum.systems.longvideo.video_text import VideoText


FILMS = "mcvit-films"
"""The bundled model of films of the world of `tapetum scenes`."""
_SCORES = {"similarity": "cosines", "likelihood": "log_probabilities", "nouns": "probabilities", "motion": "fits"}


@dataclass(frozen=True)
class AnswerOptions:
    """Options of `answer`."""

    video: tyro.conf.Positional[Annotated[Any, one_text("VIDEO")]]
    """A video, or an episode of a LeRobot data set (SET#episode=3), or the address of one; in Python also frames, uint8
    (t, h, w, 3)."""
    question: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="QUESTION")]
    """What is asked; may be empty, where the answers say all."""
    _: KW_ONLY
    options: tuple[str, ...] = ()
    """The answers to choose from, two or more."""
    model: Annotated[File, tyro.conf.arg(metavar="NAME|FILE")] = AUTO
    """Weights with a text tower or a language model, or the folder of a run of `tapetum train longvideo`; auto: mcvit-films for
    films of its world, that of tapetum scenes; for others efficientnet-lite2, which compares the nouns of the answers, and
    tapir-nano, whose tracks answer what moves and which way."""
    by: Literal["similarity", "likelihood"] | None = None
    """Choose the answer whose words are most like the video, or the one that the language model finds likeliest; by default
    what the weights can do."""
    frame_rate: float | None = None
    """Frames looked at in a second of video; by default those with which the weights learned, where they say so as mcvit-films
    does, else 1."""

    def check(self) -> None:
        """Raise `BadInput` for options that cannot work, before any work starts."""
        if any(not option.strip() for option in self.options):
            raise BadInput("one of --options is empty; give answers with words")
        if len(self.options) < 2 or len(set(self.options)) < len(self.options):
            raise BadInput(f"--options are {len(self.options)}; give two or more different answers to choose from")
        if self.frame_rate is not None and not 0 < self.frame_rate < float("inf"):
            raise BadInput(f"--frame-rate is {self.frame_rate}; give frames a second, more than 0")


@dataclass(frozen=True, kw_only=True)
class ChosenAnswer(Result):
    """The chosen answer, and the score of each option."""

    answer: str
    """The one that fits best."""
    options: tuple[str, ...]
    by: str
    """similarity, likelihood, nouns or motion."""
    cosines: tuple[float, ...] = ()
    """By similarity, of each: only their order means something. In -1..1, but for a network of moments, whose soft maximum over
    moments may be above."""
    log_probabilities: tuple[float, ...] = ()
    """By likelihood, of each: the mean over its tokens."""
    probabilities: tuple[float, ...] = ()
    """By nouns, of each: that its nouns are seen, over the seconds where they are likeliest."""
    fits: tuple[bool | None, ...] = ()
    """By motion, of each: whether it is what was measured; None where that is not clear."""
    remarks: tuple[str, ...] = ()
    """What was not looked at, what ambiguous words were taken for, and what was measured."""
    model: str | None = None
    """What answered."""
    lead: float | None = None
    """Score of the answer above that of the next."""
    lead_deviation: float | None = None
    """Standard deviation of that over the passages of the video, by similarity; None of a single passage."""

    def as_json(self) -> dict[str, Any]:
        name = _SCORES[self.by]
        scores = {"options": list(self.options), "by": self.by, name: list(getattr(self, name)), "remarks": list(self.remarks)}
        return {"answer": self.answer, **scores, "model": self.model, "lead": self.lead, "lead_deviation": self.lead_deviation}

    def as_text(self) -> str:
        lines = [self.answer]
        if self.lead is not None:
            noise = ""
            if self.lead_deviation is not None:
                verdict = "" if self.lead > self.lead_deviation else ": not sure"
                noise = f"; from passage to passage that varies by {self.lead_deviation:.3f}{verdict}"
            lines.append(f"ahead of the next by {self.lead:.3f}{noise}")
        lines += [f"  {likely:6.1%}  {option}" for option, likely in zip(self.options, self.probabilities, strict=False)]
        better = self.answer == CANNOT_SAY or not names_photographs(self.model)  # else it is good enough
        about = (describe_model(self.model), next_step(self.model) if better else None) if self.model else ()
        return "\n".join([*lines, *self.remarks, *filter(None, about)])


@verb(AnswerOptions, data=("video",))
def answer(options: AnswerOptions, listener: Listener) -> ChosenAnswer:
    """Choose the answer whose text, after that of the question, is most similar to the video (MC-ViT, arXiv 2402.05861, 4.2),
    or most likely under a vision-language model.

    The video is decoded once and never held in memory whole. Raises BadInput for fewer than two answers, a video that cannot be
    read, and weights that cannot do what is asked.
    """
    options.check()
    world = options.model == AUTO and not names_other_things(options.question, options.options)
    world = world and is_world(options.video, frames=8)
    if (options.model == AUTO or names_photographs(options.model)) and options.by is None:
        from tapetum.app.see.film_motion import CAMERA, TRACKER, answer_motion, read_motion

        for text in (options.question, *options.options):
            check_length(text, "a text")
        claims = read_motion(options.question, options.options)
        if claims and (not world or all(claim.subjects == (CAMERA,) for claim in claims)):  # that mcvit-films knows nothing of
            moved = answer_motion(options.video, claims, options.options, str(options.model), "auto", listener)
            about: dict[str, Any] = {"fits": moved.fits, "remarks": moved.remarks, "model": TRACKER}
            return ChosenAnswer(answer=moved.answer, options=options.options, by="motion", **about)
    if options.model == AUTO:
        options = replace(options, model=FILMS if world or not can_answer_photos() else CLASSIFIER)
    if names_photographs(options.model):
        return _by_nouns(options, listener)
    from tapetum.systems.longvideo.captioner import Captioner
    from tapetum.systems.longvideo.streaming import FrameSelection, VideoOptionScorer, encode_video, stream_passages
    from tapetum.video import open_video

    model = load_watcher(options.model, options.by)
    selection = FrameSelection(frame_rate=choose_frame_rate(model, options.frame_rate))
    with open_video(options.video) as video:
        if isinstance(model, Captioner):
            tell = listener.counting("watching")
            latents = encode_video(model, video, selection, lambda done: tell(done, None))
            scores = tuple(model.score_options(latents, options.question, options.options))
            return _answered(options, "likelihood", scores)
        if remark := unfamiliar_remark(str(options.model), options.video, frames=1):
            listener.note(remark)
        scorer = VideoOptionScorer(model, options.question, options.options)
        passages: list[np.ndarray] = []
        scores: Any = ()
        for number, passage in enumerate(stream_passages(model, video, selection)):
            listener.progress("watching", number, None)
            own, scores = scorer.add(passage)
            passages.append(own)
    return _answered(options, "similarity", tuple(float(value) for value in scores), passages)


def _by_nouns(options: AnswerOptions, listener: Listener) -> ChosenAnswer:
    """Compare the nouns of the options with what a classifier sees."""
    from tapetum.app.see.film_nouns import compare_nouns
    from tapetum.video import open_video

    if options.by is not None:
        raise BadInput(f"{options.model} compares nouns; leave out --by, or give --model {FILMS}")
    tell = partial(listener.progress, "watching")
    with open_video(options.video) as video:
        made = compare_nouns(str(options.model), video, options.options, options.frame_rate or 1.0, tell, "auto")
    return ChosenAnswer(
        answer=made.answer,
        options=options.options,
        by="nouns",
        probabilities=made.probabilities,
        remarks=made.remarks,
        model=str(options.model),
    )


def _answered(
    options: AnswerOptions, by: str, scores: tuple[float, ...], passages: "Sequence[np.ndarray]" = ()
) -> ChosenAnswer:
    best, second, *_ = sorted(range(len(scores)), key=lambda k: -scores[k])
    own: dict[str, Any] = {_SCORES[by]: scores}
    leads = [float(each[best] - each[second]) for each in passages]
    return ChosenAnswer(
        answer=options.options[best],
        options=options.options,
        by=by,
        model=str(options.model),
        lead=scores[best] - scores[second],
        lead_deviation=stdev(leads) if len(leads) > 1 else None,
        **own,
    )


def choose_frame_rate(model: "VideoText | Captioner", given: float | None) -> float:
    """Choose how many frames per second to use: the given rate, else that of weights that learned moments, else 1."""
    from tapetum.systems.longvideo.video_text import VideoText

    return given or (model.config.frame_rate if isinstance(model, VideoText) else 1.0)


def load_watcher(place: File, by: str | None) -> "VideoText | Captioner":
    """Load weights that answer by similarity or by likelihood; None takes either. Raises BadInput for others."""
    from tapetum.systems.longvideo.captioner import Captioner
    from tapetum.systems.longvideo.video_text import VideoText
    from tapetum.systems.longvideo.weights import load

    model = load(place)
    if isinstance(model, VideoText) and by != "likelihood":
        return model
    if isinstance(model, Captioner) and by != "similarity":
        return model
    if isinstance(model, Captioner):
        raise BadInput(f"{place} has a language model and no text tower; it answers --by likelihood")
    if isinstance(model, VideoText):
        raise BadInput(f"{place} has no language model; it answers --by similarity, or give a run of the stage video-to-text")
    raise BadInput(f"{place} has no text tower; give the folder of a run of tapetum train longvideo")
