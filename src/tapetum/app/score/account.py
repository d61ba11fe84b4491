"""`tapetum.app.score.account`: cost of a model: parameters, FLOPs by part, energy and CO2 with their bounds.

Encoders and steps of pre-training are counted on "meta"; other models run once on an empty input. What a run cost is in its
ledger (`tapetum ledger`).
"""

from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from tapetum.account.config import Interval, LedgerConfig
from tapetum.app.score.ledger import FILE
from tapetum.app.verb import Listener, Result, verb
from tapetum.bench.forward_passes import forward_pass, many
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options
from tapetum.core.plugins import reference_label
from tapetum.systems.pretraining.methods import METHODS, TEXT_METHODS, task_of

if TYPE_CHECKING:
    from tapetum.account.flops import Flops

MILLION = 1_000_000


@dataclass(frozen=True)
class AccountOptions:
    """Compute what a model costs: parameters, FLOPs by phase, energy, CO2 (of a run: tapetum ledger)."""

    what: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """Name of an architecture (resnet-50, vit-base-16) or of weights (tapir-nano); a file or folder of weights."""
    _: KW_ONLY
    size: Annotated[int | None, tyro.conf.arg(metavar="PIXELS")] = None
    """Side of the images; by default as the model has it."""
    batch_size: int = 1
    """Inputs that are looked at together; tables of all against all grow with its square."""
    method: Annotated[str | None, tyro.conf.arg(metavar=f"{{{','.join(METHODS)}}}|FILE.py:CLASS")] = None
    """Count a step of pre-training by this method, with its published heads, or by your own, instead of a forward pass."""


@dataclass(frozen=True, kw_only=True)
class Cost(Result):
    """Cost of a model."""

    name: str
    of: str
    inputs: int
    parameters: dict[str, int]
    flops_by_phase: dict[str, int]
    """FLOPs (2 a multiply-add) forward by phase, and backward."""
    flops_hardware: int
    flops_model: int
    """Without the part of backward that repeats the forward pass."""
    macs_hardware: int
    core_hours: Interval
    """Of a million inputs, as energy and CO2; estimated, not measured."""
    energy_kwh: Interval
    co2_kg: Interval
    measured: bool = False
    constants: tuple[str, ...]

    def as_text(self) -> str:
        caveat = ", estimated, not measured"
        each = f", {_flops(self.flops_hardware / self.inputs)} an input" if self.inputs > 1 else ""
        rows = [("parameters", ", ".join(f"{name} {count:,}" for name, count in self.parameters.items()))]
        rows += [(name, _flops(count)) for name, count in self.flops_by_phase.items()]
        rows.append(("in all", f"{_flops(self.flops_hardware)} (2 a multiply-add){each}"))
        if self.flops_hardware > self.flops_model:
            again = _flops(self.flops_hardware - self.flops_model)
            rows.append(("model", f"{_flops(self.flops_model)}: without {again} of backward that does forward's work again"))
        rows += [
            ("time", f"{self.core_hours.text('core-hours')} of {MILLION:,} inputs{caveat}"),
            ("energy", f"{self.energy_kwh.text('kWh')}{caveat}"),
            ("CO2", f"{self.co2_kg.text('kg')}{caveat}"),
        ]
        lines = [f"{self.name}: {self.of}", *(f"{name:11} {text}" for name, text in rows)]
        return "\n".join([*lines, *(f"  {line}" for line in self.constants)])


@verb(AccountOptions)
def account(options: AccountOptions, listener: Listener) -> Cost:
    """Compute the cost of a model. Raises BadInput for an unknown one, and for settings that don't go together."""
    check_options(options, batch_size="[1, inf)", size="[8, inf)")
    if options.method and task_of(options.method).negatives and options.batch_size < 2:
        raise BadInput(f"--method {options.method} tells an image from the others of its batch; give --batch-size 2 or more")
    path = Path(options.what)
    if path.name == FILE or (path / FILE).is_file() or (path.is_dir() and any(path.glob(f"*/{FILE}"))):
        raise BadInput(f"{path} is a run, whose ledger says what it cost; run: tapetum ledger {path}")
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
    kind = "resnet" if convolves and "resnet" in presets else "vit"
    preset = recipe(method, (), kind) if presets else PretrainRun(method=method)
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
    hardware = sum(counted.by_part.values())
    return Cost(
        name=name,
        of=about,
        inputs=inputs,
        parameters=parameters,
        flops_by_phase=counted.by_part,
        flops_hardware=hardware,
        flops_model=hardware - counted.recomputed,
        macs_hardware=hardware // 2,
        core_hours=hours,
        energy_kwh=kwh,
        co2_kg=co2,
        constants=tuple(settings.constant(each).line() for each in constants),
    )


def _flops(count: float) -> str:
    for unit, size in (("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6)):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count:,.0f} FLOP"
