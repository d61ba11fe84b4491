"""Verbs with a model of transformers: what is said to it, what it says, and what it cannot do."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.image_text_models import save_llava, save_qwen
from tapetum.systems.image_text.boxes import FAMILIES, read_json_boxes, read_location_boxes
from tapetum.systems.image_text.model import CAPTION, ImageTextModel
from tapetum.systems.paligemma.answers import Reply

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a model without boxes and of one with them."""
    folder = tmp_path_factory.mktemp("models")
    return {"llava": save_llava(folder / "llava"), "qwen": save_qwen(folder / "qwen")}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 52, 3), np.uint8)).save(path)
    return path


def test_ask_and_caption_say_what_the_model_says(run: Run, models: dict[str, Path], photo: Path) -> None:
    frame = np.asarray(Image.open(photo))[None]
    for words, prompt in ((("ask", photo, "what is this?"), "what is this?"), (("caption", photo), CAPTION)):
        code, out, _ = run(*words, "--model", models["llava"], "--tokens", "6", "--json")
        assert code == 0
        [image] = json.loads(out)["images"]
        [expected] = ImageTextModel.load(models["llava"]).ask([frame], [prompt], 6)
        assert (image["prompt"], image["answer"]) == (prompt, expected.text)
        assert image["score"] == pytest.approx(expected.score)
        assert image["ended"] is False


def test_boxes_are_read_from_the_answer_in_pixels(
    run: Run, models: dict[str, Path], photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[{"bbox_2d": [0, 0, 500, 1000], "label": "cat"}, {"bbox_2d": [5, 5, 500, 90], "label": "sky"}, {"bbox_2d": [9, 9]}]'
    said: list[str] = []

    def ask(self: ImageTextModel, images: object, prompts: list[str], *_: object, **__: object) -> list[Reply]:
        said.extend(prompts)
        return [Reply(text=text, ids=(1, 2), log_probabilities=(-0.5, -1.5, -1.0), ended=True)]

    monkeypatch.setattr(ImageTextModel, "ask", ask)
    code, out, _ = run("detect", photo, "cat ; dog", "--model", models["qwen"], "--json")
    assert code == 0
    [image] = json.loads(out)["images"]
    assert said == [FAMILIES["qwen3_vl"].detect.format("cat, dog")]
    assert image["boxes"] == [{"label": "cat", "score": round(np.exp(-1.0), 6), "box": [0.0, 0.0, 26.0, 40.0]}]
    assert (image["malformed"], image["unasked"]) == (1, ["sky"])


def test_what_a_model_cannot_is_one_line(run: Run, models: dict[str, Path], photo: Path) -> None:
    for words, what in (
        (("detect", photo, "cat", "--model", models["llava"]), "this model writes no boxes"),
        (("segment", photo, "cat", "--model", models["qwen"]), "this model writes no masks"),
        (
            ("ask", photo, "what?", "--model", models["qwen"], "--masks", "paligemma-masks"),
            "leave out --model-config and --masks",
        ),
        (("ask", photo, "what?", "--model", models["qwen"], "--resize", "transformers"), "--resize is for PaliGemma"),
        (("ask", photo, "x" * 2_000, "--model", models["llava"]), "give a shorter prompt"),
        (("answer", photo, "?", "--options", "a", "b", "--by", "similarity", "--model", models["llava"]), "--by likelihood"),
    ):
        code, out, err = run(*words)
        assert (code, out, err.count("\n")) == (2, "", 1), words
        assert what in err, err


def test_answers_are_chosen_by_likelihood(run: Run, models: dict[str, Path], photo: Path) -> None:
    words = ("answer", photo, "what?", "--options", "dog", "a cat", "--model", models["qwen"], "--json")
    code, out, _ = run(*words)
    assert code == 0
    made = json.loads(out)
    scores = ImageTextModel.load(models["qwen"]).score_options(np.asarray(Image.open(photo))[None], "what?", ["dog", "a cat"])
    assert (made["by"], made["log_probabilities"]) == ("likelihood", pytest.approx(scores))
    assert made["answer"] == ["dog", "a cat"][int(np.argmax(scores))]


@pytest.mark.parametrize(
    ("text", "rows", "malformed"),
    [
        ("there is none", 0, 0),
        ('{"bbox_2d": [0, 0, 10, 10]}', 1, 0),
        ('[{"bbox_2d": [10, 0, 0, 10], "label": "a"}, {"bbox_2d": [0, 0, 1e9, 1], "label": "a"}]', 0, 2),
        ('[{"bbox_2d": ["x", 0, 1, 1]}, {"bbox_2d": null}, {"label": "a"}]', 0, 3),
        ("{" * 5_000, 0, 5_000),
    ],
)
def test_what_is_no_box_is_counted(text: str, rows: int, malformed: int) -> None:
    made, count = read_json_boxes(text)
    assert (len(made), count) == (rows, malformed)


def test_locations_follow_a_label_several_at_a_time() -> None:
    rows, malformed = read_location_boxes(
        "cat<loc_0><loc_0><loc_9><loc_9><loc_9><loc_9><loc_1><loc_99>dog<loc_1><loc_2><loc_3><loc_4>"
    )
    assert rows == [("cat", [0, 0, 9, 9]), ("dog", [1, 2, 3, 4])]
    assert malformed == 1
