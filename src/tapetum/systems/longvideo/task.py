"""Contrastive training of a video encoder and a text tower (LongViViT, arXiv 2312.07395, section 3; MC-ViT, section 4).

Stage by stage (`recipes`): images; short videos mixed with images, each with separate patch weights; long videos. The loss is
over all clips of a step, regardless of micro-batches and processes:

    videos of all processes x texts of all processes     a video finds its texts, a text its video
    + for a video, its own wrong answers as columns      hard negatives (MC-ViT, arXiv 2402.05861, section 4.3: NExT-QA)

Source of the loss: MC-ViT, equation 8: the sum of both directions. A video may have several texts, all correct, and equal texts
match each other's videos. Rows are normalised to length 1.

Differs from the paper: half of the sum, so the value is CLIP's; several and equal texts are ours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from tapetum.core.errors import BadInput
from tapetum.data.samples import Shuffle, sample_generator
from tapetum.encoders import byte_text
from tapetum.encoders.subwords import read_subwords
from tapetum.encoders.tokenizers import Tokenizer
from tapetum.encoders.towers_config import TextConfig
from tapetum.layers.precision import unrounded
from tapetum.metrics.retrieval import retrieval_scores
from tapetum.systems.longvideo.data import CaptionedClip, ClipSource, ScoredClips, open_clips
from tapetum.systems.longvideo.recipes import VideoTextRun
from tapetum.systems.longvideo.video_text import VideoText, tokenize
from tapetum.systems.longvideo.video_text_config import BYTES
from tapetum.systems.longvideo.weights import continue_from, inflate_from, load, load_tokenizer
from tapetum.train import JointTask, StepContext
from tapetum.train.contrastive import own_rows, similarities, unit_rows
from tapetum.train.gather import all_gather


def video_text_loss(
    videos: Float[Tensor, "b e"],
    texts: Float[Tensor, "b m e"],
    scale: float | Float[Tensor, ""],
    *,
    valid: Bool[Tensor, "b m"] | None = None,
    names: Int[Tensor, "b m"] | None = None,
    hard: Float[Tensor, "b k e"] | None = None,
    hard_valid: Bool[Tensor, "b k"] | None = None,
) -> Float[Tensor, ""]:
    """Compute half the cross entropies of video-to-text and text-to-video retrieval, averaged over own videos.

    Each of this process's `videos` has m `texts`, of which those `valid` exist (by default all); `names` are equal for equal
    texts. `hard` are wrong texts of each video, negatives for this video only. `scale` is the inverse of the temperature.

    A task that uses it says `joint_batch = True`. Raises BadInput for a video without text.
    """
    b, m = texts.shape[:2]
    if valid is None:
        valid = torch.ones(b, m, dtype=torch.bool, device=texts.device)
    elif not bool(valid.any(1).all()):
        raise BadInput("a video of the batch has no text; leave it out, or give it one")
    videos, texts = unit_rows(videos), unit_rows(texts)
    every_video, every_text, every_valid = all_gather(videos), all_gather(texts), all_gather(valid.byte()).bool()
    same = own_rows(videos)[:, None] == torch.arange(len(every_video), device=videos.device)  # (b, B)
    same = same[:, None, :, None].expand(b, m, -1, m)  # (b, m, B, m): of one video
    if names is not None:
        same = same | (names[:, :, None, None] == all_gather(names))
    same = same & valid[:, :, None, None] & every_valid
    logits = (scale * similarities(videos, every_text.flatten(0, 1))).masked_fill(~every_valid.flatten(), -torch.inf)
    positives = same.any(1).flatten(1)  # (b, B m)
    if hard is not None:
        hard = unit_rows(hard)
        with unrounded(videos):
            worse = (hard @ videos[..., None])[..., 0]
        worse = scale * worse
        worse = worse if hard_valid is None else worse.masked_fill(~hard_valid, -torch.inf)
        logits = torch.cat([logits, worse], 1)
        positives = torch.cat([positives, torch.zeros_like(worse, dtype=torch.bool)], 1)
    forth = _cross_entropy(logits, positives).mean()
    logits = similarities(texts.flatten(0, 1), every_video).unflatten(0, (b, m))
    each = _cross_entropy(scale * logits, same.any(3) | ~valid[:, :, None]).masked_fill(~valid, 0.0)
    return (forth + (each.sum(1) / valid.sum(1)).mean()) / 2


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross entropy along the last axis, with equal weight for all correct entries."""
    log_probabilities = logits.log_softmax(-1).masked_fill(~targets, 0.0)
    return -log_probabilities.sum(-1) / targets.sum(-1)


NOT_COMPARED = "preset", "data", "start", "encoder", "steps", "batch_size", "micro_batch", "lr", "weight_decay", "bf16", "seed"
NOT_COMPARED += ("checkpointing", "tokenizer", "cache")
"""Fields of a run that say nothing of what is learned, or of which the loop's config knows."""


class ShuffledClips(Dataset[tuple[int, CaptionedClip]]):
    """Clips in a shuffled order, with the number of the sample."""

    def __init__(self, source: ClipSource, seed: int):
        self.source, self.seed = source, seed

    def __getitem__(self, number: int) -> tuple[int, CaptionedClip]:
        k = number if self.source.count is None else Shuffle(self.source.count, self.seed)(number)
        return number, self.source.training_clip(k, sample_generator(self.seed, number))


class VideoTextTask(JointTask):
    """Contrastive training of clips and texts."""

    def __init__(self, run: VideoTextRun, clips: ClipSource | None = None):
        self.run, self.clips = run, open_clips(run) if clips is None else clips
        run.config  # noqa: B018, an impossible one is refused at once
        self.tokenizer = open_tokenizer(run)

    def model(self) -> VideoText:
        """Build new towers, with an inflated video encoder if the run names one, or continue those of the previous stage."""
        run = self.run
        if run.encoder:
            encoder = inflate_from(run.encoder, run.model, **run.video_changes)
            model = VideoText(replace(run.config, video=encoder.config))
            model.video.load_state_dict(encoder.state_dict())
        elif run.start:
            model = load(run.start)
            if not isinstance(model, VideoText):
                raise BadInput(f"{run.start} has no text tower; give weights of tapetum train longvideo")
            if self.tokenizer is not None and model.tokenizer is None and model.config.text.vocabulary == BYTES:
                raise BadInput(f"the text tower of {run.start} reads bytes; leave --tokenizer out")
            _check_vocabulary(self.tokenizer, model.config.text)
            model = continue_from(model, **run.video_changes)
        else:
            model = VideoText(run.config)
        model.tokenizer = self.tokenizer
        return model.train()

    def prepare(self, say: Callable[[str], None]) -> None:
        """Do the work before the first step, once for all processes; `say` reports it."""

    def dataset(self) -> ShuffledClips:
        return ShuffledClips(self.clips, self.run.seed)

    def collate(self, items: Sequence[tuple[int, CaptionedClip]]) -> dict[str, Any]:
        """Make a micro-batch: images, videos, or both, each with its texts."""
        batch: dict[str, Any] = {"number": tuple(number for number, _ in items)}
        clips = [each for _, each in items]
        if self.run.stage in ("images", "short") or self.run.beside:
            texts = [each.image_text for each in clips]
            batch["image"] = torch.from_numpy(np.stack([each.image for each in clips]))
            batch["image_text"], batch["image_name"] = self._tokens(texts), byte_text.numbers(texts)
        if self.run.stage != "images":
            texts = [each.text for each in clips]
            batch["video"], batch["length"] = pad_clips([each.frames for each in clips])
            batch["video_text"], batch["video_name"] = self._tokens(texts), byte_text.numbers(texts)
        if self.run.stage == "questions":
            most = max(len(each.wrong) for each in clips)
            rows = [[*each.wrong, *[""] * (most - len(each.wrong))] for each in clips]
            batch["hard"] = self._tokens([text for row in rows for text in row]).unflatten(0, (len(rows), most))
            batch["hard_valid"] = torch.tensor([[bool(text) for text in row] for row in rows])
        return batch

    def embed(self, model: nn.Module, batch: Mapping[str, Any], context: StepContext) -> dict[str, Tensor]:
        """Compute the vectors of clips and of texts, of each kind."""
        assert isinstance(model, VideoText)
        embeddings: dict[str, Tensor] = {}
        if "image" in batch:
            embeddings["image"] = model.embed_images(scale_pixels(batch["image"]))
        if "video" in batch:
            lengths = padded_lengths(batch["video"], batch["length"])
            embeddings["video"] = model.embed_videos(scale_pixels(batch["video"]), lengths, batch["number"])
        for kind in ("image", "video"):
            if kind in batch:
                embeddings[f"{kind}_text"] = model.embed_texts(batch[f"{kind}_text"])
                embeddings[f"{kind}_name"] = batch[f"{kind}_name"]
        if "hard" in batch:
            embeddings["hard"], embeddings["hard_valid"] = model.embed_texts(batch["hard"]), batch["hard_valid"]
        return embeddings

    def joint_loss(
        self, model: nn.Module, embeddings: Mapping[str, Tensor], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the mean of the losses of the kinds."""
        assert isinstance(model, VideoText)
        scale = model.scale()
        kinds = [kind for kind in ("image", "video") if kind in embeddings]
        hard = {name: embeddings[name] for name in ("hard", "hard_valid") if name in embeddings}
        losses = {
            kind: video_text_loss(
                embeddings[kind],
                embeddings[f"{kind}_text"][:, None],
                scale,
                names=embeddings[f"{kind}_name"][:, None],
                **(hard if kind == "video" else {}),
            )
            for kind in kinds
        }
        total = torch.stack([*losses.values()]).mean()
        return total, {"scale": scale.detach(), **{f"{kind}_loss": loss.detach() for kind, loss in losses.items()}}

    @torch.no_grad()
    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Score held-out clips: by retrieval, or by the own scores of generated clips."""
        assert isinstance(model, VideoText)
        clips = [self.clips.validation_clip(k) for k in range(self.clips.validation_count)]
        if self.run.stage == "questions":
            return self._score_answers(model, clips)
        vectors = torch.cat([self._embed(model, each) for each in clips])
        if isinstance(self.clips, ScoredClips) and self.run.stage != "images":
            return self.clips.score(model, vectors)
        texts = [each.image_text if self.run.stage == "images" else each.text for each in clips]
        text_vectors = model.embed_texts(model.tokens(texts))
        right = np.array([[a == b for b in texts] for a in texts])
        scores = (vectors @ text_vectors.T).double().cpu().numpy()
        return {
            "recall_text": retrieval_scores(scores, right, at=(1,)).recall[1],
            "recall_clip": retrieval_scores(scores.T, right.T, at=(1,)).recall[1],
            "chance": float(right.mean()),
        }

    def _score_answers(self, model: VideoText, clips: Sequence[CaptionedClip]) -> Mapping[str, float]:
        """Compute the accuracy of chosen answers, with the video, with a grey one instead, and by chance."""
        correct = {"accuracy": 0, "blind": 0}
        for each in clips:
            words = model.embed_texts(model.tokens([each.text, *each.wrong]))
            grey = replace(each, frames=np.full_like(each.frames, 128))
            for name, shown in (("accuracy", each), ("blind", grey)):
                scores = words @ self._embed(model, shown)[0]
                correct[name] += bool(scores[0] > scores[1:].max())
        chance = sum(1 / (1 + len(each.wrong)) for each in clips) / len(clips)
        return {**{name: count / len(clips) for name, count in correct.items()}, "chance": chance}

    def _embed(self, model: VideoText, clip: CaptionedClip) -> Tensor:
        device = model.log_scale.device
        if self.run.stage == "images":
            return model.embed_images(scale_pixels(torch.tensor(clip.image[None]).to(device)))
        return model.embed_videos(scale_pixels(torch.tensor(clip.frames[None]).to(device)))

    def describe(self) -> Mapping[str, Any]:
        if self.tokenizer is None:
            return describe(self.run)
        return {**describe(self.run), "tokenizer": blake2b(self.tokenizer.content, digest_size=8).hexdigest()}

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        return tokenize(texts, self.tokenizer, self.run.config.text)


def open_tokenizer(run: VideoTextRun) -> Tokenizer | None:
    """Open the tokenizer of a run, or of its initial weights; None for a text tower that reads bytes.

    Raises BadInput if the text tower has fewer tokens, or the weights have another tokenizer.
    """
    before = load_tokenizer(run.start) if run.start else None
    own = read_subwords(Path(run.tokenizer), run.config.text.length) if run.tokenizer else before
    if own is None:
        if run.vocabulary != BYTES:
            raise BadInput(
                f"a text tower of {run.vocabulary:,} tokens reads subwords; give their --tokenizer, or --vocabulary {BYTES}, "
                "which reads bytes"
            )
        return None
    if before is not None and before.content != own.content:
        raise BadInput(f"the text tower of {run.start} has learned with another tokenizer; leave --tokenizer out")
    if not run.start:
        _check_vocabulary(own, run.config.text)
    return own


def _check_vocabulary(tokenizer: Tokenizer | None, tower: TextConfig) -> None:
    if tokenizer is not None and tokenizer.size > tower.vocabulary:
        raise BadInput(
            f"the tokenizer has {tokenizer.size:,} tokens and the text tower {tower.vocabulary:,}; give --vocabulary "
            f"{tokenizer.size}, or a smaller tokenizer"
        )


def describe(run: VideoTextRun) -> dict[str, Any]:
    """List what decides what a run learns; the vocabulary only where it is not bytes, as runs were recorded before."""
    left_out = (*NOT_COMPARED, "vocabulary") if run.vocabulary == BYTES else NOT_COMPARED
    return {name: value for name, value in asdict(run).items() if name not in left_out}


def scale_pixels(pixels: Tensor) -> Tensor:
    """Scale uint8 pixels to -1..1."""
    return pixels.float() / 127.5 - 1


def pad_clips(clips: Sequence[np.ndarray]) -> tuple[Tensor, tuple[int, ...]]:
    """Pad clips, or features of clips, to the longest: (b, t, ...), and count the valid frames or time steps of each."""
    return pad_sequence([torch.from_numpy(clip) for clip in clips], batch_first=True), tuple(map(len, clips))


def padded_lengths(video: Tensor, lengths: Sequence[int]) -> Tensor | None:
    """Make the encoder's `lengths` of padded clips, on the CPU; None if none is padded."""
    return None if min(lengths) == video.shape[1] else torch.tensor(lengths, device="cpu")
