"""Training on films joined from stories (the stage films, which no paper has): questions of memory, and words for moments.

    loss = (questions of whole films, each with its three answers + words of what happens, which find their moment) / 2

The first is `option_loss`: all questions of a film, whose wrong answers are objects in the same film, so answering requires
knowing when they appeared. The best-matching moment of an answer counts (`streaming.similarity_scores`), rather than the mean
of the film as in MC-ViT. The second is `moment_text_loss`: each event must be distinguished from other moments of all films of
the step, so that `tapetum search` finds it. A question with its correct answer is one of these texts; without that the first
loss did not fall (docs/models/mcvit-films.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.encoders import byte_text
from tapetum.systems.longvideo.data import CaptionedClip
from tapetum.systems.longvideo.encoder import EncodedVideo
from tapetum.systems.longvideo.recipes import VideoTextRun
from tapetum.systems.longvideo.streaming import similarity_scores
from tapetum.systems.longvideo.task import VideoTextTask, pad_clips, padded_lengths, scale_pixels
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.train import StepContext
from tapetum.world.training.film_losses import add_time_codes, moment_text_loss, option_loss
from tapetum.world.training.films import FilmClip, FilmClips, compute_features, moments_of
from tapetum.world.words.films import FILMS, TEMPLATES

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
        """Build a micro-batch: films, questions with their options, events, and their moments; equally many per film."""
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
        """Compute the vectors of the moments of films and of texts."""
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
        """Compute the mean of the losses of questions and of moments."""
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
        """Score films of held-out stories: answers, also about grey films, and retrieval of moments by words."""
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
