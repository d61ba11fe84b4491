"""Models of transformers with the chat template of their processors: texts equal the library's own greedy search."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from support.image_text_models import SAVERS, save_llava
from tapetum.core.errors import BadInput
from tapetum.layers.generate import SamplingConfig
from tapetum.systems.image_text.model import ImageTextModel

PROMPTS = "what is this?", "a dog?", "a cat on the grass?"
FRAMES = [np.random.default_rng(k).integers(0, 255, (1, 40 + 7 * k, 52, 3), np.uint8) for k in range(3)]


@pytest.fixture(scope="module", params=SAVERS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImageTextModel:
    """Each family once, loaded from its folder."""
    folder = SAVERS[request.param](tmp_path_factory.mktemp("models") / request.param)
    return ImageTextModel.load(folder)


def prepared(model: ImageTextModel, content: list[dict[str, Any]], **more: Any) -> Any:
    """Tensors of one conversation, by the library alone."""
    turns, settings = [[{"role": "user", "content": content}]], {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    return model.processor.apply_chat_template(turns, add_generation_prompt=True, **settings, **more)


def generated(model: ImageTextModel, content: list[dict[str, Any]], n: int, settings: Any = None, **more: Any) -> list[int]:
    """The answer to one conversation by the library alone."""
    inputs = prepared(model, content, **({} if settings is None else {"processor_kwargs": settings}))
    length = inputs["input_ids"].shape[1]
    return model.model.generate(**inputs, max_new_tokens=n, do_sample=False, **more)[0, length:].tolist()


def test_answers_of_a_batch_are_those_of_the_library(model: ImageTextModel) -> None:
    replies = model.ask(FRAMES, PROMPTS, 8)
    assert len(replies) == 3
    for frames, prompt, reply in zip(FRAMES, PROMPTS, replies, strict=True):
        content = [{"type": "image", "image": Image.fromarray(frames[0])}, {"type": "text", "text": prompt}]
        ids = generated(model, content, 8)
        assert reply.ids == tuple(ids)
        assert reply.text == model.processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert not reply.ended
        assert len(reply.log_probabilities) == 8
        assert all(-20 < each < 0 for each in reply.log_probabilities)


def test_text_comes_piece_by_piece(model: ImageTextModel) -> None:
    pieces: list[str] = []
    [reply] = model.ask(FRAMES[:1], PROMPTS[:1], 8, on_text=pieces.append)
    assert pieces[-1].strip() == reply.text
    assert all(longer.startswith(shorter) for shorter, longer in itertools.pairwise(pieces))


def test_an_answer_ends_at_the_end_token(model: ImageTextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    [longer] = model.ask(FRAMES[:1], PROMPTS[:1], 8)
    end = longer.ids[3]
    monkeypatch.setattr(model.model.generation_config, "eos_token_id", end)
    monkeypatch.setattr(model, "_ends", {end})
    first = longer.ids.index(end)
    [reply] = model.ask(FRAMES[:1], PROMPTS[:1], 8)
    assert (reply.ids, reply.ended) == (longer.ids[:first], True)
    assert reply.log_probabilities == pytest.approx(longer.log_probabilities[: first + 1])


def test_frames_are_a_video_where_the_processor_takes_one(model: ImageTextModel) -> None:
    frames = np.concatenate([FRAMES[0]] * 2 + [255 - FRAMES[0]] * 2)
    takes = model.model.config.model_type != "llava"  # which has no processor of videos
    [reply] = model.ask([frames], PROMPTS[:1], 6, video=True)
    words = {"type": "text", "text": PROMPTS[0]}
    if takes:
        about = {"fps": 1.0, "total_num_frames": 4, "frames_indices": [0, 1, 2, 3]}
        settings = {"do_sample_frames": False, "video_metadata": [about]}
        ids = generated(model, [{"type": "video", "video": frames}, words], 6, settings)
    else:
        ids = generated(model, [*({"type": "image", "image": Image.fromarray(frame)} for frame in frames), words], 6)
    assert reply.ids == tuple(ids)


def test_options_are_scored_by_their_own_tokens(model: ImageTextModel) -> None:
    """The same by hand: the request, then the option's tokens, their log-probabilities after all before."""
    options = ["yes", "a dog and a cat"]
    scores = model.score_options(FRAMES[0], "what?", options, video=False)
    content = [{"type": "image", "image": Image.fromarray(FRAMES[0][0])}, {"type": "text", "text": "what?"}]
    for option, score in zip(options, scores, strict=True):
        inputs = prepared(model, content)
        length = inputs["input_ids"].shape[1]
        more = torch.tensor([model.processor.tokenizer(option, add_special_tokens=False)["input_ids"]])
        for key in ("input_ids", "attention_mask", "mm_token_type_ids"):
            if key in inputs:
                tail = more if key == "input_ids" else torch.full_like(more, int(key == "attention_mask"))
                inputs[key] = torch.cat([inputs[key], tail], 1)
        with torch.inference_mode():
            chances = model.model(**inputs).logits[0, length - 1 : -1].log_softmax(-1)
        assert score == pytest.approx(float(chances.gather(1, more[0, :, None]).mean()), abs=1e-5)


def test_beams_are_the_library_s(model: ImageTextModel) -> None:
    [reply] = model.ask(FRAMES[:1], PROMPTS[:1], 5, sampling=SamplingConfig(beams=3))
    content = [{"type": "image", "image": Image.fromarray(FRAMES[0][0])}, {"type": "text", "text": PROMPTS[0]}]
    assert reply.ids == tuple(generated(model, content, 5, num_beams=3))


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a small model."""
    return save_llava(tmp_path_factory.mktemp("models") / "llava")


def test_what_cannot_be_is_said_in_one_line(llava: Path) -> None:
    model = ImageTextModel.load(llava)
    for task, what in (("detect", "boxes"), ("segment", "masks")):
        with pytest.raises(BadInput, match=f"this model writes no {what}"):
            model.words(task, "dog")
    with pytest.raises(BadInput, match="the prompt is empty"):
        model.ask(FRAMES[:1], [" "])
    with pytest.raises(BadInput, match="reads 128; give a shorter prompt"):
        model.ask(FRAMES[:1], ["word " * 2000])


@pytest.mark.parametrize(
    ("gone", "change", "message"),
    [
        (("processor_config.json", "preprocessor_config.json"), {}, "it has no processor_config.json"),
        (("tokenizer.json", "tokenizer_config.json"), {}, "is no image-text-to-text model"),
        (("model.safetensors",), {}, "is no image-text-to-text model"),
        ((), {"model_type": "bert"}, "is no image-text-to-text model"),
        ((), {"model_type": "novel", "auto_map": {"AutoConfig": "code.Config"}}, "tapetum never runs that"),
    ],
)
def test_folders_that_lack_something(llava: Path, tmp_path: Path, gone: Any, change: Any, message: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in llava.iterdir():
        if file.name not in gone:
            (folder / file.name).write_bytes(file.read_bytes())
    (folder / "code.py").write_text("raise SystemExit('code ran')")
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=message):
        ImageTextModel.load(folder)


def test_without_a_template_words_are_said_verbatim(llava: Path) -> None:
    model = ImageTextModel.load(llava)
    model.processor.chat_template = None
    with pytest.raises(BadInput, match="has no chat template"):
        model.ask(FRAMES[:1], ["what?"])
    [reply] = model.ask(FRAMES[:1], ["<image> what?"], 4)
    inputs = model.processor(text=["<image> what?"], images=[Image.fromarray(FRAMES[0][0])], return_tensors="pt")
    ids = model.model.generate(**inputs, max_new_tokens=4, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert reply.ids == tuple(ids.tolist())
