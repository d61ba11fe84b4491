"""Masks from clicks, from the command line and from Python."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.files import listed
from tapetum.app.track.segment_clicks import read_prompts, segment_clicks
from tapetum.core.errors import BadInput
from tapetum.data.rle import decode_mask
from tapetum.tracks.masks import Prompt
from tapetum.video import open_video, write_video

Run = Callable[..., tuple[int, str, str]]
STATIC = "--tracker", "static"


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three frames of 64x48 with a red block that stays."""
    frames = np.full((3, 48, 64, 3), (60, 120, 80), np.uint8)
    frames[:, 12:36, 20:44] = 190, 60, 50
    monkeypatch.chdir(tmp_path)
    return write_video("clip.mp4", frames, 10)


def block(mask: np.ndarray) -> float:
    truth = np.zeros((48, 64), bool)
    truth[12:36, 20:44] = True
    return float((mask & truth).sum() / (mask | truth).sum())


def test_a_click_gives_masks_and_an_overlay(run: Run, clip: Path):
    code, out, _ = run("segment", clip, "--click", "0,32,24", *STATIC)
    assert code == 0
    first, *rest = out.splitlines()
    assert first.startswith("outlined the object in 3 of 3 frames of clip.mp4 (64x48) in ")
    assert rest == [f"overlay  {Path('clip-masks/overlay.mp4')}", f"masks    {Path('clip-masks/masks.json')}"]
    assert listed(Path("clip-masks")) == ["masks.json", "overlay.mp4"]
    content = json.loads(Path("clip-masks/masks.json").read_text())
    assert len(content["annotations"]) == 3
    assert block(decode_mask(content["annotations"][2]["segmentation"])) > 0.95
    assert len(open_video("clip-masks/overlay.mp4")) == 3


def test_the_other_formats_and_an_image(run: Run, clip: Path):
    code, out, _ = run("segment", clip, "--box", "1,20,12,44,36", "--format", "davis", "--out", "all", *STATIC, "--json")
    assert code == 0
    assert json.loads(out)["masks"] == str(Path("all/clip"))
    with Image.open("all/clip/00002.png") as image:
        assert image.mode == "P"
        assert block(np.asarray(image) == 1) > 0.95
    Image.fromarray(open_video(clip)[0]).save("photo.png")
    code, out, _ = run("segment", "photo.png", "--click", "0,32,24", "--format", "png", "--out", "one")
    assert code == 0
    assert block(np.asarray(Image.open("one/00000.png")) == 255) > 0.95


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--click", "0,90,24"), "a click at 90,24 in frame 0 is outside the image of 64x48 pixels"),
        (("--click", "0,30,24,out"), "frame 0 has clicks outside the object only"),
        (("--click", "3,30,24"), "a click or box is in frame 3; the video has frames 0..2"),
        (("--click", "0,30"), "--click is 0,30; give frame,x,y or frame,x,y,out"),
        (("--click", "0.5,30,2"), "--click is 0.5,30,2; give frame,x,y"),
        (("--box", "0,30,24"), "--box is 0,30,24; give frame,x1,y1,x2,y2"),
        (("cat", "--click", "0,30,24"), "outline one object in one video or image; give that alone"),
        ((), "say what to outline"),
    ],
)
def test_bad_clicks_get_one_line(run: Run, clip: Path, arguments: tuple[str, ...], message: str):
    code, _, err = run("segment", clip, *arguments)
    assert code == 2
    assert message in err
    assert not Path("clip-masks").exists()


def test_prompts_are_one_a_frame():
    found = read_prompts(("2,1,2", "5,3,4,out", "5,5,6,in", (2, 7, 8, "out")), ("5,1,2,3,4",))
    assert found == [
        Prompt(frame=5, box=(1, 2, 3, 4), inside=((5, 6),), outside=((3, 4),)),
        Prompt(frame=2, inside=((1, 2),), outside=((7, 8),)),
    ]
    with pytest.raises(BadInput, match="frame 0 has two boxes"):
        read_prompts((), ("0,1,2,3,4", "0,1,2,3,5"))


def test_python_gets_masks_and_writes_nothing(clip: Path):
    done = segment_clicks(clip, click=((0, 32, 24),), tracker="static")
    assert block(done.masks[2]) > 0.95
    assert done.out is None
    assert listed(Path()) == ["clip.mp4"]
