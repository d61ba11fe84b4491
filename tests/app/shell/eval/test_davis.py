"""`tapetum eval davis`: the official evaluation's numbers on the same masks, and features that follow."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.golden.make_davis_golden import GOLDEN, VIDEOS

import tapetum
from support.davis_folder import write_davis, write_guesses, write_ids
from tapetum.core.errors import BadInput
from tapetum.data.segmentation import palette
from tapetum.encoders.factory import save

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_davis(tmp_path_factory.mktemp("davis"), VIDEOS)


def test_masks_get_the_official_scores(run: Run, data: Path, tmp_path: Path) -> None:
    said = write_guesses(tmp_path, VIDEOS)
    code, out, err = run("eval", "davis", "--data", data, "--predictions", said, "--json")
    assert (code, err) == (0, "")
    found, gold = json.loads(out), json.loads(GOLDEN.read_text())
    for name in "JF":
        for ours, theirs in (("mean", "M"), ("recall", "R"), ("decay", "D")):
            assert found[name.lower()][ours] == pytest.approx(gold[name][theirs], abs=1e-6)
        objects = {f"{row['video']}_{row['object']}": row[name.lower()] for row in found["objects"]}
        assert objects == pytest.approx(gold[name]["objects"], abs=1e-6)
    assert found["j_and_f"] == pytest.approx((gold["J"]["M"] + gold["F"]["M"]) / 2, abs=1e-6)
    assert 0.2 < found["j_and_f"] < 0.95


@pytest.mark.slow
def test_colours_follow_and_what_is_written_scores_the_same(run: Run, data: Path, tmp_path: Path) -> None:
    words = "eval", "davis", "--data", data, "--most", "1", "--radius", "5", "--context", "2"
    code, out, _ = run(*words, "--model", "colours", "--save-predictions", tmp_path / "said")
    assert code == 0
    assert out.splitlines()[0].split() == ["object", "J", "F"]
    j_and_f = float(out.splitlines()[-1].split()[1])
    assert j_and_f > 0.5
    again = tapetum.evaluate_davis(data=data, predictions=tmp_path / "said", most=1)
    assert again.j_and_f == pytest.approx(j_and_f, abs=1e-3)
    with Image.open(tmp_path / "said/one/00003.png") as image:
        assert image.mode == "P"
        assert image.getpalette() == palette()
    places = tapetum.evaluate_davis(data=data, model="xy", most=1, radius=5, context=2)
    assert places.j_and_f < j_and_f


@pytest.mark.slow
def test_an_encoder_follows(data: Path, tmp_path: Path) -> None:
    save(tapetum.encoders.build("resnet-18", stem_width=8), tmp_path / "encoder.safetensors")
    found = tapetum.evaluate_davis(
        data=data, model=str(tmp_path / "encoder.safetensors"), most=1, short_side=64, stride=8, context=2
    )
    assert (len(found.scores.objects), found.settings["stride"]) == (1, 8)
    assert 0 < found.j_and_f <= 1


def test_bad_input_is_told(data: Path, tmp_path: Path) -> None:
    said = write_guesses(tmp_path / "said", {"one": VIDEOS["one"]})
    for given, words in (
        ({}, "one of the two"),
        ({"predictions": tmp_path / "none"}, r"there is no .*00001\.png"),
        ({"model": "colours", "year": 2016}, "2016"),
    ):
        with pytest.raises(BadInput, match=words):
            tapetum.evaluate_davis(data=data, **given)
    write_ids(said / "one/00002.png", np.full((48, 64), 9, np.uint8))
    with pytest.raises(BadInput, match="9"):
        tapetum.evaluate_davis(data=data, predictions=said, most=1)
    write_ids(said / "one/00002.png", np.zeros((20, 64), np.uint8))
    with pytest.raises(BadInput, match="64x20"):
        tapetum.evaluate_davis(data=data, predictions=said, most=1)
    write_guesses(tmp_path / "small", {"one": VIDEOS["one"]})
    for k in range(7):
        write_ids(tmp_path / f"small/one/{k:05d}.png", np.zeros((20, 20), np.uint8))
    write_ids(tmp_path / "small/one/00001.png", np.ones((20, 20), np.uint8))
    with pytest.raises(BadInput, match="shapes"):
        tapetum.evaluate_davis(data=data, predictions=tmp_path / "small", most=1)
