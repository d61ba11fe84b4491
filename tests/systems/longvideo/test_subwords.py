"""The published text towers: BERT that reads the subwords of a user's tokenizer, trained, saved and asked."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import tapetum
from support.tokenizers import WORDS, write_wordpiece
from support.video_clips import DATA
from tapetum.core.errors import BadInput
from tapetum.encoders.subwords import read_subwords
from tapetum.systems import longvideo
from tapetum.systems.longvideo import config, streaming, video_text_config
from tapetum.systems.longvideo import run as longvideo_run
from tapetum.systems.longvideo.recipes import PAPER, VideoTextRun
from tapetum.systems.longvideo.run import train_longvideo
from tapetum.systems.longvideo.task import VideoTextTask
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.systems.longvideo.weights import continue_from
from tapetum.train.launch_config import Launch
from tapetum.video import open_video, write_video

TINY: dict[str, Any] = {"size": 64, "frames": 4, "event_frames": 2, "steps": 2, "batch_size": 4, "micro_batch": 2, "checks": 1}
TINY |= {"memories": 3, "bf16": False, "vocabulary": len(WORDS)}
SMALL: dict[str, Any] = {"width": 12, "depth": 5, "heads": 2, "mlp_width": 24}


@pytest.fixture(autouse=True)
def miniature(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published networks, narrow and shallow; all else of them is as it was."""
    named, texts = dict(config.NAMED), dict(video_text_config.TEXTS)
    for name in ("longvivit-l", "mcvit-l"):
        named[name] = replace(named[name], **SMALL)
        text, _ = texts[name]
        texts[name] = replace(text, width=16, depth=2, heads=2, mlp_width=24, length=12), 8
    monkeypatch.setattr(config, "NAMED", named)
    monkeypatch.setattr(video_text_config, "TEXTS", texts)
    small: dict[str, Any] = {"width": 16, "depth": 2, "heads": 1, "head_width": 16, "mlp_width": 24}
    monkeypatch.setattr(longvideo_run, "BYTE_DECODER", replace(longvideo_run.BYTE_DECODER, **small))


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    return write_wordpiece(tmp_path / "vocab.txt")


def train(run: VideoTextRun, out: Path, **changes: Any) -> tuple[Path, Mapping[str, float]] | None:
    settings: dict[str, Any] = {"threads": 1, "workers": 0, "device": "cpu", **changes}
    return train_longvideo(run, Launch(out=out, **settings), lambda text: None)


def from_bert(state: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Name the weights of transformers' BertModel as a text tower has them."""
    words = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
    made = {
        "embedding.weight": state[words[0]],
        "positions": state[words[1]] + state["embeddings.token_type_embeddings.weight"][0],
    }
    names = {f"attention.{part}": f"attention.self.{part}" for part in ("query", "key", "value")}
    names |= {"attention_norm": "attention.output.LayerNorm", "attention.out": "attention.output.dense"}
    names |= {"mlp.hidden": "intermediate.dense", "mlp.out": "output.dense", "mlp_norm": "output.LayerNorm"}
    for kind in ("weight", "bias"):
        made[f"embedding_norm.{kind}"] = state[f"embeddings.LayerNorm.{kind}"]
        for k in range(depth):
            theirs = f"encoder.layer.{k}"
            made |= {f"blocks.{k}.{ours}.{kind}": state[f"{theirs}.{name}.{kind}"] for ours, name in names.items()}
    return made


@torch.no_grad()
def test_the_text_tower_is_bert_and_the_mean_of_its_tokens(vocabulary: Path) -> None:
    from transformers import BertConfig, BertModel, BertTokenizer

    model = VideoText(replace(PAPER["short"], **TINY).config).eval()
    text = model.config.text
    torch.manual_seed(0)
    settings = BertConfig(
        vocab_size=text.vocabulary,
        hidden_size=text.width,
        num_hidden_layers=text.depth,
        num_attention_heads=text.heads,
        intermediate_size=text.mlp_width,
        max_position_embeddings=text.length,
        initializer_range=0.5,
    )
    bert = BertModel(settings, add_pooling_layer=False).eval()
    for parameter in bert.parameters():  # norms and biases too
        parameter += torch.randn_like(parameter) * 0.1
    model.text.load_state_dict(from_bert(bert.state_dict(), text.depth))
    model.tokenizer = read_subwords(vocabulary, text.length)
    texts = ["a red ball falls, then a cube", "a cat", "zzz", "a ball on a sofa then it falls on a dog, a cat, a ball"]
    theirs = BertTokenizer({word: k for k, word in enumerate(WORDS)})
    inputs = theirs(texts, padding=True, truncation=True, max_length=text.length, return_tensors="pt")
    tokens, there = bert(**inputs).last_hidden_state, inputs["attention_mask"][..., None]
    expected = F.normalize((tokens * there).sum(1) / there.sum(1) @ model.text_projection.weight.T, dim=-1)
    torch.testing.assert_close(model.embed_texts(model.tokens(texts)), expected, atol=2e-6, rtol=1e-5)


@pytest.mark.slow
def test_published_presets_are_trained_with_a_users_subwords(
    tmp_path: Path, vocabulary: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    (tmp_path / "videos").mkdir()
    captions, questions = [], []
    for k in range(11):
        frames = np.random.default_rng(k).integers(0, 255, (4, 64, 64, 3), np.uint8)
        write_video(tmp_path / "videos" / f"{k}.mp4", frames, 1)
        captions.append({"video": str(k), "caption": f"a ball {k}"})
        questions.append({"video": str(k), "question": "what falls", "options": ["a ball", "a cube"], "answer_id": k % 2})
    for name, rows in (("captions", captions), ("questions", questions)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files: dict[str, Path] = {}
    folder = str(tmp_path)
    train(VideoTextRun(**{**TINY, "stage": "language", "data": folder, "vocabulary": 258}), tmp_path / "words")
    before_it: dict[Any, str] = {
        "images": "",
        "short": "images",
        "long": "short",
        "consolidated": "",
        "questions": "consolidated",
    }
    for stage, before in {**before_it, "video-to-text": "short"}.items():
        start = str(files[before]) if before else ""
        own = {} if start else {"tokenizer": str(vocabulary)}
        words = {"language": str(tmp_path / "words")} if stage == "video-to-text" else {}
        made = train(replace(PAPER[stage], **TINY, data=folder, start=start, **own, **words), tmp_path / stage)
        assert made is not None
        assert all(np.isfinite(value) for value in made[1].values())
        files[stage] = made[0]
    model: Any = tapetum.load(files["questions"])
    assert model.config.text.norm_after
    assert model.tokenizer.content == vocabulary.read_bytes()
    assert model.tokens(["a ball"]).tolist() == [[2, 5, 7, 3]]

    film = tmp_path / "videos" / "0.mp4"
    answer = tapetum.answer(film, "what falls", options=("a ball", "a cube"), model=files["questions"])
    vectors = streaming.embed_words(model, ["what falls a ball", "what falls a cube"])
    with torch.inference_mode(), open_video(film) as video:
        scores = vectors @ streaming.embed_video(model, video)
    assert answer.answer == ("a ball", "a cube")[int(scores.argmax())]
    assert run("index", film, "--model", files["questions"], "--out", tmp_path / "index")[0] == 0
    assert run("search", tmp_path / "index", "a ball")[0] == 0


def short_with(short: VideoTextRun, folder: Path, words: list[str]) -> VideoTextRun:
    (folder / "other.txt").write_text("\n".join(words))
    return replace(short, tokenizer=str(folder / "other.txt"))


def test_tokenizers_that_do_not_fit_are_refused(tmp_path: Path, vocabulary: Path) -> None:
    run = replace(PAPER["short"], **TINY, data=DATA)
    with pytest.raises(BadInput, match=r"of 28 tokens reads subwords; give their --tokenizer, or --vocabulary 258"):
        VideoTextTask(run)
    own = {"tokenizer": str(vocabulary)}
    with pytest.raises(BadInput, match="give --vocabulary 28"):
        VideoTextTask(replace(run, **own, vocabulary=20))
    with pytest.raises(BadInput, match="the stage language has no text tower"):
        replace(run, **own, stage="language")
    model = VideoText(run.config)
    with pytest.raises(BadInput, match="of a tokenizer that is not with it"):
        model.tokens(["a"])
    model.tokenizer = read_subwords(vocabulary, model.config.text.length)
    assert continue_from(model, memory="streaming").tokenizer is model.tokenizer
    longvideo.save(model, tmp_path / "a.safetensors")
    (tmp_path / "other.txt").write_text("\n".join([*WORDS, "more"]))
    before = {"start": str(tmp_path / "a.safetensors")}
    with pytest.raises(BadInput, match="has learned with another tokenizer"):
        VideoTextTask(replace(run, **before, tokenizer=str(tmp_path / "other.txt")))
    longvideo.save(VideoText(replace(run, vocabulary=258).config), tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match="reads bytes; leave --tokenizer out"):
        VideoTextTask(replace(run, **before, **own)).model()


def test_answers_that_are_too_long_lose_the_beginning_of_the_question(vocabulary: Path) -> None:
    model = VideoText(replace(PAPER["short"], **TINY).config).eval()
    model.tokenizer = read_subwords(vocabulary, model.config.text.length)  # ten words of a text
    question = "a cat on a sofa then a dog on it"
    options = ["red ball", "cube"]
    expected = [" ".join(f"{question} {option}".split()[-10:]) for option in options]
    found = streaming.embed_answers(model, question, options)
    np.testing.assert_allclose(found, streaming.embed_words(model, expected), atol=1e-6)
    with pytest.raises(BadInput, match="end with the same 12 tokens"):
        streaming.embed_answers(model, "", ["cat a cat on a sofa then a dog on it", "dog a cat on a sofa then a dog on it"])
