"""Losses beside lightly's, their precision and refusals; the formulas in loops are twins/pretraining.py."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.systems.pretraining import losses

CLOSE = {"rel": 0, "abs": 1e-6}


def rows(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def test_pairs_of_views_are_lightlys() -> None:
    from lightly.loss import NegativeCosineSimilarity, NTXentLoss

    one, other = rows(0, 6, 5), rows(1, 6, 5)
    for temperature in (0.1, 0.5):
        theirs = float(NTXentLoss(temperature=temperature)(one, other))
        assert float(losses.simclr(one, other, temperature)) == pytest.approx(theirs, **CLOSE)
    assert float(losses.byol(one, other)) == pytest.approx(float(NegativeCosineSimilarity()(one, other)), **CLOSE)


@pytest.mark.parametrize(("local", "teachers"), [(0, 2), (3, 2), (2, 1)])
def test_dino_is_lightlys(local: int, teachers: int) -> None:
    from lightly.loss import DINOLoss

    students, taught = rows(4, teachers + local, 4, 9) / 4, rows(5, teachers, 4, 9) / 4
    center = rows(6, 9) / 4
    theirs = DINOLoss(output_dim=9, student_temp=0.1)
    theirs.center = center[None, None]
    loss = float(losses.pairs(students, losses.centred(taught, center, 0.05), 0.1))
    assert loss == pytest.approx(float(theirs(list(taught), list(students), teacher_temp=0.05)), **CLOSE)


def test_mae_is_lightlys_and_what_is_visible_does_not_count() -> None:
    from lightly.models.utils import normalize_mean_var

    predictions, patches, hidden = rows(7, 3, 8, 12), rows(8, 3, 8, 12) * 3 + 1, rows(9, 3, 8) > 0.3
    patches[0] *= 1e-3  # of so even patches, what is added to the variance matters
    for normalise, targets in ((False, patches), (True, normalize_mean_var(patches, dim=-1))):
        loss = float(losses.mae(predictions, patches, hidden, normalise))
        assert loss == pytest.approx(float(F.mse_loss(predictions[hidden], targets[hidden])), **CLOSE)
        changed = torch.where(hidden[..., None], predictions, 100.0)
        assert float(losses.mae(changed, patches, hidden, normalise)) == loss


def test_losses_are_precise_under_autocast() -> None:
    def every(dtype: torch.dtype) -> list[float]:
        a, b = rows(14, 4, 2, 6, dtype=dtype), rows(15, 4, 2, 6, dtype=dtype)
        return [
            float(losses.simclr(a[:, 0], b[:, 0], 0.1)),
            float(losses.byol(a[:, 0], b[:, 0])),
            float(losses.pairs(a, losses.centred(b[:2], torch.zeros(6), 0.04), 0.1)),
            float(losses.mae(a, b, torch.ones(4, 2, dtype=torch.bool), True)),
            float(losses.clip(a[:, 0], b[:, 0], 100.0)),
            float(losses.siglip(a[:, 0], b[:, 0], 100.0, -10.0)),
        ]

    with torch.autocast("cpu", torch.bfloat16):
        assert every(torch.float32) == pytest.approx(every(torch.float64), rel=1e-5)


def test_class_loss_of_many_prototypes_is_as_precise_as_float32_allows() -> None:
    """Beside the sum that DINOv2's public code makes, 16 pairs of small crops and 2 of large ones, in float64."""
    generator = torch.Generator().manual_seed(0)
    views = 3 * torch.randn(10, 8, 65536, generator=generator)
    targets = (5 * torch.randn(2, 8, 65536, generator=generator)).softmax(-1)
    student = (views.double() / 0.1).log_softmax(-1)
    entropies = -torch.einsum("tbk,vbk->tv", targets.double(), student) / 8
    small, large = entropies[:, 2:].sum() / 18, (entropies[0, 1] + entropies[1, 0]) / 2 * 2 / 18
    assert float(losses.pairs(views, targets, 0.1)) == pytest.approx(float(small + large), rel=1e-6)


def test_sinkhorn_knopp_holds_where_exponentials_overflow() -> None:
    logits = rows(12, 6, 4) * 100
    logits[2] -= 5000  # a sample far below the others, whose exponentials are all 0
    found = losses.sinkhorn_knopp(logits, 0.04)
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found.sum(1), torch.ones(6))
    torch.testing.assert_close(found, losses.sinkhorn_knopp(logits.double(), 0.04).float(), rtol=1e-3, atol=1e-4)
    assert losses.sinkhorn_knopp(logits[:0], 0.04).shape == (0, 4)


def test_batches_of_one_are_refused() -> None:
    one = rows(16, 1, 4)
    for loss in (lambda: losses.simclr(one, one, 0.1), lambda: losses.clip(one, one, 10.0)):
        with pytest.raises(BadInput, match="a batch of 1 has no negatives"):
            loss()
    with pytest.raises(BadInput, match="1 rows, which have no neighbours"):
        losses.koleo(one)


def test_an_image_without_hidden_patches_adds_nothing() -> None:
    none = losses.masked_patches(rows(14, 0, 3).requires_grad_(), rows(15, 0, 3), torch.zeros(0, dtype=torch.long), 4, 0.1)
    assert float(none.detach()) == 0
    assert none.requires_grad


def test_gram_of_half_precision_is_added_up_in_float32() -> None:
    half, theirs = rows(20, 2, 3, 4).bfloat16(), rows(21, 2, 3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(losses.gram(half, theirs), losses.gram(half.float(), theirs))


def test_sigreg_tells_a_normal_from_others() -> None:
    many = rows(17, 4096, 3)
    shares = [float(losses.sigreg(x, 16, 0)) / 4096 for x in (many, many * 2, many + 1, many.sign())]
    assert shares[0] < 1e-3 < 10e-3 < min(shares[1:])
