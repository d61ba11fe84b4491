"""A run's network, its clips of footage and scenes, and which of its weights are kept: the task of `tapetum bootstrap`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tapetum.scenes import SceneConfig
from tapetum.systems.tap import weights
from tapetum.systems.tap.bootstrap.footage import FootageDataset
from tapetum.systems.tap.bootstrap.recipes import DECIDING_SCORE, BootstrapRun
from tapetum.systems.tap.bootstrap.run_folder import footage_identity, read_best, run_identity, write_json
from tapetum.systems.tap.bootstrap.showings import FootageSamples
from tapetum.systems.tap.bootstrap.task import BootstrapTask
from tapetum.systems.tap.bootstrap.unlabelled_scores import check_clips, split
from tapetum.systems.tap.config import TapirConfig
from tapetum.systems.tap.network.model import Tapir
from tapetum.systems.tap.tracking import tracker
from tapetum.systems.tap.training.clips import Joined, SceneClips, TrackedClip
from tapetum.systems.tap.training.data import FEW_CLIPS, TapSamples
from tapetum.systems.tap.training.image_clips import ImageClips
from tapetum.systems.tap.training.recipes import MATCHING_WEIGHT
from tapetum.train.optim import decay_groups


class FootageTask(BootstrapTask):
    """A run's network and clips."""

    def __init__(self, run: BootstrapRun, footage: Path, out: Path):
        super().__init__(run.size, run.settings, matching_weight=MATCHING_WEIGHT)
        self.run, self.footage, self.out = run, footage, out

    def model(self) -> nn.Module:
        """Make the network that it starts from, refined at the size of the clips alone."""
        model = start_network(self.run)
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
        """Open clips to learn from, and scenes."""
        run, footage = self.run, FootageDataset(self.footage)
        shown = FootageSamples(footage, split(footage)[0], run.settings, size=run.size, frames=run.frames, seed=run.seed)
        if not run.settings.synthetic:
            return shown, None
        return shown, self._synthetic()

    def _synthetic(self) -> TapSamples:
        """Scenes and cut-outs over moving images."""
        run = self.run
        images, part = (run.textures, run.part) if run.textures else (str(self.out / "stills"), "all")
        scenes = SceneClips(
            run.scenes,
            seed=run.seed,
            config=SceneConfig(size=(run.size, run.size), frames=max(24, run.frames)),
            textures=images,
            part=part,
            cache=self.out / "scenes",
        )
        cut_outs = ImageClips(run.image_clips, seed=run.seed, source=images, part=part, frames=run.frames)
        return TapSamples(
            Joined(scenes, cut_outs),
            size=run.size,
            points=run.settings.points,
            seed=run.seed,
            frames=run.frames,
            first=0.5,
            alterations=replace(FEW_CLIPS, motion=0.3),
        )

    def checks(self) -> list[TrackedClip]:
        """Make clips with known tracks, of footage that is left out."""
        run, footage = self.run, FootageDataset(self.footage)
        return check_clips(footage, split(footage)[1], run.checks, size=run.size, frames=run.frames, seed=run.seed)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Let the mixer learn more slowly."""
        assert isinstance(model, Tapir)
        mixer = {id(p) for p in model.mixer.parameters()}
        groups = []
        for group in decay_groups(model):
            for inside in (False, True):
                chosen = [p for p in group["params"] if (id(p) in mixer) == inside]
                groups.append({**group, "params": chosen, "lr_scale": self.run.mixer_lr if inside else 1.0})
        return [group for group in groups if group["params"]]

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Score on the check clips. The best weights so far, by DECIDING_SCORE, are kept in a file of their own."""
        scores = dict(super().evaluate(model, step))
        best = read_best(self.out)
        if step == 0 or best is None or scores[DECIDING_SCORE] > best["scores"][DECIDING_SCORE]:
            assert isinstance(model, Tapir)
            final = Tapir(finished_config(self.run))
            final.load_state_dict(model.state_dict())
            weights.save(final, self.out / "best.safetensors")
            write_json(self.out / "best.json", {"step": step, "scores": scores})
        return scores

    def describe(self) -> Mapping[str, Any]:
        """Tell all that decides what is learned."""
        with_config = "steps", "clips", "lr", "seed", "bf16"
        run = {k: v for k, v in run_identity(self.run).items() if k not in with_config}
        return {"run": run, "footage": footage_identity(FootageDataset(self.footage))}


def start_network(run: BootstrapRun) -> Tapir:
    """Load the network that a run starts from."""
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
    """Give the config of the weights that come out: that of the start, but for extra blocks."""
    config = tracker.load(run.model).model.config
    return config if run.extra_convs is None else replace(config, extra_convs=run.extra_convs)
