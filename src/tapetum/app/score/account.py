"""`tapetum.app.score.account`: cost of a model or a run: parameters, FLOPs by part, energy and CO2 with their bounds.

For encoders and the six pre-training methods, both engines of `tapetum.account` are used and nothing is run; other models run
once on an empty input, with their operations counted. A run's figures come from its ledger.
"""

from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.account.config import Interval, LedgerConfig
from tapetum.app.score.ledger import FILE
from tapetum.app.verb import Listener, Result, verb
from tapetum.bench.forward_passes import forward_pass, many
from tapetum.core.errors import BadInput
from tapetum.core.plugins import reference_label
from tapetum.core.reading import no_pipe
from tapetum.systems.pretraining.methods import METHODS, TEXT_METHODS, task_of

if TYPE_CHECKING:
    from tapetum.account.closed_form import ClosedForm
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

    def check(self) -> None:
        """Raise `BadInput` for options that cannot work, before any work starts."""
        if self.batch_size < 1 or (self.size is not None and self.size < 8):
            raise BadInput(f"--batch-size {self.batch_size} --size {self.size}: wanted 1 or more, and 8 or more")
        if self.method and task_of(self.method).negatives and self.batch_size < 2:
            raise BadInput(f"--method {self.method} tells an image from the others of its batch; give --batch-size 2 or more")


@dataclass(frozen=True, kw_only=True)
class Cost(Result):
    """Cost of a model or a run."""

    name: str
    """Of the model or run."""
    of: str
    """What the FLOPs are of."""
    parameters: dict[str, int]
    """By part; empty where they are not known."""
    phases: dict[str, int]
    """FLOPs (2 a multiply-add) forward by phase, and backward."""
    recomputed: int = 0
    """Part of backward that does forward's work anew: hardware FLOPs with it, model FLOPs without."""
    logits: int = 0
    """Forward and backward FLOPs of the table of all against all."""
    inputs: int = 1
    """Images, clips or samples in that."""
    engines: dict[str, int] = field(default_factory=dict)
    """What each engine counts in all, as the mathematics asks for."""
    hours: Interval
    """Core-hours: of a million inputs, or of the run."""
    energy_kwh: Interval
    """Of the same."""
    co2_kg: Interval
    """Of the same."""
    measured: bool = False
    """Whether a meter was read."""
    constants: tuple[str, ...] = ()
    """What the estimates rest on, with sources."""

    @property
    def flops(self) -> int:
        """Count the FLOPs performed by the hardware."""
        return sum(self.phases.values())

    def as_json(self) -> dict[str, Any]:
        ends = {
            name: {"value": i.value, "low": i.low, "high": i.high}
            for name, i in (("core_hours", self.hours), ("energy_kwh", self.energy_kwh), ("co2_kg", self.co2_kg))
        }
        return {
            "name": self.name,
            "of": self.of,
            "inputs": self.inputs,
            "parameters": self.parameters,
            "flops_by_phase": self.phases,
            "flops_hardware": self.flops,
            "flops_model": self.flops - self.recomputed,
            "macs_hardware": self.flops // 2,
            "flops_logits": self.logits,
            "engines": self.engines,
            **ends,
            "measured": self.measured,
            "constants": list(self.constants),
        }

    def as_text(self) -> str:
        """Format a cost as text for people."""
        a_run = not self.engines
        whole = "of the run" if a_run else f"of {MILLION:,} inputs"
        caveat = "" if self.measured else ", estimated, not measured"
        lines = [f"{self.name}: {self.of}"]
        if self.parameters:
            parts = ", ".join(f"{name} {count:,}" for name, count in self.parameters.items())
            lines.append(f"parameters  {parts}")
        lines += [f"{name:11} {_flops(count)}" for name, count in self.phases.items()]
        lines.append(f"{'in all':11} {_flops(self.flops)} (2 a multiply-add)" + _each(self))
        if self.recomputed:
            model = _flops(self.flops - self.recomputed)
            lines.append(f"{'model':11} {model}: without {_flops(self.recomputed)} of backward that does forward's work again")
        if self.logits:
            lines.append(f"{'logits':11} {_flops(self.logits)} of it, forward and backward: grows with the square of the batch")
        if len(self.engines) > 1:
            one, other = self.engines["closed_form"], self.engines["counted"]
            lines.append(f"{'check':11} counting of operations finds {other / one - 1:+.2%} beside the closed form")
        elif not a_run:
            lines.append(f"{'check':11} none: operations were counted as they ran, and what ran has no closed form here")
        lines += [
            f"{'time':11} {self.hours.text('core-hours')} {whole}" + ("" if a_run else caveat),
            f"{'energy':11} {self.energy_kwh.text('kWh')}{caveat}",
            f"{'CO2':11} {self.co2_kg.text('kg')}{caveat}",
            *(f"  {line}" for line in self.constants),
        ]
        return "\n".join(lines)


@verb(AccountOptions)
def account(options: AccountOptions, listener: Listener) -> Cost:
    """Compute the cost of a model or run. Raises BadInput for an unknown one, and for settings that don't go together."""
    options.check()
    path = Path(options.what)
    if path.name == FILE or (path / FILE).is_file():
        return _of_run(path if path.is_file() else path / FILE)
    if path.is_dir() and (parts := sorted(part.parent.name for part in path.glob(f"*/{FILE}"))):
        raise BadInput(f"{path} is a run in phases; give one of them, {', '.join(parts)}, or see all by tapetum ledger {path}")
    if options.method is not None:
        return _of_step(options)
    return _of_encoder(options) or _of_model(options)


def _of_step(options: AccountOptions) -> Cost:
    """A pre-training step."""
    from dataclasses import replace

    from tapetum.systems.pretraining.recipes import RECIPES, PretrainRun
    from tapetum.systems.pretraining.run_plan import account_step, count_step, parameters

    method, batch = options.method, options.batch_size
    assert method is not None
    _known_name(options.what)
    presets = RECIPES.get(method) or {"vit": PretrainRun(method=method)}
    convolves = options.what.startswith(("resnet", "nfnet", "efficientnet"))
    preset = "resnet" if convolves and "resnet" in presets else "vit"
    run = replace(presets[preset], encoder=options.what, size=options.size or 224, batch_size=batch, change=())  # type: ignore[index]
    closed_form, counted = account_step(run) if method in METHODS else None, count_step(run)
    heads = dict.fromkeys(TEXT_METHODS, ", a text of 77 tokens each") | {
        "supervised": ", 1,000 classes",
        "dino": f", {len(run.views)} views each",
    }
    about = f"a step of {reference_label(method)} on {many(batch, 'image')} of {run.size} pixels{heads.get(method, '')}"
    return _estimated(options.what, about, batch, parameters(run), closed_form, counted)


def _known_name(name: str) -> None:
    from tapetum.encoders.architectures import architecture

    if Path(name).exists():
        raise BadInput(f"--method counts with the name of an architecture, such as vit-base-16, and {name} is a file")
    architecture(name)


def _of_encoder(options: AccountOptions) -> Cost | None:
    """A forward pass of an encoder; None for other models."""
    import torch

    from tapetum.account.closed_form import closed_form
    from tapetum.account.flops import by_part, count_flops
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

    def run() -> Any:
        with torch.no_grad(), by_part({"encoder": model}):
            return model(images).pooled

    parameters = {"encoder": sum(p.numel() for p in model.parameters())}
    about = f"a forward pass of {many(options.batch_size, 'image')} of {columns}x{rows}"
    return _estimated(name, about, options.batch_size, parameters, closed_form(run), count_flops(run))


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
    whole = sum(p.numel() for p in model.parameters())
    parts = {name: count for name, count in parts.items() if count}
    parts |= {"others": whole - sum(parts.values())} if whole > sum(parts.values()) else {}
    return _estimated(options.what, about, options.batch_size, parts, None, counted)


def _estimated(
    name: str, about: str, inputs: int, parameters: dict[str, int], closed_form: "ClosedForm | None", counted: "Flops"
) -> Cost:
    """FLOPs, with energy and CO2 of a million inputs on cores like those of `constants`."""
    from tapetum.account.machine import of_flops

    engines = {"counted": counted.model, **({"closed_form": closed_form.model} if closed_form else {})}
    best = closed_form or counted
    phases = closed_form.by_part() if closed_form else counted.by_part
    logits = closed_form.parts.get("loss") if closed_form else None
    settings = LedgerConfig()
    hours, kwh, co2 = of_flops(best.total * MILLION / inputs, settings)
    names = "gflops_per_core", "watts_per_core", "overhead", "grams_co2_per_kwh"
    return Cost(
        name=name,
        of=about,
        parameters=parameters,
        phases=phases,
        recomputed=best.recomputed,
        logits=logits.forward + logits.backward if logits else 0,
        inputs=inputs,
        engines=engines,
        hours=hours,
        energy_kwh=kwh,
        co2_kg=co2,
        constants=tuple(settings.constant(each).line() for each in names),
    )


def _of_run(file: Path) -> Cost:
    """A run, from its ledger."""
    from tapetum.account.config import Constant
    from tapetum.app.score.ledger import LedgerOptions, ledger

    (content,) = ledger.run(LedgerOptions((file,)), Listener()).ledgers.values()
    total, last = content["total"], content["sessions"][-1]
    known = last.get("phases_per_step") or {}
    share = {name: count * total["steps"] for name, count in known.items()}
    again = share.pop("recomputed", 0)
    phases = share or {"forward": total["flops_forward"], "backward": total["flops_backward"]}

    def interval(name: str) -> Interval:
        return Interval(total[name], total.get(f"{name}_low", total[name]), total.get(f"{name}_high", total[name]))

    hours = total["cpu_seconds"] / 3600
    return Cost(
        name=str(file.parent),
        of=f"a run of {total['steps']:,} steps on {total['samples']:,} samples",
        parameters=_stored_parameters(file.parent),
        phases=phases,
        recomputed=again,
        inputs=total["samples"],
        hours=Interval(hours, hours, hours),
        energy_kwh=interval("energy_kwh"),
        co2_kg=interval("co2_kg"),
        measured=last.get("energy_measured", "estimate" not in last["energy_method"]),
        constants=tuple(Constant(**constant).line() for constant in last.get("constants", ())),
    )


def _stored_parameters(run: Path) -> dict[str, int]:
    """Count the numbers in a run's saved weights; only their shapes are read."""
    from math import prod

    from safetensors import SafetensorError, safe_open

    files = sorted(run.glob("*.safetensors"))
    if not files:
        files = sorted(run.glob("checkpoints/*/model.safetensors"))[-1:]
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


def _each(cost: Cost) -> str:
    return f", {_flops(cost.flops / cost.inputs)} an input" if cost.inputs > 1 else ""


def _flops(count: float) -> str:
    for unit, size in (("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6)):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count:,.0f} FLOP"
