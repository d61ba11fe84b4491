"""One point of a study: pre-training with a full schedule, kNN, linear probe and fine-tuning for segmentation, giving one row.

A point has a folder. Both trainings in it resume from their checkpoints; `row.json` is written last, then the checkpoints are
deleted: a killed study loses at most the work between two checkpoints.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int64

from tapetum.account.config import LedgerConfig
from tapetum.account.flops import count_on_meta
from tapetum.account.ledger import read as read_ledger
from tapetum.core.errors import BadInput
from tapetum.core.files import write_json
from tapetum.core.reading import parse_json, read_json, read_text
from tapetum.encoders.architectures import Architecture
from tapetum.encoders.factory import load, make
from tapetum.encoders.features import Encoder
from tapetum.systems.pretraining.cost import count_step
from tapetum.systems.pretraining.methods import task_of
from tapetum.systems.pretraining.recipes import PretrainRun, encoder_architecture
from tapetum.systems.pretraining.run import run_task
from tapetum.systems.pretraining.study.data import balanced, pixels, pool, shape_source, varied
from tapetum.systems.pretraining.study.plan import SHAPES, UNTRAINED, PixelsPlan, StudyPlan, StudyPoint
from tapetum.train.config import ParameterRule
from tapetum.train.launch_config import Launch
from tapetum.train.process_group import pick_device
from tapetum.transfer.config import FineTuneConfig, NeighboursConfig, ProbeConfig
from tapetum.transfer.fine_tune import SegmentationTask, fine_tune
from tapetum.transfer.probes import knn_accuracy, linear_probe
from tapetum.transfer.probing import Labelled, features_of
from tapetum.transfer.segmentation import Segmenter, pixel_loss

ROW, COUNTS = "row.json", "counts.npz"
_PRETRAIN, _TRANSFER = "pretrain", "transfer"
OWN_ESTIMATE = "CPU seconds x watts"
"""Name of the ledger's own estimate beside a tracker's; its watts are a guess, so it is no independent tracker."""


@dataclass(frozen=True, kw_only=True)
class PredictedPoint:
    """Predicted cost of a point, from its settings alone."""

    point: StudyPoint
    steps: int
    flops_per_step: int
    """Of pre-training."""
    transfer_flops: int
    """Of all rates, and of what scores them."""

    @property
    def flops(self) -> int:
        return self.steps * self.flops_per_step


def predicted(plan: StudyPlan, point: StudyPoint) -> PredictedPoint:
    """Predict the number of steps in a point's budget, and their cost. Raises BadInput for a method that does not fit."""
    transfer = _transfer_flops(plan.pixels, _architecture(plan, point.size))
    run = plan.run(point)
    if run is None:
        return PredictedPoint(point=point, steps=0, flops_per_step=0, transfer_flops=transfer)
    images, _ = plan.learned_from(point.variant)
    if len(pool(images)) < images.count:
        raise BadInput(f"the plan wants {images.count} images of {images.data}, which has {len(pool(images))}; give it a count")
    per_step = _step_flops(replace(run, data=(), seed=1), len(pool(plan.images).classes) or 1000)
    steps = max(1, round(point.budget / per_step))
    return PredictedPoint(point=point, steps=steps, flops_per_step=per_step, transfer_flops=transfer)


def run_point(plan: StudyPlan, point: StudyPoint, out: Path) -> dict[str, Any] | None:
    """Run or resume a point in its folder below `out`, and return its row; None if a signal stopped it."""
    folder = out / point.name
    if (folder / ROW).is_file():
        return read_row(folder / ROW)
    cost = predicted(plan, point)
    encoder_file, costs = None, dict(_NOTHING)
    if point.method != UNTRAINED:
        run = plan.run(point, cost.steps)
        assert run is not None
        images, variant = plan.learned_from(point.variant)
        task = task_of(run.method)(run, varied(pool(images, task_of(run.method).captions), variant, images.count))
        launch = Launch(
            out=folder / _PRETRAIN, workers=plan.workers, threads=torch.get_num_threads(), save_minutes=plan.save_minutes
        )
        checked = [each for each in plan.points() if each.method != UNTRAINED][: plan.cross_check]
        check = point in checked and find_spec("codecarbon") is not None
        made = run_task(task, launch, None, tensorboard=False, ledger=LedgerConfig(cross_check=check))
        if made is None:
            return None
        encoder_file = made.encoder
        last = parse_json(read_text(folder / _PRETRAIN / "log.jsonl").splitlines()[-1])
        costs = _costs(folder / _PRETRAIN) | {"collapsed_at": made.collapsed_at, "loss": last["loss"]}
        costs["spread"] = last["metrics"].get("feature_std")
    encoder = encoder_of(plan, point, encoder_file)
    neighbours, linear = probed(plan, encoder)
    parts = pixels(plan.pixels, "train"), pixels(plan.pixels, "test")
    common = {name: getattr(plan.pixels, name) for name in ("learning_rates", "layer_decay", "steps", "batch_size", "size")}
    config = FineTuneConfig(**common, seed=point.seed)
    task = PixelTask(partial(encoder_of, plan, point, encoder_file), *parts, config, plan.pixels.head)
    rules = (ParameterRule(pattern="*encoder.*", frozen=True),) if plan.pixels.frozen else ()
    tuned = fine_tune(task, folder / _TRANSFER, tensorboard=False, checkpoint_minutes=plan.save_minutes, rules=rules)
    if tuned is None:
        return None
    transfers = [_costs(folder / _TRANSFER / f"rate-{lr:g}") for lr in plan.pixels.learning_rates]
    row = {
        "name": point.name,
        **asdict(point),
        "family": plan.sizes[point.size].family,
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "forward_flops": _forward_flops(plan, point.size),
        "steps": cost.steps,
        "flops_per_step": cost.flops_per_step,
        "flops": cost.flops,
        **costs,
        "knn": neighbours,
        "linear": linear,
        "miou": tuned.score,
        "rate": tuned.learning_rate,
        "tried": [list(entry) for entry in tuned.tried],
        "transfer_flops": sum(each["flops_spent"] for each in transfers),
        "transfer_cpu_seconds": sum(each["cpu_seconds"] for each in transfers),
    }
    np.savez_compressed(folder / COUNTS, counts=task.counts)
    write_json(folder / ROW, row)
    for left in (*folder.rglob("checkpoints"), *folder.rglob("tensorboard")):
        shutil.rmtree(left, ignore_errors=True)
    return row


def read_row(path: Path) -> dict[str, Any]:
    """Read the row of a point. Raises BadInput for a damaged one."""
    try:
        row = read_json(path)
        return {**row, "miou": float(row["miou"]), "flops": int(row["flops"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is no row of a study ({type(error).__name__}); remove it, and run the study again") from error


class PixelTask(SegmentationTask):
    """Fine-tuning that records its counts on each image of the test part."""

    counts: Int64[np.ndarray, "n k k"]

    def count(self, model: torch.nn.Module, part: Literal["validation", "test"]) -> Int64[np.ndarray, "n k k"]:
        """Count, and record the counts."""
        counts = super().count(model, part)
        if part == "test":
            self.counts = counts
        return counts


def encoder_of(plan: StudyPlan, point: StudyPoint, file: Path | None) -> Encoder:
    """Load the trained encoder, or build one with random weights from the point's seed."""
    return make(_architecture(plan, point.size), seed=point.seed) if file is None else load(file)


def _architecture(plan: StudyPlan, size: str) -> Architecture:
    config = plan.sizes[size]
    return encoder_architecture(config.encoder, plan.images.size, config.change)


def probed(plan: StudyPlan, encoder: Encoder) -> tuple[float | None, float | None]:
    """Score nearest neighbours and a linear probe on labelled images that no curated variant uses: those after them in the
    order of `balanced`; None if there are no labels.
    """
    config, source = plan.probes, pool(plan.images)
    if source.labels is None:
        return None, None
    count = config.known + config.queries
    if plan.images.data == SHAPES:
        rows, images = np.arange(count), shape_source(count, plan.images.size, "val").images
    else:
        rows, images = balanced(source, len(source))[plan.images.count :][:count], source.images
    if len(rows) < count:
        raise BadInput(
            f"the plan learns from {plan.images.count} of {len(source)} images, and probes with {config.known} + "
            f"{config.queries}; give smaller numbers"
        )
    parts = []
    encoder = encoder.to(pick_device("auto", 0))
    for which in (rows[: config.known], rows[config.known :]):
        features = features_of(encoder, [images[int(k)] for k in which])
        parts.append(Labelled(features, torch.from_numpy(np.asarray(source.labels)[which]).long()))
    known, queries = parts
    neighbours = NeighboursConfig(neighbours=min(20, config.known))
    near = knn_accuracy(known.features, known.labels, queries.features, queries.labels, neighbours)
    return near, linear_probe(known, queries, len(source.classes), ProbeConfig(decays=(1e-3, 1e-2))).accuracy


_NOTHING: Mapping[str, Any] = {
    **dict.fromkeys(("flops_spent", "cpu_seconds", "wall_seconds"), 0),
    **dict.fromkeys(("energy_kwh", "energy_kwh_low", "energy_kwh_high", "co2_kg", "co2_kg_low", "co2_kg_high"), 0.0),
}


def _costs(folder: Path) -> dict[str, Any]:
    """The costs in a training's ledger, over all sessions if it was killed."""
    content = read_ledger(folder / "ledger.json")
    total, last = content["total"], content["sessions"][-1]
    known = {name: total.get(name, 0.0) for name in _NOTHING if name != "flops_spent"}
    known["flops_spent"] = total["flops_forward"] + total["flops_backward"]
    if "codecarbon_kwh" in last and not last.get("energy_measured"):  # with counters there is nothing to compare
        known["trackers"] = {OWN_ESTIMATE: last["energy_kwh"], "codecarbon": last["codecarbon_kwh"]}
    return known


@lru_cache(maxsize=512)
def _transfer_flops(config: PixelsPlan, architecture: Architecture) -> int:
    train, test, batch = pixels(config, "train"), pixels(config, "test"), config.batch_size
    head: Any = config.head
    with torch.device("meta"):
        model = Segmenter(make(architecture).requires_grad_(not config.frozen), len(train.classes), head).train()
        images, truth = torch.empty(batch, 3, *config.size), torch.zeros(batch, *config.size, dtype=torch.int64)
    step = count_on_meta(lambda: pixel_loss(model(images), truth))
    validation = step.forward * len(train) // 10 // batch
    return len(config.learning_rates) * (config.steps * step.total + validation) + step.forward * len(test) // batch


def _forward_flops(plan: StudyPlan, size: str) -> int:
    side = plan.images.size
    with torch.device("meta"):
        encoder, image = make(_architecture(plan, size)), torch.empty(1, 3, side, side)
    return count_on_meta(lambda: encoder(image).pooled).forward


@lru_cache(maxsize=512)
def _step_flops(run: PretrainRun, classes: int) -> int:
    return count_step(run, classes=classes).total
