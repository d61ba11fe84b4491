"""Images of the physical world as files: read by others' readers, the same for any number of workers, and gone on with."""

import contextlib
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.app.verb import Listener
from tapetum.core.errors import BadInput
from tapetum.data.entries import read_lines
from tapetum.data.rle import decode_mask
from tapetum.data.shards import Shards
from tapetum_world.commands.scenes import ImagesOptions, images


class Heard(Listener):
    def __init__(self) -> None:
        self.done: list[int] = []
        self.notes: list[str] = []

    def progress(self, task: str, done: int, total: int | None) -> None:
        self.done.append(done)

    def note(self, text: str) -> None:
        self.notes.append(text)


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".index"
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "out"
    done = images(folder, n=3, seed=1, size=48)
    rows = list(read_lines(folder / "images.jsonl"))
    assert done.images == len(rows) == 3
    assert done.objects == sum(len(row["objects"]) for row in rows) > 3
    assert done.questions == len(list(read_lines(folder / "questions.jsonl")))
    return folder


@pytest.mark.slow
def test_masks_boxes_and_coco_agree(made: Path) -> None:
    theirs = pytest.importorskip("pycocotools.coco")
    with contextlib.redirect_stdout(io.StringIO()):
        coco, captions = (theirs.COCO(made / "coco" / f"{name}.json") for name in ("instances", "captions"))
    for row in read_lines(made / "images.jsonl"):
        with Image.open(made / row["file"]) as image:
            assert image.size == (48, 48)
        ids = np.asarray(Image.open(made / row["masks"]))
        assert set(np.unique(ids)) - {0} == {thing["id"] for thing in row["objects"]}
        found = coco.loadAnns(coco.getAnnIds(imgIds=[row["id"]]))
        for thing, annotation in zip(row["objects"], found, strict=True):
            mask = ids == thing["id"]
            assert np.array_equal(decode_mask(thing["segmentation"]), mask)
            assert np.array_equal(coco.annToMask(annotation), mask)
            assert coco.cats[annotation["category_id"]]["name"] == thing["noun"]
            whole = decode_mask(thing["whole_segmentation"])
            assert (whole | mask).sum() == whole.sum()
            assert thing["seen_share"] == round(mask.sum() / whole.sum(), 4)
            x1, y1, x2, y2 = thing["box"]
            assert annotation["bbox"] == [x1, y1, x2 - x1, y2 - y1]
            assert mask[y1:y2, x1:x2].sum() == mask.sum() == annotation["area"]
        assert captions.imgToAnns[row["id"]][0]["caption"] == row["captions"]["short"]
        for asked in row["questions"]:
            assert asked["options"][asked["answer_id"]] == asked["answer"]


@pytest.mark.slow
def test_shards_hold_the_same(made: Path) -> None:
    shards = Shards(made / "shards")
    rows = list(read_lines(made / "images.jsonl"))
    assert len(shards) == 3
    for number, row in enumerate(rows):
        sample = shards[number]
        assert sample["json"] == row
        assert sample["jpg"].shape == (48, 48, 3)
        assert np.array_equal(sample["masks.png"], np.asarray(Image.open(made / row["masks"])))


@pytest.mark.slow
def test_two_workers_write_the_same_files(made: Path, tmp_path: Path) -> None:
    images(tmp_path / "out", n=3, seed=1, size=48, workers=2)
    assert content(tmp_path / "out") == content(made)


@pytest.mark.slow
def test_what_is_done_is_not_done_again(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(made, folder)
    for name in ("truth/000001.json", "images/000001.jpg", "images.jsonl", "coco/captions.json"):
        (folder / name).unlink()
    (folder / "truth" / ".000001.77.tmp.json").write_text("half")
    shutil.rmtree(folder / "shards")
    before = (folder / "images" / "000000.jpg").stat().st_mtime_ns
    heard = Heard()
    images.run(ImagesOptions(folder, n=3, seed=1, size=48), heard)
    assert (heard.done, len(heard.notes)) == ([2, 3], 1)
    assert (folder / "images" / "000000.jpg").stat().st_mtime_ns == before
    assert content(folder) == content(made)
    for n, seed, size, name in ((3, 2, 48, "seed"), (4, 1, 48, "n"), (3, 1, 64, "size")):
        with pytest.raises(BadInput, match=f"belongs to a run with {name}"):
            images(folder, n=n, seed=seed, size=size)


def test_bad_requests_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for name in ("a", "b"):
        Image.fromarray(noise).save(tmp_path / "photos" / f"{name}.jpg")
    whole = (tmp_path / "photos" / "b.jpg").read_bytes()
    (tmp_path / "photos" / "b.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "file").write_text("")
    for match, more in (
        ("--n 1", {"n": 0}),
        ("--size from 16", {"size": 15}),
        ("--size from 16", {"size": 4096}),
        ("--workers", {"workers": 0}),
        ("--seed", {"seed": -1}),
        ("b.jpg among the textures", {"textures": tmp_path / "photos"}),
        ("neither a folder", {"textures": tmp_path / "nowhere"}),
    ):
        with pytest.raises(BadInput, match=match):
            images(tmp_path / "out", **{"n": 1, **more})
    with pytest.raises(BadInput, match="is a file"):
        images(tmp_path / "file", n=1)
    with pytest.raises(BadInput, match="other files"):
        images(tmp_path, n=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_damaged_truth_is_told(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "out")
    (tmp_path / "out" / "truth" / "000002.json").write_text('{"id": 2')
    with pytest.raises(BadInput, match=r"000002\.json cannot be read"):
        images(tmp_path / "out", n=3, seed=1, size=48)
