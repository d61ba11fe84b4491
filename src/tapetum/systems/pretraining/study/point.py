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
from tapetum.account.ledger import write_json_atomic
from tapetum.core.errors import BadInput
from tapetum.core.reading import parse_json, read_json, read_text
from tapetum.encoders.architectures import Architecture
from tapetum.encoders.factory import load, make
from tapetum.encoders.features import Encoder
from tapetum.systems.pretraining.cost import count_step
from tapetum.systems.pretraining.methods import task_of
from tapetum.systems.pretraining.recipes import encoder_architecture
from tapetum.systems.pretraining.run import run_task
from tapetum.systems.pretraining.study.data import balanced, pixels, pool, shape_source, varied
from tapetum.systems.pretraining.study.plan import SHAPES, UNTRAINED, StudyPlan, StudyPoint
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
        """Count the FLOPs of pre-training."""
        return self.steps * self.flops_per_step


def predicted(plan: StudyPlan, point: StudyPoint) -> PredictedPoint:
    """Predict the number of steps in a point's budget, and their cost. Raises BadInput for a method that does not fit."""
    transfer = _transfer_flops(plan, point.size)
    run = plan.run(point)
    if run is None:
        return PredictedPoint(point=point, steps=0, flops_per_step=0, transfer_flops=transfer)
    images, _ = plan.learned_from(point.variant)
    if len(pool(images)) < images.count:
        raise BadInput(f"the plan wants {images.count} images of {images.data}, which has {len(pool(images))}; give it a count")
    per_step = _step_flops(plan, point.size, point.method)
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
        check = point in plan.cross_checked() and find_spec("codecarbon") is not None
        made = run_task(task, launch, None, tensorboard=False, ledger=LedgerConfig(cross_check=check))
        if made is None:
            return None
        encoder_file = made.encoder
        costs = _costs(folder / _PRETRAIN) | {"collapsed_at": made.collapsed_at, **_last(folder / _PRETRAIN / "log.jsonl")}
    encoder = encoder_of(plan, point, encoder_file)
    neighbours, linear = probed(plan, encoder)
    task = PixelTask(partial(encoder_of, plan, point, encoder_file), plan, point.seed)
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
    write_json_atomic(folder / ROW, row)
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

    def __init__(self, encoder: Any, plan: StudyPlan, seed: int):
        settings = plan.pixels
        if settings.head not in ("linear", "upernet"):
            raise BadInput(f"the plan has the head {settings.head!r}; it is linear or upernet")
        config = FineTuneConfig(
            learning_rates=settings.learning_rates,
            layer_decay=settings.layer_decay,
            steps=settings.steps,
            batch_size=settings.batch_size,
            size=settings.size,
            seed=seed,
        )
        super().__init__(encoder, pixels(settings, "train"), pixels(settings, "test"), config, settings.head)  # type: ignore[arg-type]

    def count(
        self, model: torch.nn.Module, part: Literal["validation", "test"], most: int | None = None
    ) -> Int64[np.ndarray, "n k k"]:
        """Count, and record the counts."""
        counts = super().count(model, part, most)
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
    """Score nearest neighbours and a linear probe on labelled images; None if there are no labels."""
    config, source = plan.probes, pool(plan.images)
    if source.labels is None:
        return None, None
    rows = _unseen(plan)
    known, queries = rows[: config.known], rows[config.known : config.known + config.queries]
    images = shape_source(len(rows), plan.images.size, "val").images if plan.images.data == SHAPES else source.images
    parts = []
    encoder = encoder.to(pick_device("auto", 0))
    for which in (known, queries):
        features = features_of(encoder, [images[int(k)] for k in which])
        parts.append(Labelled(features, torch.from_numpy(np.asarray(source.labels)[which]).long()))
    config = NeighboursConfig(neighbours=min(20, len(known)))
    near = knn_accuracy(parts[0].features, parts[0].labels, parts[1].features, parts[1].labels, config)
    return near, linear_probe(parts[0], parts[1], len(source.classes), ProbeConfig(decays=(1e-3, 1e-2))).accuracy


def _unseen(plan: StudyPlan) -> np.ndarray:
    """Images of the pool that no curated variant uses: those after them in the order of `balanced`."""
    source, config = pool(plan.images), plan.probes
    if plan.images.data == SHAPES:
        return np.arange(config.known + config.queries)
    every = balanced(source, len(source), seed=0)
    left = every[plan.images.count :]
    if len(left) < config.known + config.queries:
        raise BadInput(
            f"the plan learns from {plan.images.count} of {len(source)} images, and probes with {config.known} + "
            f"{config.queries}; give smaller numbers"
        )
    return left[: config.known + config.queries]


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


def _last(log: Path) -> dict[str, Any]:
    record = parse_json(read_text(log).splitlines()[-1])
    return {"loss": record["loss"], "spread": record["metrics"].get("feature_std")}


@lru_cache(maxsize=512)
def _counted(
    architecture: Architecture, batch: int, size: tuple[int, int], classes: int, head: Any, frozen: bool
) -> tuple[int, int]:
    """FLOPs of a training step on pixels, and of its forward."""
    with torch.device("meta"):
        model = Segmenter(make(architecture).requires_grad_(not frozen), classes, head).train()
        images, truth = torch.empty(batch, 3, *size), torch.zeros(batch, *size, dtype=torch.int64)

    def loss() -> torch.Tensor:
        return pixel_loss(model(images), truth)

    cost = count_on_meta(loss)
    return cost.total, cost.forward


def _transfer_flops(plan: StudyPlan, size: str) -> int:
    config = plan.pixels
    train, test, batch = pixels(config, "train"), pixels(config, "test"), config.batch_size
    architecture, classes = _architecture(plan, size), len(train.classes)
    step, forward = _counted(architecture, batch, config.size, classes, config.head, config.frozen)
    validation = forward * len(train) // 10 // batch
    return len(config.learning_rates) * (config.steps * step + validation) + forward * len(test) // batch


def _forward_flops(plan: StudyPlan, size: str) -> int:
    """Forward FLOPs of an image at the training size."""
    side = plan.images.size
    with torch.device("meta"):
        encoder, image = make(_architecture(plan, size)), torch.empty(1, 3, side, side)
    return count_on_meta(lambda: encoder(image).pooled).forward


_STEPS: dict[tuple[Any, ...], int] = {}


def _step_flops(plan: StudyPlan, size: str, method: str) -> int:
    point = StudyPoint(size=size, method=method, budget=1.0, variant="curated", seed=1)
    run = plan.run(point)
    assert run is not None
    classes = len(pool(plan.images).classes) or 1000
    key = (repr(replace(run, data="")), classes)
    if key not in _STEPS:
        _STEPS[key] = count_step(run, classes=classes).total
    return _STEPS[key]
