"""Whole runs of every recipe that trains, made tiny: some steps, checkpoints, scores and files, on a device of one's choice.

`RUNS[name](folder, launch)` trains in `launch.out` on data that it writes below `folder`. Processes of their own call this:
some runs put a tiny network among the named ones.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from support import networks
from tapetum.train import TrainConfig, fit
from tapetum.train.launch_config import Launch, train_config

Run = Callable[[Path, Launch], None]
RUNS: dict[str, Run] = {}
"""By name."""
STEPS = 3


def _recipe(name: str) -> Callable[[Run], Run]:
    def add(run: Run) -> Run:
        RUNS[name] = run
        return run

    return add


def _noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, shape, np.uint8)


def _loop(launch: Launch, **settings: Any) -> TrainConfig:
    from types import SimpleNamespace

    known = {"steps": STEPS, "batch_size": 4, "lr": 1e-3, "workers": 0, "tensorboard": False, "eval_every": STEPS, **settings}
    return train_config(SimpleNamespace(), launch, **{"micro_batch": known["batch_size"], **known})


# pre-training ---------------------------------------------------------------------------------------------------------------


def _pretrain(method: Any, vit: bool = False, **changes: Any) -> Run:
    def run(folder: Path, launch: Launch) -> None:
        from systems.pretraining.conftest import VIT, tiny
        from tapetum.systems.pretraining.run import loop_config, task_for

        if not (folder / "data_batch_1.bin").exists():
            rows = np.concatenate([np.arange(24, dtype=np.uint8)[:, None] % 2, _noise(24, 3072)], 1)
            rows.tofile(folder / "data_batch_1.bin")
            (folder / "batches.meta.txt").write_text("square\nstripes\n")
        task = task_for(tiny(method, folder, steps=STEPS, **(VIT if vit else {}), **changes))
        fit(task, loop_config(task, launch, tensorboard=False, workers=0), launch.out)

    return run


for _method in ("supervised", "clip", "simclr", "byol", "dino"):
    RUNS[f"{_method}, ResNet"] = _pretrain(_method)
for _method in ("clip", "siglip", "dino", "mae"):
    RUNS[f"{_method}, ViT"] = _pretrain(_method, vit=True)
RUNS["simclr, LARS, accumulated"] = _pretrain("simclr", optimizer="lars", micro_batch=4)


@_recipe("odin")
def _odin(folder: Path, launch: Launch) -> None:
    from systems.odin.test_task import Squares, small
    from tapetum.systems.odin.task import OdinTask
    from tapetum.systems.pretraining.data import ImageSource
    from tapetum.systems.pretraining.run import loop_config

    task = OdinTask(replace(small(sampled=6), steps=STEPS), ImageSource(Squares()))
    fit(task, loop_config(task, launch, tensorboard=False, workers=0), launch.out)


# video and text -------------------------------------------------------------------------------------------------------------


def _video_text(stage: Any, **changes: Any) -> Run:
    def run(folder: Path, launch: Launch) -> None:
        from tapetum.systems.longvideo import config
        from tapetum.systems.longvideo.recipes import recipe
        from tapetum.systems.longvideo.run import train_longvideo

        small = replace(config.NAMED["mcvit-nano"], width=12, depth=5, heads=2, mlp_width=24, stem="patch", stem_blocks=0)
        config.NAMED = {**config.NAMED, "mcvit-nano": small}
        sizes = {"size": 64, "frames": 4, "event_frames": 2, "steps": STEPS, "batch_size": 4, "micro_batch": 2, "checks": 2}
        train_longvideo(recipe(stage, "support.video_clips:MovingSquares", **{**sizes, **changes}), launch, lambda text: None)

    return run


RUNS["video-text, images and clips, gradient cache"] = _video_text("short", mask_ratio=0.5)
RUNS["video-text, consolidated memory"] = _video_text("consolidated", frames=8, memories=3)


@_recipe("video to text")
def _captioner(folder: Path, launch: Launch) -> None:
    from systems.longvideo.test_captioner import VIDEO
    from tapetum.systems import longvideo
    from tapetum.systems.longvideo import run as longvideo_run

    sizes = {**VIDEO, "size": (64, 64), "tubelet": (2, 16, 16), "frames": 8}
    longvideo.save(longvideo.build("mcvit-nano", **sizes), folder / "start.safetensors")
    small: dict[str, Any] = {"width": 16, "depth": 2, "heads": 1, "head_width": 16, "mlp_width": 24}
    longvideo_run.BYTE_DECODER = replace(longvideo_run.BYTE_DECODER, **small)
    language = launch.out / "language"
    more = {"size": 64, "frames": 8, "event_frames": 4, "memories": 3, "checks": 1}
    _video_text("language", **more)(folder, replace(launch, out=language))
    start = {"start": str(folder / "start.safetensors"), "language": str(language)}
    _video_text("video-to-text", **start, **more)(folder, replace(launch, out=launch.out / "text"))


# perceiver ------------------------------------------------------------------------------------------------------------------


@_recipe("hip, masked")
def _hip_masked(folder: Path, launch: Launch) -> None:
    from systems.hip.test_training import examples
    from tapetum.systems.hip.config import Masked
    from tapetum.systems.hip.task import MaskedTask

    fit(MaskedTask(networks.HIP, examples(), examples(), Masked()), _loop(launch), launch.out)


@_recipe("hip, classes")
def _hip_classes(folder: Path, launch: Launch) -> None:
    from systems.hip.test_training import examples
    from tapetum.systems.hip.task import ClassTask

    fit(ClassTask(networks.HIP, examples(), examples(), 2), _loop(launch), launch.out)


# trackers -------------------------------------------------------------------------------------------------------------------


def _kubric(folder: Path) -> Path:
    from tapetum.tracks.facets import SceneConfig, make_clip
    from tapetum.tracks.training.clips import TrackedClip
    from tapetum.tracks.training.kubric import write_sequence

    for k in range(10):
        clip = make_clip(k, SceneConfig(size=(48, 48), frames=6), points=40)
        write_sequence(folder / f"{k:04d}", TrackedClip(clip.video, clip.truth.xy, clip.truth.visible))
    return folder


def _tiny_tapir(folder: Path) -> Path:
    return networks.save_tapir(folder / "tiny.safetensors", networks.TAPIR_NANO)


@_recipe("tapir, Kubric")
def _tapir_kubric(folder: Path, launch: Launch) -> None:
    from tapetum.systems.tap.recipes import TapKubric
    from tapetum.systems.tap.run import train_tap_kubric

    sizes: dict[str, Any] = {"steps": STEPS, "batch_size": 2, "micro_batch": 1, "size": 32, "frames": 5, "points": 8}
    run = TapKubric(data=str(_kubric(folder / "kubric")), start=str(_tiny_tapir(folder)), refine_with_gradient=4, **sizes)
    train_tap_kubric(run, launch)


@_recipe("tapir, scenes")
def _tapir_scenes(folder: Path, launch: Launch) -> None:
    from tapetum.systems.tap.recipes import TapirPhase, TapNano
    from tapetum.systems.tap.run import train_tap_nano

    phase = TapirPhase(name="a", size=64, steps=STEPS, batch_size=2, micro_batch=1, lr=1e-3, clips=1, points=6, iterations=1)
    train_tap_nano(TapNano(model=networks.TAPIR_NANO, phases=(phase,), checks=1, cache=str(folder / "clips")), launch)


def _bootstrap(folder: Path, launch: Launch, model: Path, **more: Any) -> None:
    from tapetum.systems.tap.bootstrap.config import BootstrapRun, Ingredients
    from tapetum.systems.tap.bootstrap.run import bootstrap
    from tapetum.video import write_video

    (folder / "videos").mkdir()
    for k in range(3):
        write_video(folder / "videos" / f"{k}.mp4", _noise(13, 48, 64, 3, seed=k), 25)
    sizes: dict[str, Any] = {"steps": STEPS, "frames": 5, "size": 32, "scenes": 3, "checks": 1, "scored": 3, "bf16": False}
    run = BootstrapRun(model=str(model), settings=Ingredients(points=8, stride=1), **sizes)
    bootstrap(folder / "videos", run, launch, **more)


@_recipe("bootstap")
def _bootstap(folder: Path, launch: Launch) -> None:
    _bootstrap(folder, launch, _tiny_tapir(folder))


@_recipe("bootstap, TAPNext")
def _bootstap_next(folder: Path, launch: Launch) -> None:
    from tapetum.systems.tapnext import TapNext, weights
    from tapetum.systems.tapnext.family import TapNextFamily
    from tapetum.systems.tapnext.recipes import TINY_RUN

    file = folder / "tiny.safetensors"
    weights.save(TapNext(TINY_RUN.model), file)
    _bootstrap(folder, launch, file, family=TapNextFamily(str(file)))


@_recipe("tapnext")
def _tapnext(folder: Path, launch: Launch) -> None:
    from tapetum.systems.tapnext.recipes import TINY_RUN
    from tapetum.systems.tapnext.run import train_tapnext

    phase = replace(TINY_RUN.phases[0], steps=STEPS)
    train_tapnext(replace(TINY_RUN, phases=(phase,), checks=1, cache=str(folder / "clips")), launch)


# PaliGemma ------------------------------------------------------------------------------------------------------------------


@_recipe("paligemma, transfer")
def _paligemma_transfer(folder: Path, launch: Launch) -> None:
    from support.paligemma_folder import tiny_folder
    from support.question_sets import fill, make_set
    from tapetum.systems.paligemma.transfer.data import read_examples
    from tapetum.systems.paligemma.transfer.run import train_transfer
    from tapetum.systems.paligemma.transfer.tasks import TASKS, task_run

    make_set("aokvqa-mc", folder / "d")
    fill(read_examples(TASKS["aokvqa-mc"], folder / "d", ["train"]))
    few: dict[str, Any] = {"splits": "train", "steps": STEPS, "batch_size": 2, "micro_batch": 1}
    run = task_run("aokvqa-mc", data=str(folder / "d"), start=str(tiny_folder(folder / "model")), **few)
    train_transfer(run, launch, lambda text: None)


@_recipe("codec of masks")
def _masks(folder: Path, launch: Launch) -> None:
    from tapetum.systems.paligemma.masks.config import RECIPES
    from tapetum.systems.paligemma.masks.task import train_masks

    (folder / "masks").mkdir()  # as `tapetum scenes images` makes it
    for k in range(12):
        ids = np.zeros((40, 60), np.uint8)
        ids[5 : 20 + k, 10:50] = 7
        Image.fromarray(ids).save(folder / "masks" / f"{k:03d}.png")
    run = replace(RECIPES["small"], data=(str(folder),), steps=STEPS, batch_size=4, micro_batch=4, warmup_steps=0)
    train_masks(run, launch, lambda text: None)


# adapters, transfers --------------------------------------------------------------------------------------------------------


def _two_classes(folder: Path) -> Path:
    for k, name in enumerate(("lying", "standing")):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(_noise(24, 20, 3, seed=10 * k + i)).save(folder / name / f"{i}.png")
    return folder


def _trunk(folder: Path) -> str:
    from tapetum.encoders import build, save

    vit = build("vit-nano", width=32, heads=2, mlp_width=64, patch=4, image_size=(16, 16), pooling="mean")
    return str(save(vit, folder / "trunk.safetensors") or folder / "trunk.safetensors")


def _adapt(task: Any, **changes: Any) -> Run:
    def run(folder: Path, launch: Launch) -> None:
        from tapetum.systems.adapters.demos import make_demos
        from tapetum.systems.adapters.recipes import recipe
        from tapetum.systems.adapters.run import adapt
        from tapetum.systems.adapters.worlds.world import ReachWorld

        data = folder / "demos" if task == "clone" else _two_classes(folder / "images")
        if task == "clone":
            make_demos(ReachWorld(pixels=16, horizon=20), data, n=4)
        small: dict[str, Any] = {"steps": STEPS, "batch_size": 4, "evaluations": 1, "rollouts": 2, "trunk": _trunk(folder)}
        adapt(recipe(task, str(data), **{**small, **changes}), launch)

    return run


RUNS["adapters, classes"] = _adapt("classify", cache=False, preset="bottom")
RUNS["adapters, classes, lower features once"] = _adapt("classify", preset="middle-top")
RUNS["adapters, policy"] = _adapt("clone", own="concat", preset="middle-top")


@_recipe("localiser")
def _localiser(folder: Path, launch: Launch) -> None:
    from systems.perception_test.localiser.test_localiser import TINY
    from tapetum.systems.perception_test.localiser.config import LocaliserRun
    from tapetum.systems.perception_test.localiser.run import LocaliserExample, LocaliserTask

    spans = np.array([[0.1, 0.4], [0.5, 0.9]])
    examples = [LocaliserExample(_noise(40, 5, seed=k).astype(np.float32), spans, np.arange(2)) for k in range(4)]
    fit(LocaliserTask(LocaliserRun(network=TINY), examples, range(2)), _loop(launch), launch.out)


@_recipe("fine-tuning, segmentation")
def _segmentation(folder: Path, launch: Launch) -> None:
    from tapetum.transfer.config import FineTuneConfig
    from tapetum.transfer.fine_tune import SegmentationTask
    from transfer.test_fine_tune import Halves, resnet

    task = SegmentationTask(resnet, Halves(12, 0), Halves(4, 1), FineTuneConfig(batch_size=4, size=(16, 16)))
    fit(task, _loop(launch), launch.out)
