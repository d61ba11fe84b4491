"""transformers' PaliGemma: the same weights give the same logits and the same greedy answers, in both families."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from support.paligemma import BOTH, asked, ours, shaken, theirs, tiny
from tapetum.core.errors import BadInput
from tapetum.layers.transformer import LowRank, add_lora, merge_lora
from tapetum.systems.paligemma import load
from tapetum.systems.paligemma.config import siglip
from tapetum.systems.paligemma.images import prepare
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.official.huggingface import in_memory
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.systems.paligemma.weights import save, to_state, write_for_transformers, write_peft

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity(logging.ERROR)

PREFIX = torch.tensor([[2, 9, 17, 30, 5], [2, 11, 5, 0, 0], [2, 40, 41, 5, 0]])
SUFFIX = torch.tensor([[8, 50, 33, 1], [21, 1, 0, 0], [60, 7, 1, 0]])


def pixels(images, side=28):
    return torch.rand(3, images, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(params=BOTH, scope="module")
def pair(request):
    config = BOTH[request.param]
    model = theirs(config)
    return model, ours(model, config)


def their_logits(model, images, prefix, suffix):
    """Rows that predict the tokens of the suffix, as ours gives them; rows of padding are 0."""
    given = asked(model, images, prefix, suffix)
    with torch.no_grad():
        logits = model(**given).logits
    out = torch.zeros(*suffix.shape, logits.shape[-1])
    for row, count in enumerate((suffix != 0).sum(1).tolist()):
        out[row, :count] = logits[row, -count - 1 : -1]
    return out


@pytest.mark.parametrize("images", [1, 3])
def test_logits_are_those_of_transformers(pair, images):
    model, own = pair
    with torch.no_grad():
        found = own.logits(pixels(images), PREFIX, SUFFIX)
    assert found.shape == (3, 4, 64)
    wanted = their_logits(model, pixels(images), PREFIX, SUFFIX)
    assert wanted.std() > 0.5
    torch.testing.assert_close(found[SUFFIX != 0], wanted[SUFFIX != 0], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("images", [1, 2])
def test_greedy_answers_are_those_of_transformers(pair, images):
    model, own = pair
    found = own.generate_ids(pixels(images), PREFIX, 12)
    with torch.no_grad():
        given = asked(model, pixels(images), PREFIX)
        whole = model.generate(**given, max_new_tokens=12, do_sample=False)[:, given["input_ids"].shape[1] :]
    wanted = [row[: row.index(1)] if 1 in row else row for row in whole.tolist()]
    assert found == wanted


@pytest.mark.parametrize("window", [3, 10, 18])
def test_a_window_that_is_reached(window):
    config = replace(BOTH["paligemma2"], language=replace(BOTH["paligemma2"].language, window=window))
    model = theirs(config)
    own = ours(model, config)
    with torch.no_grad():
        found = own.logits(pixels(1), PREFIX, SUFFIX)
    wanted = their_logits(model, pixels(1), PREFIX, SUFFIX)
    torch.testing.assert_close(found[SUFFIX != 0], wanted[SUFFIX != 0], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(("side", "patch"), [(48, 16), (20, 6)])
def test_a_folder_whose_vision_tower_has_other_patches(tmp_path, side, patch):
    """As SigLIP-B/16 at 384, whose patches of 14 would not fit; and with pixels left over, as So400m/14 at 384 has."""
    sight = siglip(side, width=16, depth=2, heads=2, mlp_width=24, patch=patch, ragged=side % patch != 0)
    model = theirs(replace(BOTH["paligemma"], vision_encoder=sight))
    model.save_pretrained(tmp_path)
    own = load(tmp_path)
    assert own.config.vision_encoder == sight
    with torch.no_grad():
        found = own.logits(pixels(1, side), PREFIX, SUFFIX)
    wanted = their_logits(model, pixels(1, side), PREFIX, SUFFIX)
    torch.testing.assert_close(found[SUFFIX != 0], wanted[SUFFIX != 0], atol=2e-5, rtol=1e-5)


LINES = ["how many red balls are there ?", "detect cat ; dog", "answer en what is on the table?\tyes", "1234 <loc0009>"] * 9


@pytest.mark.parametrize("family", BOTH)
def test_a_run_is_written_for_transformers_with_processor_and_tokenizer(family, run, tmp_path):
    tokens = Tokens.train(LINES, 330, tmp_path / "tokenizer.model")
    language = replace(BOTH[family].language, vocabulary=tokens.size)
    own = shaken(PaliGemma(replace(BOTH[family], language=language, newline=tokens.newline[0])), scale=0.2)
    save(own, tmp_path / "model.safetensors", tokenizer=tokens.identity)
    code, out, err = run("weights", "convert", tmp_path, "--to", "huggingface", "--out", tmp_path / "theirs")
    assert code == 0, err
    assert "PaliGemmaForConditionalGeneration" in out
    model, messages = transformers.PaliGemmaForConditionalGeneration.from_pretrained(
        tmp_path / "theirs", attn_implementation="eager", output_loading_info=True
    )
    assert not any(messages.values()), messages
    processor = transformers.AutoProcessor.from_pretrained(tmp_path / "theirs")
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    prompt, suffix = "detect  red <loc0009> é", "<seg003> how many 12"
    given = processor(text=f"<image>{prompt}", images=Image.fromarray(image), suffix=suffix, return_tensors="pt")
    prefix_ids, suffix_ids = tokens.encode_prefix(prompt), tokens.encode_suffix(suffix)
    count = own.config.image_tokens
    assert given["input_ids"][0].tolist() == [model.config.image_token_id] * count + prefix_ids + suffix_ids
    assert processor.decode(suffix_ids[:-1]) == suffix
    views = prepare(image[None], own.config.image_size, "transformers")[None]
    torch.testing.assert_close(given["pixel_values"], views[0], atol=0.02, rtol=0)
    with torch.no_grad():
        wanted = model(**{name: value for name, value in given.items() if name != "labels"}).logits[
            :, -len(suffix_ids) - 1 : -1
        ]
        found = own.logits(given["pixel_values"][None], torch.tensor([prefix_ids]), torch.tensor([suffix_ids]))
    assert wanted.std() > 0.3
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    made = load(tmp_path / "theirs")
    assert made.config.language == own.config.language
    with pytest.raises(BadInput, match="is there already"):
        write_for_transformers(own, tokens, tmp_path / "theirs")
    with pytest.raises(BadInput, match="no PaliGemma with prefix_mask=blocks"):
        write_for_transformers(PaliGemma(replace(own.config, prefix_mask="blocks")), tokens, tmp_path / "other")


@pytest.mark.parametrize("family", BOTH)
def test_low_rank_updates_are_written_for_peft(family, tmp_path):
    own = tiny(BOTH[family])
    before = to_state(own, "huggingface")
    add_lora(own.language.blocks, 3, 6.0)
    torch.manual_seed(0)
    for module in own.modules():
        if isinstance(module, LowRank):
            nn.init.normal_(module.up)
    write_peft(own, tmp_path / "peft", "someone/paligemma")
    config = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (3, 6.0, "someone/paligemma")
    state = load_file(tmp_path / "peft" / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in state} == set(config["target_modules"])
    merge_lora(own)
    for name, merged in to_state(own, "huggingface").items():
        key = f"base_model.model.{in_memory(name).removesuffix('.weight')}"
        change = merged - before[name]
        if f"{key}.lora_A.weight" in state:
            product = state[f"{key}.lora_B.weight"] @ state[f"{key}.lora_A.weight"] * config["lora_alpha"] / config["r"]
            torch.testing.assert_close(change, product, atol=1e-5, rtol=1e-4)
            assert product.any()
        else:
            assert not change.any()
