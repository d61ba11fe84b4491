"""Losses against lightly's, and against loops written from the papers' formulas."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from support.forks import Forks
from tapetum.core.errors import BadInput
from tapetum.systems.pretraining import losses

CLOSE = {"rel": 0, "abs": 1e-6}


def rows(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def cosine(a: Tensor, b: Tensor) -> float:
    a, b = a.double(), b.double()
    return float(a @ b / (a.norm() * b.norm()))


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_simclr_is_lightlys_and_the_formula(temperature: float) -> None:
    from lightly.loss import NTXentLoss

    z1, z2 = rows(0, 6, 5), rows(1, 6, 5)
    found = float(losses.simclr(z1, z2, temperature))
    assert found == pytest.approx(float(NTXentLoss(temperature=temperature)(z1, z2)), **CLOSE)
    both, total = torch.cat([z1, z2]), 0.0
    for i in range(12):
        below = sum(math.exp(cosine(both[i], both[k]) / temperature) for k in range(12) if k != i)
        total -= math.log(math.exp(cosine(both[i], both[(i + 6) % 12]) / temperature) / below)
    assert found == pytest.approx(total / 12, **CLOSE)


def test_byol_is_lightlys_and_the_formula() -> None:
    from lightly.loss import NegativeCosineSimilarity

    p, z = rows(2, 7, 5), rows(3, 7, 5)
    found = float(losses.byol(p, z))
    assert found == pytest.approx(float(NegativeCosineSimilarity()(p, z)), **CLOSE)
    squared = [
        float((F.normalize(a, dim=0) - F.normalize(b, dim=0)).double().square().sum()) for a, b in zip(p, z, strict=True)
    ]
    assert 2 + 2 * found == pytest.approx(sum(squared) / 7, **CLOSE)  # eq. 2 of the paper


@pytest.mark.parametrize(("local", "teachers"), [(0, 2), (3, 2), (2, 1)])
def test_dino_is_lightlys_and_the_formula(local: int, teachers: int) -> None:
    from lightly.loss import DINOLoss

    students, taught = rows(4, teachers + local, 4, 9) / 4, rows(5, teachers, 4, 9) / 4
    center = rows(6, 9) / 4
    theirs = DINOLoss(output_dim=9, student_temp=0.1)
    theirs.center = center[None, None]
    found = float(losses.pairs(students, losses.centred(taught, center, 0.05), 0.1))
    assert found == pytest.approx(float(theirs(list(taught), list(students), teacher_temp=0.05)), **CLOSE)
    total, pairs = 0.0, 0
    for i in range(teachers):
        for j in range(teachers + local):
            if i == j:
                continue
            pairs += 1
            for row in range(4):
                wanted = ((taught[i, row] - center).double() / 0.05).softmax(0)
                total -= float(wanted @ (students[j, row].double() / 0.1).softmax(0).log()) / 4
    assert found == pytest.approx(total / pairs, **CLOSE)


@pytest.mark.parametrize("normalise", [False, True])
def test_mae_is_lightlys_and_the_formula(normalise: bool) -> None:
    prediction, target = rows(7, 3, 8, 12), rows(8, 3, 8, 12) * 3 + 1
    if normalise:
        target[0] *= 1e-3  # of so even patches, what is added to the variance matters
    hidden = rows(9, 3, 8) > 0.3
    found = float(losses.mae(prediction, target, hidden, normalise))
    total, count = 0.0, 0
    for b in range(3):
        for n in range(8):
            if hidden[b, n]:
                wanted = target[b, n].double()
                if normalise:
                    mean = wanted.mean()
                    wanted = (wanted - mean) / math.sqrt(float((wanted - mean).square().sum()) / 11 + 1e-6)
                total += float((prediction[b, n].double() - wanted).square().mean())
                count += 1
    assert found == pytest.approx(total / count, **CLOSE)
    if not normalise:  # lightly's model does what torch's loss says of the hidden patches
        assert found == pytest.approx(float(F.mse_loss(prediction[hidden], target[hidden])), **CLOSE)
    else:
        from lightly.models.utils import normalize_mean_var

        assert found == pytest.approx(
            float(F.mse_loss(prediction[hidden], normalize_mean_var(target, dim=-1)[hidden])), **CLOSE
        )
    changed = torch.where(hidden[..., None], prediction, 100.0)
    assert float(losses.mae(changed, target, hidden, normalise)) == found  # what was seen does not count


def test_clip_is_the_formula() -> None:
    image, text = rows(10, 6, 5), rows(11, 6, 5)
    total = 0.0
    for i in range(6):
        for one, other in ((image, text), (text, image)):
            total -= math.log(
                math.exp(9.0 * cosine(one[i], other[i])) / sum(math.exp(9.0 * cosine(one[i], other[k])) for k in range(6))
            )
    assert float(losses.clip(image, text, 9.0)) == pytest.approx(total / 12, **CLOSE)
    assert float(losses.clip(image, text, torch.tensor(9.0))) == pytest.approx(total / 12, **CLOSE)


def test_equal_captions_are_right_for_each_other() -> None:
    image, text, captions = rows(12, 5, 4), rows(13, 5, 4), torch.tensor([2, 0, 2, 1, 2])
    total = 0.0
    for one, other in ((image, text), (text, image)):
        for i in range(5):
            logits = torch.tensor([3.0 * cosine(one[i], other[k]) for k in range(5)], dtype=torch.float64)
            right = [k for k in range(5) if captions[k] == captions[i]]
            total -= sum(float(logits.log_softmax(0)[k]) for k in right) / len(right) / 10
    assert float(losses.clip(image, text, 3.0, captions)) == pytest.approx(total, **CLOSE)
    assert float(losses.clip(image, text, 3.0, torch.arange(5))) == pytest.approx(float(losses.clip(image, text, 3.0)), **CLOSE)


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


def test_batches_of_one_are_refused() -> None:
    one = rows(16, 1, 4)
    for loss in (lambda: losses.simclr(one, one, 0.1), lambda: losses.clip(one, one, 10.0)):
        with pytest.raises(BadInput, match="a batch of 1 has no negatives"):
            loss()


def sinkhorn_by_the_paper(logits: Tensor, temperature: float) -> Tensor:
    """Normalise prototypes, then samples, of the exponentials themselves, three times."""
    table = (logits.double() / temperature - (logits.double() / temperature).max()).exp()
    for _ in range(3):
        table = table / table.sum(0)
        table = table / table.sum(1, keepdim=True)
    return table


def test_sinkhorn_knopp_is_the_formula() -> None:
    logits = rows(11, 12, 5)
    found = losses.sinkhorn_knopp(logits, 0.2)
    torch.testing.assert_close(found.double(), sinkhorn_by_the_paper(logits, 0.2), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.sum(1), torch.ones(12))
    assert not losses.sinkhorn_knopp(logits.requires_grad_(), 0.2).requires_grad


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


def test_koleo_is_the_formula_and_neighbours_repel() -> None:
    features = rows(13, 7, 4).requires_grad_()
    unit = [row / row.norm() for row in features.detach().double()]
    nearest = [min(float((unit[i] - unit[k]).norm()) for k in range(7) if k != i) for i in range(7)]
    loss = losses.koleo(features)
    assert float(loss.detach()) == pytest.approx(-sum(map(math.log, nearest)) / 7, abs=1e-5)
    (gradient,) = torch.autograd.grad(loss, features)
    assert float(losses.koleo((features - 1e-3 * gradient).detach())) < float(loss.detach())
    with pytest.raises(BadInput, match="1 rows, which have no neighbours"):
        losses.koleo(features[:1])


def test_masked_patches_weigh_one_over_their_image() -> None:
    student, teacher = rows(14, 5, 3), F.softmax(rows(15, 5, 3), dim=-1)
    image_of_patch, total = torch.tensor([0, 0, 0, 2, 2]), 0.0
    for image in (0, 2):
        own = [k for k in range(5) if image_of_patch[k] == image]
        total += sum(-float(teacher[k] @ F.log_softmax(student[k] / 0.1, dim=-1)) for k in own) / len(own)
    assert float(losses.masked_patches(student, teacher, image_of_patch, 4, 0.1)) == pytest.approx(total / 4, rel=1e-5)
    none = losses.masked_patches(student[:0].requires_grad_(), teacher[:0], image_of_patch[:0], 4, 0.1)
    assert float(none.detach()) == 0
    assert none.requires_grad


def test_gram_is_the_formula_image_by_image() -> None:
    """The squared Frobenius norm of X X' - Y Y' of unit rows, over the pairs of patches (DINOv3, section 4.2), by loops."""
    ours, theirs, total = rows(20, 2, 3, 4), rows(21, 2, 3, 4), 0.0
    for image in range(2):
        for i in range(3):
            for j in range(3):
                cosines = [float(F.cosine_similarity(x[image, i], x[image, j], dim=0)) for x in (ours, theirs)]
                total += (cosines[0] - cosines[1]) ** 2
    assert float(losses.gram(ours, theirs)) == pytest.approx(total / 18, rel=1e-5)
    assert float(losses.gram(ours, ours * 3)) == pytest.approx(0, abs=1e-12)
    half = rows(20, 2, 3, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(losses.gram(half, theirs), losses.gram(half.float(), theirs))


def test_sigreg_is_the_integral_and_tells_a_normal_from_others() -> None:
    import numpy as np
    from scipy.integrate import trapezoid

    features = rows(16, 50, 3)
    generator = torch.Generator().manual_seed(5)
    directions = F.normalize(torch.randn(3, 9, generator=generator), dim=0).double().numpy()
    t, total = np.linspace(-3, 3, 33), 0.0
    for projected in (features.double().numpy() @ directions).T:
        waves = np.exp(1j * t[:, None] * projected).mean(1)
        total += 50 * trapezoid(np.abs(waves - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2), t)
    assert float(losses.sigreg(features, 9, 5)) == pytest.approx(total / 9, rel=1e-4)
    many = rows(17, 4096, 3)
    shares = [float(losses.sigreg(x, 16, 0)) / 4096 for x in (many, many * 2, many + 1, many.sign())]
    assert shares[0] < 1e-3 < 10e-3 < min(shares[1:])
    assert float(losses.sigreg(features, 9, 5)) != float(losses.sigreg(features, 9, 6))


def test_negatives_of_two_processes_are_those_of_the_joint_batch(forks: Forks, tmp_path: Path) -> None:
    """The mean over the processes of loss and gradient is what one process finds."""
    script, errors = Path(__file__).with_name("joint_losses.py"), tmp_path / "errors"
    alone = tmp_path / "alone"
    alone.mkdir()
    assert forks.start(script, alone, errors=errors).wait() == 0, errors.read_text()
    assert forks.pair(script, tmp_path, errors=errors) == [0, 0], errors.read_text()
    halves, one = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)], torch.load(alone / "0.pt")
    for name, whole in one.items():
        if name.endswith("loss"):
            assert sum(half[name] for half in halves) / 2 == pytest.approx(whole, rel=1e-12), name
        else:
            torch.testing.assert_close(torch.cat([half[name] for half in halves]) / 2, whole, rtol=1e-10, atol=1e-12, msg=name)
