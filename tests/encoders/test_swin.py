"""Swin sees what timm and torchvision see with the same random weights."""

import pytest
import timm
import torch
import torchvision
from torch import Tensor

import tapetum
from tapetum.core.errors import BadInput
from tapetum.encoders.factory import from_state, load, save, to_state
from tapetum.encoders.swin import join_windows, split_windows

TINY = {"width": 12, "depths": (2, 1, 2, 1), "heads": (1, 2, 3, 4), "window": 4}


def shuffled(model: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def images(rows: int, columns: int) -> Tensor:
    return torch.randn(2, 3, rows, columns, generator=torch.Generator().manual_seed(3))


def close(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.std() > 1e-3
    torch.testing.assert_close(ours, theirs, atol=2e-5 * max(1.0, float(theirs.abs().max())), rtol=0)


@pytest.mark.parametrize("side", [64, 128])
def test_small_ones_are_those_of_timm(side: int) -> None:
    model = timm.models.SwinTransformer(
        img_size=side, patch_size=4, embed_dim=12, depths=TINY["depths"], num_heads=TINY["heads"], window_size=4, num_classes=5
    )
    shuffled(model)
    ours = tapetum.encoders.build("swin-t", classes=5, **TINY)
    from tapetum.encoders.tables.convolutional import swin_rows
    from tapetum.encoders.tables.rows import from_official

    state = model.state_dict()
    if side == 64:  # timm makes windows smaller where a grid is smaller than one; there the table of offsets is another
        with pytest.raises(BadInput, match="relative_position_bias_table is"):
            from_official(ours, state, swin_rows(ours), "timm")
        return
    from_official(ours, state, swin_rows(ours), "timm")
    x = images(side, side)
    with torch.no_grad():
        close(ours.classify(x), model(x))
        close(ours(x).maps[-1], model.forward_features(x).movedim(-1, 1))
    assert all(torch.equal(value, state[name]) for name, value in to_state(ours, "timm").items())
    assert to_state(ours, "timm").keys() == state.keys()


@pytest.mark.parametrize(("rows", "columns"), [(128, 128), (61, 90), (16, 200)])
def test_small_ones_are_those_of_torchvision_at_any_size(rows: int, columns: int) -> None:
    model = shuffled(
        torchvision.models.SwinTransformer(
            [4, 4], 12, list(TINY["depths"]), list(TINY["heads"]), [4, 4], stochastic_depth_prob=0.0, num_classes=5
        )
    )
    from tapetum.encoders.tables.convolutional import torchvision_swin_rows
    from tapetum.encoders.tables.rows import from_official

    ours = tapetum.encoders.build("swin-t", classes=5, **TINY)
    from_official(ours, model.state_dict(), torchvision_swin_rows(ours), "torchvision")
    x = images(rows // 4 * 4, columns // 4 * 4)  # torchvision leaves out what is over
    with torch.no_grad():
        close(ours.classify(x), model(x))
    back = to_state(ours, "torchvision")
    model.load_state_dict(back)
    assert all(torch.equal(back[name], value) for name, value in model.state_dict().items())


@pytest.mark.slow
def test_whole_ones_have_the_names_of_both_libraries() -> None:
    theirs = torchvision.models.swin_t().eval()
    ours = from_state(theirs.state_dict(), source="torchvision", architecture="swin_t")
    x = images(224, 224)
    with torch.no_grad():
        close(ours.classify(x), theirs(x))
    for name, size in (("small", "s"), ("base", "b"), ("large", "l")):
        with torch.device("meta"):
            whole = timm.create_model(f"swin_{name}_patch4_window7_224")
            mine = tapetum.encoders.build(f"swin-{size}", classes=1000)
        assert {k: v.shape for k, v in to_state(mine, "timm").items()} == {k: v.shape for k, v in whole.state_dict().items()}


def test_windows_are_cut_and_put_together() -> None:
    x = torch.arange(2 * 8 * 12 * 1.0).reshape(2, 8, 12, 1)
    cut = split_windows(x, 4)
    assert cut.shape == (2, 6, 16, 1)
    assert cut[0, 1, :5, 0].tolist() == [4, 5, 6, 7, 16]
    assert torch.equal(join_windows(cut, 8, 12), x)


def test_every_weight_learns_and_files_come_back(tmp_path) -> None:
    swin = tapetum.encoders.build("swin-t", **TINY).train()
    features = swin(images(128, 128))
    assert [tuple(found.shape[1:]) for found in features.maps] == [(12, 32, 32), (24, 16, 16), (48, 8, 8), (96, 4, 4)]
    assert features.grid == (4, 4)
    sum(found.square().mean() for found in features.maps).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in swin.parameters())
    assert swin.adapter_addresses()[:3] == ("stages.0.0", "stages.0.1", "stages.1.0")
    save(swin, tmp_path / "swin.safetensors")
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "swin.safetensors")(images(64, 64)).pooled, swin.eval()(images(64, 64)).pooled)


def test_sizes_that_do_not_go_together_are_said() -> None:
    with pytest.raises(BadInput, match="do not divide"):
        tapetum.encoders.build("swin-t", heads=(5, 6, 12, 24))
    with pytest.raises(BadInput, match="window is 0"):
        tapetum.encoders.build("swin-t", window=0)
