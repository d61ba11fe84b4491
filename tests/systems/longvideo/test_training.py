"""Training stage by stage: what is learned, what is not, and from which data."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tapetum
from support.sharding import check_shards
from support.storage import web_server
from support.video_clips import DATA
from tapetum.app.learn.train import train
from tapetum.core.errors import BadInput
from tapetum.data.shards import write_shards
from tapetum.systems import longvideo
from tapetum.systems.longvideo.recipes import RECIPES, VideoTextRun, recipe
from tapetum.systems.longvideo.run import longvideo_config, train_longvideo
from tapetum.systems.longvideo.task import VideoTextTask, pad_clips
from tapetum.systems.longvideo.weights import continue_from
from tapetum.train.launch_config import Launch
from tapetum.video import write_video

TINY: dict[str, Any] = {"size": 64, "frames": 4, "event_frames": 2, "steps": 2, "batch_size": 4, "micro_batch": 2, "checks": 2}


def launch(out: Path) -> Launch:
    return Launch(out=out, threads=1, workers=0, device="cpu")


def silent(text: str) -> None:
    pass


def narrow(run: VideoTextRun, monkeypatch: pytest.MonkeyPatch) -> VideoTextRun:
    """A run whose network is tiny."""
    from tapetum.systems.longvideo import config

    small = replace(config.NAMED["mcvit-nano"], width=12, depth=5, heads=2, mlp_width=24, stem="patch", stem_blocks=0)
    monkeypatch.setattr(config, "NAMED", {**config.NAMED, "mcvit-nano": small})
    return run


@pytest.mark.slow
def test_stages_follow_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = ""
    for stage in ("images", "short", "long"):
        changes = {**TINY, "frames": 8} if stage == "long" else TINY
        run = narrow(recipe(stage, DATA, **changes, start=start), monkeypatch)
        made = train_longvideo(run, launch(tmp_path / stage), silent)
        assert made is not None
        path, scores = made
        assert all(np.isfinite(value) for value in scores.values())
        before, start = start, str(path)
        if stage == "long":
            old, new = tapetum.load(before), tapetum.load(path)
            assert (old.config.video.frames, new.config.video.frames) == (4, 8)
            weights = old.video.state_dict()
            moved = {name for name, value in new.video.state_dict().items() if not torch.equal(value, weights[name])}
            assert {name.split(".")[1] for name in moved if name.startswith("blocks")} == {"1", "2", "3", "4"}
            assert "tubelets.positions" in moved  # stretched
            assert "tubelets.video.weight" not in moved
    lines = (tmp_path / "long" / "log.jsonl").read_text().splitlines()
    assert "recall" in json.loads(lines[-1])["eval"]


def test_every_stage_shows_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in ("images", "short", "long", "consolidated"):
        changes = {**TINY, "frames": 4}
        task = VideoTextTask(narrow(recipe(stage, DATA, **changes), monkeypatch))
        batch = task.collate([task.dataset()[k] for k in range(2)])
        assert ("image" in batch) == (stage in ("images", "short"))
        assert ("video" in batch) == (stage != "images")
        config = longvideo_config(task.run, launch(Path("out")))
        assert config.accumulation == 2
    assert RECIPES["long"].config.video.tune == "last-4"
    assert RECIPES["long"].config.video.mask_ratio == 0.75
    assert RECIPES["consolidated"].config.video.memory == "consolidated"


def test_weights_go_on_with_other_settings() -> None:
    sizes: dict[str, Any] = {"width": 12, "depth": 2, "heads": 2, "mlp_width": 24, "size": (16, 16), "tubelet": (2, 8, 8)}
    encoder = longvideo.build("vivit-nano", **sizes, frames=8)
    video = torch.rand(1, 8, 16, 16, 3) * 2 - 1
    longer = continue_from(encoder, frames=16, tune="lora", memory="streaming", segment_frames=4)
    assert longer.tubelets.positions.shape == (8, 2, 2, 12)
    with torch.no_grad():
        torch.testing.assert_close(longer.tubelets.positions_at(0, 8, 8), encoder.tubelets.positions_at(0, 8, 8))
        shorter = continue_from(continue_from(encoder, frames=4), frames=4, memory="joint")
        torch.testing.assert_close(shorter(video[:, :4]).pooled, encoder(video[:, :4]).pooled)
    with pytest.raises(BadInput, match="go on with lora"):
        continue_from(longer, tune="all")
    with pytest.raises(BadInput, match="have no place in a network with size"):
        continue_from(encoder, size=(32, 32))


def clip(seed: int, frames: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (frames, 32, 32, 3), np.uint8)


def test_clips_come_from_episodes_and_from_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "videos").mkdir()
    lines = []
    for k in range(11):
        if k < 3 or k == 9:
            write_video(tmp_path / "videos" / f"{k}.mp4", clip(k), 4)
        else:
            (tmp_path / "videos" / f"{k}.mp4").write_bytes(b"")
        lines.append(json.dumps({"video": str(k), "caption": f"story {k}"}))
    (tmp_path / "captions.jsonl").write_text("\n".join(lines))
    run = narrow(recipe("short", str(tmp_path), **{**TINY, "size": 96}), monkeypatch)
    clips = VideoTextTask(run).clips
    assert (clips.count, clips.validation_count) == (10, 1)
    one = clips.training_clip(1, np.random.default_rng(0))
    assert one.text == "story 1"
    assert one.frames.shape == (3, 96, 96, 3)  # three seconds at one frame a second
    assert clips.validation_clip(0).text == "story 9"

    data = (tmp_path / "videos" / "0.mp4").read_bytes()
    write_shards([{"__key__": str(k), "mp4": data, "txt": f"text {k}"} for k in range(3)], tmp_path / "a", "train")
    write_shards([{"__key__": str(k), "png": clip(k)[0], "txt": f"text {k}"} for k in range(3)], tmp_path / "b", "train")
    for folder, frames in (("a", 3), ("b", 1)):
        shards = VideoTextTask(replace(run, data=str(tmp_path / folder))).clips
        found = shards.training_clip(0, np.random.default_rng(0))
        assert (found.frames.shape, found.text) == ((frames, 96, 96, 3), "text 0")
        assert (shards.count, shards.validation_count) == (2, 1)
    video, lengths = pad_clips([clip(0, 2), clip(1, 3)])
    assert video.shape == (2, 3, 32, 32, 3)
    assert lengths == (2, 3)
    (tmp_path / "videos" / "3.mp4").unlink()
    with pytest.raises(BadInput, match=r"names the video 3\.mp4, which is not there"):
        VideoTextTask(run)
    with pytest.raises(BadInput, match="give a folder of episodes"):
        VideoTextTask(replace(run, data=str(tmp_path / "no")))


def folder_of_episodes(place: Path, count: int = 3) -> Path:
    """Videos with a caption and two questions each."""
    (place / "videos").mkdir(parents=True)
    captions, questions = [], []
    for k in range(count):
        write_video(place / "videos" / f"{k}.mp4", clip(k), 4)
        captions.append(json.dumps({"video": str(k), "caption": f"story {k}"}))
        for q in range(2):
            row = {"video": str(k), "question": f"what {q}?", "options": ["a", "b", "c"][: 3 - q], "answer_id": q}
            questions.append(json.dumps({**row, "area": "memory", "span_s": [0.0, 2.0 - q]}))
    (place / "captions.jsonl").write_text("\n".join(captions))
    (place / "questions.jsonl").write_text("\n".join(questions))
    return place


def test_questions_are_texts_with_wrong_ones_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder_of_episodes(tmp_path / "a")
    run = narrow(recipe("questions", str(place), **{**TINY, "size": 96}), monkeypatch)
    task = VideoTextTask(run)
    assert (task.clips.count, task.clips.validation_count) == (4, 2)  # the last video's are held out
    clips = task.clips.training_clip(1, np.random.default_rng(0))
    assert (clips.text, clips.wrong) == ("what 1? b", ("what 1? a",))
    assert len(clips.frames) == 1  # it may see one second
    batch = task.collate([(k, task.clips.training_clip(k, np.random.default_rng(0))) for k in range(2)])
    assert batch["hard"].shape[:2] == (2, 2)
    assert batch["hard_valid"].tolist() == [[True, True], [True, False]]
    torch.manual_seed(0)
    model = task.model()
    scores = task.evaluate(model.eval(), 0)
    assert scores["chance"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    head = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"
    rows = [f"{k},9,9,9,what {k},1,0,CW,a,b,c,d,e" for k in (0, 2, 7)]  # of the last there is no video
    (place / "train.csv").write_text("\n".join([head, *rows]))
    clips = VideoTextTask(run).clips
    assert (clips.count, clips.validation_count) == (1, 1)
    assert clips.validation_clip(0).text == "what 2 b"
    assert clips.validation_clip(0).wrong == ("what 2 a", "what 2 c", "what 2 d", "what 2 e")
    (place / "train.csv").unlink()
    (place / "questions.jsonl").write_text("")
    with pytest.raises(BadInput, match="holds 0 questions"):
        VideoTextTask(run)
    (place / "questions.jsonl").unlink()
    with pytest.raises(BadInput, match=r"holds no questions\.jsonl"):
        VideoTextTask(run)


def test_images_beside_questions_are_never_those_that_are_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder_of_episodes(tmp_path / "a")
    rows = [{"__key__": str(k), "png": clip(k)[0], "txt": f"text {k}"} for k in range(12)]
    write_shards(rows, tmp_path / "b", "train")
    alone = narrow(recipe("questions", str(place), **{**TINY, "size": 96}), monkeypatch)
    run = replace(alone, beside=str(tmp_path / "b"))
    task = VideoTextTask(run)
    batch = task.collate([(k, task.clips.training_clip(k, np.random.default_rng(k))) for k in range(3)])
    assert batch["image"].shape == (3, 96, 96, 3)
    assert batch["hard"].shape[0] == 3
    names = [task.clips.training_clip(0, np.random.default_rng(k)).image_text for k in range(40)]
    assert set(names) == {f"text {k}" for k in range(12) if k % 10 != 9}  # never one that is held out
    with pytest.raises(BadInput, match="leave --beside out"):
        replace(run, stage="long")


@pytest.mark.slow
def test_a_video_is_put_into_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tapetum.systems.longvideo import run as longvideo_run

    monkeypatch.setattr(
        longvideo_run,
        "BYTE_DECODER",
        replace(longvideo_run.BYTE_DECODER, width=16, depth=2, heads=1, head_width=16, mlp_width=24),
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = folder_of_episodes(tmp_path / "a")
    small: dict[str, Any] = {**TINY, "size": 96}
    for stage, more in (
        ("questions", {}),
        ("language", {}),
        ("video-to-text", {"start": str(tmp_path / "questions"), "language": str(tmp_path / "language")}),
    ):
        with web_server(place, ranges=True) as (base, _):
            data = base if stage == "language" else str(place)  # an address serves too
            run = narrow(recipe(stage, data, **small, **more), monkeypatch)  # pyright: ignore[reportArgumentType]
            made = train(run, launch(tmp_path / stage))
        assert made is not None
        assert all(np.isfinite(value) for value in made.scores.values())
    model, before = tapetum.load(made.weights), tapetum.load(tmp_path / "questions" / "longvideo.safetensors")
    for name, value in before.video.state_dict().items():
        assert torch.equal(value, model.video.state_dict()[name]), name
    old = tapetum.load(tmp_path / "language" / "longvideo.safetensors").state_dict()
    assert all(torch.equal(value, model.own_language.state_dict()[name]) for name, value in old.items())
    assert float(model.cross_attention[0].gate.detach().abs()) > 0
    assert model.config.video.mask_always
    with pytest.raises(BadInput, match="video-to-text wants --encoder, or --start"):
        train_longvideo(narrow(recipe("video-to-text", str(place), **small), monkeypatch), launch(tmp_path / "x"), silent)


def test_in_shards_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    task = VideoTextTask(narrow(recipe("short", DATA, **TINY, mask_ratio=0.5), monkeypatch))
    check_shards(task, task.collate([task.dataset()[k] for k in range(2)]), least=0.3)
