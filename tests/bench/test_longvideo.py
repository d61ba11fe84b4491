"""Long-video encoders on official files, small ones in their form: protocols, scores and server files, each by hand, too."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tapetum
from support.question_sets import write
from support.wordnet import write_wordnet
from tapetum.core.errors import BadInput
from tapetum.encoders.config import DecoderConfig
from tapetum.encoders.towers_config import TextConfig
from tapetum.metrics.captions import caption_scores
from tapetum.systems import longvideo
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.config import named
from tapetum.systems.longvideo.streaming import FrameSelection, embed_video, embed_words, encode_video
from tapetum.systems.longvideo.video_text_config import CaptionerConfig
from tapetum.video import open_video, write_video

SMALL: dict[str, Any] = {"width": 24, "depth": 2, "heads": 2, "mlp_width": 48, "size": (16, 16), "tubelet": (2, 8, 8)}
SMALL |= {"frames": 16, "segment_frames": 8, "memories": 3}
TEXT = TextConfig(
    width=16, depth=1, heads=2, mlp_width=32, vocabulary=258, length=48, causal=False, pooling="mean", activation="gelu"
)
BYTES = DecoderConfig(width=32, depth=2, heads=2, key_value_heads=1, head_width=16, mlp_width=48, vocabulary=258)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("towers") / "longvideo.safetensors"
    longvideo.save(longvideo.build_video_text("mcvit-nano", **SMALL, text=TEXT, projection=6), path)
    return path.parent


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("captioner") / "longvideo.safetensors"
    torch.manual_seed(0)
    model = Captioner(CaptionerConfig(video=named("mcvit-nano", **SMALL), language=BYTES, latents=3, length=120))
    for look in model.cross_attention:
        torch.nn.init.constant_(look.gate, 0.7)
    longvideo.save(model, path)
    return path.parent


def film(folder: Path, *names: str, seconds: int = 6, level: int | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        shape = (2 * seconds, 16, 16, 3)
        noise = np.random.default_rng(k).integers(0, 255, shape, np.uint8)
        write_video(folder / f"{name}.mp4", noise if level is None else np.full(shape, level + k, np.uint8), 2)


def egoschema(folder: Path) -> Path:
    rows = [
        {"q_uid": uid, "google_drive_id": "x", "question": f"What is {uid}?"}
        | {f"option {k}": f"C does {k}." for k in range(5)}
        for uid in ("a", "b", "c")
    ]
    film(folder / "videos", "a", "b")
    return write(folder, {"questions.json": rows, "subset_answers.json": {"a": 3, "c": 1}})


@pytest.mark.slow
def test_egoschema_by_similarity_and_by_likelihood(tmp_path: Path, towers: Path, captioner: Path, run: Run) -> None:
    place = egoschema(tmp_path)
    options = tuple(f"C does {k}." for k in range(5))
    for weights, by in ((towers, "similarity"), (captioner, "likelihood")):
        with pytest.warns(UserWarning, match="1 of 3 have no video"):
            found = tapetum.evaluate_longvideo(
                task="egoschema", data=place, model=weights, split="full", save_predictions=tmp_path / "out.json"
            )
        said = json.loads((tmp_path / "out.json").read_text())
        for uid in ("a", "b"):
            answer = tapetum.answer(place / "videos" / f"{uid}.mp4", f"What is {uid}?", options=options, model=weights)
            assert options[said[uid]] == answer.answer
            assert answer.by == by == found.by
        assert found.table["all"]["accuracy"] == float(said["a"] == 3)
        assert (found.table["questions"], found.table["with_answer"], found.missing) == (2, 1, 1)
        assert found.table["all"]["chance"] == pytest.approx(0.2)
        row = found.table["all"]
        assert row["visual"] == pytest.approx(row["accuracy"] - row["blind"])
    code, out, _ = run("eval", "longvideo", "--task", "egoschema", "--data", place, "--model", towers, "--no-blind")
    assert code == 0
    assert out.startswith("egoschema subset, options by similarity")


def test_protocols_put_the_question_as_published(tmp_path: Path, captioner: Path, towers: Path) -> None:
    place, options = egoschema(tmp_path), tuple(f"C does {k}." for k in range(5))
    model: Any = tapetum.load(captioner / "longvideo.safetensors")
    listed = "What is a?\nA. C does 0.\nB. C does 1.\nC. C does 2.\nD. C does 3.\nE. C does 4.\n"
    letters = f"{listed}Answer with the option's letter from the given choices directly."
    after = "Do you think that the answer to the given question is correct. Please answer yes or no."
    asked = [f"Given question 'What is a?, is answer '{option}' correct?\n{after}" for option in options]
    with open_video(place / "videos" / "a.mp4") as video:
        spread = encode_video(model, video, FrameSelection(frames=10, spread=True))
        whole, often = (encode_video(model, video, FrameSelection(frame_rate=rate)) for rate in (1.0, 4.0))
    expected = {
        "egoschema": [model.score_options(spread, each, ["Yes"])[0] for each in asked],
        "letters": model.score_options(whole, letters, list("ABCDE")),
        "perception-test": model.score_options(often, "What is a?", options),
    }
    for protocol, scores in expected.items():
        rows = tmp_path / f"{protocol}.jsonl"
        how: dict[str, Any] = {"task": "egoschema", "data": place, "limit": 1, "blind": False, "protocol": protocol}
        with pytest.warns(UserWarning, match="have no video"):
            tapetum.evaluate_longvideo(**how, model=captioner, save=rows)
        row = json.loads(rows.read_text().splitlines()[1])["row"]
        np.testing.assert_allclose(row["scores"], scores, atol=1e-5)
    how |= {"protocol": "egoschema", "frames": 3, "model": towers}
    with pytest.warns(UserWarning, match="have no video"):
        tapetum.evaluate_longvideo(**how, save=tmp_path / "towers.jsonl")
    row = json.loads((tmp_path / "towers.jsonl").read_text().splitlines()[1])["row"]
    pair: Any = tapetum.load(towers / "longvideo.safetensors")
    with open_video(place / "videos" / "a.mp4") as video:
        assert FrameSelection(frames=3, spread=True).numbers(video) == [0, 5, 11]
        assert FrameSelection(frames=3, spread=True, start_s=2, stop_s=4).numbers(video) == [4, 5, 7]
        vector = embed_video(pair, video, FrameSelection(frames=3, spread=True))
    np.testing.assert_allclose(row["scores"], embed_words(pair, [f"What is a? {o}" for o in options]) @ vector, atol=1e-5)


def episodes(folder: Path, *options: str, level: int = 0) -> Path:
    """Two questions about one video each, whose first option is right."""
    film(folder / "videos", "a", "b", level=level or None)
    rows = [
        {"video": name, "question": f"What is {name}?", "options": list(options), "answer_id": 0}
        | {"area": "memory", "reasoning": "predictive", "span_s": [0, 6.0]}
        for name in "ab"
    ]
    return write(folder, {"questions.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_rows_of_other_options_videos_weights_or_settings_are_made_again(tmp_path: Path, towers: Path, run: Run) -> None:
    kept, own = tmp_path / "kept.jsonl", tmp_path / "own.safetensors"
    own.write_bytes((towers / "longvideo.safetensors").read_bytes())
    places = [
        episodes(tmp_path / "first", "red cup", "a dog"),
        episodes(tmp_path / "reversed", "a dog", "red cup"),
        episodes(tmp_path / "grey", "a dog", "red cup", level=90),
    ]
    how = ("eval", "longvideo", "--task", "episodes", "--model", own, "--no-blind", "--json")
    fresh = [json.loads(run(*how, "--data", place)[1]) for place in places]
    assert fresh[0]["all"]["accuracy"] == 1 - fresh[1]["all"]["accuracy"]
    reasons = ("", "2 results that were kept there differ in options", "2 results that were kept there differ in video")
    for place, wanted, reason in zip(places, fresh, reasons, strict=True):
        code, out, err = run(*how, "--data", place, "--save", kept)
        assert (code, json.loads(out)) == (0, wanted)
        assert (err.count("computed again"), reason in err) == (int(bool(reason)), True)
    longvideo.save(longvideo.build_video_text("mcvit-nano", **SMALL, text=TEXT, projection=6, seed=5), own)
    again = json.loads(run(*how, "--data", places[0])[1])
    code, out, err = run(*how, "--data", places[0], "--save", kept)
    assert (code, json.loads(out)) == (0, again)
    assert err.count("2 results that were kept there differ in weights; they are computed again") == 1
    _, _, err = run(*how, "--data", places[0], "--save", kept, "--frame-rate", "2")
    assert "in rate" in err
    own.write_bytes((towers / "longvideo.safetensors").read_bytes())  # what was made with other weights is still there
    size = kept.stat().st_size
    code, out, err = run(*how, "--data", places[2], "--save", kept)
    assert (json.loads(out), kept.stat().st_size, "again" in err) == (fresh[2], size, False)


def test_blind_answers_are_those_of_grey_frames(tmp_path: Path, towers: Path) -> None:
    from tapetum.bench.longvideo import answer_questions
    from tapetum.core.finished import Rows
    from tapetum.data.video_language import read_egoschema

    asked = read_egoschema(egoschema(tmp_path))[:1]
    model: Any = tapetum.load(towers / "longvideo.safetensors")
    found = answer_questions(model, asked, Rows(None, {}), frame_rate=1.0)["a"]
    words = embed_words(model, [f"What is a? {option}" for option in asked[0].options])
    with torch.no_grad():
        grey = model.embed_videos(torch.zeros(1, 6, 16, 16, 3))[0].numpy()
    np.testing.assert_allclose(found["blind"], words @ grey, atol=1e-5)
    with open_video(tmp_path / "videos" / "a.mp4") as video:
        np.testing.assert_allclose(found["scores"], words @ embed_video(model, video), atol=1e-5)


def msrvtt(folder: Path) -> Path:
    film(folder / "videos", "a", "b")
    return write(folder, {"MSRVTT_JSFUSION_test.csv": "key,vid_key,video_id,sentence\nr0,x,a,cut it\nr1,y,b,fry it\n"})


def test_retrieval_of_clips(tmp_path: Path, towers: Path) -> None:
    msrvtt(tmp_path)
    model: Any = tapetum.load(towers / "longvideo.safetensors")
    vectors = []
    for name in "ab":
        with open_video(tmp_path / "videos" / f"{name}.mp4") as opened:
            vectors.append(embed_video(model, opened, FrameSelection(frames=16)))
    scores = np.stack(vectors) @ embed_words(model, ["cut it", "fry it"]).T
    found = tapetum.evaluate_longvideo(task="msrvtt", data=tmp_path, model=towers).table
    assert found["text_to_video"]["recall_at_1"] == np.mean(scores.argmax(0) == np.arange(2))
    assert found["video_to_text"]["recall_at_1"] == np.mean(scores.argmax(1) == np.arange(2))
    assert found["text_to_video"]["recall_at_5"] == 1


@pytest.mark.slow
def test_texts_about_videos_are_scored(tmp_path: Path, captioner: Path) -> None:
    place = write(msrvtt(tmp_path), {"val.csv": "video,question,answer,qid,type\na,what,cat,0,DO\n"})
    model: Any = tapetum.load(captioner / "longvideo.safetensors")
    said = {}
    for name in "ab":
        with open_video(place / "videos" / f"{name}.mp4") as opened:
            said[name] = model.generate(encode_video(model, opened, FrameSelection(frames=16)))[0]
    wanted = caption_scores(said, {"a": ["cut it"], "b": ["fry it"]})
    found = tapetum.evaluate_longvideo(task="msrvtt", measure="captions", data=place, model=captioner).table
    assert (found["rouge_l"], found["cider"]) == (pytest.approx(wanted.rouge_l), pytest.approx(wanted.cider))
    how: dict[str, Any] = {"task": "nextqa-open", "data": place, "model": captioner}
    with pytest.warns(UserWarning, match="without --wordnet DIR there is no WUPS"):
        free = tapetum.evaluate_longvideo(**how).table
    assert free["questions"] == 1
    assert 0 <= free["rouge_l"] <= 1
    wordnet = write_wordnet(tmp_path / "wordnet")
    with pytest.warns(UserWarning, match="there is no .*stopwords.txt, so all words count"):
        counted = tapetum.evaluate_longvideo(**how, wordnet=wordnet)
    assert counted.table["DO"].keys() == {"count", "wups_0", "wups_0.9"}
    assert "wups_0.9" in counted.as_text()
    write(place, {"stopwords.txt": "what\nis\n"})
    assert tapetum.evaluate_longvideo(**how, wordnet=wordnet).table["all"]["count"] == 1


def test_episodes_are_seen_up_to_where_they_may_be(tmp_path: Path, towers: Path) -> None:
    row = {"video": "a", "question": "What?", "options": ["x", "y"], "answer_id": 1, "reasoning": "predictive"}
    lines = [json.dumps({**row, "area": "memory", "span_s": [0, until]}) for until in (3.0, 6.0)]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    film(tmp_path / "videos", "a")
    found = tapetum.evaluate_longvideo(task="episodes", data=tmp_path, model=towers, save=tmp_path / "kept.jsonl").table
    assert {"all", "memory", "memory/predictive"} <= found.keys()
    rows = [json.loads(line)["row"] for line in (tmp_path / "kept.jsonl").read_text().splitlines()[1:]]
    model: Any = tapetum.load(towers / "longvideo.safetensors")
    with open_video(tmp_path / "videos" / "a.mp4") as opened:
        for kept, until in zip(rows, (3.0, 6.0), strict=True):
            seen = embed_video(model, opened, FrameSelection(stop_s=until))
            np.testing.assert_allclose(kept["scores"], embed_words(model, ["What? x", "What? y"]) @ seen, atol=1e-5)


def test_the_perception_test_is_cut_where_its_answer_is_shown(tmp_path: Path, towers: Path) -> None:
    from tapetum.bench.longvideo_tasks import read_perception
    from tapetum.data.perception import metadata

    size, counts = (16, 16), {"frames": 12, "frame_rate": 2, "audio_samples": 0, "audio_sample_rate": 1}
    about = metadata(video_id="a", split="valid", size=size, cup_game=True, moving=False, **counts)
    question = {"id": 0, "question": "Where?", "options": ["x", "y", "z"], "answer_id": 2}
    question |= {"area": "memory", "reasoning": "predictive"}
    write(tmp_path, {"all_valid.json": {"a": {"metadata": about, "mc_question": [question]}}})
    write(tmp_path, {"cut_frame_mapping_valid.json": {"a": 6}})
    film(tmp_path / "videos", "a")
    [one] = read_perception(tmp_path)
    assert (one.context, one.right, one.kind) == ("3.0", 2, "memory/predictive")
    assert tapetum.evaluate_longvideo(task="perception-test", data=tmp_path, model=towers).table["questions"] == 1
    (tmp_path / "cut_frame_mapping_valid.json").unlink()
    with pytest.warns(UserWarning, match="no question has a cut: .* has no cut_frame_mapping_valid.json"):
        tapetum.evaluate_longvideo(task="perception-test", data=tmp_path, model=towers, protocol="perception-test")


def test_what_cannot_be_is_said_in_one_line(tmp_path: Path, towers: Path, captioner: Path) -> None:
    place = egoschema(tmp_path)
    for changes, said in (
        ({"task": "egoschemas"}, "there is no task"),
        ({"data": tmp_path / "no"}, "there is no folder"),
        ({"frame_rate": 0.0}, "must be above 0"),
        ({"by": "likelihood"}, "it answers --by similarity"),
        ({"task": "msrvtt"}, "cannot read"),
        ({"task": "msrvtt", "save_predictions": "x.json"}, "numbers of options"),
        ({"protocol": "letters"}, "this protocol wants a language model"),
        ({"task": "msrvtt", "protocol": "letters"}, "--protocol and --frames are for questions with options"),
        ({"wordnet": tmp_path}, "--wordnet is for the words of free answers"),
    ):
        with pytest.raises(BadInput, match=said):
            tapetum.evaluate_longvideo(**{"task": "egoschema", "data": place, "model": towers, **changes})
    for path in (place / "videos").iterdir():
        path.unlink()
    with pytest.raises(BadInput, match="none of the videos is there"):
        tapetum.evaluate_longvideo(task="egoschema", data=place, model=towers)
