"""Trains paligemma-nano through its phases, and scores it; goes on where it was.

    python evidence/paligemma-nano/images.py RUN/train --stories 571
    python evidence/paligemma-nano/images.py RUN/more --stories 293 --seed 2025
    tapetum scenes images RUN/heldout --n 1024 --seed 1 --size 112
    python evidence/paligemma-nano/phases.py RUN
    tapetum eval scenes --data RUN/heldout --model RUN/11-cooled/model.safetensors --json

The shipped weights were made by these phases, in two sittings, the first with three to five processes on one shared core, and
some were cut off by the clock: phase 1 had 543 steps of 32 images and 556 of 48, phase 2 had 356 steps of 18 and 426 of 15,
phase 3 had 805 and 62 of 15. Phases 2 to 4 told things from top to bottom, and all told places without `location_std`. After
them the model did not know on which side things are; why, and what mended it, `tapetum_world.training.paligemma.dense_task`
and `.attention_supervision` say, which phases 5 to 9 are about. The model card has the table. `--divide` shortens all
phases, to try the script.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from tapetum.systems.paligemma.recipes import Learning, PaliGemmaStage, TextMixture, stage0, stage1
from tapetum.train.launch_config import Launch
from tapetum_world.training.paligemma.stages import train_phases

FIRST = TextMixture(answers=5, regions=1, captions=0.2, detect_all=0.6, detect=0.6)
MASKS = TextMixture(answers=6, regions=1, captions=0.1, detect_all=0.4, detect=0.5, segment=0.4)
COOLED = TextMixture(answers=7, regions=1, captions=0.1, detect_all=0.5, detect=0.4, segment=0.2)
PLACES = TextMixture(answers=5, regions=1, captions=0.1, detect_all=1, detect=1.5, segment=0.5)
LOOKS = TextMixture(answers=2, regions=2, captions=0.1, detect_all=1, detect=4, segment=0.7)
LAST = TextMixture(answers=5, regions=1, captions=0.1, detect_all=1, detect=2, segment=0.7)
MORE = TextMixture(answers=6, regions=1, captions=0.1, detect_all=1, detect=2, segment=1)


def phases(run: Path, divide: int) -> dict[str, PaliGemmaStage]:
    """List the phases with their folders; each begins with the weights of the one before, unless it names another's folder."""
    data, checks = str(run / "train"), str(run / "heldout")
    begin = stage0(data, checks=checks, limit=3120, batch_size=48, micro_batch=16, steps=1100, lr=1.2e-3)
    texts = stage1(
        data,
        checks=checks,
        batch_size=15,
        micro_batch=3,
        steps=780,
        lr=8e-4,
        schedule="constant",
        vision_encoder_lr_scale=0.5,
        dense_weight=0.4,
    )
    masks = replace(texts, codec="paligemma-masks", limit=4500, vision_encoder_warmup_steps=20)
    vision_encoder = replace(begin, position_init=True, schedule="constant", steps=800, seed=11, limit=4584)
    where = replace(masks, checks="", batch_size=16, micro_batch=16, learning=Learning(mean="roots", location_std=9.0))
    path = {
        "1-vision encoder": begin,
        "2-texts": replace(texts, mixture=FIRST, limit=4500, vision_encoder_warmup_steps=150, seed=5),
        "3-masks": replace(masks, mixture=MASKS, steps=870, seed=7),
        "4-cooled": replace(masks, mixture=COOLED, steps=1500, schedule="linear", seed=9),
        "5-where": vision_encoder,
        "6-where": replace(vision_encoder, position_init=False, schedule="linear", steps=900, seed=12, limit=5256),
        "7-places": replace(
            where,
            start="4-cooled",
            vision_encoder="6-where",
            position_init=True,
            mixture=PLACES,
            steps=585,
            seed=21,
            limit=5952,
        ),
        "8-looks": replace(where, attention_weight=0.5, mixture=LOOKS, steps=541, seed=23, limit=6792),
        "9-cooled": replace(where, attention_weight=0.5, mixture=LAST, steps=540, schedule="linear", seed=25, limit=6852),
        "10-more": replace(where, data=str(run / "more"), attention_weight=0.5, mixture=MORE, steps=900, seed=31, limit=3516),
        "11-cooled": replace(
            where,
            data=str(run / "more"),
            attention_weight=0.5,
            mixture=MORE,
            steps=1300,
            schedule="linear",
            seed=33,
            limit=3516,
        ),
    }
    return {name: replace(stage, steps=max(2, stage.steps // divide)) for name, stage in path.items()}


def main() -> None:
    """Run what is not finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--divide", type=int, default=1, help="how much shorter phases are")
    options = parser.parse_args()
    finished = train_phases(phases(options.run, options.divide), Launch(out=options.run, threads=1, device="cpu"))
    if finished is not None:
        print(finished.weights, finished.scores, flush=True)


if __name__ == "__main__":
    main()
