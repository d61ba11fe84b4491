"""`tapetum.adapt`: trains adapters on a frozen encoder, and verifies that the original network is unchanged bit for bit."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.commands import Group
from tapetum.app.learn.options import options
from tapetum.app.learn.recipes import RecipeOptions, recipe_command
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput
from tapetum.core.provenance import guarding_data
from tapetum.systems.adapters.recipes import PRESETS, AdaptRun
from tapetum.train.launch_config import Launch

if TYPE_CHECKING:
    from tapetum.systems.adapters.run import FinishedAdapters


@guarding_data
def adapt(run: AdaptRun, launch: Launch, say: Callable[[str], None] = lambda text: None) -> "FinishedAdapters | None":
    """Train adapters and a head for a task on an encoder, in the folder `launch.out`; the same call resumes a stopped run.

    `say` receives remarks about the data, line by line. Returns None if `launch.minutes` or a signal ended the call before the
    run was done. Raises BadInput for errors the user can fix.
    """
    if not isinstance(run, AdaptRun) or not isinstance(launch, Launch):
        given = f"{type(run).__name__} and {type(launch).__name__}"
        raise BadInput(f"adapt was given {given}; give an AdaptRun and a Launch, see docs/guides/adapt.md")
    from tapetum.systems.adapters.run import adapt as train

    return train(run, launch, say)


@dataclass(frozen=True)
class VerifyOptions:
    """Prove that the encoder under an adapter is bit for bit what it was when the adapter was saved."""

    file: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="FILE")]
    """File of an adapter."""
    _: KW_ONLY
    trunk: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """The encoder that it was trained on; by default the one that the file names."""


@dataclass(frozen=True, kw_only=True)
class Verified(Result):
    """Proof that the trunk of an adapter is what it was."""

    file: Path
    adapter: str
    trunk: str
    before: str
    """SHA-256 of the trunk's weights and buffers when the adapter was saved, and `now`."""
    now: str
    tensors: int
    """Weights and buffers that were compared."""
    outputs: int
    """Tensors that the trunk gives with the adapter attached and off, each equal, bit for bit, to what it gives alone."""

    def as_text(self) -> str:
        return (
            f"adapter  {self.adapter} in {self.file}\ntrunk    {self.trunk}\nbefore   {self.before}\nnow      {self.now}\n"
            f"equal    {self.tensors} weights and buffers, bit for bit; and {self.outputs} outputs of the trunk with the "
            "adapter attached and off"
        )


@verb(VerifyOptions)
def verify(options: VerifyOptions, listener: Listener) -> Verified:
    """Reload and hash the trunk of an adapter, and compare its outputs with those with the adapter attached and off.
    Raises TrunkChanged, with both hashes, if they differ; BadInput if the file is no adapter, or does not name its trunk."""
    from tapetum.hub.loading import load
    from tapetum.systems.adapters import files
    from tapetum.systems.adapters.weaving import TrunkChanged, trunk_hash

    path = Path(options.file)
    stored = files.read(path)
    if options.trunk is None and stored.trunk is None:
        raise BadInput(f"{path} does not say where its trunk ({stored.trunk_class}) is; give it with --trunk")
    trunk = files.named_trunk(stored, path) if options.trunk is None else load(options.trunk)
    if not hasattr(trunk, "state_dict"):
        raise BadInput(f"{options.trunk} holds a {type(trunk).__name__}, which is no network; give the adapter's trunk")
    now, name = trunk_hash(trunk), str(options.trunk or stored.trunk)
    if now != stored.trunk_sha256:
        raise TrunkChanged(
            f"{name} is not the trunk of {path}, or has changed: SHA-256 was {stored.trunk_sha256} and is {now}; give the "
            "weights that the adapter was trained on"
        )
    proof = files.load(path, trunk, force=True).verify()
    return Verified(
        file=path,
        adapter=stored.name,
        trunk=name,
        before=stored.trunk_sha256,
        now=proof.now,
        tensors=proof.tensors,
        outputs=proof.outputs,
    )


_MARKERS = {"cache": tyro.conf.FlagConversionOff}


def _preset(names: tuple[str, str], given: Mapping[str, Any]) -> AdaptRun:
    task, suite = names
    if suite != "own" and task != "clone":
        raise BadInput(f"--suite {suite} is of --task clone, not of {task}; leave it out")
    return PRESETS.get(names) or AdaptRun(task=task)


@dataclass(frozen=True, kw_only=True)
class AdaptOptions(RecipeOptions):
    """Teach an encoder a task with small adapters and a head; the encoder itself is not changed.

    classify learns the names of images in a folder with a folder for each class, segment a class for every pixel (laid out as
    VOC), clone what demonstrations show, those of `tapetum data demos` or of a LeRobot data set; my_task.py:MyTask is a task of
    your own. The same command goes on where a run was stopped.
    """

    data: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="DATA")]
    """Folder of the data, or one parquet file; of clone also a LeRobot data set, SET or SET#episode=0-19,camera=top."""
    recipe: Annotated[
        AdaptRun,
        options(PRESETS, by=("task", "suite"), hidden=("data",), markers=_MARKERS, pick=_preset, others="FILE.py:CLASS"),
    ]


@dataclass(frozen=True)
class Adaptation(Result):
    """Result of a finished run of `tapetum adapt learn`."""

    finished: "FinishedAdapters"

    def as_json(self) -> dict[str, Any]:
        return {
            "weights": str(self.finished.weights),
            "scores": dict(self.finished.scores),
            "parameters": dict(self.finished.parameters),
            "proof": self.finished.proof and asdict(self.finished.proof),
        }

    def as_text(self) -> str:
        rows = [f"{name}  {value:.4f}" for name, value in self.finished.scores.items()]
        rows.append("learned  " + ", ".join(f"{section} {count:,}" for section, count in self.finished.parameters.items()))
        if self.finished.proof is not None:
            rows.append(f"the trunk is what it was, bit for bit: {self.finished.proof.now}")
        return "\n".join([*rows, f"weights  {self.finished.weights}"])


def _learn(given: AdaptOptions, launch: Launch, listener: Listener) -> Adaptation | None:
    finished = adapt(replace(given.recipe, data=str(given.data)), launch, listener.note)
    return finished and Adaptation(finished)


COMMANDS = Group(
    """Teach an encoder something new without changing it; prove that it has not changed.

    `tapetum adapt DATA ...` is short for `tapetum adapt learn DATA ...`.
    """,
    {"learn": recipe_command("adapt", AdaptOptions, _learn), "verify": verify},
    default="learn",
)
