"""Trains the network of `tests/train/nursery.py` for twelve steps, for `tests/train/test_golden.py`.

    python make_train_golden.py OUT

OUT/checkpoints/step_00000006 and OUT/log.jsonl are the golden files. They were made at commit a8fd66c, before averages had
names and optimisers were chosen by name: a run of that time goes on to the losses of that time.
"""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))

from nursery import CONFIG, Tiny

from tapetum.train import fit

if __name__ == "__main__":
    config = replace(CONFIG, steps=12, checkpoint_every=6, eval_every=4)
    fit(Tiny(Path("fatal")), config, sys.argv[1])
