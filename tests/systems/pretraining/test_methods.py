"""Each method: what learns, what doesn't, and whether what its paper says happens."""

import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from systems.pretraining.conftest import RESNET, SETTINGS, VIT, begun, tiny
from tapetum.account.ledger import read
from tapetum.bench.plans import plan_run
from tapetum.core.errors import BadInput
from tapetum.encoders import build, byte_text, save
from tapetum.systems.pretraining.heads import DinoHead, feature_std, prototype_use
from tapetum.systems.pretraining.methods import Byol, DinoV2, task_of
from tapetum.systems.pretraining.run import loop_config, task_for
from tapetum.systems.pretraining.task import PATIENCE, SURE
from tapetum.train import StepContext, fit
from tapetum.train.launch_config import Launch


def test_a_batch_tells_the_numbers_of_its_samples(data: Path) -> None:
    task, _, _, batch = begun("simclr", data, **RESNET)
    assert batch["number"] == tuple(range(task.run.batch_size))


@pytest.mark.parametrize(
    ("encoder", "change"),
    [
        ("nfnet-f0", ("depths=(1,1,1,1)", "channels=(16,16,16,16)", "stem_width=8", "group_width=8", "final_width=16")),
        ("efficientnet-lite0", ("width_multiplier=0.25",)),
        ("timm:vit_tiny_patch16_224", ("depth=1", "patch=8", "pooling=mean")),
    ],
)
def test_any_encoder_will_do(encoder: str, change: tuple[str, ...], data: Path) -> None:
    task, model, teachers, batch = begun("dino", data, encoder=encoder, change=change, size=32)
    loss, metrics = task.loss(model, batch, StepContext(step=0, steps=1, teachers=teachers))
    loss.backward()
    lacking = [name for name, p in model.encoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert lacking in ([], ["class_token"])  # which nothing looks at where the mean of the grid is pooled
    assert 0 < float(metrics["feature_std"]) <= 1


def test_a_task_goes_to_workers_without_its_images(data: Path) -> None:
    task, _, _, batch = begun("supervised", data)
    samples = task.dataset()
    copied = pickle.loads(pickle.dumps(task))
    again = copied.collate([samples[number] for number in range(8)])
    assert torch.equal(again["views"][0], batch["views"][0])
    assert len(pickle.dumps(task)) < 10_000 < len(pickle.dumps(samples))


def test_weights_that_decay_are_matrices_and_filters(data: Path) -> None:
    task, model, _, _ = begun("mae", data)
    decaying, others = task.parameter_groups(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    shown = {names[id(parameter)] for parameter in others["params"]}
    assert {"encoder.positions", "encoder.class_token", "heads.decoder.mask_token", "encoder.norm.bias"} <= shown
    assert all(parameter.ndim >= 2 for parameter in decaying["params"])
    assert len(decaying["params"]) + len(others["params"]) == len(names)


def test_a_vit_of_moco_v3_keeps_its_patches_as_they_began(data: Path) -> None:
    _, model, _, batch = begun("byol", data, **VIT, frozen_patches=True, byol=Byol(hidden=32, projection=16, layers=3))
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"encoder.patches.weight", "encoder.patches.bias"}
    # MoCo_ViT of its public code: three layers and two, batch norm after each
    kinds = {name: [type(layer).__name__ for layer in head] for name, head in model.heads.named_children()}
    hidden = ["Linear", "SyncBatchNorm", "ReLU"]
    assert kinds == {"projection": [*hidden * 2, *hidden[:2]], "prediction": [*hidden, *hidden[:2]]}
    begun("byol", data, **RESNET, frozen_patches=True)  # a network without patches is as it is
    assert batch["views"]


def test_dinos_head_is_lightlys() -> None:
    from lightly.models.modules import DINOProjectionHead

    torch.manual_seed(0)
    ours, theirs = DinoHead(6, 10, 4, 9), DINOProjectionHead(6, 10, 4, 9, batch_norm=False, freeze_last_layer=-1)
    linears = [module for module in theirs.layers if isinstance(module, nn.Linear)]
    mine = [module for module in ours.layers if isinstance(module, nn.Linear)]
    for one, other in zip(mine, linears, strict=True):
        one.load_state_dict(other.state_dict())
    with torch.no_grad():
        theirs.last_layer.weight_v.copy_(ours.prototypes.weight)
    x = torch.randn(3, 6)
    torch.testing.assert_close(ours(x), theirs(x))


def test_mae_wants_a_vit_and_a_size_of_patches(data: Path) -> None:
    with pytest.raises(BadInput, match="mae needs a ViT, whose patches it hides, and resnet-18 is none"):
        task_for(tiny("mae", data, **RESNET))
    with pytest.raises(BadInput, match="patches of 16"):
        task_for(tiny("mae", data, change=("patch=16",)))
    with pytest.raises(BadInput, match="rotary positions are those of a whole grid"):
        task_for(tiny("mae", data, change=("rotary=dinov3",)))


def test_clip_reads_captions_made_of_classes(data: Path) -> None:
    task, model, _, batch = begun("clip", data)
    text = bytes(batch["text"][0][1:].tolist()[: int((batch["text"][0] == byte_text.END).nonzero()) - 1]).decode()
    assert text in ("This is a photo of square", "This is a photo of stripes")
    assert len(set(batch["caption"].tolist())) == 2
    with torch.no_grad():
        model.log_scale.fill_(9.0)
    assert float(task.loss(model, batch, StepContext())[1]["scale"]) == pytest.approx(100.0)
    assert byte_text.tokens(["x" * 99], 6)[0].tolist() == [256, 120, 120, 120, 120, 257]


def test_collapse_and_damage_are_said_once(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, model, _, batch = begun("simclr", data)
    batch["damaged"] = (3, 3, 5)
    task.loss(model, batch, StepContext())
    assert capsys.readouterr().err.splitlines() == [
        "image 3 cannot be read and is skipped (1 so far)",
        "image 5 cannot be read and is skipped (2 so far)",
    ]
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
        model.encoder.stages[3][0].norms[1].bias.fill_(1.0)  # every feature is 1
    for step in (6, 7):
        std = float(task.loss(model, batch, StepContext(step=step))[1]["feature_std"])
        assert std < 1e-6
        task.after_step(step, {"feature_std": std})
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("step 7: collapse, the features of all images are the same")
    assert task.collapsed_at == 6
    for images, collapsed in ((1, None), (2, 9)):  # one image alone is like itself
        task.collapsed_at = None
        task._images = images
        task.after_step(9, {"feature_std": 0.0})
        assert task.collapsed_at == collapsed
    for step in range(10, PATIENCE + 8):  # the step before was collapsed too
        task.after_step(step, {"feature_std": 0.0})
    with pytest.raises(BadInput, match="stopped at step 200, after 100 steps of collapse: the features of all images are"):
        task.after_step(199, {"feature_std": 0.0})
    assert float(feature_std(torch.randn(500, 40) + 3)) == pytest.approx(1 / math.sqrt(10), rel=0.05)


def test_labels_and_names_of_methods(data: Path) -> None:
    task, _, _, batch = begun("supervised", data)
    samples = task.dataset()
    assert batch["label"].tolist() == [samples[number].index % 2 for number in range(8)]
    with pytest.raises(BadInput, match="there is no method 'swav'; it is one of supervised, clip"):
        task_of("swav")  # pyright: ignore[reportArgumentType]
    assert np.array_equal(task.source.classes, ("square", "stripes"))


def test_a_teacher_that_says_the_same_of_all_images_has_collapsed(data: Path) -> None:
    task, model, teachers, batch = begun("dino", data)
    _, metrics = task.loss(model, batch, StepContext(teachers=teachers))
    healthy = {name: float(x) for name, x in metrics.items()}
    assert task.collapse(healthy) is None
    assert 1 < healthy["feature_rank"] < 32.01
    assert healthy["prototype_entropy"] > healthy["target_entropy"]
    one, alike = torch.full((16, 24), 1e-9), torch.full((16, 24), 1 / 24)
    one[:, 3] = 1
    for targets, words in ((one, "same few prototypes"), (alike, "all prototypes alike")):
        found = {name: float(x) for name, x in prototype_use(targets).items()}
        assert found["unchosen_prototypes"] == pytest.approx(23 / 24)
        assert words in task.collapse({"feature_std": 0.5, **found})
        for step in range(SURE):  # at first a teacher knows nothing
            assert task.collapsed_at is None
            task.after_step(step, {"feature_std": 0.5, **found})
        assert task.collapsed_at == SURE - 1
        task.after_step(SURE, healthy)
        task.collapsed_at = None
    assert "features of all images" in task.collapse({**healthy, "feature_std": 0.0})


@pytest.mark.slow
@pytest.mark.parametrize("centring", ["centre", "sinkhorn"])
def test_dinov2_stays_finite_in_batches_of_2_to_32(centring: str, data: Path) -> None:
    for seed in range(20):
        settings = DinoV2(hidden=32, bottleneck=16, prototypes=24, local_views=2, centring=centring)  # pyright: ignore[reportArgumentType]
        changes = {"batch_size": (2, 3, 8, 32)[seed % 4], "seed": seed, "dinov2": settings}
        task, model, teachers, batch = begun("dinov2", data, **changes)
        optimizer = torch.optim.AdamW(task.parameter_groups(model), lr=1e-2)
        for step in range(4):
            loss, metrics = task.loss(model, batch, StepContext(step=step, steps=4, teachers=teachers))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert loss.isfinite(), (seed, step)
            assert all(p.isfinite().all() for p in model.state_dict().values()), (seed, step)
        assert task.collapse({name: float(x) for name, x in metrics.items()}) is None, seed


def test_gram_anchors_patches_to_the_network_that_the_run_began_with(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="gram keeps patches as the run found them, and vit-nano begins anew; give --gram-every"):
        begun("dinov2", data, dinov2=replace(SETTINGS["dinov2"]["dinov2"], gram=1.0))
    save(build("vit-nano", 3), tmp_path / "begin.safetensors")
    for every, still in ((0, True), (2, False)):
        settings = replace(SETTINGS["dinov2"]["dinov2"], gram=1.0, gram_every=every)
        changes = {"encoder": str(tmp_path / "begin.safetensors"), "change": (), "size": 32, "steps": 3}
        out = tmp_path / f"run{every}"
        task = task_for(tiny("dinov2", data, **changes, dinov2=settings))
        fit(task, loop_config(task, Launch(out=out, workers=0, threads=1, save_every=1), keep_last=9, lr=0.01), out)
        first, third = (load_file(out / "checkpoints" / f"step_0000000{k}" / "anchor.safetensors") for k in (1, 3))
        assert all(torch.equal(first[name], value) for name, value in third.items()) == still


def test_a_queue_that_cannot_be_is_refused(data: Path) -> None:
    with pytest.raises(BadInput, match="a queue is for Sinkhorn-Knopp; give --centring sinkhorn"):
        DinoV2(queue=16)
    with pytest.raises(BadInput, match="a queue of 24 holds a part of a batch, which has 16 large crops"):
        begun("dinov2", data, dinov2=DinoV2(queue=24, centring="sinkhorn"))


def test_the_last_steps_of_dinov2_see_larger_crops(data: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS["dinov2"]["dinov2"], high_resolution=32, high_resolution_steps=1)
    run = tiny("dinov2", data, steps=3, dinov2=settings)
    task, (samples, out) = task_for(run), (task_for(run).dataset(), tmp_path / "run")
    for step, side in ((1, 16), (2, 32)):
        batch = task.collate([samples[number] for number in range(8 * step, 8 * step + 8)])
        assert [view.shape[-1] for view in batch["views"]] == [side, side, 16, 16]
        assert batch["hidden"].shape == (8, 2, (side // 4) ** 2)
    fit(task, loop_config(task, Launch(out=out, workers=0, threads=1)), out)
    planned = plan_run(run)
    assert [(phase.name, phase.config.steps) for phase in planned.phases] == [("from step 1", 2), ("from step 3", 1)]
    total = read(out / "ledger.json")["total"]
    assert total["flops_forward"] + total["flops_backward"] == pytest.approx(planned.flops, rel=0.03)
    assert planned.phases[1].step_flops > 2 * planned.phases[0].step_flops
    with pytest.raises(BadInput, match="give both --high-resolution, a side in pixels, and --high-resolution-steps"):
        replace(settings, high_resolution_steps=0)
    with pytest.raises(BadInput, match="high resolution is for the last 3 steps, and the run has 3; give fewer"):
        task_for(replace(run, dinov2=replace(settings, high_resolution_steps=3)))
    with pytest.raises(BadInput, match=r"patches of 4 pixels do not divide images of 30; .* by --high-resolution"):
        task_for(replace(run, dinov2=replace(settings, high_resolution=30)))
