"""Files of weights: folders of transformers with each kind of names, big_vision's .npz, files of ours; and bad ones."""

import json
import math
import shutil
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import tapetum
from support.paligemma import BOTH, TINY, TINY_2, theirs, tiny
from tapetum.core.errors import BadInput
from tapetum.encoders.tables.rows import check_whole
from tapetum.hub.state_dicts import INDEX
from tapetum.systems.paligemma import PaliGemma, load, named, resized, save, to_state
from tapetum.systems.paligemma.config import NAMED, siglip
from tapetum.systems.paligemma.official import big_vision, huggingface

PIXELS = torch.rand(2, 1, 3, 28, 28, generator=torch.Generator().manual_seed(3)) * 2 - 1
PREFIX, SUFFIX = torch.tensor([[2, 9, 5], [2, 5, 0]]), torch.tensor([[8, 50, 1], [21, 1, 0]])


def same(first, second, config=True):
    states = first.state_dict(), second.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name].float(), states[1][name].float()) for name in states[0])
    assert not config or first.config == second.config


def write_folder(model, folder, names=lambda name: name, more=None, shards=1):
    """The files of a folder as the Hub has them, with other names of tensors."""
    folder.mkdir()
    state = {names(name): tensor for name, tensor in to_state(model, "huggingface").items()} | (more or {})
    c, sight = model.config.language, model.config.vision_encoder
    text = {"hidden_size": c.width, "num_hidden_layers": c.depth, "num_attention_heads": c.heads, "head_dim": c.head_width}
    text |= {"num_key_value_heads": c.key_value_heads, "intermediate_size": c.mlp_width, "vocab_size": c.vocabulary}
    if c.post_norms:
        text |= {"model_type": "gemma2", "query_pre_attn_scalar": 6, "sliding_window": c.window}
        text |= {"attn_logit_softcapping": c.attention_soft_cap, "final_logit_softcapping": c.logit_soft_cap}
    vision = {"hidden_size": sight.width, "num_hidden_layers": sight.depth, "num_attention_heads": sight.heads}
    vision |= {"intermediate_size": sight.mlp_width, "patch_size": sight.patch, "image_size": model.config.image_size}
    content = {"model_type": "paligemma", "text_config": text, "vision_config": vision, "bos_token_id": 2, "eos_token_id": 1}
    (folder / "config.json").write_text(json.dumps(content))
    if shards == 1:
        save_file(state, folder / "model.safetensors")
        return folder
    places = {name: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors" for i, name in enumerate(sorted(state))}
    for file in set(places.values()):
        save_file({name: state[name] for name in state if places[name] == file}, folder / file)
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))
    return folder


def write_npz(model, path, before="", bfloat16=False):
    state = to_state(model, "big_vision")
    arrays = {
        f"{before}{name}": tensor.bfloat16().view(torch.int16).numpy().view("V2") if bfloat16 else tensor.numpy()
        for name, tensor in state.items()
    }
    np.savez(path, **arrays)
    return path


PUBLISHED = {name: config for name, config in NAMED.items() if name.endswith("224")}


@pytest.mark.parametrize("config", [*BOTH.values(), *PUBLISHED.values()], ids=[*BOTH, *PUBLISHED])
@pytest.mark.parametrize("table", [huggingface.table, big_vision.table])
def test_tables_fill_every_tensor_exactly_once(config, table):
    fewer = {"depth": min(config.language.depth, 3)}
    config = replace(config, language=replace(config.language, **fewer), vision_encoder=replace(config.vision_encoder, depth=2))
    with torch.device("meta"):
        own = PaliGemma(config).state_dict()
    check_whole(own, table(config))
    with pytest.raises(ValueError, match="the table gives"):
        check_whole(own, table(config)[1:])


@pytest.mark.parametrize("family", BOTH)
def test_what_transformers_writes_is_read(family, tmp_path):
    pytest.importorskip("transformers")
    model = theirs(BOTH[family])
    model.save_pretrained(tmp_path / "whole")
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    own = load(tmp_path / "whole")
    assert replace(own.config, newline=5) == replace(BOTH[family], newline=5)
    same(own, load(str(tmp_path / "shards")))
    same(own, tapetum.load(tmp_path / "whole"))
    names = {huggingface.in_memory(name): tensor for name, tensor in to_state(own, "huggingface").items()}
    state = model.state_dict()
    assert names.keys() == state.keys() - set(huggingface.HEADS)
    assert all(torch.equal(names[name], state[name]) for name in names)
    half = load(tmp_path / "shards", dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in half.state_dict().values()} == {torch.bfloat16}
    same(own.bfloat16(), half)


def hub(name):
    return name.replace("vision_tower.", "vision_tower.vision_model.")


@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("names", [hub, huggingface.in_memory, lambda name: hub(huggingface.in_memory(name))])
def test_names_of_every_age_are_read(family, names, tmp_path):
    model = tiny(BOTH[family])
    head = "language_model.lm_head.weight" if names is hub else "lm_head.weight"
    more = {
        head: model.language.token_embedding.weight.detach().clone(),
        names("vision_tower.embeddings.position_ids"): torch.arange(4.0),
    }
    found = load(write_folder(model, tmp_path / "a", names, more, shards=2))
    same(found, model, config=False)


@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("before", ["", "params/"])
def test_big_vision_files_are_read(family, before, tmp_path):
    model = tiny(BOTH[family])
    same(load(write_npz(model, tmp_path / "a.npz", before), config=model.config), model)
    half = load(write_npz(model, tmp_path / "b.npz", before, bfloat16=True), config=model.config)
    same(half, tiny(BOTH[family]).bfloat16().float())
    with pytest.raises(BadInput, match="give config="):
        load(tmp_path / "a.npz")
    state = to_state(model, "big_vision")
    assert state["llm/layers/attn/kv_einsum/w"].shape == (3, 2, model.config.language.key_value_heads, 24, 8)
    assert state["img/pos_embedding"].shape == (1, 16, 16)


@pytest.mark.parametrize("source", ["huggingface", "big_vision"])
def test_a_stem_of_convolutions_has_no_other_names(source):
    vision_encoder = siglip(32, width=16, depth=1, heads=2, mlp_width=16, patch=16, stem="convolutions", stem_blocks=1)
    model = PaliGemma(replace(TINY_2, vision_encoder=vision_encoder))
    with pytest.raises(BadInput, match=f"begins with convolutions, which {source}'s has not"):
        to_state(model, source)


def test_one_layout_against_the_notes_by_hand():
    """A few numbers, looked up by the sentences of the notes and not by the table."""
    model, layer, head, group = tiny(TINY_2), 2, 3, 1
    state, c = to_state(model, "big_vision"), TINY_2.language
    joined = model.language.blocks[layer].attention.query_key_value.weight
    rows = c.heads * c.head_width
    assert state["llm/layers/attn/q_einsum/w"][layer, head, 7, 5] == joined[head * c.head_width + 5, 7]
    assert state["llm/layers/attn/kv_einsum/w"][layer, 0, group, 7, 5] == joined[rows + group * c.head_width + 5, 7]
    assert state["llm/layers/attn/kv_einsum/w"][layer, 1, group, 7, 5] == joined[rows + 16 + group * c.head_width + 5, 7]
    out = model.language.blocks[layer].attention.out.weight
    assert state["llm/layers/attn/attn_vec_einsum/w"][layer, head, 5, 7] == out[7, head * c.head_width + 5]
    gated = model.language.blocks[layer].mlp.gate_up.weight
    assert state["llm/layers/mlp/gating_einsum"][layer, 0, 7, 39] == gated[39, 7]
    assert state["llm/layers/mlp/gating_einsum"][layer, 1, 7, 39] == gated[40 + 39, 7]
    patches = model.vision_encoder.patches.weight
    assert state["img/embedding/kernel"][1, 2, 0, 9] == patches[9, 0, 1, 2]
    kernel = "img/Transformer/encoderblock/MultiHeadDotProductAttention_0"
    assert state[f"{kernel}/query/kernel"][1, 3, 1, 6] == model.vision_encoder.blocks[1].attention.query.weight[8 + 6, 3]
    assert state[f"{kernel}/out/kernel"][1, 1, 6, 3] == model.vision_encoder.blocks[1].attention.out.weight[3, 8 + 6]


@pytest.mark.parametrize("family", BOTH)
def test_files_of_ours(family, tmp_path):
    model = tiny(BOTH[family], prefix_mask="images", emitted=60)
    save(model, tmp_path / "a.safetensors")
    same(tapetum.load(tmp_path / "a.safetensors"), model)
    save(model, tmp_path / "b.safetensors", torch.bfloat16)
    same(load(tmp_path / "b.safetensors"), tiny(BOTH[family], prefix_mask="images", emitted=60).bfloat16().float())
    with torch.no_grad():
        assert torch.equal(
            load(tmp_path / "a.safetensors").logits(PIXELS, PREFIX, SUFFIX), model.logits(PIXELS, PREFIX, SUFFIX)
        )
    with pytest.raises(BadInput, match="config of its own"):
        load(tmp_path / "a.safetensors", config=TINY)


@pytest.mark.parametrize("how", ["big_vision", "transformers"])
def test_another_size_of_images(how, tmp_path):
    model = tiny()
    folder = write_folder(model, tmp_path / "a")
    larger = replace(TINY, vision_encoder=replace(TINY.vision_encoder, image_size=(42, 42), resample=how))
    found = load(folder, config=larger)
    assert found.vision_encoder.positions.shape == (36, 16)
    same(found, resized(tiny(), 42, how))
    grid = model.vision_encoder.positions.detach().unflatten(0, (4, 4)).movedim(-1, 0)[None]
    ways = {"big_vision": ("bilinear", True), "transformers": ("bicubic", False)}
    mode, corners = ways[how]
    wanted = torch.nn.functional.interpolate(grid, size=(6, 6), mode=mode, align_corners=corners)[0]
    torch.testing.assert_close(found.vision_encoder.positions.detach(), wanted.movedim(0, -1).flatten(0, 1))
    assert found.embed_images(torch.zeros(1, 1, 3, 42, 42)).shape == (1, 36, 24)


def test_rows_of_the_vocabulary_that_are_padding(tmp_path):
    model = tiny()
    folder = write_folder(model, tmp_path / "a")
    fewer = load(folder, config=replace(TINY, language=replace(TINY.language, vocabulary=60)))
    assert torch.equal(fewer.language.token_embedding.weight, model.language.token_embedding.weight[:60])
    with pytest.raises(BadInput, match="embed_tokens"):
        load(folder, config=replace(TINY, language=replace(TINY.language, vocabulary=70)))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("paligemma-3b", 2_923_335_408),
        ("paligemma2-3b", 3_032_094_960),
        ("paligemma2-10b", 9_662_409_456),
        ("paligemma2-28b", 27_650_192_112),
    ],
)
def test_published_sizes(name, count):
    """Parameters as the notes count them, from the public files; the tables fill each tensor exactly once."""
    for size, more in ((224, 0), (448, 884_736), (896, 4_423_680)):
        config = named(f"{name}-{size}")
        with torch.device("meta"):
            own = PaliGemma(config).state_dict()
        for table in (huggingface.table, big_vision.table):
            assert sum(math.prod(piece.part_shape(own)) for piece in table(config)) == count + more


@pytest.fixture
def folder(tmp_path):
    return write_folder(tiny(), tmp_path / "shards", shards=3)


def test_a_missing_shard_is_named(folder):
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(BadInput, match=r"lacks model-00002-of-00003.safetensors, one of 3 files"):
        load(folder)


def test_half_a_shard_is_named(folder):
    path = folder / "model-00002-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(BadInput, match=r"model-00002-of-00003.safetensors is not a safetensors file .*not fully covered"):
        load(folder)
    path.write_bytes(b"\x01")
    with pytest.raises(BadInput, match="is not a safetensors file"):
        load(folder)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "..", "a\\b", ""])
def test_an_index_cannot_leave_its_folder(folder, name):
    shutil.copy(folder / "model-00002-of-00003.safetensors", folder.parent / "model.safetensors")
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"] = {k: name if "00002" in v else v for k, v in index["weight_map"].items()}
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(BadInput, match="outside its folder"):
        load(folder)


def test_weights_of_another_model(folder, tmp_path):
    with pytest.raises(BadInput, match="those of a PaliGemma, and the config is that of a PaliGemma 2"):
        load(folder, config=TINY_2)
    with pytest.raises(BadInput, match="those of a PaliGemma 2, and the config is that of a PaliGemma;"):
        load(write_folder(tiny(TINY_2), tmp_path / "second"), config=TINY)
    with pytest.raises(BadInput, match=r"q_proj.weight is \(32, 24\) where the config wants \(16, 24\)"):
        load(folder, config=replace(TINY, language=replace(TINY.language, heads=2)))
    with pytest.raises(BadInput, match=r"lack language_model\.model\.layers\.3"):
        load(folder, config=replace(TINY, language=replace(TINY.language, depth=4)))
    with pytest.raises(BadInput, match=r"has no language_model\.model\.layers\.2"):
        load(folder, config=replace(TINY, language=replace(TINY.language, depth=2)))
    with pytest.raises(BadInput, match="depth is 1,000,000 in the config"):
        load(folder, config=replace(TINY, language=replace(TINY.language, depth=10**6)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_type": "llava"}, "is of a 'llava'"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings off"),
        ({"text_config": {"model_type": "llama"}}, "is of a 'llama'"),
        ({"text_config": {"attention_bias": True}}, "attention_bias True"),
        ({"text_config": {"rope_parameters": {"rope_type": "yarn"}}}, "'yarn'"),
        ({"text_config": {"hidden_size": "wide"}}, "width is wide"),
        ({"vision_config": {"num_channels": 1}}, "1 channels"),
        ({"text_config": {"hidden_size": -4}}, "width is -4"),
    ],
)
def test_configs_of_other_models(folder, change, told):
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | change))
    with pytest.raises(BadInput, match=told):
        load(folder)


def test_folders_that_are_none(tmp_path, folder):
    with pytest.raises(BadInput, match="is a folder without"):
        tapetum.load(tmp_path)
    with pytest.raises(BadInput, match=r"there is no .*config.json"):
        load(tmp_path)
    (folder / "config.json").write_text("{")
    with pytest.raises(BadInput, match="cannot be read"):
        load(folder)
    (tmp_path / "a.npz").write_bytes(b"PK no")
    with pytest.raises(BadInput, match=r"is not a \.npz"):
        load(tmp_path / "a.npz", config=TINY)
    with pytest.raises(BadInput, match="did you mean paligemma-3b-pt-224"):
        load("paligemma-3b-pt-22")
    with pytest.raises(
        BadInput, match=r"accept the Gemma licence at https://\S+paligemma-3b-pt-224 .* fetch .*\(11\.7 GB, licence"
    ):
        load("paligemma-3b-pt-224")


def test_numbers_that_are_not_finite(tmp_path):
    model = tiny()
    with torch.no_grad():
        model.language.blocks[1].mlp.out.weight[3, 4] = torch.nan
    with pytest.raises(BadInput, match=r"layers\.1\.mlp\.down_proj.* finite"):
        load(write_folder(model, tmp_path / "a"))
    with pytest.raises(BadInput, match=r"mlp/linear in .* finite"):
        load(write_npz(model, tmp_path / "a.npz"), config=TINY)


@pytest.mark.parametrize("damage", ["kind", "offsets", "shape", "json"])
def test_forged_headers(folder, damage):
    path = folder / "model-00001-of-00003.safetensors"
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    name = next(name for name in header if name != "__metadata__")
    changed = {"kind": {"dtype": "I64"}, "offsets": {"data_offsets": [0, 10**15]}, "shape": {"shape": [-1]}, "json": {}}
    header[name] = changed[damage] if damage == "json" else header[name] | changed[damage]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    with pytest.raises(BadInput, match=r"model-00001-of-00003\.safetensors"):
        load(folder)


def test_an_array_of_objects_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **{"img/head/bias": np.array([{}], dtype=object)})
    with pytest.raises(BadInput, match="weights are float"):
        load(tmp_path / "a.npz", config=TINY)


def test_our_files_are_ordinary_safetensors(tmp_path):
    model = tiny()
    save(model, tmp_path / "a.safetensors")
    state = load_file(tmp_path / "a.safetensors")
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
