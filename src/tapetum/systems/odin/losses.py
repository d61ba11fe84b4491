"""DetCon's contrastive losses of mask features (arXiv 2103.10957, section 3; in Odin arXiv 2203.08777, section 3).

A row is the vector of one mask in one view; its id says which mask of its image it is. Row k of view 1 looks for the rows of
view 2 of the same image with the same id:

                          view 2, all images of all processes        view 1, all images of all processes
                        |  own image    | other images         |  own image    | other images         |
    row k of view 1     |  same id: +     | -                      |  same id: left  | -                      |
                        |  other id: (-)  |                        |  out; other (-) |                        |

"+" share the label equally; "(-)", the masks of the same image, are left out without `local_negatives`. A row whose id occurs n
times among its image's rows has weight 1 / n; one without a partner has weight zero. The mean is over all rows, including those
without a partner; the two directions are summed.

A row whose id is below 0 stands for a mask that its view does not show. It has no target and is not a negative: DetCon's code
draws rows only among visible masks.

Differs from the paper's equation, not from its public code: negatives also come from the row's own view. If no row has a
partner, the loss is zero with a gradient (of zeros), so that no process of a run waits for another.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.layers.precision import unrounded
from tapetum.train.gather import all_gather
from tapetum.train.process_group import current_process_group

_NEVER = -1e9  # finite, so that a row for which all is left out has a softmax


def detcon(
    pred1: Float[Tensor, "b r d"],
    pred2: Float[Tensor, "b r d"],
    target1: Float[Tensor, "b r d"],
    target2: Float[Tensor, "b r d"],
    pred_ids1: Int[Tensor, "b r"],
    pred_ids2: Int[Tensor, "b r"],
    target_ids1: Int[Tensor, "b r"],
    target_ids2: Int[Tensor, "b r"],
    temperature: float = 0.1,
    local_negatives: bool = True,
) -> Float[Tensor, ""]:
    """Compute the loss of DetCon-B: predictions of one view match targets of the other. No gradient reaches the targets.

    Rows are normalised to length 1 here. With several processes, negatives are the targets of all, and the mean of the
    processes' losses is the loss of the joint batch.

    Raises BadInput: shapes that do not match, ids that are not integers.
    """
    _check((pred1, pred2, target1, target2), (pred_ids1, pred_ids2, target_ids1, target_ids2))
    first, second = _gather_unit(target1.detach()), _gather_unit(target2.detach())
    return _one_way(_unit(pred1), second, first, pred_ids1, target_ids2, target_ids1, temperature, local_negatives) + _one_way(
        _unit(pred2), first, second, pred_ids2, target_ids1, target_ids2, temperature, local_negatives
    )


def detcon_s(
    rows1: Float[Tensor, "b r d"],
    rows2: Float[Tensor, "b r d"],
    ids1: Int[Tensor, "b r"],
    ids2: Int[Tensor, "b r"],
    temperature: float = 0.1,
    local_negatives: bool = True,
) -> Float[Tensor, ""]:
    """Compute the loss of DetCon-S: one network for both, trained on both sides of every pair. Otherwise as `detcon`."""
    _check((rows1, rows2), (ids1, ids2))
    first, second = _gather_unit(rows1), _gather_unit(rows2)
    return _one_way(_unit(rows1), second, first, ids1, ids2, ids1, temperature, local_negatives) + _one_way(
        _unit(rows2), first, second, ids2, ids1, ids2, temperature, local_negatives
    )


def _one_way(
    rows: Float[Tensor, "b r d"],
    other_view: Float[Tensor, "all_b r d"],
    own_view: Float[Tensor, "all_b r d"],
    ids: Int[Tensor, "b r"],
    other_ids: Int[Tensor, "b r"],
    own_ids: Int[Tensor, "b r"],
    temperature: float,
    local_negatives: bool,
) -> Float[Tensor, ""]:
    """Compute the loss of rows of one view, which are matched with partners in the other."""
    batch = len(rows)
    with unrounded(rows):
        to_other = torch.einsum("brd,usd->brus", rows, other_view) / temperature
        to_own = torch.einsum("brd,usd->brus", rows, own_view) / temperature
    image = current_process_group().rank * batch + torch.arange(batch, device=rows.device)
    same_image = F.one_hot(image, len(other_view)).bool()[:, None, :, None]  # (b, 1, all_b, 1)
    same_mask = (ids[:, :, None] == other_ids[:, None]) & (ids >= 0)[:, :, None]
    partner = same_image & same_mask[:, :, None]  # (b, r, all_b, r)
    itself = same_image & (ids[:, :, None] == own_ids[:, None])[:, :, None]
    if not local_negatives:
        to_other = to_other.masked_fill(same_image & ~partner, _NEVER)
        itself = same_image.expand_as(itself)
    to_own = to_own.masked_fill(itself | ~_present(own_ids), _NEVER)
    to_other = to_other.masked_fill(~_present(other_ids), _NEVER)
    # log-probability of each row of the other view, (b, r, all_b * r), among both views' rows
    log_odds = torch.cat([to_other, to_own], 2).flatten(2).log_softmax(-1)[..., : to_other[0, 0].numel()]
    partners = partner.flatten(2).to(log_odds.dtype)
    count = partners.sum(-1)
    repeats = (ids[:, :, None] == ids[:, None]).sum(-1)
    matched = (partners * log_odds).sum(-1) / count.clamp(min=1)  # mean over the partners of a row
    return -(matched * (count > 0) / repeats).mean()


def _present(ids: Tensor) -> Tensor:
    """Check for the rows of all processes (all_b, r) whether their masks are in the view."""
    return all_gather((ids >= 0).to(torch.uint8)).bool()


def _gather_unit(rows: Tensor) -> Tensor:
    return all_gather(_unit(rows))


def _unit(rows: Tensor) -> Tensor:
    return F.normalize(rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows, dim=-1)


def _check(rows: tuple[Tensor, ...], ids: tuple[Tensor, ...]) -> None:
    shapes = {tuple(each.shape) for each in rows}
    if len(shapes) != 1 or rows[0].ndim != 3:
        raise BadInput(f"vectors have shapes {[*map(tuple, (each.shape for each in rows))]}; give all as (b, r, d)")
    for each in ids:
        if each.shape != rows[0].shape[:2] or each.is_floating_point():
            raise BadInput(f"ids are {each.dtype} {tuple(each.shape)}; give whole numbers {tuple(rows[0].shape[:2])}, (b, r)")
