"""`tapetum.app.score.account`: cost of a model or a run: parameters, FLOPs by part, energy and CO2 with their bounds.

For encoders and the six pre-training methods, both engines of `tapetum.account` are used and nothing is run; other models run
once on an empty input, with their operations counted. A run's figures come from its ledger.
"""

from dataclasses import KW_ONLY, asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.account.config import Constant, Interval, LedgerConfig
from tapetum.app.score.ledger import FILE, LedgerOptions, ledger
from tapetum.app.verb import Listener, Result, verb
from tapetum.bench.forward_passes import forward_pass, many
from tapetum.core.errors import BadInput
from tapetum.core.plugins import reference_label
from tapetum.core.reading import no_pipe
from tapetum.systems.pretraining.methods import METHODS, TEXT_METHODS, task_of

if TYPE_CHECKING:
    from tapetum.account.flops import Flops

MILLION = 1_000_000


@dataclass(frozen=True)
class AccountOptions:
    """Compute what a model or a run costs: parameters, FLOPs by phase, energy, CO2."""

    what: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL|RUN")]
    """Name of an architecture (resnet-50, vit-base-16) or of weights (tapir-nano); a file of weights; the folder of a run."""
    _: KW_ONLY
    size: Annotated[int | None, tyro.conf.arg(metavar="PIXELS")] = None
    """Side of the images; by default as the model has it."""
    batch_size: int = 1
    """Inputs that are looked at together; tables of all against all grow with its square."""
    method: Annotated[str | None, tyro.conf.arg(metavar=f"{{{','.join(METHODS)}}}|FILE.py:CLASS")] = None
    """Count a step of pre-training by this method, with its published heads, or by your own, instead of a forward pass."""


@dataclass(frozen=True, kw_only=True)
class Cost(Result):
    """Cost of a model or a run."""

    name: str
    """Name of the model or run."""
    of: str
    """What the FLOPs are of."""
    parameters: dict[str, int]
    """By part; empty where they are not known."""
    phases: dict[str, int]
    """FLOPs (2 a multiply-add) forward by phase, and backward."""
    recomputed: int = 0
    """Part of backward that repeats the forward pass: included in hardware FLOPs, not in model FLOPs."""
    inputs: int
    """Images, clips or samples."""
    core_hours: Interval
    """Core-hours: of a million inputs, or of the run."""
    energy_kwh: Interval
    co2_kg: Interval
    measured: bool = False
    """Whether a meter was read."""
    of_run: bool = False
    constants: tuple[str, ...] = ()
    """Constants of the estimates, with sources."""

    @property
    def flops(self) -> int:
        """Count the FLOPs performed by the hardware."""
        return sum(self.phases.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "of": self.of,
            "inputs": self.inputs,
            "parameters": self.parameters,
            "flops_by_phase": self.phases,
            "flops_hardware": self.flops,
            "flops_model": self.flops - self.recomputed,
            "macs_hardware": self.flops // 2,
            **{name: asdict(getattr(self, name)) for name in ("core_hours", "energy_kwh", "co2_kg")},
            "measured": self.measured,
            "constants": list(self.constants),
        }

    def as_text(self) -> str:
        whole = "of the run" if self.of_run else f"of {MILLION:,} inputs"
        caveat = "" if self.measured else ", estimated, not measured"
        each = f", {_flops(self.flops / self.inputs)} an input" if self.inputs > 1 else ""
        rows = [("parameters", ", ".join(f"{name} {count:,}" for name, count in self.parameters.items()))]
        rows += [(name, _flops(count)) for name, count in self.phases.items()]
        rows.append(("in all", f"{_flops(self.flops)} (2 a multiply-add){each}"))
        if self.recomputed:
            again = f"without {_flops(self.recomputed)} of backward that does forward's work again"
            rows.append(("model", f"{_flops(self.flops - self.recomputed)}: {again}"))
        rows += [
            ("time", f"{self.core_hours.text('core-hours')} {whole}{'' if self.of_run else caveat}"),
            ("energy", f"{self.energy_kwh.text('kWh')}{caveat}"),
            ("CO2", f"{self.co2_kg.text('kg')}{caveat}"),
        ]
        lines = [f"{self.name}: {self.of}", *(f"{name:11} {text}" for name, text in rows if text)]
        return "\n".join([*lines, *(f"  {line}" for line in self.constants)])


@verb(AccountOptions)
def account(options: AccountOptions, listener: Listener) -> Cost:
    """Compute the cost of a model or run. Raises BadInput for an unknown one, and for settings that don't go together."""
    if options.batch_size < 1 or (options.size is not None and options.size < 8):
        raise BadInput(f"--batch-size {options.batch_size} --size {options.size}: wanted 1 or more, and 8 or more")
    if options.method and task_of(options.method).negatives and options.batch_size < 2:
        raise BadInput(f"--method {options.method} tells an image from the others of its batch; give --batch-size 2 or more")
    path = Path(options.what)
    if path.name == FILE or (path / FILE).is_file():
        return _of_run(path if path.is_file() else path / FILE)
    if path.is_dir() and (parts := sorted(part.parent.name for part in path.glob(f"*/{FILE}"))):
        raise BadInput(f"{path} is a run in phases; give one of them, {', '.join(parts)}, or see all by tapetum ledger {path}")
    if options.method is not None:
        return _of_step(options, options.method)
    return _of_encoder(options) or _of_model(options)


def _of_step(options: AccountOptions, method: str) -> Cost:
    """A pre-training step."""
    from tapetum.encoders.architectures import architecture
    from tapetum.systems.pretraining.cost import count_parameters, count_step
    from tapetum.systems.pretraining.recipes import PretrainRun, recipe

    if Path(options.what).exists():
        raise BadInput(f"--method counts with the name of an architecture, such as vit-base-16, and {options.what} is a file")
    architecture(options.what)
    presets = METHODS[method].presets if method in METHODS else {}
    convolves = options.what.startswith(("resnet", "nfnet", "efficientnet", "swin"))
    preset = (
        recipe(method, (), "resnet" if convolves and "resnet" in presets else "vit") if presets else PretrainRun(method=method)
    )
    run = replace(preset, encoder=options.what, size=options.size or 224, batch_size=options.batch_size, change=())
    heads = dict.fromkeys(TEXT_METHODS, ", a text of 77 tokens each") | {
        "supervised": ", 1,000 classes",
        "dino": f", {len(run.views)} views each",
    }
    images = f"{many(options.batch_size, 'image')} of {run.size} pixels"
    about = f"a step of {reference_label(method)} on {images}{heads.get(method, '')}"
    return _estimated(options.what, about, options.batch_size, count_parameters(run), count_step(run))


def _of_encoder(options: AccountOptions) -> Cost | None:
    """A forward pass of an encoder; None for other models."""
    import torch

    from tapetum.account.flops import by_part, count_on_meta
    from tapetum.encoders.architectures import names
    from tapetum.encoders.factory import describe, make
    from tapetum.encoders.features import Encoder
    from tapetum.hub.loading import find_loader, load
    from tapetum.hub.registry import known
    from tapetum.systems.pretraining.recipes import encoder_architecture

    name = options.what.removeprefix("random:")
    of_library = name.partition(":")[0] in ("timm", "torchvision") and "=" not in name and not Path(name).exists()
    if name not in known() and (name in names() or of_library):
        architecture = encoder_architecture(name, options.size or 224)
    elif find_loader(name).startswith("tapetum.encoders."):
        loaded = load(name)
        assert isinstance(loaded, Encoder)
        architecture = describe(loaded)
    else:
        return None
    rows, columns = (options.size, options.size) if options.size else architecture.preprocessing.size
    with torch.device("meta"):
        model, images = make(architecture), torch.empty(options.batch_size, 3, rows, columns)
    with torch.no_grad(), by_part({"encoder": model}):
        counted = count_on_meta(lambda: model(images).pooled)
    parameters = {"encoder": sum(p.numel() for p in model.parameters())}
    about = f"a forward pass of {many(options.batch_size, 'image')} of {columns}x{rows}"
    return _estimated(name, about, options.batch_size, parameters, counted)


def _of_model(options: AccountOptions) -> Cost:
    """A forward pass of any other model on an empty input, counted while it runs."""
    import torch

    from tapetum.account.flops import count_flops
    from tapetum.hub.loading import load

    loaded = load(options.what)
    model = getattr(loaded, "model", loaded)
    if not isinstance(model, torch.nn.Module):
        raise BadInput(f"{options.what} holds a {type(loaded).__name__}, which account knows nothing of; give a network")
    passed = forward_pass(model, options.batch_size, options.size)
    if passed is None:
        raise BadInput(f"{options.what} holds a {type(model).__name__}, of which account does not know what it takes")
    about, run = passed
    with torch.no_grad():
        counted = count_flops(run)
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    parts["others"] = sum(p.numel() for p in model.parameters()) - sum(parts.values())
    parts = {name: count for name, count in parts.items() if count > 0}
    return _estimated(options.what, about, options.batch_size, parts, counted)


def _estimated(name: str, about: str, inputs: int, parameters: dict[str, int], counted: "Flops") -> Cost:
    """FLOPs, with energy and CO2 of a million inputs on cores like those of `constants`."""
    from tapetum.account.machine import of_flops

    settings = LedgerConfig()
    hours, kwh, co2 = of_flops(counted.total * MILLION / inputs, settings)
    constants = "gflops_per_core", "watts_per_core", "overhead", "grams_co2_per_kwh"
    return Cost(
        name=name,
        of=about,
        parameters=parameters,
        phases=counted.by_part,
        recomputed=counted.recomputed,
        inputs=inputs,
        core_hours=hours,
        energy_kwh=kwh,
        co2_kg=co2,
        constants=tuple(settings.constant(each).line() for each in constants),
    )


def _of_run(file: Path) -> Cost:
    """A run, from its ledger."""
    (content,) = ledger.run(LedgerOptions((file,)), Listener()).ledgers.values()
    total, last = content["total"], content["sessions"][-1]
    phases = {name: count * total["steps"] for name, count in (last.get("phases_per_step") or {}).items()}
    again = phases.pop("recomputed", 0)

    def interval(name: str) -> Interval:
        return Interval(total[name], total.get(f"{name}_low", total[name]), total.get(f"{name}_high", total[name]))

    hours = total["cpu_seconds"] / 3600
    return Cost(
        name=str(file.parent),
        of=f"a run of {total['steps']:,} steps on {total['samples']:,} samples",
        parameters=_stored_parameters(file.parent),
        phases=phases or {"forward": total["flops_forward"], "backward": total["flops_backward"]},
        recomputed=again,
        inputs=total["samples"],
        core_hours=Interval(hours, hours, hours),
        energy_kwh=interval("energy_kwh"),
        co2_kg=interval("co2_kg"),
        measured=last.get("energy_measured", "estimate" not in last["energy_method"]),
        of_run=True,
        constants=tuple(Constant(**constant).line() for constant in last.get("constants", ())),
    )


def _stored_parameters(run: Path) -> dict[str, int]:
    """Count the numbers in a run's saved weights; only their shapes are read."""
    from math import prod

    from safetensors import SafetensorError, safe_open

    files = sorted(run.glob("*.safetensors")) or sorted(run.glob("checkpoints/*/model.safetensors"))[-1:]
    if not files:  # of the newest checkpoint, what each process wrote
        parts = sorted(run.glob("checkpoints/*/part-*.safetensors"))
        files = [part for part in parts if part.parent == parts[-1].parent]
    counts: dict[str, int] = {}
    for file in files:
        name, inside = ("model", "model/") if file.stem.startswith("part-") else (file.stem, "")
        try:
            with safe_open(no_pipe(file), "pt") as tensors:
                keys = [key for key in tensors.keys() if key.startswith(inside)]  # noqa: SIM118
                counts[name] = counts.get(name, 0) + sum(prod(tensors.get_slice(key).get_shape()) for key in keys)
        except (SafetensorError, OSError):
            continue
    return counts


def _flops(count: float) -> str:
    for unit, size in (("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6)):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count:,.0f} FLOP"
