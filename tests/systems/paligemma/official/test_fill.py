"""SigLIP and a raw Gemma become a PaliGemma: from either format, with each quirk that is in circulation."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from support.paligemma import BOTH, GEMMA, TINY, tiny
from tapetum.core.errors import BadInput
from tapetum.systems.paligemma import PaliGemma, PaliGemmaConfig, join, load, to_state
from tapetum.systems.paligemma.config import LOCATIONS, SEGMENTS
from tapetum.systems.paligemma.official import big_vision

ROWS = 40
"""Of the raw Gemma's own tokens."""
NEW = LOCATIONS + SEGMENTS


def extended(config: PaliGemmaConfig) -> PaliGemmaConfig:
    return replace(config, language=replace(config.language, vocabulary=ROWS + NEW))


@pytest.fixture(scope="module", params=BOTH)
def model(request: pytest.FixtureRequest) -> PaliGemma:
    return tiny(extended(BOTH[request.param]))


def table(model: PaliGemma) -> torch.Tensor:
    return model.state_dict()["language.token_embedding.weight"]


def write_npz(path: Path, arrays: Mapping[str, torch.Tensor]) -> Path:
    np.savez(path, **{name: value.detach().numpy() for name, value in arrays.items()})  # pyright: ignore[reportArgumentType]
    return path


def halves_of_big_vision(model: PaliGemma, folder: Path, quirks: bool) -> tuple[Path, Path]:
    """As big_vision has a SigLIP and a Gemma, with quirks or without."""
    state = to_state(model, "big_vision")
    vision_encoder = {f"params/{k}": v for k, v in state.items() if k.startswith("img/") and "/head/" not in k}
    vision_encoder |= {
        "params/img/MAPHead_0/probe": torch.zeros(1, 1, 16),
        "params/txt/head/bias": torch.zeros(3),
        "params/t": torch.zeros(1),
    }
    language = {k.removeprefix("llm/"): v for k, v in state.items() if k.startswith("llm/")}
    own = language["embedder/input_embedding"][:ROWS]
    language["embedder/input_embedding"] = torch.cat((own, torch.full((128, own.shape[1]), 9.0))) if quirks else own
    if quirks:
        language["layers/mlp/gating_einsum"] = language["layers/mlp/gating_einsum"].transpose(-1, -2).contiguous()
        stacked = {k: v for k, v in vision_encoder.items() if "/encoderblock/" in k}
        vision_encoder = {k: v for k, v in vision_encoder.items() if k not in stacked}
        vision_encoder |= {k.replace("block/", f"block_{i}/"): v[i] for k, v in stacked.items() for i in range(len(v))}
    return write_npz(folder / "siglip.npz", vision_encoder), write_npz(folder / "gemma.npz", language)


def halves_of_hugging_face(model: PaliGemma, folder: Path) -> tuple[Path, Path]:
    """As transformers writes a whole SigLIP, of which only the vision encoder's images count, and a Gemma."""
    state = to_state(model, "huggingface")
    vision_encoder = {
        f"vision_model.{k.removeprefix('vision_tower.')}": v for k, v in state.items() if k.startswith("vision_tower.")
    }
    vision_encoder |= {"vision_model.head.probe": torch.zeros(1, 1, 16), "text_model.final_layer_norm.bias": torch.zeros(3)}
    language = {k.removeprefix("language_model."): v for k, v in state.items() if k.startswith("language_model.")}
    language["model.embed_tokens.weight"] = language["model.embed_tokens.weight"][:ROWS].clone()
    language["lm_head.weight"] = language["model.embed_tokens.weight"].clone()
    for name, tensors in {"siglip": vision_encoder, "gemma": language}.items():
        (folder / name).mkdir()
        save_file(tensors, folder / name / "model.safetensors")
    return folder / "siglip", folder / "gemma"


@pytest.mark.parametrize("kind", ["big_vision", "big_vision with quirks", "hugging_face"])
def test_halves_are_joined(model: PaliGemma, kind: str, tmp_path: Path) -> None:
    if kind == "hugging_face":
        vision_encoder, language = halves_of_hugging_face(model, tmp_path)
    else:
        vision_encoder, language = halves_of_big_vision(model, tmp_path, quirks="quirks" in kind)
    found = join(vision_encoder, language, model.config)
    wanted = model.state_dict()
    for name, tensor in found.state_dict().items():
        if name.startswith("projector."):
            assert not tensor.any()
        elif name == "language.token_embedding.weight":
            assert torch.equal(tensor[:ROWS], wanted[name][:ROWS])
            assert tensor[ROWS:].std() == pytest.approx(0.02, rel=0.05)
            assert abs(tensor[ROWS:].mean()) < 0.001
        else:
            assert torch.equal(tensor, wanted[name]), name
    again = join(vision_encoder, language, model.config, dtype=torch.bfloat16)
    assert table(again).dtype == torch.bfloat16
    assert torch.equal(table(again), table(found).bfloat16())


def test_halves_that_transformers_wrote(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    c, sight = GEMMA, TINY.vision_encoder
    text = {"hidden_size": c.width, "num_hidden_layers": c.depth, "num_attention_heads": c.heads, "head_dim": c.head_width}
    text |= {"num_key_value_heads": c.key_value_heads, "intermediate_size": c.mlp_width, "vocab_size": ROWS}
    seen = {"hidden_size": sight.width, "num_hidden_layers": sight.depth, "num_attention_heads": sight.heads, "patch_size": 7}
    seen |= {"intermediate_size": sight.mlp_width, "image_size": 28}
    gemma = transformers.GemmaForCausalLM(transformers.GemmaConfig(**text)).eval()
    siglip = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**seen)).eval()
    gemma.save_pretrained(tmp_path / "gemma")
    siglip.save_pretrained(tmp_path / "siglip")
    model = join(tmp_path / "siglip", tmp_path / "gemma", extended(TINY))
    pixels, ids = torch.rand(1, 1, 3, 28, 28) * 2 - 1, torch.tensor([[2, 9, 17, 5]])
    with torch.no_grad():
        torch.testing.assert_close(
            model.vision_encoder(pixels[0]).tokens, siglip(pixels[0]).last_hidden_state, atol=1e-5, rtol=1e-5
        )
        hidden = model.language(model.language.embed(ids))
        torch.testing.assert_close(model.language.logits(hidden)[..., :ROWS], gemma(ids).logits, atol=1e-5, rtol=1e-4)


def test_a_whole_file_with_a_raw_table(tmp_path: Path) -> None:
    model = tiny(extended(TINY))
    state = to_state(model, "big_vision")
    state["llm/embedder/input_embedding"] = state["llm/embedder/input_embedding"][:ROWS]
    found = load(write_npz(tmp_path / "a.npz", state), config=model.config)
    assert torch.equal(table(found)[:ROWS], table(model)[:ROWS])
    assert table(found)[ROWS:].std() == pytest.approx(0.02, rel=0.05)
    state["llm/embedder/input_embedding"] = state["llm/embedder/input_embedding"][: ROWS - 1]
    with pytest.raises(BadInput, match="input_embedding is"):
        load(write_npz(tmp_path / "b.npz", state), config=model.config)


def test_halves_that_do_not_fit(tmp_path: Path) -> None:
    model = tiny(extended(TINY))
    vision_encoder, language = halves_of_big_vision(model, tmp_path, quirks=False)
    with pytest.raises(BadInput, match="there are 2 tensors in all"):
        join(language, vision_encoder, model.config)
    with pytest.raises(BadInput, match=r"there is no .*none"):
        join(tmp_path / "none", language, model.config)
    wider = replace(model.config, language=replace(model.config.language, mlp_width=48))
    with pytest.raises(BadInput, match="gating_einsum is"):
        join(vision_encoder, language, wider)
    assert big_vision.plain_name("params/img/head/bias") == "img/head/bias"
