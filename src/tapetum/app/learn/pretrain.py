"""`tapetum pretrain METHOD`: pre-trains an encoder on a folder of images; ends with curves."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.commands import Command, Group
from tapetum.app.learn.options import options
from tapetum.app.learn.recipes import RecipeOptions, recipe_command, recipe_options
from tapetum.app.verb import Listener, Result
from tapetum.core.plugins import is_reference, reference_label
from tapetum.core.provenance import guarding_data
from tapetum.systems.pretraining.methods import METHODS
from tapetum.systems.pretraining.recipes import Pretrained, PretrainRun, presets_of
from tapetum.train.launch_config import Launch

if TYPE_CHECKING:
    from tapetum.encoders.features import Encoder
    from tapetum.systems.pretraining.run import Prediction
    from tapetum.systems.pretraining.task import PretrainTask

CURVES, ADAPTER = "curves.svg", "adapter.safetensors"
"""What a finished run has in its folder beside the encoder; the adapter where it learned a low-rank change alone."""
_LONGEST_S = 20.0
"""Seconds of a core for a micro-batch above which `--dry` makes none on a processor."""


@dataclass(frozen=True, kw_only=True)
class PretrainedEncoder(Pretrained, Result):
    """Results of a finished run, with an image of its curves beside the encoder."""

    @property
    def curves(self) -> Path:
        """Path of an image of loss, deviation of the features, learning rate and so on over the steps."""
        return self.encoder.parent / CURVES

    @property
    def adapter(self) -> Path:
        return self.encoder.parent / ADAPTER

    def as_json(self) -> dict[str, Any]:
        paths: dict[str, Any] = {name: str(getattr(self, name)) for name in ("encoder", "curves")}
        if self.adapter.exists():
            paths["adapter"] = str(self.adapter)
        return {**paths, "images": self.images, "damaged": list(self.damaged), "collapsed_at": self.collapsed_at}

    def as_text(self) -> str:
        run = self.encoder.parent
        lines = [
            f"encoder     {self.encoder}    tapetum embed photos/ --model {run} --out vectors.npz",
            f"curves      {self.curves}",
        ]
        if self.adapter.exists():
            lines.append(f"adapter     {self.adapter}    tapetum adapt verify {self.adapter}")
        if self.damaged:
            names = ", ".join(self.damaged[:3])
            lines.append(f"skipped     {len(self.damaged)} of {self.images:,} images could not be read: {names}")
        return "\n".join(lines)

    def failure(self) -> str | None:
        if self.collapsed_at is None:
            return None
        return f"the features collapsed at step {self.collapsed_at + 1}; try a lower --base-lr, in another folder"


@guarding_data
def pretrain(run: PretrainRun, launch: Launch, say: Callable[[str], None] = lambda text: None) -> PretrainedEncoder | None:
    """Pre-train in the folder `launch.out`; the same call resumes a stopped run. Under torchrun all processes call it.

    `say` receives remarks about the data and, before the first step, FLOPs and time. Returns None if `launch.minutes` or a
    signal ended the call before the run was done. Raises BadInput for errors the user can fix.
    """
    from tapetum.core.files import write_text
    from tapetum.report.curves import write_curves
    from tapetum.systems.pretraining import run as runs
    from tapetum.train.launch import is_main

    def keep(model: Any) -> None:
        if run.lora and is_main():
            save_low_rank(model.encoder, run, launch.out / ADAPTER)

    task = runs.task_for(run)
    finished = runs.run_task(task, launch, say, keep)
    if finished is None:
        return None
    result = PretrainedEncoder(**vars(finished))
    if is_main():
        write_text(launch.out / "README.md", card(task, launch.out))
        write_curves(launch.out / "log.jsonl", result.curves)
    return result


def card(task: "PretrainTask", out: Path) -> str:
    """Write what whoever gets the encoder of a run has to know: data, weights it began with, their licence, cost."""
    from tapetum.account.ledger import format_ledger, read
    from tapetum.account.machine import without_paths
    from tapetum.hub.registry import entry_of
    from tapetum.systems.pretraining.recipes import WEIGHTS, is_trained

    run, reference = task.run, task.run.encoder.removeprefix(WEIGHTS)
    began = f"Random weights of `{run.encoder}`; no licence but that of the images."
    if is_trained(run.encoder):
        known = None if Path(reference).exists() else entry_of(reference)
        licence = f"licence {known.licence}" if known else "under the licence of those weights, which this run does not know"
        began = f"`{without_paths(reference)}`, {licence}."
    sections = {
        "Data": f"{len(task.source):,} images of {', '.join(map(without_paths, run.data))}, in views of {run.size} pixels.",
        "Began with": began,
        "Cost": f"```\n{format_ledger(read(out / 'ledger.json'))}\n```",
    }
    title = f"# An encoder by `tapetum pretrain {reference_label(run.method)}`"
    return "\n\n".join((title, *(f"## {name}\n\n{text}" for name, text in sections.items()))) + "\n"


def save_low_rank(encoder: "Encoder", run: PretrainRun, path: Path) -> None:
    """Write the low-rank change that a run has learned as an adapter of the weights it began with, which stay as they were.

    `tapetum adapt verify` proves that; the run's encoder has the change in its weights.
    """
    import torch

    from tapetum.encoders.references import load, relocated
    from tapetum.systems.adapters import AdapterConfig, attach
    from tapetum.systems.pretraining.recipes import WEIGHTS

    reference = run.encoder.removeprefix(WEIGHTS)
    trunk = load(reference)
    trunk.preprocessing = encoder.preprocessing
    inside = "image." if hasattr(trunk, "image") else ""  # of two towers the image's alone has learned
    parametrized = {name: getattr(layer, "parametrizations", None) for name, layer in encoder.named_modules()}
    changes: dict[str, Any] = {name: each.weight[0] for name, each in parametrized.items() if each is not None}
    addresses = tuple(f"{inside}{name}" for name in changes)
    adapted = attach(trunk, AdapterConfig(addresses=addresses, tokens="lora", rank=run.lora), name="pretrained")
    with torch.no_grad():
        for adapter, change in zip(adapted.at_sites("pretrained").values(), changes.values(), strict=True):
            adapter.get_parameter("down.weight").copy_(change.down)
            adapter.get_parameter("up.weight").copy_(change.up)
    adapted.save(path, trunk=relocated(reference, path.parent), trained_on=f"{run.method} on {', '.join(run.data)}")


def _work(given: RecipeOptions, launch: Launch, listener: Listener) -> PretrainedEncoder | None:
    return pretrain(given.recipe, launch, listener.line)


def _measure(run: PretrainRun, launch: Launch, flops: float) -> "Prediction | None":
    """Predict a run from its first steps, or None without data, under torchrun, or if they would take a processor long."""
    from tapetum.account.config import LedgerConfig
    from tapetum.core.devices import find_device
    from tapetum.systems.pretraining import run as runs
    from tapetum.train.launch import world_size

    slow = flops > _LONGEST_S * 1e9 * LedgerConfig().gflops_per_core and find_device(launch.device).type == "cpu"
    if slow or world_size() > 1 or not all(Path(place).exists() for place in run.data):
        return None
    task = runs.task_for(run)
    return runs.predict(task, runs.loop_config(task, launch))


def _command(method: str) -> Command:
    """Build the command of one method, or of a user-defined one, whose code is not run yet."""
    if method in METHODS:
        presets, hidden = presets_of(method), ("method", "own", *(name for name in METHODS if name != method))
        by, help = "preset", METHODS[method].help
    else:
        presets, hidden, by = {"": PretrainRun(method=method)}, ("method", "preset", *METHODS), None
        help = f"Teach an encoder by your own method, {reference_label(method)}; --own NAME=VALUE ... are its settings."
    recipe = options(presets, by=by, required=("data",), hidden=hidden, markers={"bf16": tyro.conf.FlagConversionOff})
    given = recipe_options(help, Annotated[PretrainRun, recipe])
    return recipe_command(method, given, _work, product="encoder", measure=_measure)


COMMANDS = Group(
    """Teach an encoder on a folder of images; the same command goes on where a run was stopped.

    What it costs is said before the first step. At the end there are an encoder for `tapetum embed --model RUN`, which
    `tapetum probe` scores, and curves. Under torchrun it runs on several processes.

    In place of a method's name, a class of your own may stand: my_method.py:MyMethod, package.module:MyMethod, or the entry
    point of a package.
    """,
    {method: _command(method) for method in METHODS},
    other=lambda name: _command(name) if is_reference(name, "method") else None,
)
