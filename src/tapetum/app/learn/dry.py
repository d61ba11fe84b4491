"""`--dry` of every training command: predicts a run's cost from its recipe and number of examples, without taking a step.

Pre-training on data that are there also takes its first steps, in a folder that is deleted afterwards, where they are short:
for the time and the memory that the run takes on this machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tapetum.account.cluster import ALONE, GIB, H100, least_shards, peak_flops
from tapetum.account.config import Constant
from tapetum.account.run_plan import GPUS, PhasePlan, RunPlan, Share, two_digits
from tapetum.app.verb import Result
from tapetum.bench.baselines import check_tapnext, is_tapnext
from tapetum.core.devices import memory_size
from tapetum.core.errors import BadInput
from tapetum.systems.tap.bootstrap.config import BootstrapRun

if TYPE_CHECKING:
    from tapetum.systems.pretraining.run import Prediction

_SYSTEMS = "tapetum.systems."
_PLANNERS = {
    "PretrainRun": f"{_SYSTEMS}pretraining",
    "TapKubric": f"{_SYSTEMS}tap",
    "TapNano": f"{_SYSTEMS}tap",
    "BootstrapRun": f"{_SYSTEMS}tap",
    "TapNextRun": f"{_SYSTEMS}tapnext",
    "HipRun": f"{_SYSTEMS}hip",
    "OdinRun": f"{_SYSTEMS}odin",
    "PaliGemmaTransfer": f"{_SYSTEMS}paligemma",
    "MaskCodecRun": f"{_SYSTEMS}paligemma",
    "VideoTextRun": f"{_SYSTEMS}longvideo",
    "AdaptRun": f"{_SYSTEMS}adapters",
    "LocaliserRun": f"{_SYSTEMS}perception_test.localiser",
    "FcnRun": "tapetum.transfer",
    "CocoRun": "tapetum.transfer",
}
"""Package whose module `run_plan` plans the recipes of a class."""


def plan_run(recipe: Any) -> RunPlan:
    """Plan a run of any recipe. Raises BadInput for settings that cannot run."""
    package = _PLANNERS.get(type(recipe).__name__)
    if package is None:
        raise BadInput(f"there is no plan of a {type(recipe).__name__}; give the recipe of a command that trains")
    planner = import_module(f"{package}.run_plan")
    if isinstance(recipe, BootstrapRun) and is_tapnext(recipe.model):
        from tapetum.systems.tapnext.run_plan import self_training_networks

        check_tapnext(recipe)
        return planner.plan_networks(recipe, *self_training_networks(recipe.model))
    return planner.plan_run(recipe)


def parse_prices(texts: Sequence[str]) -> dict[str, float]:
    """Read what an hour of GPUs costs.

    >>> parse_prices(["H100=2.5", "L4=1"])
    {'H100': 2.5, 'L4': 1.0}
    """
    prices = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            prices[name] = float(number)
        except ValueError:
            prices[name] = -1.0
        if name not in ALONE or not 0 <= prices[name] < float("inf"):
            raise BadInput(f"--price {text}: give GPU=PRICE of an hour, such as H100=2.5; GPUs are {', '.join(ALONE)}")
    return prices


@dataclass(frozen=True)
class PlannedRun(Result):
    """What a run will cost."""

    plan: RunPlan
    prices: Mapping[str, float] = field(default_factory=dict)
    """Of an hour of a GPU, by its name in `cluster.ALONE`."""
    here: "Prediction | None" = None
    """Of this machine, from a run's first steps."""

    def as_json(self) -> dict[str, Any]:
        plan, first = self.plan, self.plan.phases[-1].step
        return {
            "steps": plan.steps,
            "examples": plan.examples,
            "examples_are": plan.examples_are,
            "data": plan.data,
            "parameters": {"learning": first.learning, "frozen": first.frozen},
            "flops": plan.flops,
            "phases": [_phase_json(phase) for phase in plan.phases],
            "days": {str(gpus): (days := plan.days(gpus)) and asdict(days) for gpus in GPUS},
            "one_gpu": {name: self._alone(name) for name in ALONE},
            "here": self.here and {**asdict(self.here), "seconds": self.here.seconds, "most_at_once": self._most_here()},
            "assumed": {name: asdict(constant) for name, constant in H100.items()},
            "not_published": list(plan.unpublished),
        }

    def _alone(self, name: str) -> dict[str, Any]:
        """What one GPU of a name takes: days, bytes, most examples at a time, and the price of the middle of the days."""
        days, share = self.plan.days(1, ALONE[name]), self.plan.phases[-1].share(1, ALONE[name])
        price = 24 * days.value * self.prices[name] if days and name in self.prices else None
        memory = (share.checkpointed if share.needs_checkpointing else share.memory).total
        return {"days": days and asdict(days), "memory_bytes": memory, "most_at_once": share.most_at_once, "price": price}

    def _most_here(self) -> int | None:
        """Count the examples at a time that fit into what was free of this machine's memory."""
        if self.here is None or self.here.free_bytes is None:
            return None
        free = float(self.here.free_bytes)
        return self.plan.phases[-1].share(1, {**H100, "memory": Constant("memory", free, free, free, "B", "free")}).most_at_once

    def _here(self) -> str:
        assert self.here is not None
        peak = memory_size(self.here.peak_bytes) if self.here.peak_bytes else "unknown"
        return f"{self.here.lines()[0]}, by its first steps; memory {peak}, at most {self._most_here()} at a time fit"

    def _alone_text(self, name: str) -> str:
        facts, room = self._alone(name), ALONE[name]["memory"].value / GIB
        if facts["days"] is None:
            return f"does not fit into {room:.1f} GiB"
        low, middle, high = (two_digits(facts["days"][key]) for key in ("low", "value", "high"))
        price = f"; {two_digits(facts['price'])} at {self.prices[name]:g} an hour" if facts["price"] is not None else ""
        return (
            f"{middle} days ({low} to {high}), {facts['memory_bytes'] / GIB:.1f} of {room:.1f} GiB, at most "
            f"{facts['most_at_once']:,} at a time fit{price}"
        )

    def as_text(self) -> str:
        plan = self.plan
        rows = [("does not fit", text) for text in _excess(plan)]
        for phase in plan.phases:
            rows += [("", "")] if rows else []
            rows += [("phase", phase.name)] if phase.name else []
            rows += _phase_rows(phase, plan)
        share = H100["utilisation"]
        if len(plan.phases) > 1:
            rows += [("", ""), ("run", f"{plan.steps:,} steps, {_flops(plan.flops)}")]
        rows += [(f"days, {gpus} H100", _days(plan, gpus)) for gpus in GPUS]
        rows += [(f"one {name}", self._alone_text(name)) for name in ALONE]
        rows += [("this machine", self._here())] if self.here else []
        peak, kind = peak_flops(plan.bf16).value / 1e12, "bfloat16" if plan.bf16 else "float32"
        faster = "" if plan.bf16 else f"; at best {peak_flops(False).high / 1e12:.0f}, where convolutions are computed in TF32"
        rows += [
            ("layout", "--parallel fsdp: the GPUs of a machine hold the model in shards, machines are replicas of each other")
        ]
        rows += [
            (
                "assumed",
                f"a step reaches {share.value:.0%} ({share.low:.0%} to {share.high:.0%}) of {peak:.0f} TFLOP/s, the peak of an "
                f"H100 in {kind}{faster}; this is a guess",
            )
        ]
        rows += [("data", plan.data)] if plan.data else []
        rows += [("not published", text) for text in plan.unpublished]
        wide = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:{wide}}  {text}".rstrip() for name, text in rows)


def _phase_rows(phase: PhasePlan, plan: RunPlan) -> list[tuple[str, str]]:
    step = phase.step
    frozen = f"; {step.frozen:,} do not" if step.frozen else ""
    shares = [(gpus, phase.share(gpus)) for gpus in GPUS]
    return [
        ("steps", f"{phase.steps:,}"),
        ("batch size", f"{phase.batch_size:,} {plan.examples_are}"),
        ("examples", f"{phase.examples:,}"),
        ("parameters", f"{step.learning:,} learn{frozen}"),
        ("FLOPs", f"{_flops(phase.step_flops)} a step, {_flops(phase.flops)} in all"),
        *((f"memory, {gpus} H100", _memory(phase, share)) for gpus, share in shares),
        *_negatives_rows(phase, shares),
    ]


def _negatives_rows(phase: PhasePlan, shares: Sequence[tuple[int, Share]]) -> list[tuple[str, str]]:
    """Say how many negatives an example has if its batch is divided into micro-batches."""
    whole = phase.negatives_on()
    if all(phase.negatives_on(gpus) == whole for gpus in GPUS):
        return []
    divided = ", ".join(f"{phase.negatives_on(gpus):,} on {gpus} H100" for gpus in GPUS)
    mended = ", ".join(f"{phase.batch_size // share.gpus} on {gpus}" for gpus, share in shares)
    text = f"{divided}, {whole:,} in an undivided batch: micro-batches are compared one by one; all with --micro-batch {mended}"
    return [("negatives", text)]


def _memory(phase: PhasePlan, share: Share) -> str:
    layout, fewer = share.layout, ""
    if not phase.checkpointing:
        fewer = f", or {share.checkpointed.total / GIB:.1f} with --activation-checkpointing"
    others = ", ".join(f"{name} {size / GIB:.1f}" for name, size in share.memory.by_moment.items() if name != "step")
    return (
        f"{share.memory.total / GIB:.1f} GiB a device in a step{fewer} (of {H100['memory'].value / GIB:.1f}), {others}; "
        f"{layout.shards} shards x {layout.replicas} replicas, {share.micro_batch:,} at a time, {layout.micro_batches:,} times "
        f"a step; at most {share.most_at_once:,} at a time fit"
    )


def _excess(plan: RunPlan) -> Sequence[str]:
    """Say for each phase and number of GPUs that does not hold it what a GPU would have to hold."""
    lines = []
    for phase in plan.phases:
        for gpus in GPUS:
            share = phase.share(gpus)
            if not share.excess:
                continue
            memory, room = share.checkpointed, H100["memory"].value
            parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in asdict(memory).items() if name != "largest")
            name = f"{phase.name}, " if phase.name else ""
            again = f"{memory.total / GIB:.1f} GiB with --activation-checkpointing ({parts})"
            enough = least_shards(phase.step.units, share.layout, memory.activations, room)
            advice = f"{enough} that hold the model together would do" if enough else "no number of them would do"
            lines.append(f"{name}{gpus} H100: a device has {room / GIB:.1f} GiB, {again}; {advice}")
    return lines


def _phase_json(phase: PhasePlan) -> dict[str, Any]:
    step = phase.step
    return {
        "name": phase.name,
        "steps": phase.steps,
        "batch_size": phase.batch_size,
        "examples": phase.examples,
        "parameters": {"learning": step.learning, "frozen": step.frozen},
        "flops_of_a_step": phase.step_flops,
        "flops": phase.flops,
        "devices": [
            {
                "gpus": gpus,
                "used": share.gpus,
                "shards": share.layout.shards,
                "replicas": share.layout.replicas,
                "micro_batch": share.micro_batch,
                "accumulated": share.layout.micro_batches,
                "most_at_once": share.most_at_once,
                "memory_bytes": {**asdict(share.memory), "total": share.memory.total, "by_moment": share.memory.by_moment},
                "checkpointed_memory_bytes": share.checkpointed.total,
                "needs_checkpointing": share.needs_checkpointing,
                "excess_bytes": share.excess,
                "step_s": asdict(share.step_s),
                "days": asdict(share.days),
                "negatives": phase.negatives_on(gpus),
            }
            for gpus, share in ((gpus, phase.share(gpus)) for gpus in GPUS)
        ],
    }


def _flops(value: float) -> str:
    return f"{value:.3g} FLOPs"


def _days(plan: RunPlan, gpus: int) -> str:
    days = plan.days(gpus)
    if days is None:
        room = H100["memory"].value / GIB
        return f"does not fit: {plan.excess(gpus) / GIB:.1f} GiB too much for a device of {room:.1f} GiB, however computed"
    again = " with --activation-checkpointing, without which it does not fit" if plan.needs_checkpointing(gpus) else ""
    return f"{two_digits(days.value)} ({two_digits(days.low)} to {two_digits(days.high)}){again}"
