"""Layers of a video transformer: tubelets, attention with memories, factorised attention, pooling over time, adapters.

    memory       q from the segment's own tokens; keys and values from them and from the memories, one softmax over all
                 (MC-ViT, arXiv 2402.05861, equation 4): no gate, so the weights are those of the image network
    factorised   x + space(norm(x)), then x + tanh(gate) time(norm(x)) with the gate at 0, then x + mlp(norm(x))
                 (LongViViT, arXiv 2312.07395, section 3.2); time begins with the weights of space
    pooling      of the means of time steps: by attention (LongViViT, section 3.2), or by blocks on top (late temporal fusion)
    adapter      mlp(x) + up(gelu(down(mlp(x)))), up begins at 0 (LongViViT, section 3.3)

Tubelets turn frames of a segment into tokens with positions (ViViT, arXiv 2103.15691, section 3.2); images have separate
weights (LongViViT, section 3.1); tubelets of several shapes have fixed sine positions (TubeViT, arXiv 2212.03229). A longer
video has positions stretched linearly (MC-ViT, section 3.1), a shorter one the first; an endless stream stays at the last.

Differs from the papers: the gate is one number per layer and time comes after space, which the paper leaves open; it also
leaves open whether stretching aligns corners or centres; here it aligns centres (`align_corners=False`). An image has the
positions of the first slot.
"""

import copy
import warnings
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tapetum.core.devices import send_to_device
from tapetum.core.errors import Remark
from tapetum.layers.patches import ConvolutionalStem, ImagePatches, TubeletStem, VideoTubelets, sine_1d
from tapetum.layers.transformer import Attention, AttentionPooling, Block, Mlp, attend
from tapetum.systems.longvideo.config import VideoConfig

Projected = tuple[Tensor, Tensor]
"""Keys and values, each (b, heads, m, head width)."""
_LATE_BLOCKS = 2


class MemoryAttention(Attention):
    """Attention of tokens to each other and to memories, with the weights of plain attention."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Float[Tensor, "b n c"], memory: Projected | None = None, mask: Bool[Tensor, "b 1 #n k"] | None = None
    ) -> Float[Tensor, "b n c"]:
        """Attend to the tokens that `mask` allows (all by default), and to all memories."""
        query = self.split_heads(self.query(x))
        key, value = self.project(x)
        if memory is not None:  # equation 4: kv = [LN(m); LN(z)], and q of the segment alone
            key, value = torch.cat([memory[0], key], 2), torch.cat([memory[1], value], 2)
            if mask is not None:
                mask = F.pad(mask, (memory[0].shape[2], 0), value=True)
        return self.out(attend(query, key, value, mask).transpose(1, 2).flatten(2))

    def project(self, x: Float[Tensor, "b n c"]) -> Projected:
        """Compute keys and values of normalised tokens or memories."""
        return self.split_heads(self.key(x)), self.split_heads(self.value(x))


class FactorisedBlock(nn.Module):
    """Attention in space, attention in time through a gate, and an MLP (LongViViT, section 3.2)."""

    def __init__(self, block: Block):
        """`block` is the spatial block; the temporal part starts with copies of its norm and attention."""
        super().__init__()
        self.space = block
        self.time_norm, self.time = copy.deepcopy(block.attention_norm), copy.deepcopy(block.attention)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "b n c"], where: "TokenPositions") -> Float[Tensor, "b n c"]:
        """Attend within each time step, then along time within each cell, then apply the MLP."""
        block = self.space
        x = x + block.attention_scale(attend_in_space(block.attention, block.attention_norm(x), where))
        x = x + torch.tanh(self.gate) * attend_in_time(self.time, self.time_norm(x), where)  # h + tanh(alpha) h_temporal
        return x + block.mlp_scale(block.mlp(block.mlp_norm(x)))


class TokenPositions:
    """Time step and cell of each token of a segment, and which tokens are valid."""

    def __init__(
        self, slots: Int[Tensor, "b n"], cells: Int[Tensor, "b n"], valid: Bool[Tensor, "b n"], grid: tuple[int, int] | None
    ):
        """`valid` is on the CPU, where reading it waits for no device.

        `grid`: time steps and cells of a time step, if no token was dropped, else None.
        """
        self.slots, self.cells, self.grid = slots, cells, grid
        self.valid_on_cpu, self.all_valid = valid, bool(valid.all())
        self.valid = send_to_device(valid, slots.device)

    def mask(self) -> Bool[Tensor, "b 1 1 n"] | None:
        """Make the attention mask that hides invalid tokens; None if all are valid."""
        return None if self.all_valid else self.valid[:, None, None]

    def select(self, rows: Int[Tensor, "b k"]) -> "TokenPositions":
        """Select some tokens, by numbers on the CPU."""
        here = send_to_device(rows, self.slots.device)
        return TokenPositions(self.slots.gather(1, here), self.cells.gather(1, here), self.valid_on_cpu.gather(1, rows), None)


def attend_in_space(attention: nn.Module, x: Float[Tensor, "b n c"], where: TokenPositions) -> Float[Tensor, "b n c"]:
    """Attend within each time step."""
    if where.grid is not None:  # a time step is valid as a whole or not at all
        return attention(x.unflatten(1, where.grid).flatten(0, 1)).unflatten(0, (len(x), -1)).flatten(1, 2)
    return attention(x, mask=_same(where.slots, where))


def attend_in_time(attention: nn.Module, x: Float[Tensor, "b n c"], where: TokenPositions) -> Float[Tensor, "b n c"]:
    """Attend along time within each cell."""
    if where.grid is not None and where.all_valid:
        along = x.unflatten(1, where.grid).transpose(1, 2)  # (b, cells, slots, c)
        return attention(along.flatten(0, 1)).unflatten(0, along.shape[:2]).transpose(1, 2).flatten(1, 2)
    return attention(x, mask=_same(where.cells, where))


def _same(number: Tensor, where: TokenPositions) -> Tensor:
    return ((number[:, :, None] == number[:, None]) & where.valid[:, None])[:, None]  # (b, 1, n, n)


class SlotPooling(nn.Module):
    """Pools the means of time steps (b, slots, d) to (b, d). Steps without a valid token are NaN and are left out."""

    def __init__(self, config: VideoConfig):
        super().__init__()
        self.attention = self.blocks = None
        if config.pooling == "attention":
            self.attention = AttentionPooling(config.width, config.heads, config.mlp_width, config.activation, config.norm_eps)
        else:
            self.blocks = nn.ModuleList(
                Block(
                    Attention(config.width, config.heads),
                    Mlp(config.width, config.mlp_width, config.activation),
                    lambda: nn.LayerNorm(config.width, eps=config.norm_eps),
                    width=config.width,
                )
                for _ in range(_LATE_BLOCKS)
            )

    def forward(self, means: tuple[Float[Tensor, "b _ d"], ...]) -> Float[Tensor, "b d"]:
        """Pool the time steps of all segments."""
        x = torch.cat(means, 1)
        valid = ~x[..., 0].isnan()
        x = x.nan_to_num(0.0)
        mask = None if bool(valid.all()) else valid[:, None, None]
        if self.attention is not None:
            return self.attention(x, mask=mask)
        assert self.blocks is not None
        for block in self.blocks:
            x = block(x, mask=mask)
        return (x * valid[..., None]).sum(1) / valid.sum(1, keepdim=True).clamp(min=1)


def slot_means(x: Float[Tensor, "b n d"], where: TokenPositions) -> Float[Tensor, "b slots d"]:
    """Average the tokens of each time step of a segment; NaN if none is valid."""
    count = int(where.slots.max()) + 1
    member = (where.slots[:, None] == torch.arange(count, device=x.device)[:, None]) & where.valid[:, None]  # (b, slots, n)
    sums = member.to(x.dtype) @ x
    number = member.sum(-1, keepdim=True)
    return torch.where(number > 0, sums / number.clamp(min=1), torch.nan)


class AdaptedMlp(nn.Module):
    """An MLP and an adapter after it, which at first changes nothing (LongViViT, section 3.3)."""

    def __init__(self, mlp: nn.Module, width: int, hidden: int):
        super().__init__()
        self.mlp, self.adapter = mlp, Mlp(width, hidden)
        nn.init.zeros_(self.adapter.out.weight)
        nn.init.zeros_(self.adapter.out.bias)

    def forward(self, x: Float[Tensor, "*s c"]) -> Float[Tensor, "*s c"]:
        """Apply the MLP, then the adapter as a residual."""
        hidden = self.mlp(x)
        return hidden + self.adapter(hidden)


class Tubelets(nn.Module):
    """Patches of videos and of images, with position embeddings."""

    def __init__(self, config: VideoConfig):
        super().__init__()
        self.config = config
        if config.stem == "convolutions":
            self.video = TubeletStem(config.tubelet, config.width, config.stem_blocks)
            self.images = ConvolutionalStem(config.tubelet[1], config.width, config.stem_blocks)
        else:
            self.video = VideoTubelets(config.tubelet, config.width)
            self.images = ImagePatches(config.tubelet[1], config.width)
        self.positions = nn.Parameter(0.02 * torch.randn(config.slots, *config.grid, config.width))
        self.kernels = nn.ModuleList(nn.Conv3d(3, config.width, shape, stride, padding=0) for shape, stride in config.kernels)

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, except batch norms: a clip must not depend on the rest of its batch."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(
        self, frames: Float[Tensor, "b t h w 3"], start: int, slots: int | None, valid: Bool[Tensor, "b t"] | None
    ) -> tuple[Float[Tensor, "b n d"], TokenPositions]:
        """Compute the tokens of a segment that begins at slot `start` of a video of `slots`, if known, with positions.

        An incomplete last tubelet is filled with the last frame. `valid` says, on the CPU, which frames are within the video; a
        token is valid if one of its frames is.
        """
        step = self.config.tubelet[0]
        missing = -frames.shape[1] % step
        if valid is not None and not bool(valid.all()):  # a frame beyond the end is the last one again
            at = torch.minimum(torch.arange(frames.shape[1], device="cpu"), (valid.sum(1, keepdim=True) - 1).clamp(min=0))
            rows = torch.arange(len(frames), device=frames.device)[:, None]
            frames = frames[rows, send_to_device(at, frames.device)]
        if missing:
            frames = torch.cat([frames, frames[:, -1:].expand(-1, missing, -1, -1, -1)], 1)
        count = frames.shape[1] // step
        frames_valid = torch.ones(frames.shape[:2], dtype=torch.bool, device="cpu")
        if valid is not None:
            frames_valid = F.pad(valid, (0, missing))
        if self.kernels:
            return self._embed_kernels(frames, start, frames_valid)
        slots_valid = frames_valid.unflatten(1, (count, step)).any(2)
        return self.add_positions(self.compute_features(frames), start, slots, slots_valid)

    def compute_features(self, frames: Float[Tensor, "b t h w 3"]) -> Float[Tensor, "b slots rows columns d"]:
        """Compute the features of whole tubelets, before positions are added."""
        return self.video(frames.movedim(-1, 1))

    def add_positions(
        self, features: Float[Tensor, "b count rows columns d"], start: int, slots: int | None, valid: Bool[Tensor, "b count"]
    ) -> tuple[Float[Tensor, "b n d"], TokenPositions]:
        """Compute the tokens of a segment from its features; `valid`, for time steps, is on the CPU."""
        count = features.shape[1]
        x = features + self.positions_at(start, count, slots).to(features.dtype)
        grid = (count, x.shape[2] * x.shape[3])
        token_slots = torch.arange(count, device=x.device).repeat_interleave(grid[1]).expand(len(x), -1)
        cells = torch.arange(grid[1], device=x.device).repeat(count).expand(len(x), -1)
        return x.flatten(1, 3), TokenPositions(token_slots, cells, valid.repeat_interleave(grid[1], 1), grid)

    def positions_at(self, start: int, count: int, slots: int | None) -> Float[Tensor, "count rows columns d"]:
        """Compute the positions of some slots of a video of `slots` slots, stretched if it is longer."""
        known = len(self.positions)
        if slots is None or slots <= known:
            at = torch.arange(start, start + count, device=self.positions.device).clamp(max=known - 1)
            return self.positions[at]
        if slots > 2 * known:
            warnings.warn(
                f"the video has {slots} time steps where positions are known for {known}: they are stretched "
                f"{slots / known:.1f} times, more than twice, of which nobody knows how well it works; train longer, or show "
                "less",
                Remark,
                stacklevel=2,
            )
        return stretch(self.positions, slots)[start : start + count]

    def embed_images(self, images: Float[Tensor, "b h w 3"]) -> Float[Tensor, "b n d"]:
        """Compute the tokens of images, with separate weights and the positions of the first slot."""
        x = self.images(images.movedim(-1, 1))
        return (x + self.positions[0].to(x.dtype)).flatten(1, 2)

    def _embed_kernels(self, frames: Tensor, start: int, frames_valid: Tensor) -> tuple[Tensor, TokenPositions]:
        tokens, slots, valid = [], [], []
        for kernel, (shape, stride) in zip(self.kernels, self.config.kernels, strict=True):
            lacking = [max(shape[i] - frames.shape[i + 1], 0) for i in range(3)]
            filled = F.pad(frames.movedim(-1, 1), (0, lacking[2], 0, lacking[1], 0, lacking[0]))
            x = kernel(filled.to(self.positions.dtype))  # (b, d, slots, rows, columns)
            centres = [torch.arange(x.shape[i + 2], device=x.device) * stride[i] + shape[i] / 2 for i in range(3)]
            centres[0] = centres[0] + start * self.config.tubelet[0]
            x = x.flatten(2).mT + sine_3d(centres, self.config.width).to(x.dtype)
            tokens.append(x)
            first = torch.arange(len(centres[0]), device="cpu") * stride[0]
            first = first.repeat_interleave(x.shape[1] // len(first))
            slots.append(send_to_device(first // self.config.tubelet[0], x.device).expand(len(x), -1))
            valid.append(frames_valid.gather(1, first.clamp(max=frames_valid.shape[1] - 1).expand(len(x), -1)))
        slot = torch.cat(slots, 1)
        return torch.cat(tokens, 1), TokenPositions(slot, torch.zeros_like(slot), torch.cat(valid, 1), None)


def stretch(positions: Float[Tensor, "slots rows columns d"], slots: int) -> Float[Tensor, "slots2 rows columns d"]:
    """Stretch a position embedding linearly in time."""
    flat = positions.flatten(1).T[None]
    flat = flat.to(torch.promote_types(flat.dtype, torch.float32))  # (1, rows * columns * d, slots)
    longer = F.interpolate(flat, size=slots, mode="linear", align_corners=False)[0].T
    return longer.unflatten(1, positions.shape[1:]).to(positions.dtype)


def sine_3d(centres: list[Tensor], width: int) -> Float[Tensor, "n d"]:
    """Encode cells of a grid by sines, a third of the channels for each of time, row and column (the rest stays 0)."""
    part = width // 6 * 2
    codes = [sine_1d(axis.cpu().double(), part) for axis in centres]
    sizes = [len(code) for code in codes]
    whole = [
        code.view(*[size if i == axis else 1 for i, size in enumerate(sizes)], part).expand(*sizes, part)
        for axis, code in enumerate(codes)
    ]
    return F.pad(torch.cat(whole, -1).flatten(0, 2), (0, width - 3 * part)).float().to(centres[0].device)
