"""Networks that timm and transformers compute themselves, and plain modules, as encoders."""

import builtins
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from torch import nn

from tapetum import encoders
from tapetum.core.errors import BadInput, MissingExtra
from tapetum.encoders.config import Preprocessing
from tapetum.encoders.library_net import wrap
from tapetum.encoders.references import load

Run = Callable[..., tuple[int, str, str]]
TIMM = "test_convnext", "test_byobnet", "regnety_002", "mobilenetv3_small_100", "test_vit_relpos", "test_mambaout"
"""Families that no table of ours has; mambaout has its channels last."""
TINY = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}


@pytest.mark.parametrize("name", TIMM)
def test_a_model_of_timm_gives_what_timm_gives(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=7).eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    encoder = load(f"timm:{name}={tmp_path / 'theirs.pth'}")
    cfg: Any = theirs.pretrained_cfg
    x = torch.randn(2, 3, *cfg["input_size"][1:])
    theirs.reset_classifier(0)
    with torch.no_grad():
        found = encoder(x)
        torch.testing.assert_close(found.pooled, theirs(x), atol=1e-5, rtol=1e-5)
        mean = found.maps[-1].mean((2, 3))
        torch.testing.assert_close(found.tokens[:, -np.prod(found.grid) :].mean(1), mean, atol=1e-5, rtol=1e-5)
    assert found.maps[-1].shape == (2, *encoder.map_channels[-1:], *found.grid)
    assert found.grid[0] * encoder.strides[-1] == x.shape[2]
    assert found.pooled.shape == (2, encoder.width)
    assert encoder.preprocessing.mean == tuple(255 * each for each in cfg["mean"])
    assert encoder.preprocessing.crop_fraction == cfg["crop_pct"]
    encoders.save(encoder, tmp_path / "ours.safetensors")
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "ours.safetensors")(x).pooled, found.pooled)


@pytest.mark.parametrize("kind", ["ConvNext", "ConvNextV2", "RegNet", "MobileNetV2"])
def test_a_folder_of_transformers_gives_what_transformers_gives(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"RegNet": {**TINY, "embedding_size": 8, "groups_width": 4}, "MobileNetV2": {"depth_multiplier": 0.35}}
    config = getattr(transformers, f"{kind}Config")(**sizes.get(kind, TINY))
    theirs = getattr(transformers, f"{kind}ForImageClassification")(config).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    encoder = load(tmp_path / "theirs")
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        wanted = theirs.base_model(x)
        torch.testing.assert_close(encoder(x).pooled, wanted.pooler_output.flatten(1), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(encoder(x).maps[0], wanted.last_hidden_state, atol=1e-5, rtol=1e-5)
    encoders.save(encoder, tmp_path / "ours.safetensors")
    again = load(tmp_path / "ours.safetensors")
    with torch.no_grad():
        assert torch.equal(again(x).pooled, encoder(x).pooled)


def test_settings_of_a_folder_that_name_code_or_kernels_are_left_out(tmp_path: Path) -> None:
    theirs = transformers.ConvNextModel(transformers.ConvNextConfig(**TINY))
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    hostile = {"auto_map": {"AutoModel": "evil.Evil"}, "_attn_implementation": "someone/kernel", "attn_implementation": "a/b"}
    (tmp_path / "config.json").write_text(json.dumps(config | hostile))
    assert dict(load(tmp_path).config.settings).keys() == {"hidden_sizes", "depths"}  # pyright: ignore[reportAttributeAccessIssue]


def test_a_name_that_timm_has_not_is_told_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="has no model 'convnxt_tiny'; did you mean convnext_tiny or"):
        load("random:timm:convnxt_tiny")
    with pytest.raises(BadInput, match=r"has no weights 'convnext_tiny\.mine'; those of convnext_tiny are .*fb_in1k"):
        load("timm:convnext_tiny.mine")
    for name in ("hf-hub:someone/something", "local-dir:/tmp"):  # which timm would fetch or read
        with pytest.raises(BadInput, match="has no model"):
            load(f"random:timm:{name}")
    real = builtins.__import__

    def without_timm(name: str, *args: Any) -> Any:
        if name == "timm":
            raise ImportError
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_timm)
    with pytest.raises(MissingExtra, match=r"needs the package timm, which is not installed: .*encoders"):
        load("random:timm:test_convnext")


PLAIN = """
from torch import nn

class Net(nn.Module):
    image_size = (16, 16)

    def __init__(self):
        super().__init__()
        self.late, self.early = nn.Linear(8, 6), nn.Conv2d(3, 8, 4, 4)

    def forward(self, images):
        return self.late(self.early(images).flatten(2).mT)
"""


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.delitem(sys.modules, "plain_net", raising=False)
    (tmp_path / "plain_net.py").write_text(PLAIN)
    return tmp_path / "plain_net.py"


def test_the_class_of_a_plain_module_is_an_encoder(plain: Path, tmp_path: Path, run: Run) -> None:
    encoder = load(f"random:{plain}:Net")
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        found, tokens = encoder(x), encoder.get_submodule("network")(x)
    assert torch.equal(found.tokens, tokens)
    assert torch.equal(found.pooled, tokens.mean(1))
    assert (found.grid, encoder.strides, encoder.width, found.maps[-1].shape) == ((4, 4), (4,), 6, (2, 6, 4, 4))
    assert encoder.adapter_addresses() == ("network.early", "network.late")  # in the order of the forward pass
    torch.save(
        {f"module.{name}": each for name, each in encoder.get_submodule("network").state_dict().items()}, tmp_path / "own.pth"
    )
    code, _, err = run("weights", "convert", f"{plain}:Net={tmp_path / 'own.pth'}")
    assert code == 0, err
    for file in ("own.pth", "own.safetensors"):
        with torch.no_grad():
            assert torch.equal(load(f"{plain}:Net={tmp_path / file}")(x).pooled, found.pooled)
    torch.save({"early.weight": torch.zeros(8, 3, 4, 4)}, tmp_path / "own.pth")
    with pytest.raises(BadInput, match=r"the weights lack late\.weight and 2 more"):
        load(f"{plain}:Net={tmp_path / 'own.pth'}")


def test_a_module_in_python_is_an_encoder_by_one_line() -> None:
    encoder = wrap(nn.Sequential(nn.Conv2d(3, 5, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (32, 48))
    assert encoder.prepare(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 3, 32, 48)
    with torch.no_grad():
        found = encoder(torch.zeros(2, 3, 32, 48))
    assert (found.pooled.shape, found.tokens.shape, found.grid) == ((2, 5), (2, 1, 5), (1, 1))
    assert encoder.preprocessing == Preprocessing(size=(32, 48))
    with pytest.raises(BadInput, match=r"cannot be saved or sent; give its class as FILE.py:CLASS"):
        encoders.save(encoder, "nowhere.safetensors")


def test_class_tokens_before_the_grid_are_told_from_it() -> None:
    class Tokens(nn.Module):
        def __init__(self, tokens: int):
            super().__init__()
            self.own = nn.Parameter(torch.randn(1, tokens, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.own.expand(len(x), -1, -1)

    for size, tokens, grid in (((32, 32), 17, (4, 4)), ((32, 64), 10, (2, 4)), ((32, 64), 11, (2, 4)), ((48, 80), 7, (1, 7))):
        assert wrap(Tokens(tokens), size)(torch.zeros(1, 3, *size)).grid == grid
