"""Real ImageNet weights from the package index: their networks are those of timm, and they see what there is."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

import tapetum
from tapetum.encoders.efficientnet_lite import EfficientNetLite
from tapetum.encoders.factory import load, save
from tapetum.encoders.imagenet import class_names, synsets
from tapetum.encoders.published import PUBLISHED
from tapetum.hub.registry import find, location

LITES = [weights.name for weights in PUBLISHED if weights.package is not None]
HERE = [weights.name for weights in PUBLISHED if location(weights).is_file()]


@pytest.mark.parametrize("name", LITES)
def test_the_weights_in_timms_network_give_the_same_logits(name: str) -> None:
    if name not in HERE:
        pytest.skip(f"the package of {name} is not installed")
    encoder = tapetum.load(name)
    assert isinstance(encoder, EfficientNetLite)
    theirs = timm.create_model(f"tf_{name.replace('-', '_')}")
    theirs.load_state_dict(dict(zip(theirs.state_dict(), encoder.state_dict().values(), strict=True)))  # in the same order
    x = torch.rand(1, 3, *encoder.preprocessing.size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(encoder.classify(x), theirs.eval()(x), atol=1e-5, rtol=1e-5)


def test_resnet_nano_is_small_and_does_what_its_file_says() -> None:
    """Its vector beside one that is computed from the tensors of the file by functions of torch alone."""
    file = location(find("resnet-nano"))
    assert file.stat().st_size < 6_000_000
    tensors = {name: tensor.float() for name, tensor in load_file(file).items()}
    encoder = tapetum.load("resnet-nano")
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    mean, std = (np.array(value, np.float32) for value in (encoder.preprocessing.mean, encoder.preprocessing.std))
    x = torch.from_numpy((image - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        ours, theirs = encoder(encoder.prepare(image)).pooled, by_hand(tensors, x)
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
        assert ours.shape == (1, 256)


def by_hand(tensors: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """A ResNet of basic blocks (1, 1, 2, 1) with a first convolution of 3x3 and stride 1, in evaluation."""

    def normed(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, gain, bias = (tensors[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, gain, bias)

    x = normed(F.conv2d(x, tensors["stem.weight"], padding=1), "stem_norm").relu()
    for name in ("0.0", "1.0", "2.0", "2.1", "3.0"):
        place, stride = f"stages.{name}", 2 if name in ("1.0", "2.0", "3.0") else 1
        y = normed(F.conv2d(x, tensors[f"{place}.convs.0.weight"], stride=stride, padding=1), f"{place}.norms.0").relu()
        y = normed(F.conv2d(y, tensors[f"{place}.convs.1.weight"], padding=1), f"{place}.norms.1")
        if stride == 2:
            x = normed(F.conv2d(x, tensors[f"{place}.shortcut.weight"], stride=2), f"{place}.shortcut_norm")
        x = (x + y).relu()
    return x.mean((2, 3))


@pytest.mark.skipif("efficientnet-lite0" not in HERE, reason="the package of efficientnet-lite0 is not installed")
def test_what_comes_by_name_can_be_saved_and_moved(tmp_path: Path) -> None:
    encoder = load("efficientnet-lite0")
    save(encoder, tmp_path / "mine.safetensors")
    again = tapetum.load(tmp_path / "mine.safetensors", dtype=torch.bfloat16)
    assert again.preprocessing == encoder.preprocessing
    assert again.preprocessing.mean == (127.0, 127.0, 127.0)
    assert again.head.weight.dtype == torch.bfloat16
    assert not again.training
    assert again.classify(again.prepare(np.zeros((1, 30, 40, 3), np.uint8))).dtype == torch.bfloat16


def test_the_preprocessing_is_pillows(tmp_path: Path) -> None:
    """(value - 127) / 128 of the centre of 292 after bicubic to 292: checked against Pillow on a smooth image."""
    rows, columns = np.mgrid[0:400, 0:600]
    image = np.stack([rows / 400 * 255, columns / 600 * 255, (rows + columns) % 255], -1).astype(np.uint8)
    encoder = tapetum.encoders.build("efficientnet-lite2")
    ours = encoder.prepare(image[None])[0].permute(1, 2, 0).numpy() * 128 + 127
    scaled = np.asarray(Image.fromarray(image).resize((438, 292), Image.Resampling.BICUBIC), np.float32)
    theirs = scaled[16:276, 89:349]
    assert np.abs(ours - theirs).max() <= 1
    assert np.abs(ours - theirs).mean() < 0.05


def test_the_thousand_names() -> None:
    names = class_names()
    assert len(set(names)) == len(set(synsets())) == 1000
    assert sorted(synsets()) == list(synsets())
    assert (names[207], names[340], names[817]) == ("golden retriever", "zebra", "sports car")
