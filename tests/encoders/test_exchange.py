"""What is written for timm, torchvision and transformers is loaded by the line that comes with it, and gives the same."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.encoders import build, load, save
from tapetum.encoders.exchange import write_for

RESNET = {"depths": (1, 1, 1, 1)}
VIT = {"depth": 2, "patch": 8, "image_size": (32, 32)}
SCALED, SWIGLU = {"layer_scale": 0.1}, {"mlp": "gated", "activation": "silu", "mlp_width": 128}
"""DINOv2's: Dinov2Model, Dinov2WithRegistersModel."""


def loaded(line: str) -> Any:
    """The network that a line makes."""
    import safetensors.torch  # noqa: F401
    import timm  # noqa: F401
    import torchvision  # noqa: F401
    import transformers  # noqa: F401

    names: dict[str, Any] = dict(locals()) | {"torch": torch}
    exec(line, names)
    return names["model"].eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "library", "pooled"),
    [
        ("resnet-18", RESNET, "timm", lambda out: out),
        ("vit-tiny-16", VIT, "timm", lambda out: out),
        ("vit-tiny-16", {**VIT, "positions": "sine", "registers": 0, "layer_scale": 1e-5}, "timm", lambda out: out),
        ("efficientnet-lite0", {}, "timm", lambda out: out),
        ("resnet-50", RESNET, "torchvision", lambda out: out),
        ("resnet-18", {**RESNET, "classes": 3}, "torchvision", lambda out: out),
        ("resnet-18", {**RESNET, "stem_width": 16}, "huggingface", lambda out: out.pooler_output.flatten(1)),
        ("vit-tiny-16", VIT, "huggingface", lambda out: out.last_hidden_state[:, 0]),
        ("vit-tiny-16", {**VIT, "classes": 3}, "huggingface", lambda out: out.logits),
        ("vit-tiny-16", {**VIT, **SCALED}, "huggingface", lambda out: out.last_hidden_state[:, 0]),
        ("vit-tiny-16", {**VIT, **SCALED, "registers": 3}, "huggingface", lambda out: out.last_hidden_state[:, 0]),
        ("vit-tiny-16", {**VIT, **SCALED, **SWIGLU}, "huggingface", lambda out: out.last_hidden_state[:, 0]),
    ],
)
def test_the_line_loads_what_was_written(name: str, changes: dict, library: str, pooled: Any, tmp_path: Path) -> None:
    encoder = build(name, seed=1, **changes)
    out = tmp_path / ("written" if library == "huggingface" else "written.safetensors")
    model = loaded(write_for(encoder, library, out))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        ours = encoder.classify(x) if "classes" in changes else encoder(x).pooled
        torch.testing.assert_close(pooled(model(x)), ours, rtol=1e-5 if "layer_scale" in changes else 1e-4, atol=1e-5)
    if SCALED.items() <= changes.items():
        assert type(model).__name__ == ("Dinov2WithRegistersModel" if "registers" in changes else "Dinov2Model")
        with torch.no_grad():
            torch.testing.assert_close(load(out)(x).pooled, ours)


def test_what_a_library_does_not_have_is_refused(tmp_path: Path) -> None:
    small = build("resnet-18", stem="3x3", stem_width=8, **RESNET)
    for library in ("timm", "torchvision", "huggingface"):
        with pytest.raises(BadInput, match=f"{library} has no network like this ResNet"):
            write_for(small, library, tmp_path / "x")
    with pytest.raises(BadInput, match="whose stem has 32 channels and not 64"):
        write_for(build("resnet-18", stem_width=32, **RESNET), "timm", tmp_path / "x")
    with pytest.raises(BadInput, match="for which a config could be written"):  # a ratio of 1.5
        write_for(build("vit-tiny-16", **VIT, **SCALED, mlp_width=288), "huggingface", tmp_path / "x")
    with pytest.raises(BadInput, match="is there already"):
        write_for(build("resnet-18", **RESNET), "huggingface", tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_small_stem_and_its_file(tmp_path: Path) -> None:
    encoder = build("resnet-18", stem="3x3", stem_width=8, **RESNET)
    x = torch.randn(1, 3, 32, 32)
    features = encoder(x)
    assert [tuple(m.shape[1:]) for m in features.maps] == [(8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4)]
    assert encoder.strides == (1, 2, 4, 8)
    save(encoder, tmp_path / "encoder.safetensors")
    again = load(tmp_path)  # a folder of a run
    assert torch.equal(again(x).pooled, features.pooled)
    with pytest.raises(BadInput, match="stem is '5x5'; it must be 7x7 or 3x3"):
        build("resnet-18", stem="5x5")
