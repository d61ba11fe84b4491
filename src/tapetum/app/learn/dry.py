"""`--dry` of every training command: what a run costs, by its recipe and number of examples (`tapetum.bench.plans`).

Pre-training on data that are there also takes its first steps, in a folder that is deleted afterwards, where they are short.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tapetum.account.config import Interval, LedgerConfig
from tapetum.account.machine import of_core_hours, of_flops
from tapetum.app.verb import Result
from tapetum.bench.plan_types import MACHINE, Plan

if TYPE_CHECKING:
    from tapetum.systems.pretraining.run import Prediction


@dataclass(frozen=True)
class PlannedRun(Result):
    """What a run will cost."""

    plan: Plan
    here: "Prediction | None" = None
    """Time on this machine, predicted from the run's first steps."""

    @property
    def price(self) -> dict[str, Interval]:
        """Estimate core-hours, kWh and kg of CO2 in the ledger's terms: of measured time, else of FLOPs."""
        settings = LedgerConfig()
        if self.here is None:
            hours, energy, co2 = of_flops(self.plan.flops, settings)
        else:
            hours = Interval(*[self.here.cpu_seconds / 3600] * 3)
            energy, co2 = of_core_hours(hours, settings)
        return {"core_hours": hours, "energy_kwh": energy, "co2_kg": co2}

    def as_json(self) -> dict[str, Any]:
        plan, last, phases = self.plan, self.plan.phases[-1].step, []
        for phase in plan.phases:
            config, step = phase.config, phase.step
            memory = {processes: phase.memory(processes) for processes in (1, MACHINE)}
            phases.append(
                {
                    "name": phase.name,
                    "steps": config.steps,
                    "warmup_steps": config.warmup_steps,
                    "batch_size": config.batch_size,
                    "micro_batch": phase.micro_batch,
                    "examples": phase.examples,
                    "parameters": {"learning": step.learning, "frozen": step.frozen},
                    "flops_of_a_step": phase.step_flops,
                    "flops": config.steps * phase.step_flops,
                    "memory_bytes": {str(count): {**asdict(each), "total": each.total} for count, each in memory.items()},
                }
            )
        return {
            "steps": plan.steps,
            "examples": sum(phase.examples for phase in plan.phases),
            "examples_are": plan.examples_are,
            "data": plan.data,
            "parameters": {"learning": last.learning, "frozen": last.frozen},
            "flops": plan.flops,
            "phases": phases,
            "here": self.here and {**asdict(self.here), "seconds": self.here.seconds},
            "price": {name: asdict(interval) for name, interval in self.price.items()},
            "not_published": list(plan.unpublished),
        }

    def as_text(self) -> str:
        plan, price = self.plan, self.price
        rows: list[tuple[str, str]] = []
        for phase in plan.phases:
            config, step = phase.config, phase.step
            frozen = f"; {step.frozen:,} do not" if step.frozen else ""
            rows += [
                *([("", "")] if rows else []),
                *([("phase", phase.name)] if phase.name else []),
                ("steps", f"{config.steps:,}, warm-up {config.warmup_steps:,}"),
                ("batch size", f"{config.batch_size:,} {plan.examples_are}"),
                ("examples", f"{phase.examples:,}"),
                ("parameters", f"{step.learning:,} learn{frozen}"),
                ("FLOPs", f"{phase.step_flops:.3g} FLOPs a step, {config.steps * phase.step_flops:.3g} FLOPs in all"),
                ("memory", f"{phase.memory()}; {phase.micro_batch:,} examples at a time"),
                ("", f"in each of {MACHINE} processes with --parallel fsdp {phase.memory(MACHINE)}"),
            ]
        if len(plan.phases) > 1:
            rows += [("", ""), ("run", f"{plan.steps:,} steps, {plan.flops:.3g} FLOPs")]
        rows += [("time", f"{self.here.lines()[0]}, by its first steps")] if self.here else []
        rows += [
            ("price", f"{price['core_hours'].text('core-hours')}{'' if self.here else ' by FLOPs, not measured'}"),
            ("", f"{price['energy_kwh'].text('kWh')}, {price['co2_kg'].text('kg of CO2')}, estimated"),
        ]
        rows += [("data", plan.data)] if plan.data else []
        rows += [("not published", text) for text in plan.unpublished]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:{width}}  {text}".rstrip() for name, text in rows)
