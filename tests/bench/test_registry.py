"""What every benchmark of the table does: items with names, finite numbers, means over them, and a run that goes on."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tapetum
from support import encoder_folders
from support.davis_folder import write_davis
from support.paligemma_folder import tiny_folder
from support.question_sets import OFFICIAL, fill, make_set, write
from support.scripts import script
from support.tapvid3d_clips import T, example, save
from tapetum.bench import BENCHMARKS
from tapetum.bench.built_in import VideoQuestions
from tapetum.bench.longvideo_tasks import BENCHMARKS as TASKS
from tapetum.bench.own import evaluate, make_benchmark
from tapetum.encoders.towers_config import TextConfig
from tapetum.systems import longvideo
from tapetum.systems.paligemma.transfer.data import read_examples
from tapetum.systems.paligemma.transfer.tasks import TASKS as TRANSFERS
from tapetum.tracks.tapvid import TapVidEntry, write_entries
from tapetum.video import write_video

recipes = script("tests/golden/make_long_video_golden.py")


def votsp(folder: Path) -> tuple[Path, str, float]:
    """Still points on two sequences, of which one moves by two pixels in the last frame."""
    for name, truth in (("a", "5,5\n" * 4), ("b", "9,9\n9,9\n9,9\n11,9\n")):
        place = folder / "sequences" / name
        (place / "color").mkdir(parents=True)
        (place / "sequence").write_text("fps=30\n")
        (place / "groundtruth_p.txt").write_text(truth)
        for number in range(1, 5):
            Image.new("RGB", (256, 256)).save(place / "color" / f"{number:08d}.jpg")
    return folder, "static", tapetum.evaluate_votsp(data=folder, model="static").as_json()["d_avg"]


def davis(folder: Path) -> tuple[Path, str, float]:
    data = write_davis(folder, {"one": (3, 1), "two": (3, 2)})
    return data, "xy", tapetum.evaluate_davis(data=data, model="xy").j_and_f


def tapvid(folder: Path) -> tuple[Path, str, float]:
    """Two videos, in one of which a point moves, and in the other none is ever seen again."""
    points = np.full((1, 4, 2), 0.5)
    moving = points + np.array([0.0, 0.0, 0.02, 0.02])[None, :, None]
    occluded = np.zeros((1, 4), bool), np.array([[False, True, True, True]])
    frames = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), np.uint8)
    folder.mkdir()
    entries = zip("ab", (moving, points), occluded, strict=True)
    write_entries(
        folder / "set.pkl", {name: TapVidEntry(name=name, video=frames, points=xy, occluded=o) for name, xy, o in entries}
    )
    found = tapetum.evaluate_tapvid(data=str(folder), model="static").as_json()
    return folder, "static", found["average_jaccard"]


def questions(task: str, folder: Path) -> tuple[Path, str, float]:
    """Small files in the official form, with noise for videos, and towers that nobody trained."""
    recipes.write_files(folder.parent)
    data = folder.parent / task
    if task == "egoschema":
        rows = [{"q_uid": uid, "question": "What?"} | {f"option {k}": f"C does {k}." for k in range(5)} for uid in "ab"]
        data.mkdir()
        (data / "questions.json").write_text(json.dumps(rows))
        (data / "subset_answers.json").write_text(json.dumps({"a": 3, "b": 1}))
    if task == "nextqa":
        data.mkdir()
        header = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"
        (data / "val.csv").write_text(header + "".join(f"{name},9,8,8,why,{name},0,CW,p,q,r,s,t\n" for name in "012"))
    for path in {each.video for each in TASKS[task].read(data, TASKS[task].split)} - {None}:
        path.parent.mkdir(exist_ok=True)
        write_video(path, np.random.default_rng(len(path.stem)).integers(0, 255, (4, 16, 16, 3), np.uint8), 2)
    text = TextConfig(
        width=16, depth=1, heads=2, mlp_width=32, vocabulary=258, length=48, causal=False, pooling="mean", activation="gelu"
    )
    sizes = {"width": 24, "depth": 2, "heads": 2, "mlp_width": 48, "size": (16, 16), "tubelet": (2, 8, 8), "memories": 3}
    model = longvideo.build_video_text("mcvit-nano", **sizes, frames=4, segment_frames=2, text=text, projection=6)
    longvideo.save(model, folder.parent / "longvideo.safetensors")
    weights = str(folder.parent / "longvideo.safetensors")
    found = tapetum.evaluate_longvideo(task=task, data=data, model=weights, blind=False)
    return data, weights, found.table["all"]["accuracy"]


def tapvid3d(folder: Path) -> tuple[Path, str, float]:
    """Three clips of two sources with depth maps, of which a point that stands still has its depth."""
    for source, seeds in (("adt", (0, 1)), ("pstudio", (2,))):
        for seed in seeds:
            save(folder / source / f"{seed}.npz", example(seed))
            save(folder / source / f"{seed}.depth.npz", {"depth": np.full((T, 48, 64), 1.5 + seed / 4, np.float32)})
    found = tapetum.evaluate_tapvid3d(gt=folder, model="static", depth="true")
    return folder, "static", found.average["median"]["average_jaccard"]


def perception_test(folder: Path) -> tuple[Path, str, float]:
    """Two videos whose points and boxes move, one of them with three times as many questions."""
    annotations = {}
    (folder / "videos").mkdir(parents=True)
    for name, questions in (("a", 1), ("b", 3)):
        write_video(folder / "videos" / f"{name}.mp4", np.zeros((6, 32, 64, 3), np.uint8), 5)
        x = np.linspace(0.2, 0.2 + 0.1 * questions, 6)
        asked = {"question": "what?", "options": ["a", "b", "c"], "area": "physics"}
        annotations[name] = {
            "metadata": {"resolution": [32, 64], "frame_rate": 5.0, "num_frames": 6, "split": "valid"},
            "point_tracking": [{"id": 0, "label": "p", "frame_ids": [*range(6)], "points": [[0.5] * 6, x.tolist()]}],
            "object_tracking": [
                {
                    "id": 0, "label": "o", "frame_ids": [*range(6)], "initial_tracking_box": [1, 0, 0, 0, 0, 0],
                    "bounding_boxes": [[left, 0.1, left + 0.3, 0.6] for left in x],
                }
            ],
            "mc_question": [{"id": k, "answer_id": (k + questions) % 3, **asked} for k in range(questions)],
        }  # fmt: skip
    write(folder, {"annotations/all_valid.json": annotations})
    annotated = {"annotations": folder / "annotations" / "all_valid.json", "videos": folder, "out": folder.parent / "predicted"}
    points = tapetum.evaluate_perception_test(task=("point",), model=("static",), **annotated)
    return folder, "static", points.scores.numbers["average_jaccard"]


def transfer(task: str, folder: Path) -> tuple[Path, str, float]:
    """Official files, or lines of ours, with noise for images and videos, and a PaliGemma that nobody trained."""
    found = TRANSFERS[task]
    if task not in OFFICIAL:
        answers = {"question": "what is it ?", "answers": ["a red cat"], "options": ["a red cat", "two dogs"], "right": 0}
        media = [{"video" if found.frames else "image": f"{k}.{'mp4' if found.frames else 'png'}", **answers} for k in range(2)]
        fill(read_examples(found, write(folder, {"test.jsonl": "".join(json.dumps(row) + "\n" for row in media)})))
    else:
        make_set(task, folder)
    weights = str(tiny_folder(folder.parent / "model"))
    return folder, weights, tapetum.evaluate_paligemma(task=task, data=folder, model=weights).table["scores"][0]["value"]


def words(layout: str, folder: Path) -> tuple[Path, str, float]:
    """Photographs of noise with classes, or with captions, and an encoder of images and words that nobody trained."""
    pytest.importorskip("open_clip")
    names = "n01440764", "n02012849"
    for k in range(8):
        path = folder / ("flickr30k-images" if layout == "flickr30k" else f"val/{names[k % 3 == 0]}") / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (36, 40, 3), np.uint8)).save(path)
    model = folder.parent / "clip"
    model.mkdir()
    encoder_folders.open_clip(model, seed=3)
    if layout == "imagenet":
        return folder, str(model), tapetum.evaluate_zero_shot(data=folder, model=str(model)).scores.top_1
    rows = [{"filename": f"{k}.png", "split": "test", "sentences": [{"raw": f"a red {k}"}] * (1 + k % 2)} for k in range(8)]
    write(folder, {"dataset_flickr30k.json": {"images": [{"imgid": k, **row} for k, row in enumerate(rows)]}})
    return folder, str(model), tapetum.evaluate_retrieval(data=folder, model=str(model)).scores.text_of_image[1]


MAKERS: dict[str, tuple[Callable[[Path], tuple[Path, str, float]], str]] = {
    "votsp": (votsp, "d_avg"),
    "davis": (davis, "j_and_f"),
    "imagenet": (partial(words, "imagenet"), "top_1"),
    "flickr30k": (partial(words, "flickr30k"), "text of image recall@1"),
    "tapvid3d": (tapvid3d, "average_jaccard"),
    "perception-test": (perception_test, ""),
    "next-qa": (partial(questions, "nextqa"), "accuracy"),
    **{name: (partial(questions, name), "accuracy") for name in ("egoschema", "video-mme", "lvbench", "longvideobench")},
    **{name: (tapvid, "average_jaccard") for name in BENCHMARKS if name.startswith(("tapvid-", "robotap"))},
    **{name: (partial(transfer, name), "") for name in ("rsvqa-lr", "pope", "ai2d", "countbenchqa", "msvd-qa")},
}
"""Of each benchmark: what makes its data and gives a model and the headline of its verb; and its name, "" for the first."""
QUICK = "votsp", "tapvid-davis", "video-mme", "tapvid3d", "perception-test", "rsvqa-lr"


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in MAKERS])
def test_a_benchmark_scores_as_its_verb_does_and_goes_on(name: str, tmp_path: Path) -> None:
    maker, headline = MAKERS[name]
    data, model, expected = maker(tmp_path / "data")
    benchmark = make_benchmark(name)
    assert isinstance(benchmark, VideoQuestions) == (name in TASKS)
    items = benchmark.items(data)
    assert len(items) >= 2 or name == "flickr30k"
    found = evaluate(name, data, model, out=tmp_path / "out", device="cpu")
    assert list(found.rows) == list(items)
    assert all(math.isfinite(value) for row in (found.scores, *found.rows.values()) for value in row.values())
    headline = headline or next(iter(found.scores))
    assert found.scores[headline] == pytest.approx(expected, abs=1e-9)
    summary = benchmark.summary([*found.rows.values()])
    assert summary[headline] == found.scores[headline]

    rows = tmp_path / "out" / "rows.jsonl"
    *kept, last = rows.read_text().splitlines()
    rows.write_text("\n".join(kept) + "\n")
    calls = []
    again = evaluate(name, data, model, out=tmp_path / "out", device="cpu", progress=lambda done, total: calls.append(done))
    assert calls == [len(items) - 1, len(items)]  # the lost row alone is made again
    np.testing.assert_allclose([again.scores[headline]], [found.scores[headline]])
    assert json.loads(last)["key"] in found.rows


def test_a_video_counts_by_its_questions(tmp_path: Path) -> None:
    data, _, _ = perception_test(tmp_path / "data")
    model = str(tiny_folder(tmp_path / "model"))
    found = evaluate("perception-test", data, model, device="cpu")
    assert sorted(row["mcqa top1"] for row in found.rows.values()) != [1 / 3, 1 / 3]
    verb = tapetum.evaluate_perception_test(
        task=("mcqa",), model=(model,), annotations=data / "annotations" / "all_valid.json", videos=data, out=tmp_path / "out"
    )
    assert found.scores == {"mcqa top1": pytest.approx(verb.scores.numbers["top1"])}
    assert found.scores["mcqa top1"] in (0.25, 0.5)


def test_every_benchmark_is_tried() -> None:
    """Those of PaliGemma whose official files are read are in `test_paligemma_tasks.py`; lines of ours are all read alike."""
    lines = {name for name, task in TRANSFERS.items() if task.reader == "lines"}
    assert {*BENCHMARKS} - {*OFFICIAL, *lines} <= {*MAKERS} <= {*BENCHMARKS}
