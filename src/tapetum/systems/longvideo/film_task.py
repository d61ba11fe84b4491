"""Training on films joined of stories (the stage films, which no paper has): questions of memory, and words for moments.

    loss = (questions of whole films, each with two wrong answers + words of what happens, which find their moment) / 2

The first is the loss of MC-ViT's questions (section 4.3), the second `losses.moment_text_loss`: what happens must be told from
all other moments of all films of the step, so that `tapetum search` finds it in a film.
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
from tapetum.systems.longvideo.encoder import VideoFeatures
from tapetum.systems.longvideo.films import FilmClip, FilmClips, compute_features, moments_of
from tapetum.systems.longvideo.losses import moment_text_loss
from tapetum.systems.longvideo.recipes import VideoTextRun
from tapetum.systems.longvideo.task import VideoTextTask, pad_clips, padded_lengths, scale_pixels
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.train import StepContext

MOST_EVENTS = 24
"""Of a film that are learned from."""
NEAR_S = 2.0
"""Seconds from an event within which a moment counts as right."""


class FilmTask(VideoTextTask):
    """Films find the answers to their questions, and words their moments."""

    def __init__(self, run: VideoTextRun):
        super().__init__(run, FilmClips(run))
        config = run.config
        self.moment_slots = config.moment_slots or 1
        self.moment_s = self.moment_slots * config.video.tubelet[0] / run.frame_rate
        self.moments = -(-config.video.slots // self.moment_slots)

    def model(self) -> VideoText:
        """Continue the towers of the stage before, or build new ones; `tapetum embed` will give a vector for each moment."""
        model = super().model()
        model.config = replace(model.config, moment_slots=self.moment_slots, frame_rate=self.run.frame_rate)
        return model

    def collate(self, items: Sequence[tuple[int, CaptionedClip]]) -> dict[str, Any]:
        """Make a micro-batch: films with questions and wrong answers, what happens in them, and in which moments."""
        batch = super().collate(items)
        films = [clip for _, clip in items if isinstance(clip, FilmClip)]
        if self.run.cache:
            batch["features"], batch["length"] = pad_clips([film.features for film in films if film.features is not None])
            del batch["video"]
        shape = len(films), MOST_EVENTS  # the same in all micro-batches
        inside, texts = np.zeros((*shape, self.moments), bool), []
        for own, film in zip(inside, films, strict=True):
            events = film.events[:MOST_EVENTS]
            own[: len(events)] = moments_of(events, self.moments, self.moment_s)
            texts += [*(event.caption for event in events), *[""] * (MOST_EVENTS - len(events))]
        batch["moment_text"], batch["moment_name"] = (
            self._tokens(texts).unflatten(0, shape),
            byte_text.numbers(texts).unflatten(0, shape),
        )
        return {**batch, "inside": torch.from_numpy(inside)}

    def embed(self, model: nn.Module, batch: Mapping[str, Any], context: StepContext) -> dict[str, Tensor]:
        """Compute the vectors of films, of their moments and of texts."""
        assert isinstance(model, VideoText)
        shown = batch["features"].to(model.log_scale) if self.run.cache else scale_pixels(batch["video"])
        encode = model.video.encode_features if self.run.cache else model.video
        features = encode(shown, padded_lengths(shown, batch["length"]), batch["number"])
        moments = model.embed_moments(features).flatten(1, 2)[:, : self.moments]
        return {
            "video": model.embed_pooled(features.pooled),
            "moment": F.pad(moments, (0, 0, 0, self.moments - moments.shape[1])),
            "video_text": model.embed_texts(batch["video_text"]),
            "moment_text": self._embed_present(model, batch),
            **{name: batch[name] for name in ("video_name", "moment_name", "inside", "hard_valid")},
            "hard": model.embed_texts(batch["hard"]),
        }

    def _embed_present(self, model: VideoText, batch: Mapping[str, Any]) -> Tensor:
        """Compute the vectors of the texts that there are, and zeros for the others."""
        present = batch["inside"].any(2)
        vectors = model.embed_texts(batch["moment_text"][present])
        return vectors.new_zeros(*present.shape, vectors.shape[-1]).index_put((*present.nonzero(as_tuple=True),), vectors)

    def joint_loss(
        self, model: nn.Module, embeddings: Mapping[str, Tensor], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the mean of the losses of questions and of moments."""
        assert isinstance(model, VideoText)
        loss, metrics = super().joint_loss(model, embeddings, context)
        rows = (embeddings[name] for name in ("moment", "moment_text", "inside"))
        moment_loss = moment_text_loss(*rows, model.scale(), embeddings["moment_name"])
        return (loss + moment_loss) / 2, {**metrics, "moment_loss": moment_loss.detach()}

    @torch.no_grad()
    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Score films of stories that are never learned from: answers, also about grey films, and moments found by words."""
        assert isinstance(model, VideoText)
        correct, blind, hits, chances = [], [], [], []
        for k in range(self.clips.validation_count):
            clip = self.clips.validation_clip(k)
            assert isinstance(clip, FilmClip)
            answers = model.embed_texts(model.tokens([clip.text, *clip.wrong]))
            for list_of, grey in ((correct, False), (blind, True)):
                scores = answers @ model.embed_pooled(self._encode(model, clip, grey).pooled)[0]
                list_of.append(bool(scores[0] > scores[1:].max()))
            vectors = model.embed_moments(self._encode(model, clip)).flatten(1, 2)[0]
            vectors = vectors[vectors.any(-1)]
            words = model.embed_texts(model.tokens([event.caption for event in clip.events]))
            near = near_moments(clip, len(vectors), self.moment_s)
            hits += near[np.arange(len(near)), (words @ vectors.T).argmax(1).cpu().numpy()].tolist()
            chances += near.mean(1).tolist()
        values = {"accuracy": correct, "blind": blind, "moment_recall": hits, "moment_chance": chances}
        return {"chance": 1 / 3, **{name: float(np.mean(each)) for name, each in values.items()}}

    def _encode(self, model: VideoText, clip: FilmClip, grey: bool = False) -> VideoFeatures:
        if clip.features is None:
            frames = np.full_like(clip.frames, 128) if grey else clip.frames
            return model.video(scale_pixels(torch.from_numpy(frames[None]).to(model.log_scale.device)))
        features = clip.features
        if grey:
            one = np.full((model.config.video.tubelet[0], *model.config.video.size, 3), 128, np.uint8)
            features = np.broadcast_to(compute_features(model, one), features.shape)
        return model.video.encode_features(torch.from_numpy(features.copy())[None].to(model.log_scale))


def near_moments(clip: FilmClip, moments: int, moment_s: float) -> np.ndarray:
    """Find which moments are right for each event, bool (events, moments).

    Right is one whose middle is at most `NEAR_S` away from the event, or from another one with the same words.
    """
    middles = (np.arange(moments) + 0.5) * moment_s
    starts, stops = (np.array([getattr(event, name) for event in clip.events]) for name in ("start_s", "stop_s"))
    near = (middles >= starts[:, None] - NEAR_S) & (middles <= stops[:, None] + NEAR_S)
    captions = np.array([event.caption for event in clip.events])
    return (captions[:, None] == captions) @ near
