"""Trains paligemma-nano through its phases, and scores it; goes on where it was.

    python benchmarks/paligemma_nano_pictures.py RUN/train --stories 375
    tapetum scenes pictures RUN/heldout --n 1024 --seed 1 --size 112
    python benchmarks/paligemma_nano.py RUN
    tapetum eval paligemma --data RUN/heldout --model RUN/4-cooled/model.safetensors --json

The shipped weights were made by these phases with three, then five processes on one shared core, and some were cut off by the
clock: phase 1 had 543 steps of 32 pictures and 556 of 48, phase 2 had 356 steps of 18 and 426 of 15, phase 3 had 805 and 62 of
15; the model card has the table. `--divide` shortens all phases, to try the script.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from tapetum.paligemma.recipes import Mixture, PaliGemmaStage, stage0, stage1
from tapetum.paligemma.run import TOKENIZER, train_stage
from tapetum.train.launch_config import Launch

FIRST = Mixture(answers=5, regions=1, captions=0.2, detect_all=0.6, detect=0.6)
MASKS = Mixture(answers=6, regions=1, captions=0.1, detect_all=0.4, detect=0.5, segment=0.4)
LAST = Mixture(answers=7, regions=1, captions=0.1, detect_all=0.5, detect=0.4, segment=0.2)


def phases(run: Path, divide: int) -> dict[str, PaliGemmaStage]:
    """List the phases with their folders; each begins with the weights of the one before."""
    data, checks = str(run / "train"), str(run / "heldout")
    begin = stage0(data, checks=checks, batch_size=48, micro_batch=16, steps=1100, lr=1.2e-3)
    texts = stage1(
        data, checks=checks, batch_size=15, micro_batch=3, steps=780, lr=8e-4, schedule="constant", eye_rate=0.5, places=0.4
    )
    found = {
        "1-eye": begin,
        "2-texts": replace(texts, mixture=FIRST, eye_warmup=150, seed=5),
        "3-masks": replace(texts, mixture=MASKS, codec="paligemma-masks", steps=870, eye_warmup=20, seed=7),
        "4-cooled": replace(texts, mixture=LAST, codec="paligemma-masks", steps=1500, schedule="linear", eye_warmup=20, seed=9),
    }
    return {name: replace(stage, steps=max(2, stage.steps // divide)) for name, stage in found.items()}


def main() -> None:
    """Run what is not finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--divide", type=int, default=1, help="how much shorter phases are")
    options = parser.parse_args()
    start, tokenizer = "", ""
    for name, stage in phases(options.run, options.divide).items():
        out = options.run / name
        stage = replace(stage, start=start, tokenizer=tokenizer if stage.stage == "1" else "")
        finished = train_stage(stage, Launch(out=out, threads=1, device="cpu"))
        if finished is None:
            return
        print(name, finished.scores, flush=True)
        start = str(finished.weights)
        tokenizer = str(out / TOKENIZER) if stage.stage == "1" else ""


if __name__ == "__main__":
    main()
