"""Sources for long-video training in the synthetic world: ordered events in place of a data set, and the stage films.

The stage films, which no paper has, learns from films joined from stories: questions of memory, and words for moments.
`tapetum` registers by name the clips of `ordered-events`, and the task of the stage `films`.

moments of a film x the options of its questions     the right one of each question
moments of all films x texts of all films            a text finds one of its moments, a moment one of its texts

    loss = (questions of whole films, each with its three answers + words of what happens, which find their moment) / 2

The first is `option_loss`: all questions of a film, whose wrong answers are objects in the same film, so answering requires
knowing when they appeared. The best-matching moment of an answer counts (`streaming.similarity_scores`), rather than the mean
of the film as in MC-ViT. The second is `moment_text_loss`: each event must be distinguished from other moments of all films of
the step, so that `tapetum search` finds it. A question with its correct answer is one of these texts; without that the first
loss did not fall (docs/models/mcvit-films.md).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.encoders import byte_text
from tapetum.layers.patches import sine_1d
from tapetum.layers.precision import unrounded
from tapetum.systems.longvideo.data import CaptionedClip
from tapetum.systems.longvideo.encoder import EncodedVideo
from tapetum.systems.longvideo.recipes import MADE_UP, VideoTextRun
from tapetum.systems.longvideo.streaming import similarity_scores
from tapetum.systems.longvideo.task import VideoTextTask, pad_clips, padded_lengths, scale_pixels
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.train import StepContext
from tapetum.train.contrastive import similarities, unit_rows
from tapetum.train.gather import all_gather
from tapetum.train.launch import is_main
from tapetum_world.ordered_events import OrderedEventsConfig, gallery, make_ordered_events
from tapetum_world.training.films import FilmClip, FilmClips, compute_features, has_features, moments_of, write_features
from tapetum_world.words.films import FILMS, TEMPLATES


def option_loss(
    moments: Float[Tensor, "b m e"],
    options: Float[Tensor, "b q k e"],
    scale: float | Float[Tensor, ""],
    valid: Bool[Tensor, "b q"],
) -> Float[Tensor, ""]:
    """Compute the cross entropy of choosing the first of k options, averaged over this process's questions.

    The logit of an option is the logarithm of the sum of exp(scale * cosine) over the moments of its film: the soft maximum by
    which `streaming.similarity_scores` chooses. Rows of zeros stand for no moment; `valid` marks which of the q questions
    exist.
    """
    moments, options = unit_rows(moments), unit_rows(options)
    with unrounded(moments):
        logits = scale * torch.einsum("bme,bqke->bqkm", moments, options)
    logits = logits.masked_fill(~moments.any(-1)[:, None, None], -torch.inf).logsumexp(-1)
    return -logits.log_softmax(-1)[..., 0][valid].mean()


def moment_text_loss(
    moments: Float[Tensor, "b m e"],
    texts: Float[Tensor, "b k e"],
    inside: Bool[Tensor, "b k m"],
    scale: float | Float[Tensor, ""],
    names: Int[Tensor, "b k"],
) -> Float[Tensor, ""]:
    """Compute the cross entropies of texts retrieving a moment of theirs among all films', and of moments a text, halved.

    A text may span several moments, any of which is correct; so are those of equal texts. Moments without a text are wrong for
    all.

    Args:
        moments: of this process's films; rows of zeros stand for none.
        texts: the events of each film.
        inside: the moments of its film in which each happens; none: the text does not exist.
        scale: inverse of the temperature.
        names: numbers of which those of equal texts are equal.

    A task that uses it says `joint_batch = True`.
    """
    moments, texts = unit_rows(moments), unit_rows(texts)
    every_moment, every_text, every_name = all_gather(moments), all_gather(texts), all_gather(names)
    every_inside = all_gather(inside.byte()).bool()
    present, every_present = inside.any(2), every_inside.any(2)
    same = (names[:, :, None, None] == every_name) & present[:, :, None, None] & every_present  # (b, k, B, K)
    right = torch.einsum("bkcj,cjm->bkcm", same.float(), every_inside.float()).flatten(2) > 0  # (b, k, B m)
    logits = scale * similarities(texts.flatten(0, 1), every_moment.flatten(0, 1)).unflatten(0, texts.shape[:2])
    logits = logits.masked_fill(~every_moment.any(-1).flatten(), -torch.inf)
    by_text = _any_right(logits[present], right[present]).mean()
    back = torch.einsum("bkm,bkcj->bmcj", inside.float(), same.float()).flatten(2) > 0  # (b, m, B K)
    logits = scale * similarities(moments.flatten(0, 1), every_text.flatten(0, 1)).unflatten(0, moments.shape[:2])
    logits, named = logits.masked_fill(~every_present.flatten(), -torch.inf), inside.any(1)
    by_moment = _any_right(logits[named], back[named]).mean()
    return (by_text + by_moment) / 2


def _any_right(logits: Tensor, right: Tensor) -> Tensor:
    """The negative log-probability, along the last axis, of all correct entries together."""
    return logits.logsumexp(-1) - logits.masked_fill(~right, -torch.inf).logsumexp(-1)


@torch.no_grad()
def add_time_codes(positions: Float[Tensor, "slots rows columns d"], deviation: float = 0.2) -> bool:
    """Add sines of time to a table that is (nearly) equal in all time steps, as after inflation; returns whether it was.

    Such a network cannot tell the order of events. `deviation` is that of the codes; positions of the bundled networks have
    0.7.
    """
    if (positions - positions.mean(0)).std() > 0.02 * positions.std():
        return False
    slots, width = len(positions), positions.shape[-1]
    codes = sine_1d(torch.arange(slots), width // 2 * 2, wavelength=2.0 * slots) * 2**0.5 * deviation
    positions[..., : codes.shape[1]] += codes[:, None, None].to(positions)
    return True


MOST_EVENTS = 24
"""Of a film that are learned from, answers of questions among them."""
OPTIONS = FILMS
"""Of a question: the answers of the films of a group."""
NEAR_S = 2.0
"""Seconds from an event within which a moment counts as right."""


class FilmTask(VideoTextTask):
    """Films retrieve the answers to their questions, and words their moments."""

    def __init__(self, run: VideoTextRun):
        super().__init__(run, FilmClips(run))
        config = run.config
        self.moment_slots = config.moment_slots or 1
        self.moment_s = self.moment_slots * config.video.tubelet[0] / run.frame_rate
        self.moments = -(-config.video.slots // self.moment_slots)

    def model(self) -> VideoText:
        """Continue the towers of the stage before, or build new ones; `tapetum embed` will return one vector per moment.

        Positions are always trained: those of inflated networks are equal in all time steps, so codes are added.
        """
        model = super().model()
        model.config = replace(model.config, moment_slots=self.moment_slots, frame_rate=self.run.frame_rate)
        positions = model.video.tubelets.positions.requires_grad_(True)
        add_time_codes(positions)
        return model

    def collate(self, items: Sequence[tuple[int, CaptionedClip]]) -> dict[str, Any]:
        films = [clip for _, clip in items if isinstance(clip, FilmClip)]
        batch: dict[str, Any] = {"number": tuple(number for number, _ in items)}
        if self.run.cache:
            batch["features"], batch["length"] = pad_clips([film.features for film in films if film.features is not None])
        else:
            batch["video"], batch["length"] = pad_clips([film.frames for film in films])
        questions = [text for film in films for text in _filled(film.questions, len(TEMPLATES), ("",) * OPTIONS)]
        has_question = np.array([[k < len(film.questions) for k in range(len(TEMPLATES))] for film in films])
        events = [[*film.answers, *film.events][:MOST_EVENTS] for film in films]
        captions = [text for own in events for text in _filled([(event.caption,) for event in own], MOST_EVENTS, ("",))]
        inside = np.zeros((len(films), MOST_EVENTS, self.moments), bool)
        for rows, own in zip(inside, events, strict=True):
            rows[: len(own)] = moments_of(own, self.moments, self.moment_s)
        return {
            **batch,
            "options": self._tokens(questions).unflatten(0, (len(films), len(TEMPLATES), OPTIONS)),
            "options_valid": torch.from_numpy(has_question),
            "moment_text": self._tokens(captions).unflatten(0, (len(films), MOST_EVENTS)),
            "moment_name": byte_text.numbers(captions).unflatten(0, (len(films), MOST_EVENTS)),
            "inside": torch.from_numpy(inside),
        }

    def embed(self, model: nn.Module, batch: Mapping[str, Any], context: StepContext) -> dict[str, Tensor]:
        assert isinstance(model, VideoText)
        shown = batch["features"].to(model.log_scale) if self.run.cache else scale_pixels(batch["video"])
        encode = model.video.encode_features if self.run.cache else model.video
        features = encode(shown, padded_lengths(shown, batch["length"]), batch["number"])
        moments = model.embed_moments(features).flatten(1, 2)[:, : self.moments]
        return {
            "moment": F.pad(moments, (0, 0, 0, self.moments - moments.shape[1])),
            "options": _embed_some(model, batch["options"], batch["options_valid"]),
            "moment_text": _embed_some(model, batch["moment_text"], batch["inside"].any(2)),
            **{name: batch[name] for name in ("options_valid", "moment_name", "inside")},
        }

    def joint_loss(
        self, model: nn.Module, embeddings: Mapping[str, Tensor], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        assert isinstance(model, VideoText)
        scale, rows = model.scale(), embeddings
        losses = {
            "question_loss": option_loss(rows["moment"], rows["options"], scale, rows["options_valid"]),
            "moment_loss": moment_text_loss(rows["moment"], rows["moment_text"], rows["inside"], scale, rows["moment_name"]),
        }
        metrics = {name: loss.detach() for name, loss in losses.items()}
        return torch.stack([*losses.values()]).mean(), {"scale": scale.detach(), **metrics}

    @torch.no_grad()
    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        assert isinstance(model, VideoText)
        correct, blind, hits, chances = [], [], [], []
        for k in range(self.clips.validation_count):
            clip = self.clips.validation_clip(k)
            assert isinstance(clip, FilmClip)
            vectors, grey = self._moment_vectors(model, clip), self._moment_vectors(model, clip, grey=True)
            for shown, answers in ((vectors, correct), (grey, blind)):
                for texts in clip.questions:
                    scores = similarity_scores(model, model.embed_texts(model.tokens(texts)).cpu().numpy(), shown.cpu().numpy())
                    answers.append(bool(scores[0] > scores[1:].max()))
            words = model.embed_texts(model.tokens([event.caption for event in clip.events]))
            near = near_moments(clip, len(vectors), self.moment_s)
            hits += near[np.arange(len(near)), (words @ vectors.T).argmax(1).cpu().numpy()].tolist()
            chances += near.mean(1).tolist()
        values = {"accuracy": correct, "blind": blind, "moment_recall": hits, "moment_chance": chances}
        return {"chance": 1 / 3, **{name: float(np.mean(each)) for name, each in values.items()}}

    def _moment_vectors(self, model: VideoText, clip: FilmClip, grey: bool = False) -> Tensor:
        """Compute the vectors of the existing moments, (m, e)."""
        vectors = model.embed_moments(self._encode(model, clip, grey)).flatten(1, 2)[0]
        return vectors[vectors.any(-1)]

    def _encode(self, model: VideoText, clip: FilmClip, grey: bool = False) -> EncodedVideo:
        if clip.features is None:
            frames = np.full_like(clip.frames, 128) if grey else clip.frames
            return model.video(scale_pixels(torch.from_numpy(frames[None]).to(model.log_scale.device)))
        features = clip.features
        if grey:
            one = np.full((model.config.video.tubelet[0], *model.config.video.size, 3), 128, np.uint8)
            features = np.broadcast_to(compute_features(model, one), features.shape)
        return model.video.encode_features(torch.from_numpy(features.copy())[None].to(model.log_scale))


def _filled(rows: Sequence[tuple[str, ...]], count: int, empty: tuple[str, ...]) -> list[str]:
    """List the texts of `count` rows; missing ones are empty."""
    return [text for row in [*rows, *[empty] * count][:count] for text in row]


def _embed_some(model: VideoText, tokens: Tensor, there: Tensor) -> Tensor:
    """Compute the vectors of the existing texts, and zeros for the others."""
    vectors = model.embed_texts(tokens[there])
    return vectors.new_zeros(*there.shape, *vectors.shape[1:]).index_put((*there.nonzero(as_tuple=True),), vectors)


def near_moments(clip: FilmClip, moments: int, moment_s: float) -> np.ndarray:
    """Find the correct moments of each event, bool (events, moments).

    A moment is correct if its middle is at most `NEAR_S` away from the event, or from another one with the same words.
    """
    middles = (np.arange(moments) + 0.5) * moment_s
    starts, stops = (np.array([getattr(event, name) for event in clip.events]) for name in ("start_s", "stop_s"))
    near = (middles >= starts[:, None] - NEAR_S) & (middles <= stops[:, None] + NEAR_S)
    captions = np.array([event.caption for event in clip.events])
    return (captions[:, None] == captions) @ near


_VALIDATION = 1 << 32
"""Numbers of videos from here on are never learned from."""


class OrderedEventClips:
    """Ordered events (`tapetum_world.ordered_events`). The text of an image names its object."""

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
        if not self.run.cache:
            return
        if not self.run.start:
            raise BadInput("--cache is of features of weights that stay as they are; give those to begin with, --start")
        if is_main():
            write_features(self.run, self.model().eval(), say)
        while not has_features(self.run):
            time.sleep(1)
