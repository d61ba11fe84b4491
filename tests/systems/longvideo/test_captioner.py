"""Video to text: what the language model says alone, what it says of a video, and how likely answers are; each by hand, too."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tapetum
from support.video_clips import DATA
from tapetum.core.errors import BadInput
from tapetum.encoders.config import DecoderConfig
from tapetum.layers.generate import SamplingConfig
from tapetum.systems import longvideo
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.config import named
from tapetum.systems.longvideo.language import ByteLanguage, ForeignLanguage
from tapetum.systems.longvideo.video_text_config import CaptionerConfig
from tapetum.systems.longvideo.weights import load, save

VIDEO: dict[str, Any] = {"width": 24, "depth": 2, "heads": 2, "mlp_width": 48, "size": (16, 16), "tubelet": (2, 8, 8)}
VIDEO |= {"stem": "patch", "stem_blocks": 0, "frames": 16, "segment_frames": 8, "memories": 3, "memory": "consolidated"}
BYTES = DecoderConfig(width=32, depth=2, heads=2, key_value_heads=1, head_width=16, mlp_width=48, vocabulary=258)


def captioner(language: Any = BYTES, open_gates: bool = False, **changes: Any) -> Captioner:
    torch.manual_seed(0)
    model = Captioner(CaptionerConfig(video=named("mcvit-nano", **{**VIDEO, **changes}), language=language, latents=3)).eval()
    if open_gates:
        for look in model.cross_attention:
            torch.nn.init.constant_(look.gate, 0.7)
            torch.nn.init.constant_(look.mlp_gate, -0.4)
    return model


def clip(frames: int = 20, videos: int = 1) -> torch.Tensor:
    return torch.rand(videos, frames, 16, 16, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_it_goes_to_another_precision_as_a_whole() -> None:
    model = captioner()
    assert model.double() is model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny causal model of transformers with a tokenizer, in a folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    place = tmp_path_factory.mktemp("gpt2")
    words = ["<end>", "a", "ball", "falls", "cube", "the", "red", "what", "?", "<unk>"]
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="<unk>").save_pretrained(place)
    torch.manual_seed(3)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=10, n_positions=256, n_embd=32, n_layer=3, n_head=2)).eval()
    model.save_pretrained(place)
    return str(place)


@torch.no_grad()
def test_at_first_the_language_model_is_itself_to_the_bit(foreign: str) -> None:
    for language in (BYTES, foreign):
        model = captioner(language)
        ids = torch.tensor([[0, 5, 6, 2, 3, 1]])
        alone = model.language.read(ids)
        latents = model.encode(clip())
        assert torch.equal(model(ids, latents), alone)
        torch.nn.init.constant_(model.cross_attention[0].gate, 0.5)
        assert not torch.equal(model(ids, latents), alone)
        assert torch.equal(model(ids), alone)  # nothing stays behind


@torch.no_grad()
def test_blocks_of_transformers_are_looked_through_in_their_order(foreign: str) -> None:
    model = captioner(foreign, open_gates=True)
    ids, latents = torch.tensor([[0, 5, 6, 2]]), model.encode(clip())
    gpt = model.language.model.transformer
    x = gpt.wte(ids) + gpt.wpe(torch.arange(4))
    for look, block in zip(model.cross_attention, gpt.h, strict=True):
        x = x + torch.tanh(look.gate) * look.attention(look.norm(x), latents)
        x = x + torch.tanh(look.mlp_gate) * look.mlp(look.mlp_norm(x))
        query, key, value = (part.view(1, 4, 2, 16).transpose(1, 2) for part in block.attn.c_attn(block.ln_1(x)).split(32, -1))
        weights = (query @ key.transpose(2, 3) / 4).masked_fill(~torch.ones(4, 4, dtype=torch.bool).tril(), -torch.inf)
        x = x + block.attn.c_proj((weights.softmax(-1) @ value).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.ln_2(x))
    torch.testing.assert_close(model(ids, latents), gpt.ln_f(x) @ gpt.wte.weight.T, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_with_closed_gates_likelihood_is_the_loss_of_transformers(foreign: str) -> None:
    alone = captioner(foreign)
    ids = torch.tensor([[*alone.language.encode("what ?"), *alone.language.encode_continuation(" a ball")]])
    labels = ids.clone()
    labels[:, :3] = -100
    loss = alone.language.model(input_ids=ids, labels=labels).loss
    assert alone.score_options(alone.encode(clip()), "what ?", ["a ball"])[0] == pytest.approx(-float(loss), abs=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_texts_are_written_as_by_transformers(foreign: str) -> None:
    model = captioner(open_gates=True)
    alone = captioner(foreign)
    begin = torch.tensor([alone.language.encode("the red")])
    wanted = alone.language.model.generate(begin, max_new_tokens=6, do_sample=False, pad_token_id=0)[0, begin.shape[1] :]
    assert alone.generate(alone.encode(clip()), "the red", max_new_tokens=6) == [alone.language.decode(wanted.tolist()).strip()]
    for each, sampling in ((model, SamplingConfig(beams=3)), (captioner(foreign, open_gates=True), SamplingConfig(beams=2))):
        shown = each.encode(clip(20, 2))
        both = each.generate(shown, "a", sampling, max_new_tokens=5)
        assert both == [
            text for row in range(2) for text in each.generate(shown[row : row + 1], "a", sampling, max_new_tokens=5)
        ]


def test_only_what_is_between_learns_and_it_is_saved_alone(foreign: str, tmp_path: Path) -> None:
    for name, language in (("own", BYTES), ("foreign", foreign)):
        model = captioner(language, open_gates=True).train()
        assert not model.video.training
        assert not model.language.training
        loss = model.loss(model.encode(clip()), ["a ball falls"])
        loss.backward()
        for own, parameter in model.named_parameters():
            learns = own.startswith(("resampler", "cross_attention"))
            assert parameter.requires_grad == learns, own
            assert (parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)) == learns or "key.bias" in own, own
        ids, lengths = model.tokens(["a ball falls"])
        logits = model(ids, model.encode(clip()))[0]
        by_hand = [-float(logits[k].log_softmax(-1)[ids[0, k + 1]].detach()) for k in range(int(lengths[0]) - 1)]
        assert float(loss.detach()) == pytest.approx(float(np.mean(by_hand)), abs=1e-5)
        save(model, tmp_path / f"{name}.safetensors")
        again = tapetum.load(tmp_path / f"{name}.safetensors")
        with torch.no_grad():
            torch.testing.assert_close(again(ids, again.encode(clip())), model.eval()(ids, model.encode(clip())))
        assert any(key.startswith("own_language") for key in again.state_dict()) == (name == "own")


def test_what_cannot_be_is_said_in_one_line(foreign: str, tmp_path: Path) -> None:
    model = captioner()
    latents = model.encode(clip())
    with pytest.raises(BadInput, match="some may be empty"):
        model.score_options(latents, "what ?", ["a", ""])
    with pytest.raises(BadInput, match="some may be empty"):
        model.score_options(latents, "what ?", [])
    with pytest.raises(BadInput, match="say it shorter"):
        model.score_options(latents, "what ?", ["a" * 230])
    long = model.score_options(latents, "x" * 300 + "what ?", ["a", "ball"])  # what is too long loses its beginning
    assert long == pytest.approx(model.score_options(latents, ("x" * 300 + "what ?")[-218:], ["a", "ball"]), abs=1e-5)
    with pytest.raises(BadInput, match="together at most 224"):
        model.generate(latents, "a" * 300)
    with pytest.raises(BadInput, match="no causal language model of transformers"):
        ForeignLanguage(str(tmp_path))
    with pytest.raises(BadInput, match="258 tokens, not 9"):
        ByteLanguage(DecoderConfig(width=8, depth=1, heads=1, key_value_heads=1, head_width=8, mlp_width=8, vocabulary=9))
    with pytest.raises(BadInput, match="no grid over which time"):
        captioner(kernels=(((1, 8, 8), (1, 8, 8)),), memory="joint")
    save(model.language, tmp_path / "language.safetensors")
    assert isinstance(load(tmp_path / "language.safetensors"), ByteLanguage)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such"}))
    with pytest.raises(BadInput, match="no causal language model"):
        ForeignLanguage(str(tmp_path))
    longvideo.save(model, tmp_path / "captioner.safetensors")


def test_an_answer_by_likelihood_is_that_of_one_call(tmp_path: Path) -> None:
    model = captioner(open_gates=True)
    save(model, tmp_path / "longvideo.safetensors")
    frames = np.random.default_rng(0).integers(0, 255, (44, 16, 16, 3), np.uint8)
    options = ("a red ball", "a cube", "nothing")
    made = tapetum.answer(frames, "what falls ?", options=options, model=tmp_path, frame_rate=30)
    video = torch.from_numpy(frames)[None].float() / 127.5 - 1
    wanted = model.score_options(model.encode(video), "what falls ?", options)
    assert made.log_probabilities == pytest.approx(wanted, abs=1e-5)
    assert made.answer == options[int(np.argmax(wanted))]
    assert made.as_json()["by"] == "likelihood"
    with pytest.raises(BadInput, match="it answers --by likelihood"):
        tapetum.answer(frames, "what falls ?", options=options, model=tmp_path, by="similarity")
    save(longvideo.build_video_text("mcvit-nano", **VIDEO), tmp_path / "longvideo.safetensors")
    with pytest.raises(BadInput, match="it answers --by similarity"):
        tapetum.answer(frames, "what falls ?", options=options, model=tmp_path, by="likelihood")


def test_a_run_takes_a_model_of_transformers_by_its_place(foreign: str, tmp_path: Path) -> None:
    from tapetum.systems.longvideo.recipes import recipe
    from tapetum.systems.longvideo.run import CaptionerTask
    from tapetum.train import StepContext

    sizes = {**VIDEO, "size": (64, 64), "tubelet": (2, 16, 16), "frames": 8}
    longvideo.save(longvideo.build("mcvit-nano", **sizes), tmp_path / "start.safetensors")
    run = recipe(
        "video-to-text",
        DATA,
        start=str(tmp_path / "start.safetensors"),
        language=foreign,
        size=64,
        frames=8,
        event_frames=4,
        memories=3,
        checks=1,
    )
    task = CaptionerTask(run)
    model = task.model()
    assert isinstance(model.language, ForeignLanguage)
    assert model.config.video.mask_always
    batch = task.collate([task.dataset()[k] for k in range(2)])
    loss, _ = task.loss(model, batch, StepContext())
    with torch.no_grad():  # the gates are closed
        ids, lengths = model.tokens(batch["text"])
        labels = ids.masked_fill(torch.arange(ids.shape[1]) >= lengths[:, None], -100)
        alone = model.language.model(input_ids=ids, labels=labels).loss
    assert float(loss.detach()) == pytest.approx(float(alone), abs=1e-5)
    save(model, tmp_path / "captioner.safetensors")
    assert load(tmp_path / "captioner.safetensors").config.language == foreign
    with pytest.raises(BadInput, match="is no language model"):
        CaptionerTask(replace(run, language=run.start)).model()
