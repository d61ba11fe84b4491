"""`tapetum discover`: things that stand out are found, and what is written can be read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum
from support.files import listed
from tapetum.app.see.discover import MEASURED
from tapetum.app.shell.main import main
from tapetum.core.errors import BadInput
from tapetum.data.rle import decode_mask
from tapetum.encoders import build
from tapetum.encoders.factory import save
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.objects import colours, find_objects, network_map, positions, rgb
from tapetum.systems.odin.recipes import OdinConfig
from tapetum.transfer.propagation import prepare_whole


def make_image(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A noisy ground with a disc and a bar of other colours, and the numbers of both."""
    rng = np.random.default_rng(seed)
    canvas, truth = np.full((120, 160, 3), (60, 110, 60), float), np.zeros((120, 160), int)
    rows, columns = np.mgrid[:120, :160]
    for number, (mask, colour) in enumerate(
        (
            ((rows - 50) ** 2 + (columns - 45) ** 2 < 24**2, (220, 60, 50)),
            ((abs(rows - 80) < 12) & (abs(columns - 115) < 28), (60, 70, 220)),
        ),
        1,
    ):
        canvas[mask], truth[mask] = colour, number
    return np.clip(canvas + rng.normal(0, 8, canvas.shape), 0, 255).astype(np.uint8), truth


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def test_things_that_stand_out_are_found_and_the_ground_is_not() -> None:
    shown, truth = make_image()
    masks, clusters = find_objects(shown, colours, clusters=4)
    assert clusters.shape == (120, 160)
    for number in (1, 2):
        assert max(overlap(mask, truth == number) for mask in masks.masks[:3]) > 0.8
    assert all(overlap(mask, truth == 0) < 0.5 for mask in masks.masks)
    assert (np.diff(masks.scores) <= 0).all()
    again, _ = find_objects(shown, colours, clusters=4)
    assert np.array_equal(again.masks, masks.masks)
    one, _ = find_objects(np.full((64, 64, 3), 90, np.uint8), colours, clusters=4)
    assert one.masks.shape[1:] == (64, 64)


@pytest.mark.parametrize(
    ("rows", "columns", "score"),
    [
        ((3, 7), (3, 7), 1.0),
        ((0, 4), (3, 7), 2 / 3),
        ((6, 10), (3, 7), 2 / 3),
        ((3, 7), (0, 4), 2 / 3),
        ((3, 7), (6, 10), 2 / 3),
    ],
)
def test_a_thing_that_the_image_cuts_off_is_less_of_one(rows: tuple[int, int], columns: tuple[int, int], score: float) -> None:
    there = torch.zeros(10, 10)
    there[slice(*rows), slice(*columns)] = 1
    # 12 cells are at the outline of 4 x 4 cells; where 4 of them are the image's edge, a third of it is not known
    masks, _ = find_objects(np.zeros((10, 10, 3), np.uint8), rgb, clusters=2, features=torch.stack([there, 1 - there]))
    assert masks.scores is not None
    assert masks.scores.tolist() == pytest.approx([score])
    assert (masks.masks[0] == there.numpy()).all()


def test_positions_are_those_of_cells_whatever_is_shown() -> None:
    shown = make_image()[0][:, :64]
    _, height, width = rgb(shown).shape
    found = positions(shown)
    assert found.shape == (2, height, width)
    longest = max(height, width)
    assert all(
        found[:, r, c].tolist() == pytest.approx([r / longest, c / longest]) for r in range(height) for c in range(width)
    )


def test_an_encoder_looks_instead() -> None:
    torch.manual_seed(0)
    encoder = build("resnet-18", stem_width=8)
    masks, clusters = find_objects(make_image()[0], network_map(encoder), clusters=3)
    assert clusters.max() <= 2
    assert masks.masks.shape[1:] == (120, 160)
    with pytest.raises(BadInput, match="objects are sought in 8 x 8"):
        find_objects(np.zeros((4, 9, 3), np.uint8), colours)


def test_of_a_pyramid_the_finest_level_is_looked_at_unless_a_stride_is_asked_for() -> None:
    torch.manual_seed(0)
    config = OdinConfig(pyramid_width=16, hidden_width=32, projection_width=8, clusters=4)
    model = Odin(config, tapetum.encoders.build("resnet-18", stem_width=4)).eval()
    shown = make_image()[0]
    assert model.pyramid is not None
    with torch.no_grad():
        levels = model.pyramid(model.encoder(prepare_whole(model.encoder, shown, 64)).maps)
    assert len({level.shape for level in levels}) == len(levels)
    torch.testing.assert_close(network_map(model, 64)(shown), levels[0][0])
    for stride, level in zip(model.encoder.strides, levels, strict=False):
        torch.testing.assert_close(network_map(model, 64, stride)(shown), level[0])


def test_networks_for_small_views_see_enough_of_a_image() -> None:
    encoder = tapetum.encoders.build("resnet-nano")
    assert network_map(encoder)(make_image()[0]).shape[1:] == (24, 32)  # 96 pixels of 120, cells of 4
    assert network_map(encoder, 64)(make_image()[0]).shape[1:] == (16, 16)


def test_what_is_said_of_a_look_was_measured() -> None:
    found = json.loads((Path(__file__).parents[3] / "evidence" / "odin" / "streets-test.json").read_text())
    plain = f"{found['xy']['abo']:.2f}"
    for name, said in MEASURED.items():
        own = found[name]
        assert f"on {own['pictures']} street" in said
        assert f"cover these by {own['abo']:.2f} (k-means of positions alone: {plain}" in said
        few, many = (f"{own['discovered'][clusters]['abo']:.2f}" for clusters in ("6", "24"))
        assert f"shows by {few} (with --clusters 24 by {many})" in said
        assert f"in {round(own['corloc'] * own['pictures'])} image" in said


def test_a_folder_becomes_a_page_masks_and_drawings(tmp_path: Path, capsys: Any) -> None:
    folder, out = tmp_path / "images", tmp_path / "found"
    folder.mkdir()
    for k in range(2):
        Image.fromarray(make_image(k)[0]).save(folder / f"p{k}.png")
    assert main(["discover", str(folder), "--out", str(out), "--clusters", "4", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert listed(out) == ["00001-p0.jpg", "00002-p1.jpg", "instances.json", "objects.html"]
    content = json.loads((out / "instances.json").read_text())
    assert [row["objects"] for row in said["images"]] == [
        sum(found["image_id"] == image["id"] for found in content["annotations"]) for image in content["images"]
    ]
    best = max(content["annotations"], key=lambda found: found["score"])
    assert decode_mask(best["segmentation"]).sum() == best["area"]
    page = (out / "objects.html").read_text()
    assert page.count('"/9j/') == 2  # JPEGs, each image with its objects
    assert "http://" not in page
    assert "https://" not in page
    assert "CamVid" in said["measured"]
    assert said["measured"] in page  # how good it is, where it is looked at


def test_what_cannot_be_is_one_line(tmp_path: Path, capsys: Any) -> None:
    good, bad = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(make_image()[0]).save(good)
    bad.write_bytes(b"no image")
    out = tmp_path / "out"
    for words in (
        ["discover", str(bad), "--out", str(out)],
        ["discover", str(tmp_path / "none.png"), "--out", str(out)],
        ["discover", str(good), "--out", str(out), "--clusters", "1"],
        ["discover", str(good), "--out", str(out), "--model", "no-such-model"],
        ["discover", str(good), "--out", str(good)],
    ):
        assert main(words) == 2
        assert capsys.readouterr().err.count("\n") == 1, words
        assert not out.exists()
    assert main(["discover", str(good), str(bad), "--out", str(out)]) == 2
    assert (out / "objects.html").exists()
    assert "1 of 2 images could not be read" in capsys.readouterr().err


@pytest.mark.slow
def test_a_file_of_an_encoder_is_taken(tmp_path: Path) -> None:
    save(tapetum.encoders.build("resnet-18", stem_width=8), tmp_path / "encoder.safetensors")
    Image.fromarray(make_image()[0]).save(tmp_path / "a.png")
    found = tapetum.discover(
        str(tmp_path / "a.png"), out=tmp_path / "out", model=str(tmp_path / "encoder.safetensors"), clusters=3
    )
    assert found.page.exists()


@pytest.mark.slow
def test_a_run_from_the_command_line_goes_on_and_discovers(tmp_path: Path, capsys: Any) -> None:
    folder, run = tmp_path / "images", tmp_path / "run"
    folder.mkdir()
    for k in range(8):
        Image.fromarray(make_image(k)[0]).save(folder / f"p{k}.png")
    words = ["train", "odin", "--data", str(folder), "--out", str(run), "--size", "32", "--steps", "2", "--batch-size", "4"]
    words += ["--micro-batch", "4", "--change", "stem_width=4", "--clusters", "4", "--threads", "1", "--workers", "0"]
    assert main(words) == 0
    assert main(words) == 0  # a finished run is finished
    assert (run / "encoder.safetensors").exists()
    assert tapetum.load(run / "odin.safetensors").config.clusters == 4
    assert main(["discover", str(folder), "--out", str(tmp_path / "found"), "--model", str(run), "--clusters", "3"]) == 0
    assert main(["embed", str(folder), "--model", str(run), "--out", str(tmp_path / "v.npz")]) == 0
    assert main([*words[:4], "--source", "given", "--out", str(tmp_path / "other")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("tapetum: masks that are given want a program")
