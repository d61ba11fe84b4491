"""What two processes compute together is what one computes of the joint batch, in float64."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tapetum.core.errors import BadInput
from tapetum.train.gather import SyncBatchNorm, all_gather, all_reduce, convert_sync_batchnorm, shift


def test_losses_gradients_and_statistics_of_two_processes_are_those_of_one(jobs: Any, tmp_path: Path) -> None:
    assert jobs.run("exchanges", tmp_path) == [0, 0], (tmp_path / "stderr").read_text()
    assert jobs.run("exchanges", tmp_path / "one", processes=1) == [0]
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    one = torch.load(tmp_path / "one" / "0.pt")
    for name, whole in one.items():
        if name.endswith("loss"):  # each process's own, already divided by the number of processes
            assert sum(half[name] for half in halves) == pytest.approx(whole.detach(), rel=1e-12), name
        elif name.startswith("norm ") and not name.endswith("gradient"):
            for half in halves:
                torch.testing.assert_close(half[name], whole, rtol=1e-12, atol=1e-12, msg=name)
        else:
            torch.testing.assert_close(
                torch.cat([half[name] for half in halves]), whole.detach(), rtol=1e-10, atol=1e-12, msg=name
            )
    for name in [name for name in one if "present" in name]:  # rows that do not count, as if they were not there
        torch.testing.assert_close(one[name], one[name.replace("present", "uneven")], rtol=1e-12, atol=1e-12, msg=name)


def test_the_sigmoid_loss_around_a_ring_is_that_of_all_pairs_at_once(jobs: Any, tmp_path: Path) -> None:
    """One, two and four processes: loss and gradients of the joint batch, by open_clip on one process."""
    from open_clip.loss import SigLipLoss

    generator = torch.Generator().manual_seed(4)
    images, texts = (x.requires_grad_() for x in torch.randn(2, 8, 5, dtype=torch.float64, generator=generator))
    scale, bias = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (math.log(10), -10.0))
    loss = SigLipLoss()(F.normalize(images, dim=1), F.normalize(texts, dim=1), scale.exp(), bias)
    gradients = torch.autograd.grad(loss, [images, texts, scale, bias])
    wanted = {"loss": loss.detach()} | dict(zip(("images", "texts", "scale", "bias"), gradients, strict=True))
    joint: dict[int, dict[str, torch.Tensor]] = {}
    for size in (1, 2, 4):
        assert jobs.run("ring", tmp_path / str(size), processes=size) == [0] * size, tmp_path
        parts = [torch.load(tmp_path / str(size) / f"{rank}.pt") for rank in range(size)]
        joint[size] = {
            name: (
                torch.cat([part[name] for part in parts]) if first.ndim else torch.stack([part[name] for part in parts]).sum(0)
            )
            / size
            for name, first in parts[0].items()
        }
        for name, value in joint[size].items():
            torch.testing.assert_close(value, joint[1][name], rtol=1e-10, atol=1e-13, msg=f"{size} {name}")
    for name, value in wanted.items():
        torch.testing.assert_close(joint[1][f"own {name}"], value, rtol=1e-10, atol=1e-13, msg=name)


def test_a_barrier_waits_and_tells_of_a_process_that_is_lost(jobs: Any, tmp_path: Path) -> None:
    assert jobs.run("wait_at_a_barrier", tmp_path / "a") == [0, 0], (tmp_path / "a" / "stderr").read_text()
    assert jobs.run("clashing", tmp_path / "b") == [1, 2]
    errors = (tmp_path / "b" / "stderr").read_text()
    assert errors.count("lost another process of this run") == 1
    assert "failed while the others waited" in errors


def test_processes_that_part_may_join_again(jobs: Any, tmp_path: Path) -> None:
    assert jobs.run("join_again", tmp_path) == [0, 0], (tmp_path / "stderr").read_text()
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)] == [[0.5, 1.5, 2.5]] * 2


def test_alone_all_is_the_identity() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    assert all_gather(x) is x
    assert all_reduce(x) is x
    assert shift(x) is x
    torch.manual_seed(0)
    plain, images = nn.BatchNorm2d(3), torch.randn(4, 3, 5, 5)
    joint = convert_sync_batchnorm(nn.Sequential(nn.BatchNorm2d(3)))
    assert type(joint[0]) is SyncBatchNorm
    assert joint[0].state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(joint(images), plain(images))
    assert torch.equal(joint[0].running_var, plain.running_var)


def test_conversion_keeps_parameters_modes_and_refuses_what_does_more() -> None:
    class WithActivation(nn.BatchNorm2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input).relu()

    model = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.BatchNorm3d(3, affine=False).eval()))
    weight = model[0].weight
    converted = convert_sync_batchnorm(model)
    assert converted[0].weight is weight
    assert (converted[0].training, converted[1][0].training) == (True, False)
    assert convert_sync_batchnorm(nn.BatchNorm1d(2)).num_features == 2
    with pytest.raises(BadInput, match=r"0\.0 is a WithActivation, which may do more"):
        convert_sync_batchnorm(nn.Sequential(nn.Sequential(WithActivation(2))))


def test_batch_norms_of_timm_keep_what_they_do_after_the_norm() -> None:
    layers = pytest.importorskip("timm.layers")
    torch.manual_seed(0)
    plain, joint = layers.BatchNormAct2d(3), convert_sync_batchnorm(nn.Sequential(layers.BatchNormAct2d(3)))
    images = torch.randn(4, 3, 5, 5)
    assert joint[0].state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(joint(images), plain(images))
    assert torch.equal(joint[0].running_var, plain.running_var)
    assert (joint(images) >= 0).all()


def test_rows_that_stand_for_nothing_are_left_out_of_statistics_and_a_norm_may_lack_a_bias() -> None:
    torch.manual_seed(0)
    joint, x = SyncBatchNorm(3, affine=False), torch.randn(5, 3)
    present = torch.tensor([True, False, True, True, False])
    mean, variance = x[present].mean(0), x[present].var(0, correction=0)
    for norm in (joint, SyncBatchNorm(3, track_running_stats=False)):
        torch.testing.assert_close(norm(x, present), (x - mean) / (variance + joint.eps).sqrt())
