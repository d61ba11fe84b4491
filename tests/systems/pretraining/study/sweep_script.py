"""A study of tiny points on shapes; as a script one point, long enough to be killed: OUT and minutes between checkpoints."""

import sys
from pathlib import Path

from tapetum.systems.pretraining.study.plan import PlanSource
from tapetum.systems.pretraining.study.sweep import predict_study, run_study

TINY = """
save_minutes = {minutes}
[images]
count = 60
size = 8
[pixels]
size = [8, 12]
kept = [16, 24]
steps = 3
most = 12
[probes]
known = 30
queries = 20
[recipe]
batch_size = 8
micro_batch = 8
[methods.byol.byol]
hidden = 8
projection = 8
[sizes.s]
family = "vit"
encoder = "vit-nano"
change = ["patch=4", "width=8", "depth=1", "heads=1", "mlp_width=8", "pooling=mean"]
"""
FEW = '[[grids]]\nsizes = ["s"]\nmethods = ["untrained", "byol"]\nbudgets = [5e6]\n'
LONG = '[[grids]]\nsizes = ["s"]\nmethods = ["byol"]\nbudgets = [6e7]\n'


def plan_source(grids: str, minutes: float = 2.0) -> PlanSource:
    """Give the study with these grids."""
    return PlanSource(plan=TINY.format(minutes=minutes) + grids)


if __name__ == "__main__":
    run_study(predict_study(plan_source(LONG, float(sys.argv[2])), Path(sys.argv[1])))
