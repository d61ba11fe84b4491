"""`tapetum segment --click`: files of masks in three formats, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks

from support.sam2_model import save_sam2
from tapetum.systems.sam2.segmenter import MaskPrompt, VideoSegmenter
from tapetum.video import open_video

Run = Callable[..., tuple[int, str, str]]
CLICKS = "--click", "1,20,20", "--click", "1,5,5,out", "--box", "2,10,5,40,30,2"
PROMPTS = [
    MaskPrompt(frame=2, object=2, box=(10, 5, 40, 30)),
    MaskPrompt(frame=1, point=(20, 20)),
    MaskPrompt(frame=1, point=(5, 5), inside=False),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of random weights."""
    return save_sam2(tmp_path_factory.mktemp("models") / "sam2")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    for k in range(4):
        Image.fromarray(np.random.default_rng(k).integers(0, 255, (48, 80, 3), np.uint8)).save(folder / f"{k}.png")
    return folder


@pytest.mark.slow
def test_masks_of_three_formats_are_the_model_s(run: Run, model: Path, video: Path, tmp_path: Path) -> None:
    expected = {}
    with open_video(video) as frames:
        for frame, name, mask in VideoSegmenter.load(model).segment(frames, PROMPTS):
            expected[frame, name] = mask
    out = tmp_path / "out"
    for kind in ("davis", "png", "coco"):
        code, text, err = run("segment", video, *CLICKS, "--model", model, "--out", out, "--format", kind, "--json")
        assert code == 0, err
        made = json.loads(text)
        assert made["frames_shown"] == {str(k): sum(expected[n, k].any() for n in range(4)) for k in (1, 2)}
        files = sorted(path.name for path in out.iterdir())
        if kind == "coco":  # pictures of another format in the same folder are gone
            assert files == ["masks.json", "overlay.mp4"]
            rows = json.loads((out / "masks.json").read_text())["annotations"]
            masks = {(row["image_id"], row["track_id"]): coco_masks.decode(row["segmentation"]) for row in rows}
            assert masks.keys() == {key for key, mask in expected.items() if mask.any()}
            assert all(np.array_equal(mask, expected[key]) for key, mask in masks.items())
        else:
            assert files == [*(f"{k:05d}.png" for k in range(4)), "overlay.mp4"]
            for k in range(4):
                numbers = np.where(expected[k, 2], 2, expected[k, 1].astype(int))
                assert np.array_equal(np.asarray(Image.open(out / f"{k:05d}.png")), numbers)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--click", "1,20"), "--click is 1,20; give frame,x,y[,out][,OBJECT]"),
        (("--click", "1.5,2,3"), "--click is 1.5,2,3; give"),
        (("--click", "1,2,3,0"), "objects being 1 to 255"),
        (("--box", "1,2,3,4"), "--box is 1,2,3,4; give frame,x1,y1,x2,y2"),
        (("--click", "9,2,3"), "the video has frames 0 to 3"),
        (("--click", "0,2,3", "--report", "a.html"), "--report does not go with --click"),
        (("--click", "0,2,3", "--beams", "2"), "--beams does not go with --click"),
        (("cat", "--click", "0,2,3"), "give that alone, without words"),
        (("cat", "--format", "png"), "--format png is of masks by --click"),
        (("--click", "0,2,3", "--model", "tapir-nano"), "tapir-nano is for tapetum track"),
    ],
)
def test_what_is_refused(run: Run, video: Path, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    code, out, err = run("segment", video, *words, "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert message in err
    assert not (tmp_path / "out").exists()
