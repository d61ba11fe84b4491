"""TIPSv2: the same numbers as transformers, from names in memory and from those of files, for images of any shape."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

import tapetum
from support.hub_folders import shaken, write_sparse_folder
from tapetum import encoders
from tapetum.core.errors import BadInput
from tapetum.encoders.factory import make
from tapetum.encoders.towers import Towers
from tapetum.encoders.towers_config import NAMED, TIPSV2_TEXT, tipsv2

transformers.logging.set_verbosity_error()

VISION = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 100 / 32, "patch_size": 7}
VISION |= {"image_size": 28}
TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 50}
TEXT |= {"max_position_embeddings": 9}
IDS = torch.tensor([[5, 3, 4, 9, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7, 8, 9], [7, 0, 0, 0, 0, 0, 0, 0, 0]])
SIZES = [(28, 28), (14, 49), (63, 21)]


@pytest.fixture(scope="module")
def theirs():
    return shaken(transformers.Tipsv2Model(transformers.Tipsv2Config(vision_config=VISION, text_config=TEXT)))


@pytest.fixture(scope="module")
def ours(theirs):
    return encoders.from_state(theirs.state_dict(), "huggingface", theirs.config.to_dict())


def images(size):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_both_towers(theirs, ours, size):
    assert isinstance(ours, Towers)
    x = images(size)
    want = theirs(input_ids=IDS, pixel_values=x, attention_mask=(IDS != 0).long())
    seen, read = want.vision_model_output, want.text_model_output
    torch.testing.assert_close(ours(x).tokens, seen.last_hidden_state, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours(x).pooled, seen.pooler_output, atol=1e-5, rtol=0)
    assert ours(x).tokens.shape[1] == 2 + size[0] * size[1] // 49  # two class tokens, of which the second is a register
    there = IDS != 0
    torch.testing.assert_close(ours.text(IDS).tokens[there], read.last_hidden_state[there], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.text(IDS).pooled, read.pooler_output, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.text_vectors(IDS), want.text_embeds, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.compare(x, IDS) / 197.4, want.logits_per_image / 197.4, atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_folder_has_the_names_of_the_authors(theirs, ours, tmp_path):
    processor = transformers.Tipsv2ImageProcessor(size={"height": 35, "width": 35})
    again = tapetum.load(write_sparse_folder(theirs, tmp_path, processor))
    assert "vision_encoder.blocks.1.attn.qkv.weight" in load_file(tmp_path / "model.safetensors")
    assert same_weights(again, ours)
    assert again.config == ours.config
    assert again.preprocessing == replace(tipsv2(35), crop_offset="down")
    assert ours.preprocessing == tipsv2(28)
    black = again.prepare(np.full((1, 20, 30, 3), 51, np.uint8))
    torch.testing.assert_close(black, torch.full((1, 3, 35, 35), 0.2))


@torch.no_grad()
def test_the_giant_one_has_gated_mlps(tmp_path):
    vision = VISION | {"use_swiglu_ffn": True, "mlp_ratio": 2}
    theirs = shaken(transformers.Tipsv2Model(transformers.Tipsv2Config(vision_config=vision, text_config=TEXT)))
    ours, x = tapetum.load(write_sparse_folder(theirs, tmp_path)), images((14, 49))
    assert "vision_encoder.blocks.1.mlp.w12.weight" in load_file(tmp_path / "model.safetensors")
    torch.testing.assert_close(ours(x).tokens, theirs.vision_model(x).last_hidden_state, atol=1e-5, rtol=0)
    back = encoders.to_state(ours, "huggingface")
    assert back.keys() == theirs.state_dict().keys()
    assert all(torch.equal(back[key], value) for key, value in theirs.state_dict().items() if key != "temperature")


def test_other_names_of_files(theirs, ours, tmp_path):
    """The authors' code calls the layers of an image tower's MLP fc1 and fc2, and published files have no temperature."""
    theirs.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    published = {}
    for name, tensor in stored.items():
        if name != "temperature":
            old = name.startswith("vision_encoder.")
            published[name.replace("c_fc", "fc1").replace("c_proj", "fc2") if old else name] = tensor
    config = json.loads((tmp_path / "config.json").read_text())
    again = encoders.from_state(published, "huggingface", config)
    torch.testing.assert_close(again.logit_scale, torch.tensor(5.2852), atol=1e-4, rtol=0)
    assert same_weights(again, ours)
    warm = encoders.from_state(published, "huggingface", config | {"temperature_init_value": 0.5})
    torch.testing.assert_close(warm.logit_scale.exp(), torch.tensor(2.0))
    warm = encoders.from_state(published | {"temperature": torch.tensor(0.25)}, "huggingface", config)
    torch.testing.assert_close(warm.logit_scale.exp(), torch.tensor(4.0))


def test_weights_go_back(theirs, ours):
    state, back = theirs.state_dict(), encoders.to_state(ours, "huggingface")
    assert back.keys() == state.keys()
    torch.testing.assert_close(back.pop("temperature"), state["temperature"])
    assert all(torch.equal(value, state[key]) for key, value in back.items())


def test_what_does_not_fit_is_named(theirs):
    state, config = theirs.state_dict(), theirs.config.to_dict()
    for changes, parts, text in (
        ({}, {"text_config": {"hidden_act": "gelu"}}, "has 'gelu'; tapetum has TIPSv2 with relu"),
        ({"temperature": torch.tensor(-1.0)}, {}, "'temperature' holds something else"),
        ({"vision_model.embeddings.cls_token": torch.zeros(1, 1, 31)}, {}, "cls_token is .1, 1, 31. where"),
        ({"extra": torch.zeros(1)}, {}, "no extra"),
    ):
        wrong = config | {part: config[part] | values for part, values in parts.items()}
        with pytest.raises(BadInput, match=text) as caught:
            encoders.from_state(state | changes, "huggingface", wrong)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="want an even width"):
        replace(TIPSV2_TEXT, width=27, heads=3)


@torch.no_grad()
def test_files_precision_and_adapters(ours, tmp_path):
    encoders.save(ours, tmp_path / "a.safetensors")
    assert "text.positions" not in load_file(tmp_path / "a.safetensors")  # which are computed
    again, x = encoders.load(tmp_path / "a.safetensors"), images((28, 28))
    assert (again.config, again.preprocessing) == (ours.config, ours.preprocessing)
    torch.testing.assert_close(again.compare(x, IDS), ours.compare(x, IDS))
    half = encoders.load(tmp_path / "a.safetensors", dtype=torch.bfloat16)
    assert half(x).pooled.dtype == half.text_vectors(IDS).dtype == torch.bfloat16
    assert torch.cosine_similarity(half.text_vectors(IDS).float(), ours.text_vectors(IDS)).min() > 0.99
    assert [type(ours.get_submodule(name)).__name__ for name in ours.adapter_addresses()] == ["Attention", "Mlp"] * 2


def test_gradient_reaches_every_parameter():
    found = NAMED["tipsv2-base"]
    image = replace(found.config.image, width=16, depth=2, heads=2, mlp_width=24, patch=7, image_size=(28, 28))
    text = replace(found.config.text, width=16, depth=2, heads=2, mlp_width=24, vocabulary=50, length=9)
    both = make(replace(found, config=replace(found.config, image=image, text=text))).train()
    torch.nn.functional.cross_entropy(both.compare(images((28, 28)), IDS[:2]), torch.arange(2)).backward()
    quiet = [name for name, p in both.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [name for name in quiet if not name.endswith("key.bias")] == []
