"""Several sources of images as one, by weights; what a run says of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from systems.pretraining.conftest import tiny
from tapetum.core.errors import BadInput
from tapetum.systems.pretraining.data import ShuffledImages
from tapetum.systems.pretraining.run import pretrain, task_for
from tapetum.systems.pretraining.sources import read_sources
from tapetum.train.launch_config import Launch


def paint(folder: Path, classes: tuple[str, ...], first: int, each: int = 3) -> Path:
    """A folder with images of one grey value each, counted from `first` on."""
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for k in range(each):
            value = first + number * each + k
            Image.fromarray(np.full((16, 16, 3), value, np.uint8)).save(folder / name / f"{k}.png")
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Six images of cats and dogs, six of dogs and ants."""
    return [paint(tmp_path / "a", ("cat", "dog"), 0), paint(tmp_path / "b", ("dog", "ant"), 100)]


def test_images_are_numbered_through_and_classes_of_one_name_are_one(folders: list[Path]) -> None:
    source = read_sources(folders)
    values = [int(source.images[k][0, 0, 0]) for k in range(12)]
    assert values == [0, 1, 2, 3, 4, 5, 103, 104, 105, 100, 101, 102]
    assert source.classes == ("ant", "cat", "dog")
    assert source.labels is not None
    assert source.labels[np.arange(12)].tolist() == [1] * 3 + [2] * 3 + [0] * 3 + [2] * 3
    assert source.images.name(7).endswith("b/ant/1.png")
    assert source.about == {"data": ["a", "b"], "images": [6, 6]}
    shown = ShuffledImages(source, seed=0)
    assert sorted(shown[n].index for n in range(12)) == list(range(12))  # each once an epoch


def test_weights_say_how_much_each_is_shown(folders: list[Path]) -> None:
    shown = ShuffledImages(read_sources(folders, (3, 1)), seed=0)
    from_b = np.array([shown[n].index >= 6 for n in range(1000)])
    assert abs(from_b.sum() - 250) < 4 * (1000 * 0.25 * 0.75) ** 0.5
    again = ShuffledImages(read_sources(folders, (3, 1)), seed=0)
    assert [again[n].index for n in (999, 5)] == [shown[n].index for n in (999, 5)]
    with pytest.raises(BadInput, match="there are 1 weights for 2 sources of data"):
        read_sources(folders, (3,))


def test_captions_are_for_all_or_for_none(folders: list[Path]) -> None:
    for image in folders[0].rglob("*.png"):
        image.with_suffix(".txt").write_text(image.stem)
    with pytest.raises(BadInput, match="b has no captions, which others have"):
        read_sources(folders, captions=True)
    for image in folders[1].rglob("*.png"):
        image.with_suffix(".txt").write_text(f"{image.stem}{image.stem}")
    captions = read_sources(folders, captions=True).captions
    assert captions is not None
    assert [captions[k] for k in (2, 7)] == ["2", "11"]


@pytest.mark.slow
def test_a_run_of_several_names_them_and_goes_on_where_it_was(folders: list[Path], tmp_path: Path) -> None:
    run = replace(tiny("supervised", "", steps=3), data=tuple(map(str, folders)), data_weights=(0.7, 0.3))
    assert task_for(run).describe()["data"] == ["a", "b"]
    assert task_for(run).describe()["data_weights"] == [0.7, 0.3]
    said: list[str] = []

    def launch(name: str, **changes: object) -> Launch:
        return Launch(out=tmp_path / name, **{"workers": 0, "threads": 1, **changes})

    whole = pretrain(run, launch("whole"), said.append)
    assert said[0] == "12 images of 3 classes: a 6 (weight 0.7), b 6 (weight 0.3)"
    assert pretrain(run, launch("part", minutes=0), said.append) is None
    part = pretrain(run, launch("part", workers=1), said.append)
    assert whole is not None
    assert part is not None
    assert whole.encoder.read_bytes() == part.encoder.read_bytes()
