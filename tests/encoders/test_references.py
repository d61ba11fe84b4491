"""One string for an encoder: folders, state dicts and names of other libraries, from the command line, with equal outputs."""

import json
import pickle
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
import transformers
from PIL import Image
from safetensors.torch import save_file
from timm.models import save_for_hf
from torch import nn

import tapetum
from tapetum import encoders
from tapetum.core.errors import BadInput, Remark
from tapetum.encoders import tables
from tapetum.encoders.config import Preprocessing
from tapetum.encoders.folders import of_processor
from tapetum.encoders.published import KINDS
from tapetum.encoders.references import located, relocated

Run = Callable[..., tuple[int, str, str]]
transformers.logging.set_verbosity_error()

PART = {"hidden_size": 36, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 52, "patch_size": 6}
TEXT = {"hidden_size": 36, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 28, "vocab_size": 60}
TEXT |= {"max_position_embeddings": 7, "bos_token_id": 58, "eos_token_id": 59}
IMAGE = PART | {"image_size": 30}


def shaken(model: Any) -> Any:
    """The model with random weights and statistics, so that none is a neutral 0 or 1."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and "mask_token" not in name:
                noise = torch.randn(tensor.shape, generator=generator)
                tensor.copy_(noise.abs() + 0.5 if name.endswith("running_var") else 0.2 * noise)
    return model.eval()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(3).integers(0, 256, (33, 41, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def vector(run: Run, image: Path, model: object) -> np.ndarray:
    out = image.with_name("vectors.npz")
    code, _, err = run("embed", image, "--model", model, "--dtype", "float32", "--out", out)
    assert code == 0, err
    with np.load(out) as table:
        return table["embedding"][0]


FOLDERS = {
    "vit": ("ViTModel", "ViTConfig", IMAGE),
    "vit with classes": ("ViTForImageClassification", "ViTConfig", IMAGE | {"num_labels": 4}),
    "dinov2": ("Dinov2Model", "Dinov2Config", {**IMAGE, "mlp_ratio": 2}),  # shown at another size than its positions are for
    "registers": ("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", {**IMAGE, "mlp_ratio": 2}),
    "dinov3": ("DINOv3ViTModel", "DINOv3ViTConfig", {**IMAGE, "num_register_tokens": 2}),
    "clip's images": ("CLIPVisionModel", "CLIPVisionConfig", IMAGE),
    "siglip's images": ("SiglipVisionModel", "SiglipVisionConfig", IMAGE),
    "resnet": (
        "ResNetModel",
        "ResNetConfig",
        {"embedding_size": 6, "hidden_sizes": [6, 12, 24, 48], "depths": [1, 2, 1, 1], "layer_type": "basic"},
    ),
}


def pooled(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """What transformers has as the vector of images, before a classifier."""
    if hasattr(model, "classifier"):
        return model.vit(pixels).last_hidden_state[:, 0]
    found = model(pixels)
    return found.pooler_output.flatten(1) if found.pooler_output is not None else found.last_hidden_state[:, 0]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_transformers(run: Run, image: Path, tmp_path: Path, name: str) -> None:
    kind, settings, given = FOLDERS[name]
    theirs = shaken(getattr(transformers, kind)(getattr(transformers, settings)(**given)))
    theirs.save_pretrained(tmp_path / "folder", **({"max_shard_size": "60KB"} if name == "vit" else {}))
    assert (tmp_path / "folder" / "model.safetensors").is_file() == (name != "vit")
    encoder = encoders.load(tmp_path / "folder")
    with torch.no_grad():
        wanted = pooled(theirs, encoder.prepare(np.asarray(Image.open(image))[None]))[0].numpy()
    np.testing.assert_allclose(vector(run, image, tmp_path / "folder"), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["CLIP", "Siglip"])
def test_a_folder_of_images_and_texts_whose_config_leaves_fields_out(tmp_path: Path, family: str) -> None:
    """As those on the Hub do; the fields that are left out are what transformers takes them to be."""
    settings = getattr(transformers, f"{family}Config")
    config = settings(text_config=TEXT, vision_config=IMAGE, **({"projection_dim": 11} if family == "CLIP" else {}))
    theirs = shaken(getattr(transformers, f"{family}Model")(config))
    theirs.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    for part in ("text_config", "vision_config"):
        usual = settings().to_dict()[part]
        content[part] = {key: value for key, value in content[part].items() if usual.get(key) != value}
    (tmp_path / "config.json").write_text(json.dumps(content))
    towers, images = tapetum.load(tmp_path), torch.randn(2, 3, 30, 30)
    ids = torch.tensor([[4, 9, 59, 0], [58, 3, 2, 59]])
    with torch.no_grad():
        found = theirs(pixel_values=images, input_ids=ids)
        torch.testing.assert_close(towers.compare(images, ids), found.logits_per_image, atol=1e-4, rtol=1e-5)


def test_fields_that_are_left_out_are_as_in_transformers() -> None:
    names = dict(
        zip(
            KINDS,
            ("ViT", "ViTMAE", "Dinov2", "Dinov2WithRegisters", "CLIP", "CLIPVision", "Siglip", "SiglipVision"),
            strict=False,
        )
    )
    for kind, name in names.items():
        theirs = getattr(transformers, f"{name}Config")().to_dict()
        usual = tables.DEFAULTS.get(kind, {})
        assert {key: theirs[key] for key in usual} == usual
    for name, usual in (("CLIPText", tables.CLIP_TEXT), ("SiglipText", tables.SIGLIP_TEXT)):
        theirs = getattr(transformers, f"{name}Config")().to_dict()
        assert {key: theirs[key] for key in usual} == usual


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ViTImageProcessor", {"size": {"height": 21, "width": 26}}),
        ("BitImageProcessor", {"size": {"shortest_edge": 28}, "crop_size": {"height": 22, "width": 22}}),
        ("CLIPImageProcessor", {"size": {"shortest_edge": 25}, "crop_size": {"height": 25, "width": 25}}),
        ("SiglipImageProcessor", {"size": {"height": 27, "width": 27}, "image_mean": [0.1, 0.2, 0.3]}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 35}, "crop_pct": 0.875}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
        ("ViTImageProcessor", {"size": {"height": 20, "width": 20}, "do_normalize": False}),
    ],
)
def test_images_are_prepared_as_the_folder_says(tmp_path: Path, image: Path, kind: str, settings: dict[str, Any]) -> None:
    theirs = getattr(transformers, kind)(**settings)
    theirs.save_pretrained(tmp_path)
    how = of_processor(json.loads((tmp_path / "preprocessor_config.json").read_text()))
    pixels = np.asarray(Image.open(image))
    wanted = theirs(Image.fromarray(pixels), return_tensors="pt")["pixel_values"][0]
    found = encoders.features.prepare(pixels[None], how)[0]
    assert found.shape == wanted.shape
    level = 1 / min(how.std)
    assert (found - wanted).abs().max() <= 2.01 * level  # Pillow, torchvision and torch round a level otherwise, here and there
    assert (found - wanted).abs().mean() < 0.1 * level


def test_processors_that_cannot_be_done_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    transformers.ViTModel(transformers.ViTConfig(**IMAGE)).save_pretrained(folder)
    good = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 30, "width": 30}, "resample": 2}
    for changes in ({"resample": 0}, {"do_resize": False}, {"size": {"height": 30}}, {"image_std": [1]}, {"image_mean": None}):
        (folder / "preprocessor_config.json").write_text(json.dumps(good | changes))
        with pytest.raises(BadInput) as caught:
            encoders.load(folder)
        assert "\n" not in str(caught.value)
    (folder / "preprocessor_config.json").write_text(json.dumps(good))
    assert encoders.load(folder).preprocessing.interpolation == "bilinear"


def test_a_folder_of_something_else(run: Run, image: Path, tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit" / "config.json").write_text('{"model_type": "vit"}')
    for name, words in (("bert", "is of type 'bert'; tapetum has clip"), ("vit", "neither model.safetensors nor")):
        code, _, err = run("embed", image, "--model", tmp_path / name, "--out", tmp_path / "a.npz")
        assert code == 2
        assert words in err


def test_classes_of_a_folder_have_its_names(run: Run, image: Path, tmp_path: Path) -> None:
    config = transformers.ViTConfig(**IMAGE, id2label={0: "tabby", 1: "bowl", 2: "sky"}, label2id={})
    theirs = shaken(transformers.ViTForImageClassification(config))
    theirs.save_pretrained(tmp_path / "folder")
    code, out, err = run("classify", image, "--model", tmp_path / "folder", "--json")
    assert code == 0, err
    (found,) = json.loads(out)["images"]
    pixels = encoders.load(tmp_path / "folder").prepare(np.asarray(Image.open(image))[None])
    with torch.no_grad():
        likely = theirs(pixels).logits.softmax(1)[0]
    assert {row["name"]: round(row["probability"], 5) for row in found["classes"]} == pytest.approx(
        {config.id2label[k]: round(float(p), 5) for k, p in enumerate(likely)}, abs=2e-5
    )


VITS = {
    "vit_tiny_patch16": "vit_tiny_patch16_224",
    "deit3_tiny_patch16": "deit3_small_patch16_224",
    "vit_tiny_patch14_dinov2": "vit_small_patch14_dinov2",
    "vit_tiny_patch14_reg4_dinov2": "vit_small_patch14_reg4_dinov2",
    "vit_tiny_patch16_siglip": "vit_base_patch16_siglip_224",
}
"""What they are taken for without the size of images, and a model of timm of that kind, which is made with tiny sizes."""


@pytest.mark.slow
@pytest.mark.parametrize("name", VITS)
def test_a_state_dict_of_timm_is_recognised(tmp_path: Path, name: str) -> None:
    side = 28 if "patch14" in name else 32
    theirs = shaken(timm.create_model(VITS[name], img_size=side, num_classes=0, embed_dim=192, depth=12, num_heads=3))
    save_file(theirs.state_dict(), tmp_path / "own.safetensors")
    with pytest.warns(Remark, match=f"taken for timm's {name}_{side},"):
        encoder = encoders.load(tmp_path / "own.safetensors")
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(encoder(x).pooled, theirs(x), atol=1e-5, rtol=1e-5)
    assert encoder.preprocessing.size == (side, side)


@pytest.mark.slow
def test_vectors_by_a_state_dict_from_the_command_line(run: Run, image: Path, tmp_path: Path) -> None:
    theirs = shaken(timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=5))
    save_file(theirs.state_dict(), tmp_path / "timm_vit.safetensors")
    out = tmp_path / "vectors.npz"
    code, _, err = run("embed", image, "--model", tmp_path / "timm_vit.safetensors", "--out", out)
    assert code == 0
    assert err.startswith(f"tapetum: {tmp_path / 'timm_vit.safetensors'} is taken for timm's vit_tiny_patch16_64")
    assert len(err.splitlines()) == 1
    said = vector(run, image, f"timm:vit_tiny_patch16_224={tmp_path / 'timm_vit.safetensors'}")
    code, _, err = run("weights", "convert", tmp_path / "timm_vit.safetensors", "--out", tmp_path / "mine.safetensors")
    assert code == 0, err
    prepared = encoders.load(tmp_path / "mine.safetensors").prepare(np.asarray(Image.open(image))[None])
    with torch.no_grad():
        wanted = theirs.forward_head(theirs.forward_features(prepared), pre_logits=True)[0].numpy()
    with np.load(out) as table:
        np.testing.assert_allclose(table["embedding"][0], wanted, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(said, wanted, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(vector(run, image, tmp_path / "mine.safetensors"), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_a_pickle_of_torchvision(run: Run, image: Path, tmp_path: Path) -> None:
    theirs = shaken(torchvision.models.resnet18(num_classes=3))
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in theirs.state_dict().items()}}
    torch.save(wrapped, tmp_path / "own.pth")
    code, out, err = run("weights", "convert", tmp_path / "own.pth")
    assert code == 0, err
    assert str(tmp_path / "own.safetensors") in out
    encoder = encoders.load(tmp_path / "own.safetensors")
    x = encoder.prepare(np.asarray(Image.open(image))[None])
    assert x.shape == (1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(encoder.classify(x), theirs(x), atol=1e-4, rtol=1e-5)
    theirs.fc = nn.Identity()
    with torch.no_grad():
        np.testing.assert_allclose(vector(run, image, tmp_path / "own.pth"), theirs(x)[0].numpy(), atol=1e-4, rtol=1e-5)
    by_timm = encoders.load(f"timm:resnet18={tmp_path / 'own.pth'}")
    assert by_timm.preprocessing.size == (224, 224)
    code, _, err = run("weights", "convert", f"timm:resnet18={tmp_path / 'own.pth'}", "--out", tmp_path / "own.pth")
    assert code == 2
    assert "would be overwritten by what is made of it" in err
    code, _, err = run("weights", "convert", tmp_path / "own.pth", "--causal", "True")
    assert code == 2
    assert "are of trackers" in err


@pytest.mark.parametrize("name", ["dm_nfnet_f0", "nfnet_f0"])
@pytest.mark.slow
def test_other_networks_are_recognised(tmp_path: Path, name: str) -> None:
    theirs = timm.create_model(name)
    save_file(theirs.state_dict(), tmp_path / "own.safetensors")
    with pytest.warns(Remark, match=f"taken for (timm|torchvision)'s {name}"):
        encoder = encoders.load(tmp_path / "own.safetensors")
    assert encoder.head is not None


def test_a_folder_of_timm(tmp_path: Path) -> None:
    theirs = shaken(timm.create_model("vit_tiny_patch16_224", img_size=80, num_classes=2))
    config = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "crop_pct": 0.95, "interpolation": "bilinear", "tag": "mine"}
    theirs.pretrained_cfg = theirs.default_cfg = dict(theirs.pretrained_cfg) | config | {"input_size": (3, 80, 80)}
    save_for_hf(theirs, str(tmp_path / "folder"), safe_serialization=True)
    encoder = encoders.load(tmp_path / "folder")
    how = encoder.preprocessing
    assert (how.size, how.crop_fraction, how.interpolation) == ((80, 80), 0.95, "bilinear")
    assert how.mean == pytest.approx((102, 127.5, 153))
    x = torch.randn(1, 3, 80, 80)
    with torch.no_grad():
        torch.testing.assert_close(encoder.classify(x), theirs(x), atol=1e-5, rtol=1e-5)
    own = encoders.load(tmp_path / "folder" / "model.safetensors")  # a file beside its config.json
    assert own.preprocessing == how


def test_what_cannot_be_recognised_says_what_to_do(run: Run, image: Path, tmp_path: Path) -> None:
    def refused(state: object, words: str) -> None:
        torch.save(state, tmp_path / "a.pth")
        code, _, err = run("embed", image, "--model", tmp_path / "a.pth", "--out", tmp_path / "a.npz")
        assert code == 2
        assert len(err.splitlines()) == 1
        assert words in err

    tiny = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_heads=2, embed_dim=32).state_dict()
    refused(tiny, "leave open which one it is; give timm:NAME=")  # how many heads?
    clip = timm.create_model("vit_tiny_patch16_224", img_size=32, pre_norm=True).state_dict()
    refused(clip, "leave open which one it is")  # which activation?
    whole = timm.create_model("resnet18").state_dict()
    refused(whole | {"conv1.bias": torch.zeros(64)}, "looks like torchvision's resnet18, but this network has no conv1.bias")
    refused(whole | {"bn1.bias": torch.full((64,), torch.nan)}, "finite numbers")
    refused({"a.weight": torch.zeros(2)}, "of no encoder that is recognised")
    refused(nn.Linear(2, 2).double(), "it holds torch.nn.modules.linear.Linear, and code that a pickle names is not run; where")
    other = timm.create_model("convnextv2_atto", num_classes=2).state_dict()
    refused(other, "tensors (head.fc.bias, stages.2.blocks.")
    refused(other, "all else of timm with its name, timm:NAME=")
    refused(other, "your own class with its file, my_net.py:MyNet=")
    refused(nn.Linear(2, 2), "convert that: tapetum weights convert FILE.py:CLASS=FILE")
    refused({"a": 1}, "does not hold a state dict")
    refused(transformers.ViTModel(transformers.ViTConfig(**IMAGE)).state_dict(), "put its config.json beside it")
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"conv1.weight": Path}))
    code, _, err = run("embed", image, "--model", tmp_path / "a.pth", "--out", tmp_path / "a.npz")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "is not a file of weights alone" in err


def test_no_code_of_a_pickle_runs(tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"conv1.weight": Touch()}, tmp_path / "a.pth")
    for reference in (tmp_path / "a.pth", f"timm:resnet18={tmp_path / 'a.pth'}"):
        with pytest.raises(BadInput, match="is not a file of weights alone"):
            encoders.load(reference)
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.pth").rename(tmp_path / "folder" / "pytorch_model.bin")
    (tmp_path / "folder" / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(BadInput, match="is not a file of weights alone"):
        encoders.load(tmp_path / "folder")
    assert not (tmp_path / "ran").exists()


def test_an_old_folder_with_a_pickle(tmp_path: Path) -> None:
    theirs = shaken(transformers.ViTModel(transformers.ViTConfig(**IMAGE)))
    theirs.config.save_pretrained(tmp_path)
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    x = torch.randn(1, 3, 30, 30)
    with torch.no_grad():
        torch.testing.assert_close(encoders.load(tmp_path)(x).pooled, theirs(x).pooler_output, atol=1e-5, rtol=1e-5)


def test_random_weights_by_name_and_seed() -> None:
    one, same = encoders.load("random:vit-nano", seed=4), encoders.build("vit-nano", 4)
    assert torch.equal(one.patches.weight, same.patches.weight)  # type: ignore[union-attr]
    assert not torch.equal(tapetum.load("random:vit-nano").patches.weight, same.patches.weight)  # type: ignore[union-attr]
    assert encoders.load("random:timm:vit_tiny_patch16_224").width == 192
    assert encoders.load("random:torchvision:resnet18").map_channels == (64, 128, 256, 512)
    for reference, words in (
        ("random:no-such", "there is no encoder 'no-such'"),
        ("random:timm:no-such", "timm .* has no model 'no-such'"),
        ("timm:resnet18=none.pth", "there is no file none.pth"),
        ("torchvision:resnet18", "names no file; give torchvision:NAME=FILE"),
        ("tapir-nano", "holds a "),
    ):
        with pytest.raises(BadInput, match=words):
            encoders.load(reference)


NETS = """
from torch import nn
from tapetum.encoders.features import Encoder

class Plain(nn.Module):
    pass

class Bent(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
    def forward(self, x):
        return x.view(1, 3, 56, 4, 56, 4)

class Words(str):
    pass

class Lone(Encoder):
    def __init__(self):
        super().__init__(None, None)

class Bare(Encoder):
    pass
"""


def test_a_class_of_ones_own_that_is_no_encoder_is_told_why(
    run: Run, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "wrong_nets.py").write_text(NETS)
    for name, words in (
        ("Plain", "Plain has no parameters"),
        ("Words", "is no encoder; derive it from torch.nn.modules.module.Module"),
        ("Lone", r"cannot be built of a config and a preprocessing \(TypeError: .*see docs/guides/bring-your-own.md"),
        ("Bare", "sets no width; see docs/guides/bring-your-own.md"),
    ):
        with pytest.raises(BadInput, match=words):
            tapetum.load(f"random:{tmp_path}/wrong_nets.py:{name}")
    code, _, err = run("embed", image, "--model", f"random:{tmp_path}/wrong_nets.py:Plain", "--out", tmp_path / "a.npz")
    assert (code, len(err.splitlines())) == (2, 1)


def test_timms_own_weights_are_those_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the network: timm's function that fetches is given weights of a file instead."""
    make = timm.create_model
    theirs = shaken(make("vit_tiny_patch16_224.augreg_in21k_ft_in1k"))

    def fetched(name: str, pretrained: bool) -> Any:
        assert (name, pretrained) == ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", True)
        return theirs

    monkeypatch.setattr(timm, "create_model", fetched)
    encoder = encoders.load("timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(encoder.classify(x), theirs(x), atol=1e-5, rtol=1e-5)
    assert encoder.preprocessing == Preprocessing(size=(224, 224), crop_fraction=0.9, mean=(127.5,) * 3, std=(127.5,) * 3)
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(BadInput, match=r"timm cannot give weights of resnet18 \(no network\); .*timm:resnet18=FILE"):
        encoders.load("timm:resnet18")


def test_references_in_files_go_with_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "run", tmp_path / "out"):
        place.mkdir()
    (tmp_path / "own.pth").touch()
    for reference, stored in (
        ("run", "../run"),
        (str(tmp_path / "run"), "../run"),
        ("own.pth", "../own.pth"),
        ("timm:resnet18=own.pth", "timm:resnet18=../own.pth"),
        ("efficientnet-lite0", "efficientnet-lite0"),
        ("random:resnet-18", "random:resnet-18"),
        ("timm:resnet18", "timm:resnet18"),
    ):
        assert relocated(reference, tmp_path / "out") == stored
        found = located(stored, tmp_path / "out")
        assert found == stored or Path(found.rpartition("=")[2]).samefile(reference.rpartition("=")[2])
        assert (found == stored) == (reference == stored)


VERBS = {
    "embed": ("{image}", "--model", "{encoder}", "--out", "a.npz"),
    "classify": ("{image}", "--model", "{encoder}"),
    "probe": ("{encoder}", "--data", "{data}", "--neighbours", "2"),
    "discover": ("{image}", "--model", "{encoder}", "--out", "found"),
    "account": ("{encoder}",),
    "weights convert": ("{encoder}", "--out", "b.safetensors"),
    "adapt": ("{data}", "--task", "classify", "--trunk", "{encoder}", "--out", "run", "--steps", "1", "--batch-size", "2"),
}
"""Every command that takes an encoder, but for the trainings of `transfer`, which `tests/transfer` covers."""


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_what_another_takes(
    run: Run, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.chdir(tmp_path)
    theirs = transformers.ViTForImageClassification(transformers.ViTConfig(**IMAGE, num_labels=3))
    theirs.save_pretrained("folder")
    for part, count in (("train", 5), ("val", 3)):
        for name in ("a", "b"):
            Path("data", part, name).mkdir(parents=True)
            for k in range(count):
                Image.fromarray(np.full((30, 30, 3), 20 * k + 99 * (name == "b"), np.uint8)).save(f"data/{part}/{name}/{k}.png")
    words = [word.format(image=image, encoder="folder", data="data") for word in VERBS[verb]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code, _, err = run(*verb.split(), *words)
    assert code == 0, err
