"""The convolutional encoders see what timm, torchvision and transformers see with the same random weights."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from tests.golden.make_convolutional_golden import GOLDEN, NETWORKS, seen
from torch import Tensor, nn

import tapetum
from tapetum.core.errors import BadInput
from tapetum.encoders.convolutional import FeaturePyramid
from tapetum.encoders.factory import from_state
from tapetum.encoders.features import Encoder
from tapetum.encoders.tables.convolutional import TORCHVISION
from tapetum.encoders.tables.rows import layers, to_official, under_our_names
from tapetum.layers.convolution import SameConv2d, pad_same

SMALL_NFNET = {"depths": (1, 2, 1, 1), "channels": (32, 64, 96, 96)}


def shuffled(model: Any) -> Any:
    """The model with other random weights, statistics and gains than those that it was born with, in evaluation mode."""
    generator = torch.Generator().manual_seed(7)

    def near_one(shape: torch.Size) -> Tensor:
        return 0.5 + torch.rand(shape, generator=generator)

    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("num_batches_tracked"):
                tensor.fill_(5)
            elif name.endswith("running_mean") or (name.endswith("bias") and tensor.ndim == 1):
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
            elif name.endswith("gain") or tensor.ndim == 1:
                tensor.copy_(near_one(tensor.shape))
    return model.eval()


def close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    scale = max(1.0, float(theirs.abs().max()))
    assert theirs.std() > 1e-3
    torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-5, rtol=0)


def same_state(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) and ours[name].dtype == theirs[name].dtype for name in theirs)


def images(rows: int = 65, columns: int = 78) -> Tensor:
    return torch.randn(2, 3, rows, columns, generator=torch.Generator().manual_seed(3))


def check_shapes(encoder: Encoder) -> None:
    with torch.no_grad():
        features = encoder(images(64, 96))
    assert features.grid == (2, 3)
    assert tuple(m.shape[1] for m in features.maps) == encoder.map_channels
    assert [tuple(m.shape[2:]) for m in features.maps] == [(64 // s, 96 // s) for s in encoder.strides]
    assert features.pooled.shape == (2, encoder.width)
    torch.testing.assert_close(features.tokens.mean(1), features.pooled, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(features.tokens[:, 4], features.maps[-1][:, :, 1, 1])
    for name in encoder.adapter_addresses():
        encoder.get_submodule(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_resnets_of_torchvision(name: str) -> None:
    theirs = shuffled(getattr(torchvision.models, name)(num_classes=7))
    encoder = from_state(theirs.state_dict(), "torchvision", name)
    x = images()
    with torch.no_grad():
        features = encoder(x)
        close(encoder.classify(x), theirs(x))
        layers = ["layer1", "layer2", "layer3", "layer4"]
        found = torchvision.models._utils.IntermediateLayerGetter(theirs, dict(zip(layers, layers, strict=True)))(x)
    for ours, their in zip(features.maps, found.values(), strict=True):
        close(ours, their)
    close(features.pooled, found["layer4"].mean((2, 3)))
    check_shapes(encoder)


@pytest.mark.parametrize(
    ("name", "sizes", "changes"),
    [
        ("resnet18", {}, {}),
        ("resnet50.a1_in1k", {}, {}),
        (
            "dm_nfnet_f0",
            {**SMALL_NFNET, "stem_chs": 16, "group_size": 8, "num_features": 40},
            {**SMALL_NFNET, "stem_width": 16, "group_width": 8, "final_width": 40},
        ),
        (
            "nfnet_f0",
            {**SMALL_NFNET, "stem_chs": 16, "group_size": 8, "num_features": 40},
            {**SMALL_NFNET, "stem_width": 16, "group_width": 8, "final_width": 40},
        ),
    ],
)
def test_models_of_timm(name: str, sizes: dict, changes: dict) -> None:
    theirs = shuffled(timm.create_model(name, num_classes=5, **sizes))
    encoder = from_state(theirs.state_dict(), "timm", name, **changes)
    x = images()
    with torch.no_grad():
        features = encoder(x)
        _, found = theirs.forward_intermediates(x)
        close(encoder.classify(x), theirs(x))
        close(features.pooled, theirs.forward_head(theirs.forward_features(x), pre_logits=True))
        close(features.maps[-1], theirs.forward_features(x))
    for ours, their in zip(features.maps[:3], found[1:4], strict=True):
        close(ours, their)
    check_shapes(encoder)


def test_a_key_too_many_too_few_or_misshapen_is_named() -> None:
    encoder = tapetum.encoders.build("resnet-18", stem_width=8, classes=3)
    state, small = to_official(encoder, TORCHVISION.rows(encoder)), {"stem_width": 8}
    for name in [name for name in state if name.endswith("num_batches_tracked")]:
        del state[name]  # as in files of old
    same_state(from_state(state, "torchvision", "resnet18", **small).state_dict(), encoder.state_dict())
    with pytest.raises(BadInput, match=r"this network has no extra\.weight"):
        from_state({**state, "extra.weight": torch.zeros(1)}, "torchvision", "resnet18", **small)
    with pytest.raises(BadInput, match=r"the weights lack layer2\.0\.bn1\.weight"):
        from_state({k: v for k, v in state.items() if k != "layer2.0.bn1.weight"}, "torchvision", "resnet18", **small)
    with pytest.raises(BadInput, match=r"conv1\.weight is \(2, 3, 7, 7\) where the config wants \(8, 3, 7, 7\)"):
        from_state({**state, "conv1.weight": torch.zeros(2, 3, 7, 7)}, "torchvision", "resnet18", **small)


PYRAMID_ROWS = layers(
    {f"lateral.{i}": f"inner_blocks.{i}.0" for i in range(4)} | {f"output.{i}": f"layer_blocks.{i}.0" for i in range(4)}
)
"""Names of torchvision's FeaturePyramidNetwork."""


@pytest.mark.parametrize("extra", [False, True])
def test_the_pyramid_is_that_of_torchvision(extra: bool) -> None:
    from torchvision.ops import FeaturePyramidNetwork
    from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

    theirs = FeaturePyramidNetwork([8, 16, 32, 64], 12, LastLevelMaxPool() if extra else None)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.2)
    encoder = tapetum.encoders.build("resnet-18", stem_width=8)
    ours = FeaturePyramid(encoder.map_channels, 12, extra)
    ours.load_state_dict(under_our_names(ours.state_dict(), theirs.state_dict(), PYRAMID_ROWS, "torchvision"))
    with torch.no_grad():
        maps = encoder(images()).maps
        levels, wanted = ours(maps), theirs({str(i): m for i, m in enumerate(maps)})
    assert len(levels) == len(wanted) == 4 + extra
    for level, want in zip(levels, wanted.values(), strict=True):
        close(level, want)
    same_state(to_official(ours, PYRAMID_ROWS), theirs.state_dict())
    with pytest.raises(BadInput, match="3 maps come to a pyramid of 4"):
        ours(maps[:3])


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 2, 7), (3, 2, 8), (5, 2, 8), (5, 2, 9), (5, 1, 6), (1, 1, 5)])
def test_same_padding_is_jaxs(kernel: int, stride: int, side: int) -> None:
    """By hand: output cell o is centred where lax.conv's SAME puts it, (total // 2) zeros before the first pixel."""
    conv = SameConv2d(1, 1, kernel, stride)
    x = torch.zeros(1, 1, side, side)
    cells = -(-side // stride)
    before = max((cells - 1) * stride + kernel - side, 0) // 2
    nn.init.ones_(conv.weight)
    for pixel in range(side):
        x.zero_()[0, 0, pixel, :] = 1 / kernel
        reached = {o for o in range(cells) if o * stride - before <= pixel < o * stride - before + kernel}
        found = conv(x).detach()[0, 0, :, cells // 2]
        assert {int(o) for o in found.nonzero()[:, 0]} == reached
    assert pad_same(x, kernel, stride).shape[-1] == max((cells - 1) * stride + kernel, side)


def test_gradient_reaches_everything_and_one_is_a_row_of_a_batch() -> None:
    small = {**SMALL_NFNET, "stem_width": 16, "group_width": 8, "final_width": 40}
    for name, changes in (("resnet-50", {"stem_width": 8}), ("nfnet-f0", small), ("efficientnet-lite0", {})):
        encoder = shuffled(tapetum.encoders.build(name, classes=4, **changes))
        x = images(64, 64)
        encoder.classify(x).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in encoder.parameters())
        with torch.no_grad():  # fifty layers and more; kernels sum in another order for another batch: 1.4e-5 with AVX2
            torch.testing.assert_close(encoder(x).pooled[1:], encoder(x[1:]).pooled, atol=1e-4, rtol=1e-4)
        encoder.train()
        assert encoder(x).pooled.isfinite().all()


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("resnet-18", {"block": "wide"}, "block is 'wide'; it must be basic or bottleneck"),
        ("resnet-18", {"depths": (1, 1, 1)}, "it must be 4 values, each a whole number"),
        ("nfnet-f0", {"group_width": 100}, "must be a multiple of group_width"),
        ("efficientnet-lite0", {"width_multiplier": 0}, "width_multiplier is 0; it must be above 0"),
    ],
)
def test_refused_configs(name: str, changes: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        tapetum.encoders.build(name, **changes)


@pytest.mark.parametrize("name", NETWORKS)
def test_results_do_not_drift(name: str) -> None:
    with np.load(GOLDEN) as golden:
        for key, value in seen(name).items():
            wanted = golden[f"{name}/{key}"]
            # of the largest, for float32 through a hundred layers; without vector instructions 2.5e-5 is seen
            np.testing.assert_allclose(value, wanted, atol=1e-4 * max(1.0, float(np.abs(wanted).max())), err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_an_exported_program_says_the_same(name: str) -> None:
    encoder = shuffled(tapetum.encoders.build(name, **NETWORKS[name]))
    x = images(48, 64)
    program = torch.export.export(encoder, (x,))
    with torch.no_grad():
        ours, theirs = encoder(x), program.module()(x)
    torch.testing.assert_close(theirs.pooled, ours.pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(theirs.maps[0], ours.maps[0], atol=1e-5, rtol=1e-5)
