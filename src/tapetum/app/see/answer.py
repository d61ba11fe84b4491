"""`tapetum.answer`: multiple-choice question answering about a video of any length."""

from dataclasses import KW_ONLY, dataclass
from statistics import stdev
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.app.see.settings import CANNOT_SAY, CLASSIFIER, is_image_text, names_photographs
from tapetum.app.verb import File, Listener, Result, one_text, verb
from tapetum.bench.word_models import describe_model, next_step
from tapetum.core.errors import BadInput
from tapetum.core.reading import check_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from tapetum.systems.longvideo.captioner import Captioner
    from tapetum.systems.longvideo.video_text import VideoText

WATCHERS = "--model with weights of tapetum train longvideo, which compare any words with a video"
_SCORES = {"similarity": "cosines", "likelihood": "log_probabilities", "nouns": "probabilities"}
_SHARE, _LEAD = 1 / 3, 0.2
"""Share of the frames, the likeliest, that nouns are compared in; and lead in probability that the best option must have."""


@dataclass(frozen=True)
class AnswerOptions:
    """Choose among several answers the one that fits a video best, however long it is.

    With weights of tapetum train longvideo: by similarity it compares the video with question and answer; by likelihood a
    language model that looks at the video says how likely each answer is. By default the classifier efficientnet-lite2 (extra
    [imagenet]) compares answers that are nouns, or says that it cannot.
    """

    video: tyro.conf.Positional[Annotated[Any, one_text("VIDEO")]]
    """A video, or an episode of a LeRobot data set (SET#episode=3), or the address of one; in Python also frames, uint8
    (t, h, w, 3)."""
    question: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="QUESTION")]
    """What is asked; may be empty, where the answers say all."""
    _: KW_ONLY
    options: tuple[str, ...] = ()
    """The answers to choose from, two or more."""
    model: Annotated[File, tyro.conf.arg(metavar="NAME|FILE")] = CLASSIFIER
    """Weights with a text tower or a language model, the folder of a run of `tapetum train longvideo`, or a vision-language
    model of transformers (extra [vlm]). The default, of the extra [imagenet], compares answers that are nouns."""
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
    options: tuple[str, ...]
    by: str
    """similarity, likelihood or nouns."""
    cosines: tuple[float, ...] = ()
    """By similarity, of each: only their order means something. In -1..1, but for a network of moments, whose soft maximum over
    moments may be above."""
    log_probabilities: tuple[float, ...] = ()
    """By likelihood, of each: the mean over its tokens."""
    probabilities: tuple[float, ...] = ()
    """By nouns, of each: that it is seen, over the frames where it is likeliest; 0 for what is no noun."""
    remarks: tuple[str, ...] = ()
    model: str | None = None
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
        about = [describe_model(self.model), next_step(self.model)] if self.model and self.by != "nouns" else []
        if self.answer == CANNOT_SAY:
            about = [f"{self.model} compares nouns; for more give {WATCHERS}"]
        return "\n".join([*lines, *self.remarks, *filter(None, about)])


@verb(AnswerOptions, data=("video",))
def answer(options: AnswerOptions, listener: Listener) -> ChosenAnswer:
    """Choose the answer whose text, after that of the question, is most similar to the video (MC-ViT, arXiv 2402.05861, 4.2),
    or most likely under a vision-language model.

    The video is decoded once and never held in memory whole. Raises BadInput for fewer than two answers, a video that cannot be
    read, and weights that cannot do what is asked.
    """
    options.check()
    if names_photographs(options.model):
        return _by_nouns(options, listener)
    if is_image_text(options.model):
        return _by_image_text(options, listener)
    from tapetum.systems.longvideo.captioner import Captioner
    from tapetum.systems.longvideo.streaming import FrameSelection, VideoOptionScorer, encode_video, stream_passages
    from tapetum.systems.longvideo.video_text import VideoText
    from tapetum.video import open_video

    model = load_watcher(options.model, options.by)
    learned = model.config.frame_rate if isinstance(model, VideoText) else 1.0
    selection = FrameSelection(frame_rate=options.frame_rate or learned)
    with open_video(options.video) as video:
        if isinstance(model, Captioner):
            tell = listener.counting("watching")
            latents = encode_video(model, video, selection, lambda done: tell(done, None))
            scores = tuple(model.score_options(latents, options.question, options.options))
            return _answered(options, "likelihood", scores)
        scorer = VideoOptionScorer(model, options.question, options.options)
        passages: list[np.ndarray] = []
        scores: Any = ()
        for number, passage in enumerate(stream_passages(model, video, selection)):
            listener.progress("watching", number, None)
            own, scores = scorer.add(passage)
            passages.append(own)
    return _answered(options, "similarity", tuple(float(value) for value in scores), passages)


def _by_image_text(options: AnswerOptions, listener: Listener) -> ChosenAnswer:
    """Compare the log-likelihood of options under a vision-language model that is shown frames of the video together."""
    from tapetum.systems.image_text.model import ImageTextModel
    from tapetum.systems.longvideo.streaming import FrameSelection
    from tapetum.video import open_video

    if options.by == "similarity":
        raise BadInput(f"{options.model} has a language model and no text tower; it answers --by likelihood")
    model = ImageTextModel.load(options.model)
    with open_video(options.video) as video:
        frames = video[FrameSelection(frame_rate=options.frame_rate or 1.0).numbers(video)]
    listener.progress("watching", len(frames), len(frames))
    return _answered(options, "likelihood", tuple(model.score_options(frames, options.question, options.options)))


def _by_nouns(options: AnswerOptions, listener: Listener) -> ChosenAnswer:
    """Compare options that are nouns by a classifier, one frame at a time."""
    import numpy as np

    from tapetum.app.see.photo_answers import PhotoAnswerer
    from tapetum.encoders.naming import YES
    from tapetum.encoders.wordnet import find_noun
    from tapetum.systems.longvideo.streaming import FrameSelection
    from tapetum.video import open_video

    if options.by is not None:
        raise BadInput(f"{options.model} compares nouns; leave out --by, or give {WATCHERS}")
    for text in (options.question, *options.options):
        check_length(text, "a text")
    nouns = [None if noun is None or noun.kind_of else noun for noun in map(find_noun, options.options)]
    unknown = [option[:80] for option, noun in zip(options.options, nouns, strict=True) if noun is None]
    answerer, rows = PhotoAnswerer.load(str(options.model), "auto"), []
    with open_video(options.video) as video:
        numbers = FrameSelection(frame_rate=options.frame_rate or 1.0).numbers(video)
        for done, number in enumerate(numbers, 1):
            whole = answerer.evidence(video[[number]]).whole[0]
            rows.append([0.0 if noun is None else float(whole[list(noun.classes)].sum()) for noun in nouns])
            listener.progress("watching", done, len(numbers))
    scores = np.sort(np.array(rows), axis=0)[-max(1, round(len(rows) * _SHARE)) :].mean(0)
    best, lead = options.options[int(scores.argmax())], float(np.diff(np.sort(scores))[-1])
    return ChosenAnswer(
        answer=best if scores.max() >= YES and lead >= _LEAD else CANNOT_SAY,
        options=options.options,
        by="nouns",
        probabilities=tuple(scores.tolist()),
        remarks=(f"not compared, as no class is that: {', '.join(unknown)}",) if unknown else (),
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
