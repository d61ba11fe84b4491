"""Data sets in their official layouts: small real files, read as they lie; and what is wrong with them."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from support.files import film, make_image, sound
from tapetum.app.shell.main import main
from tapetum.core.errors import BadInput
from tapetum.data.files import StoredFile
from tapetum.data.layouts import VOC_CLASSES
from tapetum.data.media import MeshFiles
from tapetum.data.point_clouds import on_surface, read_off
from tapetum.systems.hip.config import Sizes
from tapetum.systems.hip.data import TARGET, HipSplit, data_set
from tapetum.video import write_video

SMALL = Sizes(image=(8, 8), frames=2, video_rate=5.0, samples=400, sound_rate=4000, points=64)


def data(layout: str, place: Path, part: str = "train") -> HipSplit:
    return data_set(layout, place, part, SMALL)  # type: ignore[arg-type]


def imagenet(place: Path) -> Path:
    for part, count in (("train", 3), ("val", 1)):
        for name, colour in (("n01440764", (255, 0, 0)), ("n01443537", (0, 0, 255))):
            for k in range(count):
                make_image(place / part / name / f"{name}_{k}.JPEG", colour)
    return place


def test_imagenet(tmp_path: Path) -> None:
    found = data("imagenet", imagenet(tmp_path))
    assert found.classes == ("n01440764", "n01443537")
    assert found.asks == "class"
    assert len(found.examples) == 6
    assert len(data("imagenet", tmp_path, "val").examples) == 2
    batch = found.examples.plain(0, 6)
    assert batch["image"].shape == (6, 64, 3)
    assert batch[TARGET].tolist() == [0, 0, 0, 1, 1, 1]
    red = (batch["image"][:, 0, 0] > batch["image"][:, 0, 2]).tolist()
    assert red == [True] * 3 + [False] * 3


def voc(place: Path) -> Path:
    for part, names in (("train", ["2007_000032", "2007_000039"]), ("val", ["2007_000033"])):
        lists = place / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{part}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            shown, mask = np.zeros((30, 40, 3), np.uint8), np.zeros((30, 40), np.uint8)
            shown[:, 20:], mask[:, 20:], mask[:2] = 255, 15, 255
            (place / "JPEGImages").mkdir(exist_ok=True)
            (place / "SegmentationClass").mkdir(exist_ok=True)
            Image.fromarray(shown).save(place / "JPEGImages" / f"{name}.jpg", quality=95)
            with_palette = Image.fromarray(mask, "P")
            with_palette.putpalette(list(range(256)) * 3)
            with_palette.save(place / "SegmentationClass" / f"{name}.png")
    return place


def test_voc_images_and_masks_are_cut_alike(tmp_path: Path) -> None:
    found = data("voc", voc(tmp_path))
    assert found.classes == VOC_CLASSES
    assert found.asks == "elements"
    plain = found.examples.plain(0, 1)[TARGET].reshape(8, 8)
    assert set(plain.unique().tolist()) == {-1, 0, 15}
    for k in range(20):
        example = found.examples[k]
        bright, target = example["image"].mean(-1), example[TARGET]
        assert target.dtype == torch.int64
        certain = (target >= 0) & (bright.abs() > 1.2)
        assert certain.sum() > 30
        assert ((bright > 0) == (target == 15))[certain].all()


def audioset(place: Path) -> Path:
    place.mkdir(exist_ok=True)
    (place / "class_labels_indices.csv").write_text(
        'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/05zppz,"Male speech, man speaking"\n2,/m/0dgw9r,"Human sounds"\n'
    )
    head = (
        "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=3\n# YTID, start_seconds, end_seconds, positive_labels\n"
    )
    lines = '--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"\n--ZhevVpy1s, 50.000, 60.000, "/m/05zppz,/m/0dgw9r"\n'
    (place / "balanced_train_segments.csv").write_text(head + lines + '-gone_gone_, 0.000, 10.000, "/m/09x0r"\n')
    (place / "eval_segments.csv").write_text(head + lines)
    sound(place / "audio" / "--PJHxphWEs_30.000_40.000.wav", 16384)
    sound(place / "audio" / "Y--ZhevVpy1s.wav", -16384, seconds=0.05)
    return place


def test_audioset(tmp_path: Path) -> None:
    found = data("audioset", audioset(tmp_path))
    assert found.classes == ("Speech", "Male speech, man speaking", "Human sounds")
    assert (found.asks, found.missing, len(found.examples)) == ("labels", 1, 2)
    batch = found.examples.plain(0, 2)
    assert batch["audio"].shape == (2, 400, 1)
    assert torch.equal(batch["audio"][0], torch.full((400, 1), 0.5))
    assert batch["audio"][1, :200].eq(-0.5).all()
    assert batch["audio"][1, 200:].eq(0).all()
    assert batch[TARGET].tolist() == [[1, 0, 0], [0, 1, 1]]


def test_audioset_with_images_and_sound(tmp_path: Path) -> None:
    audioset(tmp_path)
    for path in (tmp_path / "audio").iterdir():
        path.unlink()
    for name in ("--PJHxphWEs", "--ZhevVpy1s"):
        film(tmp_path / f"{name}.mkv")
        (tmp_path / f"{name}.mkv").rename(tmp_path / f"{name}.MKV")
    found = data("audioset", tmp_path)
    example = found.examples[0]
    assert example["video"].shape == (2 * 64, 3)
    assert example["audio"].shape == (400, 1)
    heard = data_set("audioset", tmp_path, "train", SMALL, modalities=("audio",))  # the paper's row of sound alone
    assert list(heard.examples.modalities()) == ["audio"]
    with pytest.raises(BadInput, match="has no image; its modalities are video, audio"):
        data_set("audioset", tmp_path, "train", SMALL, modalities=("image",))


def test_kinetics(tmp_path: Path) -> None:
    head = "label,youtube_id,time_start,time_end,split\n"
    for part in ("train", "val"):
        rows = f"zumba,abcdefghijk,10,20,{part}\nabseiling,-bcdefghijk,0,10,{part}\nzumba,gonegonegon,0,10,{part}\n"
        (tmp_path / f"{part}.csv").write_text(head + rows)
    frames = [np.full((16, 24, 3), 25 * k, np.uint8) for k in range(10)]
    for name in ("abcdefghijk_000010_000020", "-bcdefghijk_000000_000010"):
        write_video(tmp_path / f"{name}.mp4", frames, frame_rate=10)
    found = data("kinetics", tmp_path)
    assert found.classes == ("abseiling", "zumba")
    assert (found.missing, found.asks) == (1, "class")
    batch = found.examples.plain(0, 2)
    assert batch[TARGET].tolist() == [1, 0]
    grey = batch["video"].reshape(2, 2, 64, 3)[0, :, :, 0].mean(1) * 58.4 + 123.7
    # 2 frames at 5 a second from a second of film: the middle 0.4 s begin at 0.3, so frames 3 and 5
    assert grey.tolist() == pytest.approx([75, 125], abs=4)


CUBE = """OFF
8 6 0
0 0 0
0 0 1
0 1 0
0 1 1
1 0 0
1 0 1
1 1 0
1 1 1
4 0 1 3 2
4 4 5 7 6
4 0 1 5 4
4 2 3 7 6
4 0 2 6 4
4 1 3 7 5
"""


def test_modelnet40(tmp_path: Path) -> None:
    for name in ("airplane", "bathtub"):
        for part in ("train", "test"):
            path = tmp_path / name / part / f"{name}_0001.off"
            path.parent.mkdir(parents=True)
            path.write_text(CUBE.replace("OFF\n", "OFF") if name == "bathtub" else CUBE)
    found = data("modelnet40", tmp_path)
    assert found.classes == ("airplane", "bathtub")
    points = found.examples.plain(0, 2)["points"]
    assert points.shape == (2, 64, 3)
    assert points.norm(dim=-1).max() <= 1.0001
    assert (points[:, 1:, 2] >= points[:, :-1, 2]).all()
    assert torch.equal(points, found.examples.plain(0, 2)["points"])


def test_points_lie_on_the_surface_evenly() -> None:
    vertices, faces = read_off(CUBE.encode(), "cube")
    assert faces.shape == (12, 3)
    points = on_surface(vertices, faces, 30000, np.random.default_rng(0))
    on_face = np.minimum(np.abs(points), np.abs(points - 1)).min(1)
    assert on_face.max() < 1e-6
    assert points.mean(0) == pytest.approx([0.5] * 3, abs=0.01)
    share = [(np.abs(points[:, axis] - side) < 1e-6).mean() for axis in range(3) for side in (0, 1)]
    assert share == pytest.approx([1 / 6] * 6, abs=0.01)


@pytest.mark.parametrize(
    "text",
    ["", "OFF", "PLY\n", "OFF\n3 1 0\n0 0 0\n1 0 0\n", "OFF\n1 1 0\n0 0 0\n3 0 1 2\n", "OFF\n9999999 1 0\n", "OFF\na b c\n"],
)
def test_broken_meshes(text: str) -> None:
    with pytest.raises(BadInput, match="chair_1 is not a whole OFF file"):
        MeshFiles([StoredFile("chair_1", text.encode())], 8).read(0, None)


def table(path: Path, count: int = 20, **columns: list) -> Path:
    def png(k: int) -> bytes:
        out = io.BytesIO()
        Image.new("RGB", (8, 8), (10 * k, 0, 0)).save(out, "PNG")
        return out.getvalue()

    images = [{"bytes": png(k), "path": f"{k}.png"} for k in range(count)]
    pq.write_table(pa.table({"image": images, **columns}), path)
    return path


def test_parquet(tmp_path: Path) -> None:
    for name, count in (("train-0", 6), ("train-1", 2), ("test-0", 4)):
        table(tmp_path / f"{name}.parquet", count, label=[k % 2 for k in range(count)])
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    found = data("parquet", tmp_path)
    assert (len(found.examples), found.classes, found.asks) == (8, ("cat", "dog"), "class")
    red = found.examples.plain(0, 8)["image"][:, 0, 0] * 58.4 + 123.7
    assert red.tolist() == pytest.approx([0, 10, 20, 30, 40, 50, 0, 10], abs=0.01)
    assert len(data("parquet", tmp_path, "val").examples) == 4


def test_words_are_the_same_classes_in_both_parts(tmp_path: Path) -> None:
    table(tmp_path / "train.parquet", 3, label=["cat", "dog", "cat"])
    table(tmp_path / "test.parquet", 2, label=["emu", "dog"])
    train, check = data("parquet", tmp_path), data("parquet", tmp_path, "val")
    assert train.classes == check.classes == ("cat", "dog", "emu")
    assert check.examples.plain(0, 2)[TARGET].tolist() == [2, 1]


@pytest.mark.parametrize("labels", [["cat", None, "dog"], [1, None, 0]])
def test_rows_without_a_label_are_refused(tmp_path: Path, labels: list) -> None:
    for name in ("train", "test"):
        table(tmp_path / f"{name}.parquet", 3, label=labels)
    with pytest.raises(BadInput, match=r"has no label in row 1 \(one of 1\)"):
        data("parquet", tmp_path)


def test_images_are_as_large_as_in_the_paper_unless_told(tmp_path: Path) -> None:
    for layout, make, side in (("imagenet", imagenet, 224), ("voc", voc, 512)):
        found = data_set(layout, make(tmp_path / layout), "train")
        assert found.examples.modalities()["image"].shape == (side, side)


def test_one_parquet_file_holds_out_every_tenth(tmp_path: Path) -> None:
    file = table(tmp_path / "all.parquet", label=[f"word {k % 2}" for k in range(20)])
    assert len(data("parquet", file).examples) == 18
    assert data("parquet", file, "val").examples.plain(0, 2)[TARGET].tolist() == [0, 0]
    assert data("parquet", file).classes == ("word 0", "word 1")
    assert data("parquet", table(tmp_path / "bare.parquet")).asks == "nothing"


def test_shards(tmp_path: Path) -> None:
    imagenet(tmp_path / "folders")
    for part in ("train", "val"):
        source, out = tmp_path / "folders" / part, tmp_path / "shards" / part
        assert main(["data", "shards", str(source), "--out", str(out)]) == 0
    found = data("shards", tmp_path / "shards")
    assert (len(found.examples), found.classes, found.asks) == (6, ("n01440764", "n01443537"), "class")
    here, there = (d.examples.plain(0, 6) for d in (found, data("imagenet", tmp_path / "folders")))
    assert torch.equal(here[TARGET], there[TARGET])
    assert torch.equal(here["image"], there["image"])
    assert torch.equal(found.examples[3]["image"], data("imagenet", tmp_path / "folders").examples[3]["image"])
    assert len(data("shards", tmp_path / "shards", "val").examples) == 2
    (tmp_path / "shards" / "train" / "classes.json").write_text('["one"]')
    with pytest.raises(BadInput, match="classes from 0 to 1, and names for 1"):
        data("shards", tmp_path / "shards")
    with pytest.raises(BadInput, match=r"there is no .*train; put the shards"):
        data("shards", tmp_path)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no layout 'mnist'"):
        data("mnist", tmp_path)
    with pytest.raises(BadInput, match="there is no"):
        data("voc", tmp_path / "none")
    for layout, message in (
        ("imagenet", "train holds no folders"),
        ("voc", r"cannot read .*train\.txt"),
        ("audioset", r"cannot read .*class_labels"),
        ("modelnet40", "holds no folders"),
        ("kinetics", r"cannot read .*train\.csv"),
        ("parquet", r"holds no train\*"),
    ):
        with pytest.raises(BadInput, match=message):
            data(layout, tmp_path)
    (tmp_path / "train" / "n01440764").mkdir(parents=True)
    with pytest.raises(BadInput, match="holds no images"):
        data("imagenet", tmp_path)
    (tmp_path / "train.csv").write_text("name\nx\n")
    with pytest.raises(BadInput, match="lacks the columns"):
        data("kinetics", tmp_path)
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadInput, match="cannot be read as parquet"):
        data("parquet", tmp_path)
    pq.write_table(pa.table({"image": ["a.png"]}), tmp_path / "train.parquet")
    with pytest.raises(BadInput, match="is no struct with the bytes"):
        data("parquet", tmp_path)
    (tmp_path / "train" / "n01440764" / "a.JPEG").write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"a\.JPEG is not an image"):
        data("imagenet", tmp_path).examples.plain(0, 1)
    place = voc(tmp_path / "voc")
    (place / "SegmentationClass" / "2007_000032.png").unlink()
    with pytest.raises(BadInput, match=r"2007_000032\.png"):
        data("voc", place).examples.plain(0, 1)
    make_image(place / "SegmentationClass" / "2007_000032.png", (0, 0, 0))
    with pytest.raises(BadInput, match="one number a pixel"):
        data("voc", place).examples.plain(0, 1)
