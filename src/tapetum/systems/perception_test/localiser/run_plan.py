"""Plan of a training of the localiser (`tapetum train localiser --dry`)."""

import torch

from tapetum.account.run_plan import PhasePlan, RunPlan
from tapetum.systems.perception_test.localiser.config import LocaliserRun
from tapetum.systems.perception_test.localiser.model import Localiser, anchors
from tapetum.train.measure_step import measure_step

_CHANNELS, _CLASSES = 1280, 63
"""Of the features and of the segments, where no data say how many: EfficientNet-Lite's, and the benchmark's actions."""


def plan_run(run: LocaliserRun) -> RunPlan:
    """Plan a run; features, which are computed once beforehand, are left out."""
    channels = _CHANNELS * max(run.grid, 1) ** 2
    positions = len(anchors(run.network))
    with torch.device("meta"):
        model = Localiser(run.network, channels, _CLASSES).train()
        features = torch.zeros(1, run.network.length, channels)
        targets, distances = torch.zeros(1, positions, _CLASSES), torch.zeros(1, positions, 2)
    step = measure_step(lambda: model.loss(features, targets, distances)[0], {"localiser": model})
    phase = PhasePlan(steps=run.steps, batch_size=run.batch_size, micro_batch=run.micro_batch, step=step)
    return RunPlan(phases=(phase,), examples_are=f"videos of {run.network.length} steps of {channels:,} features")
