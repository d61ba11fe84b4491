"""Which view of which network is compared with which, and who learns: each method's loss written out image by image.

The networks are the library's; student and teacher differ in all weights. What is paired with what, in which direction, and
whose batch norms see which views is said here once more, from the papers.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from systems.pretraining.conftest import SETTINGS, tiny
from tapetum.systems.pretraining.methods import Method
from tapetum.systems.pretraining.run import task_for
from tapetum.train import StepContext


def begun(method: Method, data: Path, **changes: object) -> tuple[Any, Any, Any, dict[str, Any]]:
    """A task, a student and a teacher in float64 with weights of their own, and a batch of 4."""
    task = task_for(tiny(method, data, **changes))
    student, teacher = ((torch.manual_seed(seed), task.model().double())[1] for seed in (0, 1))
    samples = task.dataset()
    batch = task.collate([samples[number] for number in range(4)])
    batch["views"] = [view.double() for view in batch["views"]]
    return task, student, teacher.requires_grad_(False), batch


def compared(task: Any, student: Any, teacher: Any, batch: dict[str, Any], plain: Callable[[Any, Any], Tensor]) -> None:
    """The task's loss and gradients are those of `plain(student, teacher)`."""
    twins = [copy.deepcopy(network).train() for network in (student, teacher)]
    wanted = plain(*twins)
    wanted.backward()
    loss, _ = task.loss(student, batch, StepContext(step=0, steps=10, teachers={"teacher": teacher.eval()}))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-8)
    for (name, own), other in zip(student.named_parameters(), twins[0].parameters(), strict=True):
        assert (own.grad is None) == (other.grad is None), name
        if own.grad is not None:
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-6, atol=1e-9, msg=name)
    assert all(p.grad is None for p in teacher.parameters())


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b) / (a.norm() * b.norm())


def views_differ(batch: dict[str, Any]) -> bool:
    return not torch.allclose(batch["views"][0], batch["views"][1], atol=0.1)


def test_byol_predicts_of_each_view_what_the_slow_average_says_of_the_other(data: Path) -> None:
    """Arxiv 2006.07733, equations 2 and 3, but for 2 - 2 cos: q(z1) with z'2 and q(z2) with z'1, each network view by view."""
    task, student, teacher, batch = begun("byol", data)

    def plain(online: Any, target: Any) -> Tensor:
        said = [online.heads["prediction"](online.heads["projection"](online.encoder(v).pooled)) for v in batch["views"]]
        wanted = [target.heads["projection"](target.encoder(v).pooled) for v in batch["views"]]
        return sum(-cosine(said[a][b], wanted[1 - a][b]) for a in (0, 1) for b in range(4)) / 8

    assert views_differ(batch)
    compared(task, student, teacher, batch, plain)


def test_simclr_finds_the_other_view_of_the_image_among_all_views_but_itself(data: Path) -> None:
    """Arxiv 2002.05709, equation 1 and algorithm 1; batch norms see both views together."""
    task, student, teacher, batch = begun("simclr", data)

    def plain(network: Any, _: Any) -> Tensor:
        z = network.heads["projection"](network.encoder(torch.cat(batch["views"])).pooled)  # view a of image b: 4 a + b
        total = z.new_zeros(())
        for i in range(8):
            odds = {k: torch.exp(cosine(z[i], z[k]) / 0.2) for k in range(8) if k != i}
            total = total - torch.log(odds[(i + 4) % 8] / sum(odds.values()))
        return total / 8

    assert views_differ(batch)
    compared(task, student, teacher, batch, plain)


def test_dino_compares_each_view_with_the_large_views_that_it_is_not(data: Path) -> None:
    """Arxiv 2104.14294, equation 3: of two large views x and all views x' other than x, - P_teacher(x) log P_student(x')."""
    how = replace(SETTINGS["dino"]["dino"], local_size=8)
    task, student, teacher, batch = begun("dino", data, dino=how)
    student.center.copy_(torch.linspace(-0.1, 0.1, 24))
    assert [tuple(view.shape[-2:]) for view in batch["views"]] == [(16, 16)] * 2 + [(8, 8)] * 2

    def plain(network: Any, average: Any) -> Tensor:
        large, small = torch.cat(batch["views"][:2]), torch.cat(batch["views"][2:])  # those of one size pass together
        wanted = average.heads["head"](average.encoder(large).pooled).split(4)
        features = torch.cat([network.encoder(x).pooled for x in (large, small)])
        said = network.heads["head"](features).split(4)
        total, pairs = features.new_zeros(()), 0
        for x in range(2):
            for other in range(4):
                if other != x:
                    pairs += 1
                    for b in range(4):
                        p = F.softmax((wanted[x][b] - center) / how.teacher_temperature, 0)
                        total = total - (p * F.log_softmax(said[other][b] / how.student_temperature, 0)).sum() / 4
        return total / pairs

    center = student.center.clone()
    assert views_differ(batch)
    compared(task, student, teacher, batch, plain)


def test_clip_finds_each_images_text_and_each_texts_image(data: Path) -> None:
    """Arxiv 2103.00020, figure 3; images of one caption share it."""
    task, student, teacher, batch = begun("clip", data)
    names = ["square" if label == 0 else "stripes" for label in task.source.labels[indices(task)].tolist()]
    assert len(set(names)) == 2

    def plain(network: Any, _: Any) -> Tensor:
        images = network.heads["image"](network.encoder(batch["views"][0]).pooled)
        length = SETTINGS["clip"]["clip"].length
        bytes_ = [f"This is a photo of {name}".encode() for name in names]
        text = torch.tensor([[256, *each, 257, *[0] * (length - 2 - len(each))] for each in bytes_])
        assert all(
            batch["text"][b, : len(each) + 2].tolist() == text[b, : len(each) + 2].tolist() for b, each in enumerate(bytes_)
        )
        texts = network.heads["text"](network.text(batch["text"]).pooled)
        scale, total = math.exp(float(network.log_scale.detach())), images.new_zeros(())
        scale = network.log_scale.exp() if scale < 100 else 100.0
        for b in range(4):
            alike = [k for k in range(4) if names[k] == names[b]]
            for row in (
                torch.stack([scale * cosine(images[b], texts[k]) for k in range(4)]),
                torch.stack([scale * cosine(texts[b], images[k]) for k in range(4)]),
            ):
                total = total - sum(row.log_softmax(0)[k] for k in alike) / len(alike)
        return total / 8

    compared(task, student, teacher, batch, plain)


def test_siglip_classifies_each_image_with_each_text(data: Path) -> None:
    """Arxiv 2303.15343, equation 1 and algorithm 1; images of one caption share it."""
    task, student, teacher, batch = begun("siglip", data)
    names = task.source.labels[indices(task)].tolist()
    assert len(set(names)) == 2
    assert float(student.log_scale.detach()) == pytest.approx(math.log(10))
    assert float(student.bias.detach()) == -10.0

    def plain(network: Any, _: Any) -> Tensor:
        images = network.heads["image"](network.encoder(batch["views"][0]).pooled)
        texts = network.heads["text"](network.text(batch["text"]).tokens[:, -1])
        total = images.new_zeros(())
        for i in range(4):
            for j in range(4):
                logit = network.log_scale.exp() * cosine(images[i], texts[j]) + network.bias
                probability = torch.sigmoid(logit)
                total = total - torch.log(probability if names[i] == names[j] else 1 - probability)
        return total / 4

    compared(task, student, teacher, batch, plain)


def indices(task: Any) -> Any:
    return [task.dataset()[number].index for number in range(4)]


def test_mae_is_asked_for_the_patches_of_its_own_image_that_it_did_not_see(data: Path) -> None:
    """Arxiv 2111.06377, section 3: mean squared error of hidden patches, each brought to mean 0, deviation 1."""
    task, student, teacher, batch = begun("mae", data)

    def plain(network: Any, _: Any) -> Tensor:
        [view], encoder, total, hidden = batch["views"], network.encoder, 0.0, 0
        for b in range(4):
            seen = batch["visible"][b].tolist()
            tokens = encoder.embed(view[b : b + 1])[0]
            x = torch.cat([tokens[:, :1], *(tokens[:, 1 + n : 2 + n] for n in seen)], 1)  # class token, then what is seen
            for block in encoder.blocks:
                x = block(x)
            drawn = network.heads["decoder"](encoder.norm(x), batch["visible"][b : b + 1])[0]
            for n in range(16):
                if n not in seen:
                    row, column = divmod(n, 4)
                    patch = view[b, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].permute(1, 2, 0).flatten()
                    patch = (patch - patch.mean()) / (patch.var() + 1e-6).sqrt()
                    total, hidden = total + ((drawn[n] - patch) ** 2).mean(), hidden + 1
        assert hidden == 4 * 12
        return total / hidden

    compared(task, student, teacher, batch, plain)


def test_lejepa_draws_views_to_the_mean_of_the_large_ones_and_spreads_each(data: Path) -> None:
    """Arxiv 2511.08544, algorithm 2 with the statistic of its public code: (1 - l) prediction + l SIGReg."""
    how = replace(SETTINGS["lejepa"]["lejepa"], local_size=8)
    task, student, teacher, batch = begun("lejepa", data, lejepa=how)

    def plain(network: Any, _: Any) -> Tensor:
        large, small = torch.cat(batch["views"][:2]), torch.cat(batch["views"][2:])
        features = torch.cat([network.encoder(x).pooled for x in (large, small)])
        z = network.heads["projector"](features).split(4)
        prediction, spread = features.new_zeros(()), features.new_zeros(())
        directions = torch.randn(8, 16, generator=torch.Generator().manual_seed(task.run.seed << 32)).to(features.dtype)
        t = torch.linspace(-3, 3, 33, dtype=features.dtype)
        for view in range(4):
            for b in range(4):
                prediction = prediction + ((z[view][b] - (z[0][b] + z[1][b]) / 2) ** 2).mean() / 16
            for k in range(16):
                along = z[view] @ (directions[:, k] / directions[:, k].norm())
                error = (torch.cos(t[:, None] * along).mean(1) - torch.exp(-(t**2) / 2)) ** 2
                error = error + torch.sin(t[:, None] * along).mean(1) ** 2
                spread = spread + 4 * torch.trapezoid(error * torch.exp(-(t**2) / 2), t) / 64
        return (1 - how.weight) * prediction + how.weight * spread

    assert [tuple(view.shape[-2:]) for view in batch["views"]] == [(16, 16)] * 2 + [(8, 8)] * 2
    assert views_differ(batch)
    compared(task, student, teacher, batch, plain)


@pytest.mark.parametrize("centring", ["centre", "sinkhorn"])
def test_dinov2_asks_for_classes_of_other_crops_and_for_hidden_patches_of_the_same(centring: str, data: Path) -> None:
    """Arxiv 2304.07193, section 4: DINO on class tokens, iBOT on patch tokens with its own head, KoLeo of each large crop."""
    how = replace(SETTINGS["dinov2"]["dinov2"], local_size=8, patch_prototypes=20, centring=centring)
    task, student, teacher, batch = begun("dinov2", data, dinov2=how)
    with torch.no_grad():
        student.encoder.mask_token.copy_(torch.linspace(-1, 1, len(student.encoder.mask_token)))
        student.center.copy_(torch.linspace(-0.1, 0.1, 24))
        student.patch_center.copy_(torch.linspace(0.1, -0.1, 20))
    hidden, centers = batch["hidden"], (student.center.clone(), student.patch_center.clone())
    assert hidden.shape == (4, 2, 16)
    assert 0 < int(hidden.sum()) < hidden.numel() / 2

    def taught(logits: Tensor, center: Tensor) -> Tensor:
        if centring == "centre":
            return F.softmax((logits - center) / how.teacher_temperature, 1)
        table = (logits / how.teacher_temperature - (logits / how.teacher_temperature).max()).exp()
        for _ in range(3):
            table = table / table.sum(0)
            table = table / table.sum(1, keepdim=True)
        return table

    def tokens_of(encoder: Any, view: Tensor, mask: Tensor, token: Tensor) -> Tensor:
        """Of one image, patch by patch: the token stands where the mask is, at the same positions."""
        x = torch.stack([token if mask[n] else encoder.patches(view[None]).flatten(1, 2)[0, n] for n in range(16)])
        x = x + encoder.positions[-16:]
        first = encoder.class_token + (encoder.positions[0] if len(encoder.positions) > 16 else 0)
        x = torch.cat([first[None], x])[None]
        for block in encoder.blocks:
            x = block(x)
        return encoder.norm(x)[0]

    def plain(network: Any, average: Any) -> Tensor:
        crops = [(crop, b) for crop in range(2) for b in range(4)]
        whole = {at: average.encoder(batch["views"][at[0]][at[1]][None]).tokens[0] for at in crops}
        wanted = taught(average.heads["head"](torch.stack([whole[at][0] for at in crops])), centers[0])
        places = [(crop, b, n) for crop, b in crops for n in range(16) if hidden[b, crop, n]]
        wanted_patches = taught(average.heads["patches"](torch.stack([whole[c, b][1 + n] for c, b, n in places])), centers[1])
        seen = {
            (c, b): tokens_of(network.encoder, batch["views"][c][b], hidden[b, c], network.encoder.mask_token) for c, b in crops
        }
        classes = [torch.stack([seen[crop, b][0] for b in range(4)]) for crop in range(2)]
        classes += [network.encoder(view).tokens[:, 0] for view in batch["views"][2:]]
        total = classes[0].new_zeros(())
        for other, tokens in enumerate(classes):
            said = F.log_softmax(network.heads["head"](tokens) / how.student_temperature, 1)
            for crop in range(2):
                if other != crop:
                    total = total - sum(wanted[4 * crop + b] @ said[b] for b in range(4)) / 4 / 6  # 2 + 4 pairs
        for row, (crop, b, n) in enumerate(places):
            said = F.log_softmax(network.heads["patches"](seen[crop, b][1 + n][None])[0] / how.student_temperature, 0)
            total = total - wanted_patches[row] @ said / hidden[b, crop].sum() / 8
        for tokens in classes[:2]:
            unit = F.normalize(tokens, dim=1)
            for b in range(4):
                near = min((unit[b] - unit[k] + 1e-8).norm() for k in range(4) if k != b)
                total = total - how.koleo * torch.log(near + 1e-8) / 4
        return total

    compared(task, student, teacher, batch, plain)


def test_ijepa_predicts_of_each_block_what_the_average_says_of_it_in_the_whole_image(data: Path) -> None:
    """Arxiv 2301.08243, section 3: the predictor sees the context and one block's positions at a time; tokens are normed."""
    task, student, teacher, batch = begun("ijepa", data, change=("patch=2",))
    [visible], targets = batch["visible"], batch["targets"]
    assert targets.shape[:2] == (4, 4)
    batch["visible"] = [visible[:3], visible[3:]]  # in parts it is the same
    with torch.no_grad():
        student.heads["predictor"].mask_token.copy_(torch.linspace(-1, 1, 24))

    def plain(network: Any, average: Any) -> Tensor:
        [view], encoder, total, terms = batch["views"], network.encoder, torch.zeros(()), 0
        head = network.heads["predictor"]
        for b in range(4):
            seen = visible[b].tolist()
            tokens = encoder.embed(view[b : b + 1])[0]
            x = torch.cat([tokens[:, :1], *(tokens[:, 1 + n : 2 + n] for n in seen)], 1)
            for block in encoder.blocks:
                x = block(x)
            x = head.enter(encoder.norm(x))[0]
            context = [x[0], *(x[1 + k] + head.positions[n] for k, n in enumerate(seen))]
            whole = average.encoder(view[b : b + 1]).tokens[0, 1:]
            for places in targets[b].tolist():
                assert not set(places) & set(seen)
                y = torch.stack([*context, *(head.mask_token + head.positions[n] for n in places)])[None]
                for block in head.blocks:
                    y = block(y)
                said = head.leave(head.norm(y))[0, len(context) :]
                for k, n in enumerate(places):
                    wanted = (whole[n] - whole[n].mean()) / (whole[n].var(unbiased=False) + 1e-5).sqrt()
                    error = (said[k] - wanted).abs()
                    total = total + torch.where(error < 1, error**2 / 2, error - 0.5).mean()
                    terms += 1
        return total / terms

    compared(task, student, teacher, batch, plain)
