"""What the commands of the guides read, under the names that they use: small, and in the official layouts."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from support import encoder_folders
from support.davis_folder import write_davis
from support.question_sets import make_set
from support.scripts import GOLDEN
from tapetum.app.shell.main import main
from tapetum.data.coco import CocoImage, instance, write_instances
from tapetum.data.questions import Question
from tapetum.data.video_language import write_egoschema
from tapetum.tracks.facets import SceneConfig, make_clip
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.kubric import write_sequence
from tapetum.video import write_video

CLASSES = "car", "bicycle"
"""As `tapetum sample` calls them."""


def write_inputs(folder: Path) -> Path:
    """Make the folder; a maker reads what those before it have made."""
    folder.mkdir()
    for make in (_videos, _images, _classes, _instances, _segmentation, _benchmarks, _networks):
        make(folder)
    return folder


def _videos(folder: Path) -> None:
    scene = make_clip(3, SceneConfig(size=(64, 64), frames=6), points=8)
    frames = np.stack([np.asarray(Image.fromarray(frame).resize((640, 360))) for frame in scene.video])
    write_video(folder / "clip.mp4", frames, 10)
    moving = make_clip(4, SceneConfig(size=(64, 96), frames=12), points=8).video
    (folder / "my-videos").mkdir()
    write_video(folder / "my-videos" / "bicycle.mp4", moving, 10)
    write_video(folder / "my-videos" / "street.mp4", moving[:, :, ::-1], 10)
    (folder / "points.csv").write_text("t,x,y\n0,320,180\n4,40.5,100\n")
    sequence = make_clip(3, SceneConfig(size=(128, 128), frames=12), points=64)
    for number in range(2):
        write_sequence(
            folder / "kubric" / f"{number:04d}", TrackedClip(sequence.video, sequence.truth.xy, sequence.truth.visible)
        )
    truth = {"video": scene.video, "points": scene.truth.xy / 64.0, "occluded": ~scene.truth.visible}
    (folder / "tapvid_davis.pkl").write_bytes(pickle.dumps({"scene": truth}))
    (folder / "kinetics").mkdir()
    (folder / "kinetics" / "0000_of_0010.pkl").write_bytes(pickle.dumps([truth]))


def _image(seed: int, size: tuple[int, int] = (160, 160)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 90, (*size, 3), np.uint8)
    y, x = rng.integers(8, size[0] - 32, 2)
    image[y : y + 24, x : x + 24] = rng.integers(120, 256, 3)
    return image


def _images(folder: Path) -> None:
    Image.fromarray(_image(0)).save(folder / "photo.jpg")
    (folder / "counted").mkdir()
    for split in ("train", "val"):
        for number in range(3):
            Image.fromarray(_image(20 + number)).save(folder / "counted" / f"{split}{number}.jpg")
        (folder / "counted" / f"{split}.csv").write_text("".join(f"{split}{number}.jpg,{number}\n" for number in range(3)))


def _classes(folder: Path) -> None:
    """Images by class: as folders, and as CIFAR's binary files."""
    for label, kind in enumerate(CLASSES):
        (folder / "photos" / kind).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(_image(100 * label + number)).save(folder / "photos" / kind / f"{number}.jpg")
    cifar = folder / "cifar-10-batches-bin"
    cifar.mkdir()
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        rows = np.concatenate([np.arange(10)[:, None], rng.integers(0, 256, (10, 3072))], 1)
        (cifar / f"{name}.bin").write_bytes(rows.astype(np.uint8).tobytes())
    (cifar / "batches.meta.txt").write_text("\n".join(f"class{number}" for number in range(10)))


def _instances(folder: Path) -> None:
    coco = folder / "coco"
    (coco / "annotations").mkdir(parents=True)
    for part in ("train2017", "val2017"):
        (coco / part).mkdir()
        images = []
        for k in range(2):
            image, mask = _image(k, (64, 80)), np.zeros((64, 80), bool)
            mask[16:48, 10 + 8 * k : 42 + 8 * k] = True
            image[mask] = (220, 60, 50)
            Image.fromarray(image).save(coco / part / f"{k:012d}.jpg")
            images.append(CocoImage(id=k, file_name=f"{k:012d}.jpg", height=64, width=80, instances=[instance(1, mask)]))
        write_instances(coco / "annotations" / f"instances_{part}.json", lambda images=images: images, {1: "cat"})
    shutil.copy(coco / "annotations" / "instances_val2017.json", folder)
    captioned = [
        {"filepath": "val2014", "filename": f"{k}.jpg", "cocoid": k, "split": "test", "sentences": [{"raw": f"a square {k}"}]}
        for k in range(2)
    ]
    (folder / "coco-captions" / "val2014").mkdir(parents=True)
    (folder / "coco-captions" / "dataset_coco.json").write_text(json.dumps({"images": captioned}))
    for k in range(2):
        shutil.copy(folder / "photos" / "car" / f"{k}.jpg", folder / "coco-captions" / "val2014")
    (folder / "names.txt").write_text("cat\ndog\n")
    shutil.copytree(coco / "val2017", folder / "val2017")


def _segmentation(folder: Path) -> None:
    def pair(image: Path, mask: Path, k: int, value: int) -> None:
        ids = np.zeros((64, 64), np.uint8)
        ids[16:48, 16:48] = value
        for path, content in ((image, _image(k, (64, 64))), (mask, ids)):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path)

    for place in ("VOC2012", "VOCdevkit/VOC2012", "VOCdevkit/VOC2007"):
        voc = folder / place
        for part, numbers in (("train", (0, 1, 2)), ("val", (3, 4))):
            for k in numbers:
                pair(voc / "JPEGImages" / f"{k:06d}.jpg", voc / "SegmentationClass" / f"{k:06d}.png", k, 3)
                pair(voc / "JPEGImages" / f"{k:06d}.jpg", voc / "SegmentationObject" / f"{k:06d}.png", k, 1)
                _voc_boxes(voc / "Annotations" / f"{k:06d}.xml", k)
            for sets in ("Segmentation", "Main"):
                listing = voc / "ImageSets" / sets / f"{part}.txt"
                listing.parent.mkdir(parents=True, exist_ok=True)
                listing.write_text("".join(f"{k:06d}\n" for k in numbers))
        for sets in ("Segmentation", "Main"):
            texts = [(voc / "ImageSets" / sets / f"{part}.txt").read_text() for part in ("train", "val")]
            (voc / "ImageSets" / sets / "trainval.txt").write_text("".join(texts))
    for part in ("train", "val"):
        city, camvid = folder / "cityscapes", folder / "CamVid"
        for k in range(2):
            name = f"aachen/aachen_{k:06d}_000019"
            pair(city / f"leftImg8bit/{part}/{name}_leftImg8bit.png", city / f"gtFine/{part}/{name}_gtFine_labelIds.png", k, 7)
            pair(camvid / part / f"{k}.png", camvid / f"{part}annot" / f"{k}.png", k, 2)
        lines = [f"/SegNet/CamVid/{part}/{k}.png /SegNet/CamVid/{part}annot/{k}.png" for k in range(2)]
        (camvid / f"{part}.txt").write_text("\n".join(lines))


def _voc_boxes(path: Path, k: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    box = "<xmin>17</xmin><ymin>17</ymin><xmax>48</xmax><ymax>48</ymax>"
    path.write_text(
        f"<annotation><filename>{k:06d}.jpg</filename><size><width>64</width><height>64</height><depth>3</depth></size>"
        f"<object><name>cat</name><difficult>0</difficult><bndbox>{box}</bndbox></object></annotation>"
    )


def _benchmarks(folder: Path) -> None:
    write_davis(folder / "DAVIS", {"one": (4, 1), "two": (4, 2)})
    question = Question(key="u", video=Path("u"), question="What falls?", options=("a", "b", "c", "d", "e"), right=1)
    (folder / "egoschema" / "videos").mkdir(parents=True)
    write_egoschema(folder / "egoschema", lambda: [question])
    shutil.copy(folder / "clip.mp4", folder / "egoschema" / "videos" / "u.mp4")
    make_set("textvqa", folder / "TextVQA")
    for name in ("shelf", "held-out"):
        row = {"image": "photo.jpg", "prefix": "answer en how many boxes are on the shelf?", "suffix": "7"}
        (folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n")


def _networks(folder: Path) -> None:
    encoder_folders.dinov2(folder / "dinov2-folder")
    for ending in ("safetensors", "model"):
        shutil.copy(GOLDEN / f"paligemma_taught.{ending}", folder / f"my-model.{ending}")
    words = (
        "pretrain simclr --encoder resnet-nano --size 32 --batch-size 2 --steps 1 --warmup-epochs 0 --workers 0 --device cpu"
    )
    assert main([*words.split(), "--data", str(folder / "photos"), "--out", str(folder / "run")]) == 0
