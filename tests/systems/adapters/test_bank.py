"""Many adapters on one trunk: chosen per call, per example and per thread; folded in, exported, and chosen at no cost."""

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from support.trunks import bank, images
from tapetum.core.errors import BadInput
from tapetum.encoders import build
from tapetum.systems.adapters import AdapterConfig, attach
from tapetum.systems.adapters.weaving import leaves


def test_threads_do_not_mix_up_adapters() -> None:
    """Half of the threads choose per call and half by a block; another one changes what is in use all the time."""
    adapted, x = bank("vit", "abcd"), images(2)
    with torch.no_grad():
        wanted = {name: adapted(x, adapter=name).pooled for name in (*"abcd", None)}
    wrong: list[Any] = []
    going = True

    def per_call(name: str) -> None:
        with torch.no_grad():
            wrong.extend(name for _ in range(10) if not torch.equal(adapted(x, adapter=name).pooled, wanted[name]))

    def by_block(name: str | None) -> None:
        with torch.no_grad(), adapted.using(name):
            wrong.extend(name for _ in range(10) if not torch.equal(adapted(x).pooled, wanted[name]))

    def restless() -> None:
        while going:
            for name in "abcd":
                adapted.use(name)

    other = threading.Thread(target=restless)
    other.start()
    workers = [threading.Thread(target=per_call, args=(name,)) for name in "abcd"]
    workers += [threading.Thread(target=by_block, args=(name,)) for name in ("a", "c", None)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    going = False
    other.join()
    assert wrong == []


def test_adapters_come_and_go() -> None:
    adapted = bank("vit")
    x = images()
    with torch.no_grad():
        wanted = adapted(x, adapter="c").pooled
    adapted.use("b")
    adapted.remove("b")
    assert adapted.names == ("a", "c")
    assert adapted.in_use is None
    assert adapted.adapter_parameters() == []
    with torch.no_grad():
        assert torch.equal(adapted(x, adapter="c").pooled, wanted)
    assert {name.split(".")[1] for name in adapted.state_dict()} == {"a", "c"}


def test_what_a_trunk_can_do_an_adapted_one_can() -> None:
    adapted, x = bank("vit", "a"), images()
    with torch.no_grad():
        assert torch.equal(adapted.classify(x), adapted.head(adapted(x).pooled))
        with adapted.off():
            assert torch.equal(adapted.classify(x), adapted.trunk.classify(x))  # pyright: ignore
        assert not torch.equal(adapted.classify(x), adapted.trunk.classify(x))  # pyright: ignore
    assert adapted.config.width == 32
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = adapted.nothing_like_this


MERGEABLE = {
    "resnet": AdapterConfig(addresses=("stem", "stages.0.0.convs.0", "stages.1.0.convs.0", "stages.1.0.shortcut"), scale=True),
    "resnet-series": AdapterConfig(addresses=("stem", "stages.2.0.convs.1"), maps="series"),
    "efficientnet-lite": AdapterConfig(addresses=("stages.1.0.expand", "stages.2.0.expand")),
    "timm-resnet": AdapterConfig(preset="bottom"),
    "timm-vit": AdapterConfig(addresses=("blocks.0.attn.qkv", "blocks.1.mlp.fc1"), tokens="lora"),
    "vit": AdapterConfig(addresses=("blocks.0.attention.query", "blocks.2.mlp.out"), tokens="lora", scale=True),
}


@pytest.mark.parametrize("case", MERGEABLE)
def test_linear_adapters_are_folded_in(case: str) -> None:
    adapted, x = bank(case.removesuffix("-series"), "a", MERGEABLE[case]), images()
    assert adapted.can_merge()
    merged = adapted.merge()
    with torch.no_grad():
        wanted, off = list(leaves(adapted(x))), list(leaves(adapted(x, adapter=None)))
        for got, one, other in zip(leaves(merged(x)), wanted, off, strict=True):
            scale = float(one.abs().max())
            torch.testing.assert_close(got / scale, one / scale, atol=2e-6, rtol=0)
            assert float((one - other).abs().max()) > 1e-3 * scale
    assert [n for n, _ in merged.named_modules()] == [n for n, _ in adapted.trunk.named_modules()]
    adapted.verify()  # merging has made a copy


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("vit", AdapterConfig(), "at patches cannot be merged: there is an activation"),
        ("resnet", AdapterConfig(addresses=("stages.0.0",), maps="series"), "a ResidualBlock, is no plain convolution"),
        ("nfnet", AdapterConfig(addresses=("stages.0.0.convs.0",)), "a ScaledConv2d, is no plain convolution"),
        ("efficientnet-lite", AdapterConfig(addresses=("stem",)), "sees other channels or pixels"),
        ("efficientnet-lite", AdapterConfig(addresses=("stages.1.0.depthwise",)), "sees other channels or pixels"),
    ],
)
def test_what_is_not_exact_is_not_merged(kind: str, config: AdapterConfig, message: str) -> None:
    adapted = bank(kind, "a", config)
    assert not adapted.can_merge()
    with pytest.raises(BadInput, match=message):
        adapted.merge()


def test_nothing_is_folded_into_a_convolution_that_is_not_padded_by_zeros() -> None:
    whole = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular"), nn.ReLU())
    with pytest.raises(BadInput, match="padded by circular"):
        attach(whole, ["0"], example=torch.zeros(1, 3, 8, 8)).merge()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vit", "resnet", "timm-vit", "torchvision-vit"])
def test_exported_networks_are_plain_modules(kind: str) -> None:
    adapted, x = bank(kind, "ab"), images()
    made = adapted.export("b")
    with torch.no_grad():
        wanted = list(leaves(adapted(x, adapter="b")))
        assert all(map(torch.equal, leaves(made(x)), wanted))
        own = set(made.state_dict())
        assert own > set(adapted.trunk.state_dict())
        assert len(own) - len(adapted.trunk.state_dict()) == len(adapted.adapter_parameters("b"))
        program = torch.export.export(made, (x,), strict=False)
        for got, one in zip(leaves(program.module()(x)), wanted, strict=True):
            torch.testing.assert_close(got, one, atol=1e-5, rtol=1e-4)
        for p in made.parameters():
            p.mul_(0)
    adapted.verify()


@pytest.mark.slow
def test_an_exported_network_runs_in_onnx(tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    adapted, x = bank("resnet", "a"), images(2)

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = adapted.export()

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x).pooled

    torch.onnx.export(Pooled().eval(), (x,), tmp_path / "a.onnx", dynamo=True, verbose=False)
    found = onnxruntime.InferenceSession(str(tmp_path / "a.onnx")).run(None, {"x": x.numpy()})[0]
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), adapted(x).pooled, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
def test_fifty_adapters_share_one_trunk() -> None:
    """Choosing one is choosing a root: no module below it is touched, and those without adapter are the same objects."""
    adapted = attach(build("vit-tiny-16", image_size=(32, 32)), "middle", name="a0")
    for i in range(1, 50):
        adapted.add(f"a{i}", "middle", seed=i)
    first, last = adapted.network("a0"), adapted.network("a49")
    assert first.get_submodule("blocks.2") is last.get_submodule("blocks.2") is adapted.network(None).get_submodule("blocks.2")
    assert first.get_submodule("blocks.0") is not last.get_submodule("blocks.0")
    assert first.get_parameter("blocks.0.mlp.out.weight") is last.get_parameter("blocks.0.mlp.out.weight")
    own = [p for name in ("a0", "a49") for p in adapted.adapter_parameters(name)]
    assert len({p.data_ptr() for p in own}) == len(own)
