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
from tapetum.systems.pretraining import losses
from tapetum.systems.pretraining.heads import (
    DinoHead,
    encode_visible,
    feature_std,
    hidden_patches,
    move_center,
    projection,
    prototype_use,
    use_batch_statistics,
)
from tapetum.systems.pretraining.methods import Byol, Dino, DinoV2, Method, task_of
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


@pytest.mark.slow
@pytest.mark.parametrize("method", ["byol", "dino"])
def test_the_teacher_is_the_average_of_the_paper(method: Method, data: Path, tmp_path: Path) -> None:
    """decay_k = 1 - (1 - decay) (cos(pi k / K) + 1) / 2 for updates k = 0 ... K."""
    task = task_for(tiny(method, data))
    launch = Launch(out=tmp_path, workers=0, threads=1, save_every=1)
    fit(task, loop_config(task, launch, keep_last=10, tensorboard=False, lr=0.01), tmp_path)
    folders = [tmp_path / "checkpoints" / f"step_{step:08d}" for step in range(1, 7)]
    states = [{name: load_file(folder / f"{name}.safetensors") for name in ("model", "teacher")} for folder in folders]
    start, moved = task.settings.decay, 0.0
    for k in range(1, 6):  # update 0 is before the first checkpoint
        decay = 1 - (1 - start) * (math.cos(math.pi * k / 5) + 1) / 2
        for name, now in states[k]["teacher"].items():
            if now.is_floating_point():
                wanted = decay * states[k - 1]["teacher"][name] + (1 - decay) * states[k]["model"][name]
                torch.testing.assert_close(now, wanted, rtol=1e-5, atol=1e-6, msg=name)
                moved += float((now - states[k - 1]["teacher"][name]).abs().sum())
    assert moved > 0


def test_teachers_see_by_the_batch_and_follow_nothing() -> None:
    torch.manual_seed(0)
    student = projection(6, 5, 4).train()
    teacher = projection(6, 5, 4).eval()
    teacher.load_state_dict(student.state_dict())
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    x = torch.randn(7, 6)
    torch.testing.assert_close(use_batch_statistics(teacher)(x), student(x))
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


def test_dinos_centre_is_a_running_mean_and_its_temperature_rises() -> None:
    torch.manual_seed(0)
    center, said = torch.randn(5), torch.randn(6, 5)
    torch.testing.assert_close(move_center(center, said, 0.9), 0.9 * center + 0.1 * said.mean(0))
    from lightly.models.modules.center import Center

    theirs = Center(size=(1, 1, 5), momentum=0.9)
    theirs.center = center[None, None].clone()
    theirs.update(said.view(2, 3, 5))
    torch.testing.assert_close(move_center(center, said, 0.9), theirs.value.flatten())
    how = Dino(teacher_temperature=0.04, final_teacher_temperature=0.07, teacher_warmup_epochs=30)
    assert how.teacher_temperature_after(15) == pytest.approx(0.055)
    assert how.teacher_temperature_after(90) == pytest.approx(0.07)


def test_dinos_teacher_warms_up_in_epochs_whatever_the_length_of_the_run(data: Path) -> None:
    rising = Dino(
        final_teacher_temperature=0.07, teacher_warmup_epochs=2, hidden=16, bottleneck=8, prototypes=12, local_views=1
    )
    task, model, teachers, batch = begun("dino", data, dino=rising)
    losses = {}
    for how in (rising, *(replace(rising, teacher_temperature=t, teacher_warmup_epochs=0) for t in (0.04, 0.055, 0.07))):
        task.settings = how if how is rising else replace(how, final_teacher_temperature=how.teacher_temperature)
        for step in (0, 5, 10):  # 40 images, 8 a step: 5 steps an epoch
            model.center.zero_()
            context = StepContext(step=step, steps=1000, teachers=teachers)
            losses[how.teacher_temperature, how.teacher_warmup_epochs, step] = task.loss(model, batch, context)[0].item()
    for step, temperature in ((0, 0.04), (5, 0.055), (10, 0.07)):
        assert losses[0.04, 2, step] == pytest.approx(losses[temperature, 0, step], abs=1e-6)
    assert len({round(losses[0.04, 2, step], 5) for step in (0, 5, 10)}) == 3


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


def test_dinos_centre_moves_in_the_run_and_its_last_layer_waits(data: Path) -> None:
    how = Dino(hidden=16, bottleneck=8, prototypes=12, local_views=1, frozen_epochs=1)
    task, model, teachers, batch = begun("dino", data, dino=how)
    assert task.frozen_steps == 5  # 40 images, 8 a step
    weight = model.get_parameter("heads.head.prototypes.weight")
    for step, learns in ((4, False), (5, True)):
        before = model.center.clone()
        model.zero_grad()
        task.loss(model, batch, StepContext(step=step, steps=10, teachers=teachers))[0].backward()
        assert (weight.grad is not None) == learns
        with torch.no_grad():
            teacher = teachers["teacher"]
            said = teacher.heads["head"](teacher.encoder(torch.cat(batch["views"][:2])).pooled)
        torch.testing.assert_close(model.center, 0.9 * before + 0.1 * said.mean(0))


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


def test_mae_sees_what_is_not_hidden_and_nothing_else(data: Path) -> None:
    _, model, _, batch = begun("mae", data)
    encoder, seen = model.encoder, batch["visible"]
    [images] = batch["views"]
    hidden = hidden_patches(seen, 16)
    assert hidden.sum(1).tolist() == [12] * 8  # three quarters of 4 x 4
    assert len({tuple(row) for row in seen.sort().values.tolist()}) > 1  # not the same for all
    mask = hidden.view(8, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    changed = torch.where(mask, torch.randn_like(images), images)
    torch.testing.assert_close(encode_visible(encoder, images, seen), encode_visible(encoder, changed, seen))
    assert not torch.allclose(encoder(images).pooled, encoder(changed).pooled)
    all_seen = torch.arange(16).expand(8, -1)
    torch.testing.assert_close(encode_visible(encoder, images, all_seen), encoder(images).tokens)
    assert encode_visible(encoder, images, seen).shape == (8, 5, 64)  # class token and four patches: a quarter of the work


def test_mae_puts_every_patch_into_its_place(data: Path) -> None:
    """The decoder without blocks says of a place what stands there: a seen patch, or the mask token."""
    _, model, _, batch = begun("mae", data)
    decoder, seen = model.heads["decoder"], batch["visible"]
    decoder.blocks = nn.ModuleList()
    tokens = torch.randn(8, 5, 64)
    found = decoder(tokens, seen)
    for row in range(8):
        for place in range(16):
            at = (seen[row] == place).nonzero()
            here = decoder.enter(tokens[row, 1 + int(at)]) if len(at) else decoder.mask_token
            torch.testing.assert_close(found[row, place], decoder.leave(decoder.norm(here + decoder.positions[place])))


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
    plain = replace(SETTINGS["dinov2"]["dinov2"], mask_probability=0.0)
    values = []
    for settings in (plain, replace(plain, gram=2.0)):
        task, model, teachers, batch = begun("dinov2", data, **changes, dinov2=settings)
        if settings.gram:
            for parameter in teachers["anchor"].encoder.blocks.parameters():
                parameter.normal_()
        values.append(task.loss(model, batch, StepContext(teachers=teachers)))
    large = torch.cat(batch["views"][:2])
    with torch.no_grad():
        wanted = losses.gram(*(network.encoder(large).tokens[:, 1:] for network in (model, teachers["anchor"])))
    assert 0.001 < float(wanted) == pytest.approx(float(values[1][1]["gram"]))
    assert float((values[1][0] - values[0][0]).detach()) == pytest.approx(2 * float(wanted), rel=1e-4)


def test_a_queue_assigns_a_small_batch_as_a_large_one(data: Path) -> None:
    """In its last step Sinkhorn-Knopp gets what a batch of all steps would, newest first."""
    with pytest.raises(BadInput, match="a queue is for Sinkhorn-Knopp; give --centring sinkhorn"):
        DinoV2(queue=16)
    with pytest.raises(BadInput, match="a queue of 24 holds a part of a batch, which has 16 large crops"):
        begun("dinov2", data, dinov2=DinoV2(queue=24, centring="sinkhorn"))
    settings = replace(SETTINGS["dinov2"]["dinov2"], centring="sinkhorn", queue=32)
    task, model, _, _ = begun("dinov2", data, dinov2=settings)
    batches = [torch.randn(2, 8, 24, generator=torch.Generator().manual_seed(k)) for k in range(4)]
    queued = [rows.transpose(0, 1).flatten(0, 1) for rows in batches]  # both crops of an image side by side
    for step, rows in enumerate(batches):
        found = task._queued(rows.flatten(0, 1), model, step)
        torch.testing.assert_close(found, torch.cat((rows.flatten(0, 1), *queued[max(0, step - 2) : step][::-1])))
    torch.testing.assert_close(model.queue, torch.cat(queued[:1:-1]))


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
