"""`bootstrap`: a tracker learns from a folder of anyone's videos, and is kept if it got better.

Source: BootsTAP (arXiv 2402.00847).

    videos --footage--> clips --+--> learned from (bootstrap.py), beside synthetic scenes painted with frames of the footage
                                +--> left out: made into clips with known tracks, scored before, during and after

Differs from the paper: made for one laptop and an hour, not for 256 accelerators, so a step has two clips of each kind, and the
best of the scored weights are taken; scenes and clips of warped pictures stand for Kubric's; both losses are added up.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from tapetum.errors import BadInput
from tapetum.files import whole_file
from tapetum.hub.registry import TRACKER_FILE, resolve
from tapetum.scenes import SceneConfig
from tapetum.tap import weights
from tapetum.tap.bootstrap.footage import Footage, FootageConfig, find_videos, prepare_all
from tapetum.tap.bootstrap.task import Bootstrap, BootstrapTask, FootageSamples
from tapetum.tap.bootstrap.unlabelled_scores import check_clips, cycle_errors, grid, split
from tapetum.tap.config import TapirConfig
from tapetum.tap.network.model import Tapir
from tapetum.tap.tracking import tracker
from tapetum.tap.training.data import FEW_CLIPS, Joined, SceneClips, TapSamples, Tracked, opened
from tapetum.tap.training.picture_clips import WarpedClips
from tapetum.tap.training.recipes import MATCHING_WEIGHT
from tapetum.train import TrainConfig, fit
from tapetum.train.checkpoint import checkpoints
from tapetum.train.config import accumulation
from tapetum.train.optim import decay_groups
from tapetum.train.world import locked, pick_device

JUDGED = "best_average_jaccard"
"""Score by which weights are kept. Footage in which nearly all is seen teaches to call more points visible, and that alone
raises the average Jaccard of a network that is too careful."""


@dataclass(frozen=True, kw_only=True)
class BootstrapRun:
    """A whole run; the defaults are for `tapir-nano` on a laptop."""

    model: str = "tapir-nano"
    """Weights to start from, as `tapetum.load` takes them."""
    settings: Bootstrap = field(default_factory=Bootstrap)
    steps: int = 400
    clips: int = 2
    """Of footage in a step, and as many synthetic ones."""
    frames: int = 12
    size: int = 256
    """Height and width in pixels at which clips are shown and scored."""
    lr: float = 3e-4
    """Peak rate. The paper's is 2e-4 [recalled], with 250 times as many clips in a step."""
    mixer_lr: float = 0.2
    """Factor on the rate of the mixer. [recalled]"""
    extra_convs: int | None = None
    """Convolution blocks on the stride-8 features, 5 in BootsTAPIR; None keeps those of `model`. Blocks that are new begin as
    a layer norm, which the rest of the network has yet to get used to: give them thousands of steps."""
    iterations: int | None = 2
    """Refinement iterations while learning, which cost a step most; None takes as many as `model` uses."""
    scenes: int = 240
    """Different synthetic scenes."""
    warped: int = 480
    """Clips of cut-outs over moving pictures (`tapetum.tap.training.picture_clips`) beside the scenes, each shown as often."""
    textures: str | None = None
    """Pictures of which scenes and warped clips are made; None takes frames of the footage."""
    part: str = "all"
    """Of `textures`: all, or train, which leaves out every tenth, as the bundled tracker's own run does."""
    checks: int = 12
    """Clips with known tracks to score on."""
    scored: int = 4
    """Times that the weights are scored on the way."""
    seed: int = 1
    bf16: bool = True
    """Learn under bfloat16 autocast."""

    def __post_init__(self) -> None:
        if self.clips < 1 or self.frames < 2:
            raise BadInput(f"clips is {self.clips} and frames {self.frames}; wanted 1 or more clips of 2 or more frames")


@dataclass(frozen=True)
class Outcome:
    """What a finished run has to tell."""

    file: Path
    """The weights that were best."""
    before: dict[str, float]
    """Scores of the start on the check clips."""
    after: dict[str, float]
    """Scores of the kept weights."""
    last: dict[str, float]
    """Scores of the weights at the end."""
    step: int
    """Of the kept weights; 0 are those that it started from."""
    cycle_before: dict[str, float | None]
    """Cycle error of the start on real clips that were left out; None for pixels where no point was seen at the end."""
    cycle_after: dict[str, float | None]


class FootageTask(BootstrapTask):
    """A run's network and clips."""

    def __init__(self, run: BootstrapRun, footage: Path, out: Path):
        super().__init__(run.size, run.settings, matching_weight=MATCHING_WEIGHT)
        self.run, self.footage, self.out = run, footage, out

    def model(self) -> nn.Module:
        """The network that it starts from, refined at the size of the clips alone."""
        model = started(self.run)
        config = replace(
            model.config,
            initial_resolution=(self.size, self.size),
            iterations=self.run.iterations or model.config.iterations,
            refine_at_least=None,
            second_look=model.config.second_look and self.run.settings.second_look,
        )
        learner = Tapir(config)
        learner.load_state_dict(model.state_dict())
        return learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def samples(self) -> tuple[FootageSamples, TapSamples | None]:
        """Clips to learn from, and scenes."""
        run, footage = self.run, Footage(self.footage)
        shown = FootageSamples(footage, split(footage)[0], run.settings, size=run.size, frames=run.frames, seed=run.seed)
        if not run.settings.synthetic:
            return shown, None
        pictures, part = (run.textures, run.part) if run.textures else (str(self.out / "stills"), "all")
        scenes = SceneClips(
            run.scenes,
            seed=run.seed,
            config=SceneConfig(size=(run.size, run.size), frames=max(24, run.frames)),
            textures=pictures,
            part=part,
            cache=self.out / "scenes",
        )
        warped = WarpedClips(run.warped, seed=run.seed, source=pictures, part=part, frames=run.frames)
        synthetic = TapSamples(
            Joined(scenes, warped),
            size=run.size,
            points=run.settings.points,
            seed=run.seed,
            frames=run.frames,
            first=0.5,
            alterations=replace(FEW_CLIPS, journey=0.3),
        )
        return shown, synthetic

    def checks(self) -> list[Tracked]:
        """Clips with known tracks, of footage that is left out."""
        run, footage = self.run, Footage(self.footage)
        return check_clips(footage, split(footage)[1], run.checks, size=run.size, frames=run.frames, seed=run.seed)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """The mixer learns more slowly."""
        assert isinstance(model, Tapir)
        mixer = {id(p) for p in model.mixer.parameters()}
        groups = []
        for group in decay_groups(model):
            for inside in (False, True):
                chosen = [p for p in group["params"] if (id(p) in mixer) == inside]
                groups.append({**group, "params": chosen, "lr_scale": self.run.mixer_lr if inside else 1.0})
        return [group for group in groups if group["params"]]

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Scores on the check clips. The best weights so far, by JUDGED, are kept in a file of their own."""
        scores = dict(super().evaluate(model, step))
        best = read_best(self.out)
        if step == 0 or best is None or scores[JUDGED] > best["scores"][JUDGED]:
            assert isinstance(model, Tapir)
            final = Tapir(finished_config(self.run))
            final.load_state_dict(model.state_dict())
            weights.save(final, self.out / "best.safetensors")
            _write_json(self.out / "best.json", {"step": step, "scores": scores})
        return scores

    def describe(self) -> Mapping[str, Any]:
        """All that decides what is learned."""
        with_config = "steps", "clips", "lr", "seed", "bf16"
        run = {k: v for k, v in settings_of(self.run).items() if k not in with_config}
        return {"run": run, "footage": contents_of(Footage(self.footage))}


def settings_of(run: BootstrapRun) -> dict[str, Any]:
    """All of a run, its ingredients among the rest, as JSON has it; the weights by what is in them."""
    content = asdict(run)
    content |= content.pop("settings")
    content["model"] = hashlib.sha256(resolve(run.model, "track")[0].read_bytes()).hexdigest()[:16]
    content["textures"] = run.textures and Path(run.textures).name
    return json.loads(json.dumps(content))


def contents_of(footage: Footage) -> dict[str, Any]:
    """What tells the clips of a folder from those of another."""
    clips = [f"{clip.shard} {clip.number}" for clip in footage.clips]
    digest = hashlib.sha256("\n".join(clips).encode()).hexdigest()[:16]
    return {"videos": len(footage.records), "clips": len(clips), "digest": digest}


def started(run: BootstrapRun) -> Tapir:
    """The network that a run starts from."""
    model = tracker.load(run.model).model
    if run.extra_convs is None or run.extra_convs == model.config.extra_convs:
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        larger = Tapir(replace(model.config, extra_convs=run.extra_convs))
    known = model.state_dict()
    larger.load_state_dict({name: known.get(name, value) for name, value in larger.state_dict().items()})
    return larger


def finished_config(run: BootstrapRun) -> TapirConfig:
    """Of the weights that come out: that of the start, but for extra blocks."""
    config = tracker.load(run.model).model.config
    return config if run.extra_convs is None else replace(config, extra_convs=run.extra_convs)


def read_best(out: Path) -> dict[str, Any] | None:
    """Step and scores of the best weights so far."""
    file = out / "best.json"
    return json.loads(file.read_text()) if file.exists() else None


def bootstrap(
    source: str | Path,
    out: str | Path,
    run: BootstrapRun | None = None,
    *,
    footage: FootageConfig | None = None,
    minutes: float | None = None,
    workers: int = 1,
    threads: int | None = None,
    device: str = "auto",
    prepare: Callable[[Path, Path, FootageConfig], Footage] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Outcome | None:
    """Learn from the videos in the folder `source`, in the folder `out`; the same call goes on after a stop.

    Under torchrun all processes call it alike. Returns None if `minutes` ended before the run did.

    Args:
        footage: how videos become clips.
        prepare: what makes clips of a folder; None prepares one video after the other in this process.
        say: is told what is going on, a line at a time.

    Raises:
        BadInput: there is no video, or no clip to learn from; `out` belongs to another run; the disk is full.
    """
    source, out, run = Path(source), Path(out), run or BootstrapRun()
    longest = max(4, run.settings.stride) * (run.frames - 1) + 1
    footage = footage or FootageConfig(size=run.size, shortest=run.frames, longest=longest)
    config = train_config(run, minutes, workers, threads, device)
    main = os.environ.get("RANK", "0") == "0"
    task = FootageTask(run, out / "footage", out)
    if main:
        _check(source, run)
    if threads:
        torch.set_num_threads(threads)
    where = pick_device(device)
    with locked(out) if main else nullcontext():
        if main:
            (out / "ready.json").unlink(missing_ok=True)
            _take_up(out, "run", settings_of(run))
            found = (prepare or prepare_all)(source, task.footage, footage)
            _take_up(out, "footage", contents_of(found))
            _stills(found, out)
            if not (out / "before.json").exists():
                say(f"scoring {run.model} on {run.checks} clips made of frames that are left out")
                with torch.no_grad():
                    _write_json(out / "before.json", task.evaluate(task.model().eval().to(where), 0))
            _write_json(out / "ready.json", _launch())
        else:
            _wait_for(out / "ready.json")
        result = fit(task, config, out / "run")
        if result.state == "stopped":
            return None
        return _finish(task, out, where) if main else None


def _check(source: Path, run: BootstrapRun) -> None:
    """All that can be refused before anything is written."""
    find_videos(source)
    started(run)
    if run.textures:
        opened(run.textures, run.part)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if run.clips % processes:
        raise BadInput(f"{run.clips} clips a step do not divide into {processes} processes; give --clips a multiple of that")


def _take_up(out: Path, part: str, content: Mapping[str, Any]) -> None:
    """Keeps in run.json what this run is; where `out` holds scores of another one, they are thrown away.

    Raises BadInput where that has checkpoints already.
    """
    file = out / "run.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    before = known.get(part, {})
    if before == content:
        return
    if checkpoints(out / "run" / "checkpoints"):
        changed = ", ".join(f"{k} {before.get(k)!r} (now {v!r})" for k, v in content.items() if before.get(k) != v)
        raise BadInput(
            f"{out} is of a run with other {'videos' if part == 'footage' else 'settings'}: {changed}; "
            "go on with those that it began with, or give --out another folder"
        )
    for name in ("before.json", "best.json", "best.safetensors"):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / "scenes", ignore_errors=True)
    _write_json(file, {**known, part: content})


def train_config(
    run: BootstrapRun, minutes: float | None, workers: int, threads: int | None, device: str = "auto"
) -> TrainConfig:
    """How a run is trained."""
    return TrainConfig(
        steps=run.steps,
        batch_size=run.clips,
        accumulation=accumulation(run.clips, 1),
        seed=run.seed,
        lr=run.lr,
        final_lr=run.lr / 100,
        warmup_steps=min(50, run.steps // 10),
        betas=(0.9, 0.95),
        weight_decay=1e-2,
        clip_norm=1.0,
        ema_decay=run.settings.ema_decay,
        ema_rising=False,
        bf16=run.bf16,
        workers=workers,
        threads=threads,
        device=device,
        prefetch=4,
        log_every=5,
        eval_every=max(1, run.steps // run.scored),
        checkpoint_every=max(1, min(50, run.steps // run.scored)),
        max_minutes=minutes,
    )


def _finish(task: FootageTask, out: Path, device: torch.device) -> Outcome:
    """The best weights as the result, with what there is to say of them."""
    best = read_best(out)
    assert best is not None
    with whole_file(out / TRACKER_FILE) as temporary:
        shutil.copyfile(out / "best.safetensors", temporary)
    log = [json.loads(line) for line in (out / "run" / "log.jsonl").read_text().splitlines()]
    before = json.loads((out / "before.json").read_text())
    last = next(line["eval"] for line in reversed(log) if "eval" in line)
    footage = Footage(task.footage)
    held = split(footage)[1]
    cycles = [cycles_of(model, footage, held, device) for model in (task.run.model, out / TRACKER_FILE)]
    shutil.rmtree(out / "scenes", ignore_errors=True)
    outcome = Outcome(out / TRACKER_FILE, before, best["scores"], last, best["step"], *cycles)
    _write_json(out / "outcome.json", {k: v for k, v in asdict(outcome).items() if k != "file"})
    return outcome


def cycles_of(model: str | Path, footage: Footage, numbers: list[int], device: torch.device) -> dict[str, float | None]:
    """Cycle error of a tracker on some clips, a grid of 8x8 points each; None for what is not a number."""
    loaded = tracker.load(model, device)

    def track(video: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tracks = loaded.track(video, queries)
        return tracks.xy, tracks.visible

    errors = [cycle_errors(track, (clip := footage[k]), grid(clip.shape[1:], 8)) for k in numbers]
    summary = type(errors[0])(np.concatenate([e.error for e in errors])).summary()
    return {name: value if np.isfinite(value) else None for name, value in summary.items()}


def _stills(footage: Footage, out: Path) -> None:
    """Three frames of every clip to learn from, and nothing else, as pictures to paint scenes with."""
    folder = out / "stills"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {}
    for number in split(footage)[0]:
        clip = footage.clips[number]
        for at in (0, clip.frames // 2, clip.frames - 1):
            wanted[folder / f"{Path(clip.shard).stem}-{clip.number}-{at:03d}.jpg"] = number, at
    for file in set(folder.iterdir()) - wanted.keys():  # of clips that are no more, or half-written
        file.unlink()
    for file, (number, at) in wanted.items():
        if not file.exists():
            picture = BytesIO()
            Image.fromarray(footage[number][at]).save(picture, "JPEG", quality=92)
            with whole_file(file) as temporary:
                temporary.write_bytes(picture.getvalue())  # PIL itself does not tell of a full disk


def _launch() -> dict[str, str]:
    """Tells this start of torchrun from others."""
    names = "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT"
    one_machine = os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")
    return {name: os.environ.get(name, "") for name in names} | {"parent": str(os.getppid()) if one_machine else ""}


def _wait_for(file: Path) -> None:
    """Until the first process of this start has prepared everything; if it fails, torchrun ends this one too."""
    while not file.exists() or json.loads(file.read_text()) != _launch():
        time.sleep(0.5)


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    with whole_file(file) as temporary:
        temporary.write_text(json.dumps(content, indent=1))
