"""Files of models whose weights were rounded to 8 bits: as small as they should be, the same answers, no start for training."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import tapetum
from support.paligemma import BOTH, TINY, tiny
from tapetum.core.errors import BadInput
from tapetum.systems.paligemma import load, save, to_state
from tapetum.systems.paligemma.recipes import transfer
from tapetum.systems.paligemma.transfer.run import TransferStart

PREFIX, SUFFIX = torch.tensor([[2, 9, 17, 5], [2, 11, 5, 0]]), torch.tensor([[8, 50, 1], [21, 1, 0]])


def logits(model: torch.nn.Module) -> torch.Tensor:
    pixels = torch.rand(2, 1, 3, 28, 28, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        return model.logits(pixels.to(model.projector.weight.dtype), PREFIX, SUFFIX)  # type: ignore[operator]


@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("vision_encoder", [False, True])
def test_what_was_saved_answers_as_before(family: str, vision_encoder: bool, tmp_path: Path) -> None:
    model = tiny(BOTH[family])
    save(model, tmp_path / "whole.safetensors")
    model.to_int8(vision_encoder=vision_encoder)
    save(model, tmp_path / "a.safetensors", tokenizer="who")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.metadata()["tokenizer"] == "who"
        assert file.metadata()["eight_bits"] == ("language vision_encoder" if vision_encoder else "language")
    assert (tmp_path / "a.safetensors").stat().st_size < 0.6 * (tmp_path / "whole.safetensors").stat().st_size
    back = tapetum.load(tmp_path / "a.safetensors")
    assert torch.equal(logits(back), logits(model))
    assert back.generate_ids(torch.zeros(2, 1, 3, 28, 28), PREFIX, 6) == model.generate_ids(
        torch.zeros(2, 1, 3, 28, 28), PREFIX, 6
    )
    save(back, tmp_path / "b.safetensors", torch.bfloat16)
    half = load(tmp_path / "b.safetensors", dtype=torch.bfloat16)
    torch.testing.assert_close(logits(half).float(), logits(model), atol=0.3, rtol=0.1)
    assert (logits(half).float() - logits(model)).abs().mean() < 0.06


def test_such_files_are_no_start_and_have_no_other_names(tmp_path: Path) -> None:
    save(tiny().to_int8(), tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match="was rounded to 8 bits, which learn nothing"):
        TransferStart(transfer("x.jsonl", str(tmp_path / "a.safetensors"))).config()
    with pytest.raises(BadInput, match="rounded to 8 bits, for which there are no other names"):
        to_state(tiny().to_int8(), "huggingface")


def test_bytes_that_the_header_does_not_speak_of(tmp_path: Path) -> None:
    save(tiny().to_int8(), tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, tmp_path / "b.safetensors", {"paligemma": about["paligemma"]})
    with pytest.raises(BadInput, match="is of kind 'I8'"):
        load(tmp_path / "b.safetensors")
    save_file(tensors, tmp_path / "c.safetensors", {**about, "eight_bits": "language soul"})
    with pytest.raises(BadInput, match="has bytes in 'language soul'"):
        load(tmp_path / "c.safetensors")
    save_file(tensors, tmp_path / "d.safetensors", {**about, "eight_bits": "language vision_encoder"})
    with pytest.raises(BadInput, match="lack vision_encoder"):
        load(tmp_path / "d.safetensors")
    assert json.loads(about["paligemma"])["newline"] == TINY.newline
