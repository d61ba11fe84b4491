r"""Stages 1 and 2 on images of `scenes/`: the text loss with dense losses, and the scores of answers.

Supervised attention: while the decoder writes locations and masks, two heads should attend to the object concerned.

    detect cup \n  <loc> <loc> <loc> <loc> cup
               |     |     |     |
               '-----'-----'-----'-- predicts the next location of the cup: two heads of the last block but one are to attend
                                     to the image tokens on which the cup is visible

A head that finds the object and a layer that writes its location are useless without each other, so from random weights neither
is learned: after 60 CPU minutes the boxes of the first `paligemma-nano` were independent of the side on which an object stands.
Colours, which are also asked for conspicuous objects, were learned.

Differs from the paper, which has no such loss; the trained model is an ordinary PaliGemma.

The dense loss of stage 0 (`dense_task`) costs almost nothing here, since the vision encoder's tokens are already computed.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.core.devices import to_device
from tapetum.encoders.decoder import Decoder, DecoderAttention, DecoderBlock
from tapetum.layers.patches import apply_rotary as turn
from tapetum.systems.paligemma.data import ImageTexts, TextPair, TextRows, collate
from tapetum.systems.paligemma.losses import PackedTexts
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.recipes import TextMixture
from tapetum.systems.paligemma.task import Checks, PaliGemmaTask, Step, begin, text_loss
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.train import StepContext
from tapetum_world.training.paligemma.dense_task import CELL, CellTargets, collate_cells, dense_head, dense_loss, unfold_cells
from tapetum_world.training.paligemma.scene_images import SceneFolder, SceneSample, SceneTexts

HEADS = 2
"""Heads that are supervised; the others are free."""
SHARE = 0.3
"""An object is visible on the tokens that show at least this share of the pixels of the token that shows most of it."""


@dataclass(frozen=True)
class AttentionTargets:
    """Targets of the attention of each text token of a packed batch."""

    index: Int[Tensor, "e t"]
    """Row of `patches`; -1 where the token may attend to anything."""
    patches: Bool[Tensor, "s n"]
    """For each target the tokens of an image."""
    supervised: tuple[Int[Tensor, " m"], Int[Tensor, " m"]] | None = None
    """Example and place of each token that has a target; found where the batch is made, on the CPU."""

    def __post_init__(self) -> None:
        if self.supervised is None:
            object.__setattr__(self, "supervised", (self.index >= 0).nonzero(as_tuple=True))


def patches_showing(mask: Bool[np.ndarray, "h w"], patch: int) -> Bool[np.ndarray, " n"]:
    """Select the image tokens on which an object is visible.

    >>> patches_showing(np.eye(4, dtype=bool), 2).tolist()
    [True, False, False, True]
    """
    rows, columns = (side // patch for side in mask.shape)
    counts = mask[: rows * patch, : columns * patch].reshape(rows, patch, columns, patch).sum((1, 3)).ravel()
    return (counts > 0) & (counts >= SHARE * counts.max())


def attention_targets(
    texts: Sequence[Sequence[TextPair]], ids: Sequence[Any], packed: PackedTexts, tokens: Tokens, patch: int, count: int
) -> AttentionTargets:
    """Compute the attention target of each token.

    Args:
        texts: of each image.
        ids: for each image the object that each pixel shows, (h, w).
        packed: the same texts as token ids.
        tokens: the tokenizer.
        patch: side of an image token in pixels.
        count: tokens of an image.
    """
    index = torch.full_like(packed.ids, -1)
    patches: list[np.ndarray] = []
    for example, pairs in enumerate(texts):
        ordered = [pair for long in (False, True) for pair in pairs if pair.long == long]  # as `pack_texts` has them
        for row, pair in enumerate(ordered, start=1):
            if not pair.about:
                continue
            first = len(patches)
            patches += [patches_showing(ids[example] == instance, patch) for instance in pair.about]
            positions = ((packed.row[example] == row) & (packed.target[example] > 0)).nonzero()[:, 0]
            owners = _object_of_each(packed.target[example, positions].tolist(), tokens)
            for position, owner in zip(positions.tolist(), owners, strict=True):
                if 0 <= owner < len(pair.about):
                    index[example, position] = first + owner
            if pair.kind == "region":  # its locations are in the prefix: the first word of the caption is supervised
                index[example, positions[0]] = first
    return AttentionTargets(index, torch.from_numpy(np.stack(patches) if patches else np.zeros((0, count), bool)))


def _object_of_each(targets: Sequence[int], tokens: Tokens) -> list[int]:
    """Number of the object each token belongs to, four locations each; -1 for words."""
    owners, locations = [], 0
    for target in targets:
        if tokens.is_location(target):
            owners.append(locations // 4)
            locations += 1
        else:
            owners.append(locations // 4 - 1 if tokens.is_segment(target) else -1)
    return owners


def supervised_attention(decoder: Decoder) -> DecoderAttention:
    """Select the supervised layer: the attention of the second-to-last block, or of the only one."""
    block = decoder.blocks[max(len(decoder.blocks) - 2, 0)]
    return cast(DecoderAttention, cast(DecoderBlock, block).attention)


@contextmanager
def record_inputs(attention: nn.Module) -> Iterator[dict[str, Any]]:
    """Record the inputs of an attention layer: x, angles and mask."""
    inputs: dict[str, Any] = {}

    def record(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        inputs.update(zip(("x", "angles", "mask"), arguments, strict=False))

    handle = attention.register_forward_pre_hook(record)
    try:
        yield inputs
    finally:
        handle.remove()


def attention_loss(
    attention: DecoderAttention,
    x: Float[Tensor, "e n d"],
    angles: tuple[Tensor, Tensor],
    mask: Tensor,
    targets: AttentionTargets,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Compute the mean of -log of the attention on the target tokens, and the mean attention on them.

    Args:
        attention: the layer.
        x: its input: an image's tokens, then texts.
        angles: of the rotary embedding.
        mask: added to its logits, (e, 1, n, n).
        targets: the attention targets of text tokens.
    """
    config, image_tokens = attention.config, targets.patches.shape[1]
    assert targets.supervised is not None
    example, position = targets.supervised
    if not len(example):
        return x.sum() * 0, x.new_zeros(())
    joined = attention.query_key_value(x).unflatten(-1, (-1, config.head_width)).transpose(1, 2)  # e heads n width
    rotated = turn(joined[:, : config.heads + config.key_value_heads], *angles)
    query, key = rotated[:, :HEADS, image_tokens:], rotated[:, config.heads, None]
    logits = (query @ key.transpose(-1, -2)).float() * config.scale + mask[:, :, image_tokens:].float()
    log_attention = logits.log_softmax(-1)[example, :, position, :image_tokens]  # targets heads image_tokens
    others = ~targets.patches[targets.index[example, position]][:, None]
    log_share = log_attention.masked_fill(others, -torch.inf).logsumexp(-1)
    return -log_share.mean(), log_share.detach().exp().mean()


@dataclass(frozen=True)
class SceneStep(Step):
    """A micro-batch, with the targets of cells and of attention."""

    cells: CellTargets | None
    attention: AttentionTargets | None


class SceneTextTask(PaliGemmaTask):
    """Trains on images of `scenes/`. The head of the dense loss is the model's attribute `dense_head`, which is not saved."""

    def __init__(self, *about: Any, dense_weight: float = 0.0, attention_weight: float = 0.0, **more: Any):
        """`dense_weight`: of the loss of stage 0; `attention_weight`: of that on attention, where texts share an image;
        the rest as for `PaliGemmaTask`, with `SceneTexts` for samples."""
        super().__init__(*about, **more)
        self.dense_weight, self.attention_weight = dense_weight, attention_weight

    def model(self) -> PaliGemma:
        model = PaliGemma(self.config)
        if self.dense_weight:
            model.dense_head = dense_head(self.config.vision_encoder)
        if self.start is not None:
            begin(model, self.start)
        return model

    def collate(self, items: Sequence[ImageTexts]) -> SceneStep:
        plain = super().collate(items)
        images = [item.image for item in items if isinstance(item, SceneSample)]
        attention = None
        if self.attention_weight and plain.packed is not None:
            texts, ids = [item.pairs for item in items], [image.ids for image in images]
            side, count = self.config.token_side, self.config.image_tokens
            attention = attention_targets(texts, ids, plain.packed, self.tokens, side, count)
        return SceneStep(plain.batch, plain.packed, collate_cells(images) if self.dense_weight else None, attention)

    def loss(self, model: nn.Module, batch: SceneStep, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        assert isinstance(model, PaliGemma)
        pixels = batch.batch.pixels
        features = model.vision_encoder(pixels.flatten(0, 1))
        images = model.project_features(features).unflatten(0, pixels.shape[:2]).flatten(1, 2)
        attention = supervised_attention(model.language)
        with record_inputs(attention) as inputs:
            text, logged = text_loss(model, images, batch, self.learning, self.soft_locations)
        loss, logged = text, {"text": text.detach(), **logged}
        if batch.attention is not None:
            loss_of_attention, logged["attention"] = attention_loss(attention, **inputs, targets=batch.attention)
            loss = loss + self.attention_weight * loss_of_attention
        if batch.cells is None:
            return loss, logged
        predicted = cast(nn.Linear, model.dense_head)(features.tokens)
        grid = unfold_cells(predicted, features.grid, self.config.vision_encoder.patch // CELL)
        loss_of_cells, parts = dense_loss(grid, batch.cells)
        return loss + self.dense_weight * loss_of_cells, {**logged, **parts}

    def describe(self) -> Mapping[str, Any]:
        return {**super().describe(), "dense_weight": self.dense_weight, "attention_weight": self.attention_weight}


@dataclass(frozen=True)
class AnswerChecks(Checks):
    """Scores how many answers about held-out images would be written letter for letter."""

    folder: SceneFolder
    tokens: Tokens

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        """Score a few questions about each image."""
        assert isinstance(model, PaliGemma)
        pairs = SceneTexts(self.folder, TextMixture(answers=6, regions=1, captions=0, detect_all=0, detect=0))
        right: dict[str, list[float]] = {}
        for start in range(0, len(self.folder), 32):
            images = [self.folder.read(i) for i in range(start, min(start + 32, len(self.folder)))]
            items = [pairs.sample(p, np.random.default_rng((start, k))) for k, p in enumerate(images)]
            batch = to_device(collate(items, self.tokens), model.projector.weight.device)
            with torch.no_grad():
                image_tokens = model.embed_images(batch.pixels)
                [rows] = batch.groups
                whole = _whole(model, image_tokens, rows)
            kinds = [pair.kind for item in items for pair in item.pairs]
            for kind, correct in zip(kinds, whole, strict=True):
                right.setdefault(kind, []).append(float(correct))
        return {kind: float(np.mean(correct)) for kind, correct in sorted(right.items())}


def _whole(model: PaliGemma, image_tokens: Tensor, rows: TextRows) -> list[bool]:
    """Check whether each answer would be generated verbatim."""
    logits = model.language.logits(model.read(image_tokens[rows.of], rows.prefix, rows.suffix))
    return ((logits.argmax(-1) == rows.suffix) | (rows.suffix == 0)).all(1).tolist()
