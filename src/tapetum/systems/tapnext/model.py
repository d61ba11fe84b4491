"""TAPNext (arXiv 2504.05579): point tracking as decoding of masked tokens. TAPNext++ (arXiv 2604.10582) is the same network.

    frame t    patches -> tokens + positions                 frame of the query   query token + embedded position
    points     one token each on every frame:                later frames         mask token
                                                             earlier frames       unknown token

    each block:   recurrence over time, each token by itself -> attention among all tokens of a frame
    heads:        a point's token -> 256 logits for x, 256 for y, and a logit of being visible

Positions are not fed back into the network: its only memory is the state of the recurrences. It is causal, uses constant
memory, and needs another run over the reversed video to track a point before its query. Points attend to each other, so more
points slightly change the tracks of the others.

Differs from the public code: all blocks run, where that runs at most 12 without a state; an image of another shape but the same
number of patches has its position embeddings resized too; times of queries are rounded.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.layers.sampling import constant, scale_xy
from tapetum.layers.transformer import Attention, Block, Mlp
from tapetum.systems.tapnext.config import TapNextConfig
from tapetum.systems.tapnext.layers import RecurrentBlock, RecurrentState, compute_certainty, decode_positions, embed_positions

TEMPERATURE = 0.5
"""Factor on the logits of coordinates before the softmax."""
NEVER = 2**24


@dataclass(frozen=True)
class TapNextState:
    """Points on their way through a video; of the same size after any number of frames."""

    size: tuple[int, int]
    step: int
    times: Int64[Tensor, "b q"]
    embeddings: Float[Tensor, "b q c"]
    blocks: tuple[RecurrentState, ...]
    """Tokens of patches come first, then those of points."""
    spare: bool = False
    """The last point is none: it stays unknown for ever, to lend its state to points that come later (`slots`). It looks at all
    other tokens and none of them at it, so that it changes nothing."""


@dataclass(frozen=True)
class TapNextPredictions:
    """Predictions for q points in t frames; before the frame of its query those of a point mean nothing."""

    logits: Float[Tensor, "b q t 2 bins"]
    """Of x and of y, over pixels of the network's `image_size`."""
    visible_logits: Float[Tensor, "b q t"]
    """Above 0 where a point is visible."""
    xy: Float[Tensor, "b q t 2"]
    """Raster pixels of the video."""
    image_xy: Float[Tensor, "b q t 2"]
    """The same in raster pixels of `image_size`."""

    @property
    def certainty(self) -> Float[Tensor, "b q t"]:
        """Compute the probability, by the logits of both coordinates, that a point is within 8 pixels of `image_xy`."""
        return compute_certainty(self.logits.detach(), self.image_xy.detach())

    @property
    def visible(self) -> Bool[Tensor, "b q t"]:
        return self.visible_logits > 0


class SpaceTimeBlock(nn.Module):
    """Recurrence over time for each token, then a transformer block over the tokens of each frame (TRecViT, 2412.14294)."""

    def __init__(self, config: TapNextConfig):
        super().__init__()
        activation = "gelu" if config.variant == "torch" else "gelu_tanh"
        self.temporal = RecurrentBlock(
            config.width, config.lru_width, config.gate_blocks, config.gated_mlp_width, config.taps, config.depth
        )
        self.spatial = Block(
            Attention(config.width, config.heads),
            Mlp(config.width, config.mlp_width, activation),
            partial(nn.LayerNorm, config.width, eps=1e-6),
            width=config.width,
        )

    def forward(
        self,
        x: Float[Tensor, "b t n c"],
        state: RecurrentState,
        first: bool,
        mask: Bool[Tensor, "1 1 1 n"] | None = None,
        rows: slice | None = None,
    ) -> tuple[Float[Tensor, "b t m c"], RecurrentState]:
        """Run over t frames, of which the `first` has no past.

        Tokens of `mask` are attended to. `rows` are those whose result is of use, by default all; the others of the last block
        need keys and values only.
        """
        x, state = self.temporal(x, state, first)
        tokens = x.flatten(0, 1)
        if rows is None:
            return self.spatial(tokens, mask=mask).unflatten(0, x.shape[:2]), state
        block, used = self.spatial, tokens[:, rows]
        normed = block.attention_norm(tokens)
        used = used + block.attention(normed[:, rows], normed, mask=mask)
        return (used + block.mlp(block.mlp_norm(used))).unflatten(0, x.shape[:2]), state


class TapNext(nn.Module):
    """Tracks points through frames that arrive in chunks of any size."""

    def __init__(self, config: TapNextConfig):
        super().__init__()
        self.config, width = config, config.width
        self.patches = nn.Conv2d(3, width, config.patch_size, stride=config.patch_size)
        self.position_embedding = nn.Parameter(torch.randn(*config.grid, width) * width**-0.5)
        self.query_token, self.mask_token, self.unknown_token = (
            nn.Parameter(torch.randn(width) * width**-0.5) for _ in range(3)
        )
        self.blocks: Any = nn.ModuleList(SpaceTimeBlock(config) for _ in range(config.depth))
        eps = 1e-5 if config.variant == "torch" else 1e-6
        self.norm = nn.LayerNorm(width, eps=eps)
        self.coordinate_head, self.visible_head = (
            _head(width, config.head_width, outputs, eps, config.variant) for outputs in (2 * config.bins, 1)
        )
        for block in self.blocks:
            for layer in block.spatial.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.xavier_uniform_(layer.weight)
                    nn.init.zeros_(layer.bias)

    def forward(self, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b q 3"]) -> TapNextPredictions:
        """Track points through a clip, each from the frame of its query on; values are in -1..1, sides multiples of the patch
        size.

        Before the frame of its query (t, x, y), in raster pixels, a point is unknown; a frame outside the video is never
        reached, or has passed. Raises BadInput if shapes do not fit, or the video has no frame.
        """
        if video.ndim != 5:
            raise BadInput(f"the video has shape {tuple(video.shape)}; give (b, t, h, w, 3)")
        return self.step(self.start(queries, (video.shape[2], video.shape[3])), video)[1]

    def start(self, queries: Float[Tensor, "b q 3"], size: tuple[int, int], *, spare: bool = False) -> TapNextState:
        """Build the state before the first frame of a video of (height, width) `size`, in pixels of which are the queries (t,
        x, y); t counts frames from the first one passed to `step`, and may be far ahead.

        With `spare`, keep what later points need (`TapNextState.spare`). Raises BadInput for queries of another shape, or a
        size that the patches do not divide.
        """
        if queries.ndim != 3 or queries.shape[-1] != 3:
            raise BadInput(f"queries have shape {tuple(queries.shape)}; give (b, q, 3): t, x, y of each point")
        grid = self._grid_of(size)
        queries = queries.detach()
        if spare:
            queries = torch.cat([queries, constant([NEVER, 0, 0], queries).expand(len(queries), 1, 3)], 1)
        blocks = [block.temporal.start(len(queries), math.prod(grid) + queries.shape[1]) for block in self.blocks]
        return TapNextState(
            size=(size[0], size[1]),
            step=0,
            times=queries[..., 0].round().long().to(self.query_token.device),
            embeddings=self.embed_points(queries[..., 1:], size),
            blocks=tuple(blocks),
            spare=spare,
        )

    def step(self, state: TapNextState, frames: Float[Tensor, "b t h w 3"]) -> tuple[TapNextState, TapNextPredictions]:
        """Track the points of a state through one or more frames: the state after them, and the predictions in them.

        Any chunking gives the same as `forward` on all frames. Raises BadInput for frames of another size or batch.
        """
        expected = (len(state.times), max(1, frames.shape[1] if frames.ndim == 5 else 1), *state.size, 3)
        if tuple(frames.shape) != expected:
            raise BadInput(f"frames have shape {tuple(frames.shape)}; this state takes (b, t, h, w, 3) such as {expected}")
        state, layers = self._run(state, frames)
        return state, self._predict(self.norm(layers[-1]), state.size)

    def predict_layers(self, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b q 3"]) -> list[TapNextPredictions]:
        """Predict by the tokens after each block, from which training learns; the last are those of `forward`, the others
        without the last norm."""
        state = self.start(queries, (video.shape[2], video.shape[3]))
        _, layers = self._run(state, video)
        return [self._predict(points, state.size) for points in (*layers[:-1], self.norm(layers[-1]))]

    def _run(
        self, state: TapNextState, frames: Float[Tensor, "b t h w 3"]
    ) -> tuple[TapNextState, list[Float[Tensor, "b q t c"]]]:
        images = self.patches(frames.flatten(0, 1).permute(0, 3, 1, 2).to(self.patches.weight.dtype))
        images = images.flatten(2).transpose(1, 2).unflatten(0, frames.shape[:2])  # (b, t, patches, width)
        images = images + self._position_embedding(self._grid_of(state.size))
        x = torch.cat([images, self._point_tokens(state, frames.shape[1]).to(images.dtype)], 2)
        mask = None
        if state.spare:
            mask = (torch.arange(x.shape[2], device=x.device) < x.shape[2] - 1)[None, None, None]
        states, layers, points = [], [], slice(images.shape[2], -1 if state.spare else None)
        for number, (block, before) in enumerate(zip(self.blocks, state.blocks, strict=True), 1):
            last = number == len(self.blocks)
            x, after = block(x, before, state.step == 0, mask, points if last else None)
            states.append(after)
            layers.append((x if last else x[:, :, points]).transpose(1, 2))
        return replace(state, step=state.step + frames.shape[1], blocks=tuple(states)), layers

    def embed_points(self, xy: Float[Tensor, "b q 2"], size: tuple[int, int]) -> Float[Tensor, "b q c"]:
        """Embed positions of queries, raster pixels of a video of (height, width) `size`."""
        model, config = self.query_token, self.config
        edge = config.variant == "jax"
        embedded = embed_positions(scale_xy(xy.float(), size, config.image_size), config.image_size, config.width, edge=edge)
        return embedded.to(model)

    def _point_tokens(self, state: TapNextState, frames: int) -> Float[Tensor, "b t q c"]:
        now = torch.arange(state.step, state.step + frames, device=state.times.device)[None, :, None, None]
        times = state.times[:, None, :, None]
        known = torch.where(now == times, (self.query_token + state.embeddings)[:, None], self.mask_token)
        return torch.where(now < times, self.unknown_token, known)

    def _predict(self, points: Float[Tensor, "b q t c"], size: tuple[int, int]) -> TapNextPredictions:
        # The head gives y first.
        points = points.to(next(self.coordinate_head.parameters()).dtype)
        logits = self.coordinate_head(points).float().unflatten(-1, (2, self.config.bins)).flip(-2)
        xy = decode_positions(logits, self.config.soft_argmax_radius, TEMPERATURE)
        return TapNextPredictions(
            logits=logits,
            visible_logits=self.visible_head(points)[..., 0].float(),
            xy=scale_xy(xy, self.config.image_size, size),
            image_xy=xy,
        )

    def _grid_of(self, size: tuple[int, int]) -> tuple[int, int]:
        (h, w), (patch_h, patch_w) = size, self.config.patch_size
        if h < patch_h or w < patch_w or h % patch_h or w % patch_w:
            raise BadInput(f"frames are {h}x{w}, which patches of {patch_h}x{patch_w} do not divide; resize them")
        return h // patch_h, w // patch_w

    def _position_embedding(self, grid: tuple[int, int]) -> Float[Tensor, "n c"]:
        """The embeddings of patches, resized to a grid (bicubic) if that is another than the network's."""
        own = self.position_embedding
        if grid != self.config.grid:
            images = own.float().permute(2, 0, 1)[None]
            own = F.interpolate(images, size=grid, mode="bicubic", align_corners=False)[0].permute(1, 2, 0).to(own.dtype)
        return own.flatten(0, 1)


def _head(width: int, hidden: int, outputs: int, eps: float, variant: str) -> nn.Sequential:
    gelu = partial(nn.GELU, "none" if variant == "torch" else "tanh")
    return nn.Sequential(
        nn.Linear(width, hidden),
        nn.LayerNorm(hidden, eps=eps),
        gelu(),
        nn.Linear(hidden, hidden),
        nn.LayerNorm(hidden, eps=eps),
        gelu(),
        nn.Linear(hidden, outputs),
    )


def add_points(network: TapNext, state: TapNextState, xy: Float[Tensor, "b q 2"]) -> TapNextState:
    """Add points, raster pixels of the frame that comes next, after those of the state, which must have a spare one.

    A point has a token from the first frame on, unknown until its own. Unknown tokens have the same state, so a new point takes
    a copy of the spare's. Raises BadInput where there is none.
    """
    if not state.spare:
        raise BadInput("this state takes no further points; start it with spare=True")
    count = xy.shape[1]
    added = replace(
        state,
        times=_before_last(state.times, state.times.new_full((len(xy), count), state.step)),
        embeddings=_before_last(state.embeddings, network.embed_points(xy, state.size)),
    )
    total = state.blocks[0].hidden.shape[1]
    rows = [*range(total - 1), *[total - 1] * count, total - 1]
    return _take_rows(added, constant(rows, state.times, torch.int64))


def keep_points(state: TapNextState, index: Int64[Tensor, " k"]) -> TapNextState:
    """Select points of a state, by number, in that order."""
    points = torch.cat([index, constant([state.times.shape[1] - 1], index)]) if state.spare else index
    patches = state.blocks[0].hidden.shape[1] - state.times.shape[1]
    rows = torch.cat([torch.arange(patches, device=index.device), patches + points])
    kept = replace(state, times=state.times[:, points], embeddings=state.embeddings[:, points])
    return _take_rows(kept, rows)


def _before_last(old: Tensor, new: Tensor) -> Tensor:
    return torch.cat([old[:, :-1], new.to(old), old[:, -1:]], 1)


def _take_rows(state: TapNextState, rows: Int64[Tensor, " n"]) -> TapNextState:
    blocks = tuple(RecurrentState(block.hidden[:, rows], block.conv[:, :, rows]) for block in state.blocks)
    return replace(state, blocks=blocks)
