"""Settings of a launch (folder, device, processes), and the loop's config built from them and a recipe. Imports no torch."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from tapetum.core.errors import BadInput
from tapetum.core.files import write_text
from tapetum.train import launch as environment
from tapetum.train.config import TrainConfig

RECIPE_FIELDS = (
    *("steps", "batch_size", "seed", "lr", "warmup_steps", "schedule", "milestones"),
    *("nesterov", "betas", "eps", "weight_decay", "clip_each", "bf16", "patience"),
)
"""Fields of `TrainConfig` that are taken from a recipe which has a field of that name."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Settings of where a run is trained and with what; none changes what is learned. Every training command has them."""

    out: Path
    """Folder of the run: checkpoints, logs, and the finished weights."""
    minutes: float | None = None
    """Stop after so many minutes; the same command goes on."""
    workers: int | None = None
    """Processes that make the data, for every process that trains; by default one, or as the recipe has it."""
    threads: int | None = None
    """Threads of torch; by default one for each core that the process may use."""
    device: str = "auto"
    """Where to learn: auto takes an accelerator if there is one, else cpu; or cpu, cuda, cuda:1, xpu, mps."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Under torchrun: every process holds the whole model, or its part of it (FSDP2)."""
    replicas: int = 1
    """With fsdp: groups of processes that hold the whole model in shards each, such as one a machine (HSDP)."""
    activation_checkpointing: bool = False
    """Compute activations block by block anew in the backward pass: less memory, a third more work."""
    compile: bool = False
    """Compile the network's forward with torch.compile first."""
    accumulation: int | None = None
    """Micro-batches that each process adds up in a step; by default what the recipe's micro-batch leaves to do."""
    checkpoint: Literal["whole", "sharded"] = "whole"
    """How checkpoints are written: whole, by one process; or in parts, by each process its own."""
    async_checkpoint: bool = False
    """With sharded: write checkpoints beside the training."""
    checkpoint_folder: str | None = None
    """Folder for checkpoints; by default checkpoints in OUT."""
    save_every: int | None = None
    """Steps between checkpoints; by default as the recipe has it."""
    save_minutes: float = 2.0
    """Minutes between checkpoints, beside those by step: the most that a crash costs."""
    log_to: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Log every line of log.jsonl there too; each needs its package: tapetum[logs], tapetum[wandb]."""
    settings: str | None = None
    """Text of settings.toml, which the run keeps in `out`: how the command line says all of it (`app.shell.settings`)."""

    def began(self) -> None:
        """Save `settings` in the folder; `fit` calls this once the folder is known to belong to this run."""
        if self.settings is not None:
            write_text(self.out / "settings.toml", self.settings)


def train_config(recipe: Any, launch: Launch, *, micro_batch: int, workers: int = 1, **settings: Any) -> TrainConfig:
    """Make the config of the loop from a recipe and a launch; nothing else does.

    Args:
        recipe: a dataclass, whose fields in RECIPE_FIELDS are used.
        launch: where and with what; `workers` and `settings` fill in what it leaves open.
        micro_batch: samples that one process handles at a time; the rest of a step's samples is accumulated.
        workers: processes that make samples.
        settings: further fields of `TrainConfig`, and overrides of the recipe's.

    >>> from types import SimpleNamespace
    >>> recipe = SimpleNamespace(steps=10, batch_size=8, lr=0.1, points=64)
    >>> config = train_config(recipe, Launch(out=Path("run"), save_every=5), micro_batch=2, lr=0.2)
    >>> config.batch_size, config.accumulation, config.lr, config.checkpoint_every, config.workers
    (8, 4, 0.2, 5, 1)
    """
    if micro_batch < 1:
        raise BadInput(f"micro_batch is {micro_batch}; it must be 1 or more")
    known: dict[str, Any] = {name: getattr(recipe, name) for name in RECIPE_FIELDS if hasattr(recipe, name)}
    known |= {"workers": workers, **settings}
    requested = {"workers": launch.workers, "checkpoint_every": launch.save_every, "accumulation": launch.accumulation}
    known |= {"accumulation": max(1, known["batch_size"] // (micro_batch * environment.world_size()))}
    known |= {name: value for name, value in requested.items() if value is not None}
    same = {each.name for each in fields(launch)} & {each.name for each in fields(TrainConfig)} - requested.keys()
    known |= {name: getattr(launch, name) for name in same}
    return TrainConfig(**known, checkpoint_minutes=launch.save_minutes, max_minutes=launch.minutes)
