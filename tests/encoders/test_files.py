"""Files of encoders, and preprocessing against Pillow and torchvision."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tapetum import encoders
from tapetum.core.errors import BadInput, TapetumError
from tapetum.encoders.config import Preprocessing
from tapetum.encoders.features import prepare

SMALL = {"width": 16, "depth": 1, "heads": 2, "mlp_width": 24}


@pytest.mark.parametrize("name", ["vit-nano", "siglip-base-16"])
def test_a_saved_encoder_comes_back(name, tmp_path):
    encoder = encoders.build(name, 3, **SMALL, classes=4)
    encoders.save(encoder, tmp_path / "a.safetensors")
    again = encoders.load(tmp_path / "a.safetensors")
    assert (again.config, again.preprocessing, type(again)) == (encoder.config, encoder.preprocessing, type(encoder))
    assert not again.training
    for key, value in encoder.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)


def test_what_is_not_finite_is_not_saved(tmp_path):
    encoder = encoders.build("vit-nano", 3, **SMALL)
    torch.nn.init.constant_(encoder.norm.bias, torch.nan)
    with pytest.raises(TapetumError, match=r"^norm\.bias is not finite, so no weights were saved"):
        encoders.save(encoder, tmp_path / "a.safetensors")
    assert not any(tmp_path.iterdir())


def test_half_precision_is_read_as_float32(tmp_path):
    encoder = encoders.build("vit-nano", **SMALL)
    encoders.save(encoder, tmp_path / "a.safetensors", torch.float16)
    again = encoders.load(tmp_path / "a.safetensors")
    assert again.positions.dtype == torch.float32
    torch.testing.assert_close(again.positions, encoder.positions, atol=1e-4, rtol=1e-3)


def test_broken_and_hostile_files_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    encoders.save(encoders.build("vit-nano", **SMALL), path)
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["encoder"])

    def refused(changed=tensors, said=header, text=None, metadata=True):
        said = {"encoder": json.dumps(said) if text is None else text}
        save_file(changed, tmp_path / "b.safetensors", said if metadata else None)
        with pytest.raises(BadInput) as caught:
            encoders.load(tmp_path / "b.safetensors")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def config(**changes):
        return header | {"config": header["config"] | changes}

    assert "'class_token'" in refused({k: v for k, v in tensors.items() if k != "class_token"})
    assert "'extra'" in refused(tensors | {"extra": torch.zeros(2)})
    assert "'norm.bias'" in refused(tensors | {"norm.bias": torch.zeros(17)})
    assert "finite" in refused(tensors | {"norm.bias": torch.full((16,), torch.inf)})
    assert "is int64, and not" in refused(tensors | {"norm.bias": torch.zeros(16, dtype=torch.long)})
    assert "no longer the header" in refused(metadata=False)
    assert "cannot be read" in refused(text="{")
    assert "cannot be read" in refused(text="[]")
    assert "whose code is not in it; install the package" in refused(said=header | {"family": "os"})
    assert "cannot be read" in refused(said=config(shell="rm"))
    assert "width is 10,000,000 in the config" in refused(said=config(width=10**7, heads=1))  # no such memory is asked for
    assert "does not fit" in refused(said=config(depth=2))
    for text in (b"", b"not a file of weights", path.read_bytes()[:-40]):
        (tmp_path / "b.safetensors").write_bytes(text)
        with pytest.raises(BadInput, match="is not a safetensors file"):
            encoders.load(tmp_path / "b.safetensors")
    with pytest.raises(BadInput, match=r"no weights named .* and no such file"):
        encoders.load(tmp_path / "c.safetensors")


def make_image(rows, columns):
    y, x = np.mgrid[:rows, :columns]
    waves = [127 + 120 * np.sin(x / 5 + k) * np.cos(y / (3 + k)) for k in range(3)]
    return np.stack(waves, -1).astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(60, 90), (90, 61), (20, 30), (33, 33)])
@pytest.mark.parametrize("fraction", [1.0, 0.875])
def test_cropping_is_that_of_torchvision_on_pillow(interpolation, shape, fraction):
    transforms = pytest.importorskip("torchvision.transforms")
    mode = transforms.InterpolationMode(interpolation)
    image, how = make_image(*shape), Preprocessing(size=(32, 32), crop_fraction=fraction, interpolation=interpolation)
    steps = [transforms.Resize(int(32 / fraction), mode), transforms.CenterCrop(32), transforms.ToTensor()]
    steps.append(transforms.Normalize([m / 255 for m in how.mean], [s / 255 for s in how.std]))
    want = transforms.Compose(steps)(Image.fromarray(image))
    got = prepare(image[None], how)[0]
    assert (got - want).abs().max() <= 1.01 / min(how.std)  # one level of 256, where Pillow rounds otherwise
    assert (got - want).abs().mean() < 0.1 / min(how.std)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_squashing_is_that_of_pillow(interpolation):
    image = make_image(60, 90)
    how = Preprocessing(size=(32, 40), resize="squash", interpolation=interpolation, mean=(0.0,) * 3, std=(1.0,) * 3)
    want = np.asarray(Image.fromarray(image).resize((40, 32), Image.Resampling[interpolation.upper()]), np.float32)
    got = prepare(torch.from_numpy(image)[None], how)[0].movedim(0, -1).numpy()
    assert abs(got - want).max() <= 1


def test_without_antialias_single_pixels_are_taken():
    how = Preprocessing(
        size=(2, 2), resize="squash", interpolation="bilinear", antialias=False, mean=(0.0,) * 3, std=(1.0,) * 3
    )
    image = np.zeros((1, 10, 10, 3), np.uint8)
    image[:, 2, 2] = 200  # the centre of the first quarter, so nothing else counts
    assert prepare(image, how)[0, 0].tolist() == [[200.0, 0.0], [0.0, 0.0]]


def test_other_images_are_refused():
    encoder = encoders.build("vit-nano", **SMALL)
    for wrong in (np.zeros((1, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8), np.zeros((1, 3, 8, 8), np.uint8)):
        with pytest.raises(BadInput, match=r"give uint8 \(images, rows, columns, 3\)"):
            encoder.prepare(wrong)
    for wrong in ({"size": (0, 4)}, {"crop_fraction": 1.5}, {"std": (0.0, 1.0, 1.0)}, {"resize": "pad"}):
        with pytest.raises(BadInput):
            Preprocessing(**{"size": (4, 4)} | wrong)
