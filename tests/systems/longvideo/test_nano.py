"""The weights that come with the package: what images and episodes of the world they tell apart, and that verbs use them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tapetum
from tapetum.data.entries import read_lines
from tapetum.encoders import byte_text
from tapetum.hub.registry import known, location
from tapetum.systems import longvideo
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.systems.longvideo.video_text_config import named_video_text
from tapetum.video import open_video
from tapetum_world.commands.scenes import episodes, images


def test_the_file_is_small_and_of_the_named_sizes() -> None:
    name = "mcvit-films"
    model = longvideo.load(name)
    assert isinstance(model, VideoText)
    assert location(known()[name]).stat().st_size < 12e6
    assert replace(model.config, video=replace(model.config.video, seed=0)) == named_video_text(name)
    assert type(tapetum.load(name)) is VideoText


@pytest.mark.slow
@torch.no_grad()
def test_captions_find_their_images(tmp_path: Path) -> None:
    images(tmp_path / "p", n=24, seed=7, size=112)
    rows = list(read_lines(tmp_path / "p" / "images.jsonl"))
    model = longvideo.load("mcvit-films")
    assert isinstance(model, VideoText)
    from PIL import Image

    shown = np.stack([np.asarray(Image.open(tmp_path / "p" / row["file"])) for row in rows])
    texts = [row["captions"]["short"] for row in rows]
    seen = model.embed_images(torch.from_numpy(shown).float() / 127.5 - 1)
    read = model.embed_texts(byte_text.tokens(texts, model.config.text.length))
    scores = (seen @ read.T).tolist()
    own = [max(row[j] for j, text in enumerate(texts) if text == texts[k]) for k, row in enumerate(scores)]
    ranks = [len({texts[j] for j, score in enumerate(row) if score > own[k]}) for k, row in enumerate(scores)]
    near = sum(rank < 6 for rank in ranks)
    assert near >= 16  # of 24; by chance about six


@pytest.mark.slow
def test_verbs_answer_about_a_film(tmp_path: Path) -> None:
    episodes(tmp_path / "e", n=1, seed=3, size=112, seconds=4.0, frame_rate=4.0, points=2)
    film = next((tmp_path / "e" / "videos").glob("*.mp4"))
    asked, answers = "What is the first thing that the hand takes or pushes?", ("a cup", "a book")
    made = tapetum.answer(film, asked, options=answers, model="mcvit-films", frame_rate=4)
    assert made.by == "similarity"
    with open_video(film) as video:
        frames = video[list(range(len(video.timestamps)))]
    by_rate = [
        tapetum.answer(film, asked, options=answers, model="mcvit-films", frame_rate=rate).cosines for rate in (None, 2, 1)
    ]
    assert by_rate[0] == by_rate[1] != by_rate[2]  # mcvit-films learned with two frames a second
    grey = tapetum.answer(np.full_like(frames, 128), asked, options=answers, model="mcvit-films", frame_rate=4)
    assert made.cosines != grey.cosines
    tapetum.index((film,), model="mcvit-films", out=tmp_path / "index")
    found = tapetum.search(tmp_path / "index", "a hand")
    assert [moment.path for moment in found.moments] == [str(film)] * len(found.moments)
    assert found.moments
