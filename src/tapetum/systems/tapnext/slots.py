"""Points that join or leave on the way through a video.

The authors advise to reserve a token for each point from the first frame on, with a frame far ahead: the state of a token that
was there as unknown from the start is what the network was trained with. Tokens that are unknown have the same inputs, hence
the same state; so one of them (`TapNextState.spare`) is enough, and a point that joins takes a copy of its state.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.layers.sampling import constant
from tapetum.systems.tapnext.model import TapNext, TapNextState
from tapetum.systems.tapnext.recurrence import RecurrentState


def add_points(network: TapNext, state: TapNextState, xy: Float[Tensor, "b q 2"]) -> TapNextState:
    """Add points, raster pixels of the frame that comes next, after those of the state, which must have a spare one.

    Raises BadInput where it has none.
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
    """Select points of a state, by number, in that order; the others are dropped."""
    points = torch.cat([index, constant([state.times.shape[1] - 1], index)]) if state.spare else index
    patches = state.blocks[0].hidden.shape[1] - state.times.shape[1]
    rows = torch.cat([torch.arange(patches, device=index.device), patches + points])
    kept = replace(state, times=state.times[:, points], embeddings=state.embeddings[:, points])
    return _take_rows(kept, rows)


def _before_last(old: Tensor, new: Tensor) -> Tensor:
    return torch.cat([old[:, :-1], new.to(old), old[:, -1:]], 1)


def _take_rows(state: TapNextState, rows: Int64[Tensor, " n"]) -> TapNextState:
    """The state with the tokens of these numbers in each block."""
    blocks = tuple(RecurrentState(block.hidden[:, rows], block.conv[:, :, rows]) for block in state.blocks)
    return replace(state, blocks=blocks)
