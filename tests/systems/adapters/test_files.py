"""Files of adapters, for their own trunk alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import tapetum
from support.trunks import bank, images, shake, trunk
from tapetum.core.errors import BadInput
from tapetum.encoders import save as save_encoder
from tapetum.encoders.factory import build
from tapetum.systems.adapters import Adapted, attach
from tapetum.systems.adapters.files import load, read
from tapetum.systems.adapters.weaving import leaves


def same(one, other) -> bool:
    return all(map(torch.equal, leaves(one), leaves(other)))


@pytest.mark.parametrize("kind", ["vit", "resnet", "nfnet", "timm-vit", "timm-lite", "torchvision-resnet"])
def test_a_file_brings_back_the_adapter(kind: str, tmp_path: Path) -> None:
    adapted, x = bank(kind, "ab"), images()
    adapted.save(tmp_path / "b.safetensors", "b", trained_on="noise")
    again = load(tmp_path / "b.safetensors", trunk(kind))
    with torch.no_grad():
        assert same(again(x), adapted(x, adapter="b"))
        assert again.load(tmp_path / "b.safetensors", "other") == "other"
        assert same(again(x, adapter="other"), adapted(x, adapter="b"))
    again.verify()
    stored = read(tmp_path / "b.safetensors")
    assert (stored.name, stored.trained_on, stored.trunk_sha256) == ("b", "noise", adapted.trunk_sha256)
    assert stored.sites == adapted.sites("b")
    assert sum(t.numel() for t in stored.tensors.values()) == sum(p.numel() for p in adapted.adapter_parameters("b"))


def test_halves_take_half_the_room(tmp_path: Path) -> None:
    adapted, x = bank("vit", "a"), images()
    adapted.save(tmp_path / "a.safetensors")
    adapted.save(tmp_path / "half.safetensors", dtype=torch.float16)
    assert {t.dtype for t in load_file(tmp_path / "half.safetensors").values()} == {torch.float16}
    with torch.no_grad():
        torch.testing.assert_close(
            load(tmp_path / "half.safetensors", trunk("vit"))(x).pooled, adapted(x).pooled, atol=0.02, rtol=0
        )


def test_another_trunk_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    bank("vit", "a").save(file)
    other = trunk("vit")
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-6
    with pytest.raises(BadInput, match=r"is of another trunk: .*ViT with SHA-256 .* load that trunk, or force it"):
        load(file, other)
    assert load(file, other, force=True).names == ("a",)
    other = trunk("vit")
    other.preprocessing = replace(other.preprocessing, mean=(1.0, 2.0, 3.0))  # pyright: ignore
    with pytest.raises(BadInput, match=r"trained on images with mean \[123.*, and this trunk prepares them with \[1\.0, 2"):
        load(file, other)
    with pytest.raises(BadInput, match="another trunk"):
        load(file, trunk("resnet"))
    with pytest.raises(BadInput, match="no module"):
        load(file, trunk("resnet"), force=True)
    adapted = bank("vit", "a")
    with pytest.raises(BadInput, match="an adapter 'a' already"):
        adapted.load(file)


def _rewritten(file: Path, out: Path, header=None, tensors=None) -> Path:
    with safe_open(file, "pt") as old:
        text = json.loads(old.metadata()["adapter"])
    found = load_file(file)
    (header or (lambda h: None))(text)
    (tensors or (lambda t: None))(found)
    save_file(found, out, {"adapter": json.dumps(text)})
    return out


@pytest.mark.parametrize(
    ("header", "tensors", "message"),
    [
        (lambda h: h.pop("sites"), None, "header of .* cannot be read"),
        (lambda h: h.update(format=9), None, "has format 9, and this tapetum reads 1"),
        (lambda h: h["sites"][0].update(width=-3), None, "impossible sizes"),
        (lambda h: h["sites"][0].update(section=3, unknown=1), None, "header of .* cannot be read"),
        (lambda h: h.update(name="../x"), None, "use letters"),
        (None, lambda t: t.pop("patches.up.bias"), r"'patches\.up\.bias' in .* is missing or of another shape"),
        (None, lambda t: t.update({"patches.up.bias": torch.zeros(3)}), "is missing or of another shape"),
        (None, lambda t: t["patches.up.bias"].fill_(float("nan")), "something else than finite numbers"),
    ],
)
def test_damaged_files_are_refused_and_leave_the_bank_as_it_was(header, tensors, message, tmp_path: Path) -> None:
    bank("vit", "a").save(tmp_path / "a.safetensors")
    bad = _rewritten(tmp_path / "a.safetensors", tmp_path / "bad.safetensors", header, tensors)
    adapted = bank("vit", "b")
    with pytest.raises(BadInput, match=message):
        adapted.load(bad)
    assert adapted.names == ("b",)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    save_encoder(build("vit-nano"), tmp_path / "encoder.safetensors")
    (tmp_path / "text.safetensors").write_text("no")
    for name, message in (
        ("encoder.safetensors", "holds no adapter"),
        ("text.safetensors", "is not a safetensors file"),
        ("none.safetensors", "there is no file"),
    ):
        with pytest.raises(BadInput, match=message):
            read(tmp_path / name)


def test_tapetum_load_finds_the_trunk_that_a_file_names(tmp_path: Path) -> None:
    encoder = build("vit-nano", seed=3)
    save_encoder(encoder, tmp_path / "trunk.safetensors")
    adapted = attach(encoder)
    shake(adapted, "default", 0)
    adapted.save(tmp_path / "a.safetensors", trunk="trunk.safetensors")
    loaded = tapetum.load(tmp_path / "a.safetensors")
    assert isinstance(loaded, Adapted)
    x = images()
    with torch.no_grad():
        assert torch.equal(loaded(x).pooled, adapted(x).pooled)
    frame = np.zeros((40, 50, 3), np.uint8)
    piece = loaded.embedder().prepare(frame)  # what `tapetum embed` asks for
    assert piece.shape == (3, 32, 32)
    adapted.save(tmp_path / "b.safetensors")
    with pytest.raises(BadInput, match="does not say where its trunk"):
        tapetum.load(tmp_path / "b.safetensors")
