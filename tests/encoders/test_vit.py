"""What holds of every vision transformer and pair of towers, whatever its source."""

import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tapetum import encoders
from tapetum.core.errors import BadInput
from tapetum.encoders.architectures import architecture
from tapetum.encoders.factory import make
from tapetum.encoders.towers import Towers

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = {"width": 16, "depth": 2, "heads": 2, "mlp_width": 24, "patch": 8, "image_size": (32, 32)}
KINDS = ["vit-tiny-16", "deit3-small", "dino-small", "dinov2-base-reg", "mae-base", "clip-base-32", "siglip-base-16"]
KINDS += ["dinov2-giant", "dinov3-small", "dinov3-small-plus"]


def towers(name: str) -> Towers:
    found = architecture(name)
    text = replace(
        found.config.text,
        width=16,
        depth=2,
        heads=2,
        mlp_width=24,
        vocabulary=30,
        length=7,
        projection=16 if found.config.text.projection else 0,
        end_token=29 if found.config.text.end_token else None,
    )
    config = replace(found.config, image=replace(found.config.image, **TINY), text=text)
    return make(replace(found, config=config))


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("pooling", [None, "mean"])
def test_gradient_reaches_every_parameter(name, pooling):
    changes = {} if pooling is None else {"pooling": pooling, "norm": "pooled", "pooler": True}
    encoder = encoders.build(name, classes=3, **TINY, **changes).train()
    x = images(2, 3, 40, 32).requires_grad_()
    logits = encoder.classify(x)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    quiet = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [n for n in quiet if not n.endswith("key.bias")] == []  # which moves all logits of a query alike
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["clip-base-32-towers", "siglip-base-16-towers"])
def test_gradient_reaches_every_parameter_of_towers(name):
    both = towers(name).train()
    ids = torch.tensor([[1, 2, 3, 29, 0, 0, 0], [4, 5, 29, 0, 0, 0, 0]])
    torch.nn.functional.cross_entropy(both.compare(images(2, 3, 32, 32), ids), torch.arange(2)).backward()
    quiet = [n for n, p in both.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    allowed = ("key.bias", "logit_bias")  # a number on all logits is nothing to a softmax
    assert [n for n in quiet if not n.endswith(allowed)] == []


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_a_batch_of_one_is_a_row_of_a_batch(name):
    encoder = encoders.build(name, **TINY)
    x = images(3, 3, 32, 48)
    many, one = encoder(x), encoder(x[1:2])
    torch.testing.assert_close(many.tokens[1:2], one.tokens, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(many.pooled[1:2], one.pooled, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_shapes(name):
    encoder = encoders.build(name, **TINY)
    found = encoder(images(2, 3, 32, 48))
    prefix = encoder.config.prefix
    assert found.grid == (4, 6)
    assert found.tokens.shape == (2, prefix + 24, 16)
    assert found.pooled.shape == (2, encoder.width)
    assert [m.shape for m in found.maps] == [
        (2, c, 32 // s, 48 // s) for c, s in zip(encoder.map_channels, encoder.strides, strict=True)
    ]
    assert torch.equal(found.maps[0].flatten(2).mT, found.tokens[:, prefix:])


@pytest.mark.parametrize("name", ["dinov2-base-reg", "siglip-base-16", "dinov3-small-plus"])
@torch.no_grad()
def test_export_runs(name):
    encoder = encoders.build(name, **TINY)
    example = images(2, 3, 32, 48)
    exported = torch.export.export(encoder, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))
    x = images(5, 3, 32, 48)
    got, want = exported.module()(x), encoder(x)
    torch.testing.assert_close(got.tokens, want.tokens)
    torch.testing.assert_close(got.pooled, want.pooled)
    assert got.grid == want.grid


@torch.no_grad()
def test_recorded_outputs():
    golden, encoder = np.load(GOLDEN / "vit.npz"), encoders.load(GOLDEN / "vit.safetensors")
    prepared = encoder.prepare(golden["pictures"])
    found = encoder(prepared)
    larger = encoder(torch.nn.functional.pad(prepared, (0, 16, 0, 8)))
    got = {"prepared": prepared, "tokens": found.tokens, "pooled": found.pooled, "map": found.maps[0]}
    got |= {"logits": encoder.classify(prepared), "larger": larger.pooled}
    for name, value in got.items():
        np.testing.assert_allclose(value.numpy(), golden[name], atol=2e-5, err_msg=name)


def test_the_seed_decides_and_the_random_state_is_left_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (encoders.build("vit-nano", seed).positions for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", KINDS)
def test_adapters_fit_after_what_is_named(name):
    encoder = encoders.build(name, **TINY)
    x, called = images(1, 3, 32, 32), []
    hooks = [
        encoder.get_submodule(address).register_forward_hook(lambda m, i, o, a=address: called.append((a, o.shape)))
        for address in encoder.adapter_addresses()
    ]
    encoder(x)
    assert len(hooks) == 4
    assert [a for a, _ in called] == list(encoder.adapter_addresses())
    assert {shape for _, shape in called} == {(1, encoder.config.prefix + 16, 16)}


@cache
def on_meta(name: str) -> Any:
    with torch.device("meta"):
        return make(architecture(name))


def millions(name: str, part: str = "") -> float:
    return round(sum(p.numel() for p in on_meta(name).get_submodule(part).parameters()) / 1e6, 1)


def test_named_sizes_are_the_published_ones():

    published = {"vit-base-16": 85.8, "vit-large-16": 303.3, "deit3-small": 21.7, "dinov2-large": 304.4, "dinov2-small": 22.1}
    published |= {"siglip-so400m-14": 427.7, "clip-base-32-towers": 151.3, "siglip-base-16-towers": 203.2}
    published |= {"dinov2-giant": 1136.5, "dinov3-small": 21.6, "dinov3-small-plus": 28.7, "dinov3-base": 85.6}
    published |= {"dinov3-large": 303.1, "dinov3-huge-plus": 840.5, "dinov3-7b": 6716.4}
    assert {name: millions(name) for name in published} == pytest.approx(published, abs=0.11)


def test_named_sizes_of_siglip_2_are_the_published_ones():
    pairs = {"siglip2-base-32-towers": (376.9, 94.6), "siglip2-base-16-towers": (375.2, 92.9)}
    pairs |= {"siglip2-large-16-256-towers": (881.5, 316.0), "siglip2-so400m-14-towers": (1135.5, 427.7)}
    pairs |= {"siglip2-so400m-16-256-towers": (1135.7, 427.9)}
    for name, published in pairs.items():
        assert (millions(name), millions(name, "image")) == published


def test_wrong_names_settings_and_images_are_refused():
    for wrong, text in (
        (lambda: encoders.build("vit-nano", layers=3), "no setting 'layers'"),
        (lambda: encoders.build("vit-nano", heads=5), "heads do not divide a width of 64"),
        (lambda: encoders.build("vit-nano", image_size=(33, 32)), "do not divide images"),
        (lambda: encoders.build("vit-nano", pooling="max"), "pooling is 'max'"),
        (lambda: encoders.build("vit-nano", classes=-1), "classes is -1"),
        (lambda: encoders.build("vit-nano")(torch.zeros(1, 3, 30, 32)), "patches of 8x8 do not divide 30x32"),
        (
            lambda: towers("clip-base-32-towers").text_vectors(torch.zeros(1, 8, dtype=torch.long)),
            "8 tokens; this tower reads up to 7",
        ),
    ):
        with pytest.raises(BadInput, match=text) as caught:
            wrong()
        assert "\n" not in str(caught.value)


def test_configs_import_no_torch():
    code = "import sys, tapetum; tapetum.encoders.architecture('vit-nano'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_prepared_images_are_brought_to_the_precision_of_the_weights() -> None:
    encoder = encoders.build("vit-nano")
    images = encoder.prepare(np.random.default_rng(0).integers(0, 256, (2, 40, 30, 3), np.uint8))
    with torch.inference_mode():
        exact = encoder(images).pooled
        rough = encoder.bfloat16()(images).pooled
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, atol=0.1, rtol=0.1)


def test_linear_layers_begin_with_normal_weights_that_are_cut_at_two_deviations() -> None:
    network = encoders.build("vit-nano", width=64, heads=2, mlp_width=256, depth=1)
    layers = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
    assert len(layers) >= 6
    for layer in layers:
        assert 0.038 < float(layer.weight.detach().abs().max()) <= 0.04
        # a normal distribution that is cut at two deviations has 0.8796 of its deviation
        assert float(layer.weight.detach().std()) == pytest.approx(0.02 * 0.8796, rel=0.05)
        assert not layer.bias.any()
