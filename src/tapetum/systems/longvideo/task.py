"""Contrastive training of a video encoder and a text tower (LongViViT, arXiv 2312.07395, section 3; MC-ViT, section 4).

Stage by stage (`recipes`): images; short videos with images beside them, each kind by patches of its own; long videos. The
loss is of all clips of a step, whatever the micro-batches and processes. Equal texts are right for each other's clips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from tapetum.core.errors import BadInput
from tapetum.data.samples import Shuffle, sample_generator
from tapetum.encoders import byte_text
from tapetum.metrics.retrieval import retrieval_scores
from tapetum.scenes.ordered_events import gallery
from tapetum.systems.longvideo.continued import continued
from tapetum.systems.longvideo.data import MadeUp, Telling, Told, held_out_number, telling
from tapetum.systems.longvideo.losses import video_text_loss
from tapetum.systems.longvideo.recipes import VideoTextRun
from tapetum.systems.longvideo.towers import VideoText
from tapetum.systems.longvideo.weights import load
from tapetum.train import JointTask, StepContext

NOT_LEARNING = "data", "start", "steps", "batch_size", "micro_batch", "lr", "weight_decay", "bf16", "seed", "checkpointing"
"""Fields of a run that say nothing of what is learned, or of which the loop's config knows."""


class Clips(Dataset[tuple[int, Told]]):
    """Clips in a shuffled order, with the number of the sample."""

    def __init__(self, told: Telling, seed: int):
        self.told, self.seed = told, seed

    def __getitem__(self, number: int) -> tuple[int, Told]:
        k = number if self.told.count is None else Shuffle(self.told.count, self.seed)(number)
        return number, self.told.learn(k, sample_generator(self.seed, number))


class VideoTextTask(JointTask):
    """Clips find their texts, and texts their clips."""

    def __init__(self, run: VideoTextRun):
        self.run, self.told = run, telling(run)
        run.config  # noqa: B018, an impossible one is refused at once

    def model(self) -> VideoText:
        """Make new towers, or those of the stage before with this one's settings."""
        if not self.run.start:
            return VideoText(self.run.config).train()
        model = load(self.run.start)
        if not isinstance(model, VideoText):
            raise BadInput(f"{self.run.start} has no text tower; give weights of tapetum train longvideo")
        return continued(model, **self.run.video_changes).train()

    def dataset(self) -> Clips:
        """Give clips by number."""
        return Clips(self.told, self.run.seed)

    def collate(self, items: Sequence[tuple[int, Told]]) -> dict[str, Any]:
        """Make a micro-batch: images, videos, or both, each with its texts."""
        batch: dict[str, Any] = {"number": torch.tensor([number for number, _ in items])}
        told = [each for _, each in items]
        length = self.run.config.text.length
        if self.run.stage in ("images", "short") or self.run.beside:
            texts = [each.image_text for each in told]
            batch["image"] = torch.from_numpy(np.stack([each.image for each in told]))
            batch["image_text"], batch["image_name"] = byte_text.tokens(texts, length), byte_text.numbers(texts)
        if self.run.stage != "images":
            texts = [each.text for each in told]
            batch["video"], batch["length"] = filled([each.frames for each in told])
            batch["video_text"], batch["video_name"] = byte_text.tokens(texts, length), byte_text.numbers(texts)
        if self.run.stage == "questions":
            most = max(len(each.wrong) for each in told)
            rows = [[*each.wrong, *[""] * (most - len(each.wrong))] for each in told]
            batch["hard"] = torch.stack([byte_text.tokens(row, length) for row in rows])
            batch["hard_there"] = torch.tensor([[bool(text) for text in row] for row in rows])
        return batch

    def embed(self, model: nn.Module, batch: Mapping[str, Any], context: StepContext) -> dict[str, Tensor]:
        """Give the vectors of clips and of texts, of each kind."""
        assert isinstance(model, VideoText)
        found: dict[str, Tensor] = {}
        if "image" in batch:
            found["image"] = model.embed_images(signed(batch["image"]))
        if "video" in batch:
            samples = tuple(batch["number"].tolist())
            lengths = batch["length"]
            whole = bool((lengths == batch["video"].shape[1]).all())
            found["video"] = model.embed_videos(signed(batch["video"]), None if whole else lengths, samples)
        for kind in ("image", "video"):
            if kind in batch:
                found[f"{kind}_text"] = model.embed_texts(_cut(batch[f"{kind}_text"]))
                found[f"{kind}_name"] = batch[f"{kind}_name"]
        if "hard" in batch:
            found["hard"], found["hard_there"] = model.embed_texts(batch["hard"]), batch["hard_there"]
        return found

    def joint_loss(
        self, model: nn.Module, embeddings: Mapping[str, Tensor], context: StepContext
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Take the mean of the losses of the kinds."""
        assert isinstance(model, VideoText)
        scale = model.scale()
        kinds = [kind for kind in ("image", "video") if kind in embeddings]
        hard = {name: embeddings[name] for name in ("hard", "hard_there") if name in embeddings}
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
        """Score clips that are never learned from: retrieval among them, or, of those made up, among 64 captions."""
        assert isinstance(model, VideoText)
        told = [self.told.score(k) for k in range(self.told.held_out)]
        if self.run.stage == "questions":
            return self._answers(model, told)
        length = self.run.config.text.length
        seen = torch.cat([self._seen(model, each) for each in told])
        if isinstance(self.told, MadeUp) and self.run.stage != "images":
            return self._galleries(model, seen, self.told)
        texts = [each.image_text if self.run.stage == "images" else each.text for each in told]
        read = model.embed_texts(_cut(byte_text.tokens(texts, length).to(seen.device)))
        right = np.array([[a == b for b in texts] for a in texts])
        scores = (seen @ read.T).double().cpu().numpy()
        return {
            "recall_text": retrieval_scores(scores, right, at=(1,)).recall[1],
            "recall_clip": retrieval_scores(scores.T, right.T, at=(1,)).recall[1],
            "chance": float(right.mean()),
        }

    def _answers(self, model: VideoText, told: Sequence[Told]) -> Mapping[str, float]:
        """How often the right answer is chosen, with the video, and with a grey one in its place; and by chance."""
        right = {"accuracy": 0, "blind": 0}
        for each in told:
            words = model.embed_texts(
                _cut(byte_text.tokens([each.text, *each.wrong], self.run.config.text.length)).to(model.log_scale.device)
            )
            grey = replace(each, frames=np.full_like(each.frames, 128))
            for name, shown in (("accuracy", each), ("blind", grey)):
                scores = words @ self._seen(model, shown)[0]
                right[name] += bool(scores[0] > scores[1:].max())
        chance = sum(1 / (1 + len(each.wrong)) for each in told) / len(told)
        return {**{name: count / len(told) for name, count in right.items()}, "chance": chance}

    def _seen(self, model: VideoText, told: Told) -> Tensor:
        device = model.log_scale.device
        if self.run.stage == "images":
            return model.embed_images(signed(torch.tensor(told.image[None]).to(device)))
        return model.embed_videos(signed(torch.tensor(told.frames[None]).to(device)))

    def _galleries(self, model: VideoText, seen: Tensor, made: MadeUp) -> Mapping[str, float]:
        """How often the right one of 64 captions is found, and the right order of the own events."""
        found = ordered = 0
        for k, row in enumerate(seen):
            captions = gallery(made.run.seed, held_out_number(k), made.config)
            texts = byte_text.tokens(captions.captions, self.run.config.text.length).to(row.device)
            scores = model.embed_texts(_cut(texts)) @ row
            found += int(scores.argmax()) == captions.answer
            own = list(captions.orders)
            ordered += own[int(scores[own].argmax())] == captions.answer
        return {"recall": found / len(seen), "order": ordered / len(seen), "order_chance": 1 / made.config.orders}

    def describe(self) -> Mapping[str, Any]:
        """List what decides what is learned."""
        return {name: value for name, value in asdict(self.run).items() if name not in NOT_LEARNING}


def signed(pixels: Tensor) -> Tensor:
    """Bring uint8 to -1..1."""
    return pixels.float() / 127.5 - 1


def filled(clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Fill clips up to the longest: uint8 (b, t, h, w, 3), and the frames of each that count."""
    lengths = [len(clip) for clip in clips]
    out = torch.zeros(len(clips), max(lengths), *clips[0].shape[1:], dtype=torch.uint8)
    for row, clip in zip(out, clips, strict=True):
        row[: len(clip)] = torch.from_numpy(clip)
    return out, torch.tensor(lengths)


def _cut(ids: Tensor) -> Tensor:
    """Leave out what is padding in all texts."""
    return ids[:, : int((ids != 0).any(0).nonzero().max()) + 1]
