"""The video transformer of LongViViT (arXiv 2312.07395) and MC-ViT (arXiv 2402.05861), with their baselines.

    joint          [ whole video ]                        ViViT: every token attends to every other
    streaming      [ seg 0 ]  [ seg 1 ]  [ seg 2 ]        ST-ViT: each attends to its own segment
    augmented      [ seg 0 ]<-[ seg 1 ]<-[ seg 2 ]        MA-ViT: and to all tokens of those before, layer by layer
    consolidated   [ seg 0 ]<k[ seg 1 ]<k[ seg 2 ]        MC-ViT: and to k memories of each of those before (equation 4)
    compressed     [ seg 0 ]<c[ seg 1 ]<c[ seg 2 ]        MeMViT: and to a learned pooling of the last two

All but the last have the same weights: `memory` is a setting that can be changed on a trained network. One call for a whole
video (`encoder(video)`) and one per segment (`start`, `step`) give the same numbers.

Differs from the papers: what is stored, where the norm is and whether gradients pass are settings, since MC-ViT's equation and
pseudo-code disagree (`VideoConfig`); memory grows with each segment, without the paper's bound, unless `memory_cap` is given; a
last segment may be shorter.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tapetum.core.devices import all_finite, send_to_device
from tapetum.core.errors import BadInput
from tapetum.layers.transformer import AdapterNames, Block, Mlp, start_linear
from tapetum.systems.longvideo.config import VideoConfig, named
from tapetum.systems.longvideo.layers import (
    AdaptedMlp,
    FactorisedBlock,
    MemoryAttention,
    SlotPooling,
    TokenPositions,
    Tubelets,
    attend_in_space,
    slot_means,
)
from tapetum.systems.longvideo.memory import MemoryBank, StreamState, draw_order

_MASK = 1 << 20  # in place of a layer's number in the seed that chooses which tokens are dropped
_LAST = 4  # blocks that learn with tune="last-4"


@dataclass(frozen=True)
class EncodedVideo:
    """Features of a video, or of a segment."""

    tokens: Float[Tensor, "b segments n d"]
    """After the last norm, by segment; zeros where there is no token."""
    pooled: Float[Tensor, "b d"]
    """One vector a video; of a stream, of all segments so far."""
    valid: Bool[Tensor, "b segments n"]
    """False for tokens beyond the end of a video."""
    cells: Int[Tensor, "b segments n"]
    """Cell of each token in the grid of its time step; 0 for tubelets of several shapes, which have no grid."""
    slots: Int[Tensor, "b segments n"]
    """Time step of each token in its segment."""

    def padded(self, count: int) -> "EncodedVideo":
        """Fill the tokens of each segment up to `count` with zeros."""
        missing = count - self.tokens.shape[2]
        if missing <= 0:
            return self
        parts = (self.tokens, self.valid, self.cells, self.slots)
        tokens, *rest = (torch.cat([x, x.new_zeros(*x.shape[:2], missing, *x.shape[3:])], 2) for x in parts)
        return EncodedVideo(tokens, self.pooled, *rest)


class VideoEncoder(nn.Module):
    """A video transformer; see the module."""

    adapter_names = AdapterNames("tubelets.video", "tubelets.video", "mlp", "pooled_end", "after")

    def __init__(self, config: VideoConfig):
        super().__init__()
        self.config = config
        self.tubelets = Tubelets(config)
        self.norm_before = self._norm() if config.norm_before else nn.Identity()
        self.blocks = nn.ModuleList(self._block() for _ in range(config.depth))
        self.norm = self._norm()
        self.apply(start_linear)
        if config.attention == "factorised":
            self.blocks = nn.ModuleList(FactorisedBlock(block) for block in self.blocks)  # pyright: ignore[reportArgumentType]
        self.pooler = None if config.pooling == "mean" else SlotPooling(config)
        self.pooled_end = nn.Identity()
        """The pooled vector passes through it, in one call and in streams: a place for adapters."""
        self.memory_bank = MemoryBank(config)
        self._prepare_tuning()

    def _norm(self) -> nn.LayerNorm:
        return nn.LayerNorm(self.config.width, eps=self.config.norm_eps)

    def _block(self) -> Block:
        config = self.config
        attention = MemoryAttention(config.width, config.heads, bias=config.qkv_bias)
        mlp = Mlp(config.width, config.mlp_width, config.activation)
        return Block(attention, mlp, self._norm, width=config.width, layer_scale=config.layer_scale)

    if TYPE_CHECKING:

        def __call__(self, video: Tensor, lengths: Tensor | None = None, samples: Any = None) -> EncodedVideo: ...

    def forward(
        self,
        video: Float[Tensor, "b t h w 3"],
        lengths: Int[Tensor, " b"] | None = None,
        samples: tuple[int, ...] | None = None,
    ) -> EncodedVideo:
        """Encode whole videos of any length, in -1..1.

        `lengths` are the valid frames of each video, by default all; `samples` numbers of which random choices are functions.
        Raises BadInput for a wrong shape, values that are not finite, and lengths that do not fit.
        """
        self._check(video)
        return self._encode_segments(video, lengths, samples, embedded=False)

    def encode_features(
        self,
        features: Float[Tensor, "b slots rows columns d"],
        lengths: Int[Tensor, " b"] | None = None,
        samples: tuple[int, ...] | None = None,
    ) -> EncodedVideo:
        """Encode whole videos from their `tubelets.compute_features`, bit-identical to a call on the frames.

        Arguments are those of a call, in time steps instead of frames. If the tubelets are frozen, their features can be
        computed once for all of training. Raises BadInput for tubelets of several shapes, and for a wrong shape.
        """
        config = self.config
        if config.kernels or features.ndim != 5 or features.shape[2:] != (*config.grid, config.width) or 0 in features.shape:
            expected = ", ".join(map(str, (*config.grid, config.width)))
            raise BadInput(f"features are {tuple(features.shape)}; give (videos, time steps, {expected}) of one shape")
        return self._encode_segments(features, lengths, samples, embedded=True)

    def _encode_segments(
        self, video: Tensor, lengths: Tensor | None, samples: tuple[int, ...] | None, embedded: bool
    ) -> EncodedVideo:
        """Encode frames, or with `embedded` the features of time steps, segment by segment."""
        count, step = video.shape[1], self.config.tubelet[0] if embedded else 1
        valid = None if lengths is None else _valid_frames(lengths, len(video), count)
        state = self.start(len(video), count * step, samples)
        size = count if self.config.memory == "joint" else self.config.segment_frames // step
        parts = []
        for first in range(0, count, size):
            part = video[:, first : first + size]
            part_valid = None if valid is None else valid[:, first : first + size]
            state, features = self._advance(state, part, part_valid, embedded, last=first + size >= count)
            parts.append(features)
        count = max(features.tokens.shape[2] for features in parts)
        parts = [features.padded(count) for features in parts]
        names = "tokens", "valid", "cells", "slots"
        joined = {name: torch.cat([getattr(features, name) for features in parts], 1) for name in names}
        return EncodedVideo(pooled=parts[-1].pooled, **joined)

    def adapter_addresses(self) -> tuple[str, ...]:
        """List the names of the MLPs, after each of which an adapter fits, in forward order."""
        inner = ".space" if self.config.attention == "factorised" else ""
        return tuple(f"blocks.{i}{inner}.mlp" for i in range(self.config.depth))

    def start(self, batch: int, frames: int | None = None, samples: tuple[int, ...] | None = None) -> StreamState:
        """Start `batch` parallel streams: build a state without memories.

        If the length of the whole videos is known (`frames`), positions are those of a single call. `samples` as for a call.
        """
        samples = tuple(range(batch)) if samples is None else tuple(samples)
        if batch < 1 or len(samples) != batch or (frames is not None and frames < 1):
            raise BadInput(f"{batch} streams of {frames} frames with {len(samples)} numbers: give one or more, a number each")
        return StreamState(samples=samples, frames=frames)

    def step(self, state: StreamState, segment: Float[Tensor, "b t h w 3"]) -> tuple[StreamState, EncodedVideo]:
        """Encode the next segment of streams, at most `segment_frames` frames: the state after it, and its features.

        Raises BadInput for the form joint, a segment of another shape, and more frames than given to `start`.
        """
        config = self.config
        if config.memory == "joint":
            raise BadInput("the form of memory is joint, which has one segment: call the encoder, or choose another memory")
        self._check(segment)
        if segment.shape[1] > config.segment_frames or len(segment) != len(state.samples):
            raise BadInput(
                f"a segment is {tuple(segment.shape)}; give {len(state.samples)} videos of 1 to {config.segment_frames} frames"
            )
        slots = self._slots(state)
        if slots is not None and state.slots + -(-segment.shape[1] // config.tubelet[0]) > slots:
            raise BadInput(f"the stream was started with {state.frames} frames, which it has passed; start with more, or None")
        state, features = self._advance(state, segment, None)
        return state, features.padded(self._count_tokens(config.segment_frames))

    def encode_images(self, images: Float[Tensor, "b h w 3"]) -> EncodedVideo:
        """Encode images, with separate patch weights (LongViViT, section 3.1), as one segment."""
        if images.ndim != 4 or images.shape[-1] != 3:
            raise BadInput(f"images are {tuple(images.shape)}; give (images, rows, columns, 3) in -1..1")
        x = self.tubelets.embed_images(images)
        zeros = torch.zeros(x.shape[:2], dtype=torch.long, device=x.device)
        cells = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
        where = TokenPositions(zeros, cells, torch.ones(x.shape[:2], dtype=torch.bool, device="cpu"), (1, x.shape[1]))
        state = self.start(len(images))
        x, _ = self._encode(x, where, state, last=True)
        return self._pool(state, x, where)[1]

    def _advance(
        self, state: StreamState, frames: Tensor, valid: Tensor | None, embedded: bool = False, last: bool = False
    ) -> tuple[StreamState, EncodedVideo]:
        """Encode one segment; the last one writes no memories."""
        if self.config.checkpoint_segments and torch.is_grad_enabled() and self.training:
            return checkpoint(self._segment, state, frames, valid, embedded, last, use_reentrant=False)  # pyright: ignore[reportReturnType]
        return self._segment(state, frames, valid, embedded, last)

    def _segment(
        self, state: StreamState, frames: Tensor, valid: Tensor | None, embedded: bool, last: bool
    ) -> tuple[StreamState, EncodedVideo]:
        if embedded:
            whole = torch.ones(frames.shape[:2], dtype=torch.bool, device="cpu") if valid is None else valid
            x, where = self.tubelets.add_positions(frames, state.slots, self._slots(state), whole)
        else:
            x, where = self.tubelets(frames, state.slots, self._slots(state), valid)
        slots = state.slots + -(-frames.shape[1] // (1 if embedded else self.config.tubelet[0]))
        x, where = self._drop_tokens(x, where, state)
        x, after_blocks = self._encode(x, where, state, last)
        state = replace(after_blocks, slots=slots, segment=state.segment + 1)
        return self._pool(state, x, where)

    def _encode(self, x: Tensor, where: TokenPositions, state: StreamState, last: bool) -> tuple[Tensor, StreamState]:
        """Apply the blocks: gives the output of the last norm (zeros for missing tokens), and the state with new memories."""
        x = self.norm_before(x)
        memory = self.memory_bank.segment(state, x.shape[1], last)
        for number, block in enumerate(self.blocks):
            before = x
            if isinstance(block, FactorisedBlock):
                x = block(x, where)
            else:
                x = self._apply_block(block, x, where, memory.read(number, block))  # pyright: ignore[reportArgumentType]
            memory.write(number, block, before, x, where.valid)
        return self.norm(x) * where.valid[..., None], memory.finish()

    def _apply_block(self, block: Block, x: Tensor, where: TokenPositions, memory: Any) -> Tensor:
        if self.config.attention == "frame":
            attended = attend_in_space(block.attention, block.attention_norm(x), where)
            x = x + block.attention_scale(attended)
            return x + block.mlp_scale(block.mlp(block.mlp_norm(x)))
        return block(x, memory=memory, mask=where.mask())

    def _drop_tokens(self, x: Tensor, where: TokenPositions, state: StreamState) -> tuple[Tensor, TokenPositions]:
        """Drop random tokens (LongViViT, section 3.3), the same number for each sample, those beyond the end first."""
        config = self.config
        if not config.mask_ratio or not (self.training or config.mask_always):
            return x, where
        count = max(int((1 - config.mask_ratio) * x.shape[1] + 1e-6), 1)
        order = draw_order(config.seed, state.samples, _MASK, state.segment, x.shape[1])  # on the CPU
        late = ~where.valid_on_cpu.gather(1, order)
        rows = order.gather(1, late.long().argsort(dim=1, stable=True))[:, :count].sort(1).values
        here = send_to_device(rows, x.device)
        return x.gather(1, here[..., None].expand(-1, -1, x.shape[2])), where.select(rows)

    def _pool(self, state: StreamState, x: Tensor, where: TokenPositions) -> tuple[StreamState, EncodedVideo]:
        """Pool all tokens of the stream so far; the features are those of this segment."""
        kind = torch.promote_types(x.dtype, torch.float32)
        total, count = x.to(kind).sum(1), where.valid.sum(1).to(kind)
        if state.total is not None and state.count is not None:
            total, count = state.total + total, state.count + count
        state = replace(state, total=total, count=count)
        if self.pooler is None:
            pooled = (total / count.clamp(min=1)[:, None]).to(x.dtype)
        else:
            state = replace(state, slot_means=(*state.slot_means, slot_means(x, where)))
            pooled = self.pooler(state.slot_means)
        valid, cells, slots = (each[:, None] for each in (where.valid, where.cells, where.slots))
        return state, EncodedVideo(x[:, None], self.pooled_end(pooled), valid, cells, slots)

    def _prepare_tuning(self) -> None:
        """Freeze what `tune` does not name, and add its adapters or low-rank updates (LongViViT, section 3.3).

        Outputs do not change. Differs from the paper: widths and ranks are settings, since its appendix was not available.
        """
        config = self.config
        if config.tune == "all":
            return
        self.requires_grad_(False)
        learning: list[nn.Module] = [self.pooler] if self.pooler is not None else []
        if config.tune == "last-4":  # nothing before these blocks stores activations for backward
            learning += [*self.blocks[-_LAST:], self.norm]
        else:
            learning.append(self.tubelets.kernels if config.kernels else self.tubelets.video)
        for module in learning:
            module.requires_grad_(True)
        for block in self.blocks:
            inner: Any = block.space if isinstance(block, FactorisedBlock) else block
            if config.tune == "adapters":
                inner.mlp = AdaptedMlp(inner.mlp, config.width, config.adapter_width or max(config.width // 4, 1))
            elif config.tune == "lora":
                from tapetum.layers.transformer import add_lora

                add_lora(block, config.lora_rank)

    def _slots(self, state: StreamState) -> int | None:
        return None if state.frames is None else -(-state.frames // self.config.tubelet[0])

    def _count_tokens(self, frames: int) -> int:
        config = self.config
        rows, columns = config.size
        count = -(-frames // config.tubelet[0]) * config.grid[0] * config.grid[1]
        if config.kernels:
            sizes = (frames, rows, columns)
            count = sum(
                prod(max(size - side, 0) // step + 1 for size, side, step in zip(sizes, shape, stride, strict=True))
                for shape, stride in config.kernels
            )
        if config.mask_ratio and (self.training or config.mask_always):
            count = max(int((1 - config.mask_ratio) * count + 1e-6), 1)
        return count

    def _check(self, video: Tensor) -> None:
        rows, columns = self.config.size
        if video.ndim != 5 or tuple(video.shape[2:]) != (rows, columns, 3) or 0 in video.shape or not video.is_floating_point():
            raise BadInput(f"a video is {video.dtype} {tuple(video.shape)}; give floats in -1..1, (b, t, {rows}, {columns}, 3)")
        if not all_finite(video):
            raise BadInput("a video holds pixels that are not finite numbers; decode it again, or mend them")


def build(name: str, seed: int = 0, **changes: Any) -> VideoEncoder:
    """Build a named video encoder with random weights, float32, in evaluation mode.

    `seed` determines the weights and all later draws (`VideoConfig.seed`); `changes` are other fields of the config.

    Raises BadInput for unknown or incompatible settings.
    """
    config = named(name, seed=seed, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VideoEncoder(config).eval()


def _valid_frames(lengths: Tensor, batch: int, frames: int) -> Tensor:
    lengths = torch.as_tensor(lengths).cpu()
    if lengths.shape != (batch,) or lengths.is_floating_point() or int(lengths.min()) < 1 or int(lengths.max()) > frames:
        raise BadInput(f"lengths are {lengths.tolist()}; give {batch} whole numbers of 1 to {frames} frames")
    return torch.arange(frames, device="cpu") < lengths[:, None]
