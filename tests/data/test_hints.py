"""What a folder looks like that does not fit its layout, and that the command which is told works."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support.files import make_image, stripes
from tapetum.core.errors import BadInput
from tapetum.data.layouts import listing

Run = Callable[..., tuple[int, str, str]]


def classes(place: Path) -> Path:
    for k in range(20):
        make_image(place / "photos" / ("cat", "dog")[k % 2] / f"{k}.jpg", (12 * k, 0, 255 * (k % 2)))
    return place / "photos"


def test_a_folder_of_photographs_without_classes_is_learned_from(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    classes(tmp_path)
    train = ["train", "hip", "--out", "run", "--size", 8, "--mae-steps", 1, "--batch-size", 4, "--workers", 0]
    train += ["--threads", 1, "--bf16", False, "--data", "photos/cat"]
    code, _, err = run(*train)
    assert (code, err.count("\n")) == (2, 1)
    code, out, err = run(*train, *shlex.split(err.rpartition("give ")[2]))
    assert code == 0, err
    assert "train: 8 examples of image 8x8x3" in out
    assert (tmp_path / "run" / "hip-nano.safetensors").is_file()
    code, _, err = run(*train, "--layout", "classes", "--steps", 1)
    assert (code, "photos/cat has no labels; give --steps 0 to learn without" in err) == (2, True)


def test_every_tenth_of_shards_in_one_folder_is_held_out(run: Run, tmp_path: Path) -> None:
    assert run("data", "shards", classes(tmp_path), "--out", tmp_path / "all")[0] == 0
    whole, held = (listing("shards", tmp_path / "all", part) for part in ("train", "val"))
    assert (len(whole), len(held), whole.classes) == (18, 2, ("cat", "dog"))
    names = [[files["image"][k].name for k in range(len(files["image"]))] for files in (whole.files, held.files)]
    assert len({*names[0], *names[1]}) == 20
    for part in (whole, held):
        assert part.truth is not None
        for k, name in enumerate(part.files["image"][k].name for k in range(len(part))):
            assert whole.classes[int(part.truth[k])] in name


def test_what_other_folders_look_like(tmp_path: Path) -> None:
    place = classes(tmp_path)
    flat, split = tmp_path / "flat", tmp_path / "split"
    shutil.copytree(place / "cat", flat)
    for part in ("train", "val"):
        shutil.copytree(place, split / part)
    for layout, where, message in (
        ("parquet", flat, "holds images without classes: give --layout classes --steps 0"),
        ("parquet", split, "it looks like the layout imagenet: give --layout imagenet"),
        ("imagenet", stripes(tmp_path / "train.parquet").parent, "it looks like the layout parquet"),
    ):
        with pytest.raises(BadInput, match=message):
            listing(layout, where, "train")
    (tmp_path / "voc" / "JPEGImages").mkdir(parents=True)
    with pytest.raises(BadInput) as wrong:
        listing("voc", tmp_path / "voc", "train")
    assert "looks like" not in str(wrong.value)
