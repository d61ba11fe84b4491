"""hip-nano on four kinds of real data, from raw numbers: what it reaches, beside what is trivial.

    python evidence/hip-claims/tasks.py OUT --data DIR [--tasks cifar camvid digits joint]

DIR holds cifar10/ (train.parquet, test.parquet), camvid/ (the same, with masks and classes.txt) and
spoken_digits/recordings.parquet, as Hugging Face writes such tables. joint pairs an image of class k with a spoken digit k:
the network must make one decision of both, and is compared with itself on each alone. Runs go on where they were stopped.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from tapetum.systems.hip.config import NANO, Masked, Sizes
from tapetum.systems.hip.data import HipExamples, data_set
from tapetum.systems.hip.recipes import recipe
from tapetum.systems.hip.run import train_hip
from tapetum.systems.hip.task import ClassTask, HipClassifier
from tapetum.train import fit
from tapetum.train.launch_config import Launch, train_config

SOUND = {"samples": 4096, "sound_rate": 8000}


def made(args, data, **changes):
    """The small recipe with three quarters hidden, in float32."""
    return recipe("parquet", str(data), masked=Masked(ratio=0.75), bf16=False, seed=args.seed, **changes)


def run(args, name, data, **changes):
    launch = Launch(out=args.out / f"{name}-{args.seed}", workers=0, threads=1)
    return dict(train_hip(made(args, data, **changes), launch, lambda _: None).scores)


def cifar(args):
    sizes = Sizes(image=(32, 32))
    scores = run(args, "cifar", args.data / "cifar10", sizes=sizes, mae_steps=args.mae, steps=args.steps)
    return {"accuracy": scores["accuracy"], "trivial": 0.1}


def camvid(args):
    sizes = Sizes(image=(64, 64))
    place = args.data / "camvid"
    scores = run(args, "camvid", place, sizes=sizes, mae_steps=args.mae // 2, steps=args.steps // 2)
    train, test = (data_set("parquet", place, part, sizes).examples.plain(0, 400)["target"] for part in ("train", "val"))
    return {**{k: scores[k] for k in ("mean_iou", "accuracy")}, "trivial": prior_iou(train.numpy(), test.numpy())}


def prior_iou(train, test, classes=11):
    """Mean intersection over union of answering, for each place, the class that it has most often."""
    counts = np.stack([(train == k).sum(0) for k in range(classes)])
    found = np.broadcast_to(counts.argmax(0), test.shape)
    known = test >= 0
    both = [((found == k) & (test == k) & known).sum() for k in range(classes)]
    either = [(((found == k) | (test == k)) & known).sum() for k in range(classes)]
    return float(np.mean([b / e for k, (b, e) in enumerate(zip(both, either, strict=True)) if (test == k).any()]))


def digits(args):
    place = args.data / "spoken_digits" / "recordings.parquet"
    scores = run(args, "digits", place, sizes=Sizes(**SOUND), mae_steps=args.mae, steps=args.steps)
    return {"accuracy": scores["accuracy"], "trivial": 0.1}


def joint(args):
    """An image and a word of the same number, each alone, and both."""
    images, sounds = ({}, {})
    for part in ("train", "val"):
        images[part] = data_set("parquet", args.data / "cifar10", part, Sizes(image=(32, 32))).examples
        sounds[part] = data_set("parquet", args.data / "spoken_digits" / "recordings.parquet", part, Sizes(**SOUND)).examples
    out = {}
    for senses in (("image",), ("audio",), ("image", "audio")):
        train, check = (paired(images[part], sounds[part], senses, args.seed) for part in ("train", "val"))
        task = ClassTask(NANO, train, check, 10)
        launch = Launch(out=args.out / f"joint-{'+'.join(senses)}-{args.seed}", workers=0, threads=1)
        half = args.steps // 2
        config = train_config(
            made(args, ""), launch, micro_batch=32, steps=half, betas=(0.9, 0.95), warmup_steps=half // 20, eval_every=half
        )
        result = fit(task, config, launch.out)
        assert isinstance(result.model, HipClassifier)
        out["+".join(senses)] = task.evaluate(result.model.eval(), 0)["accuracy"]
    return out


def paired(images, sounds, senses, seed):
    """For every recording an image of the class of the same number."""
    rng = np.random.default_rng(seed)
    by_class = [np.flatnonzero(images.targets == k) for k in range(10)]
    chosen = np.array([rng.choice(by_class[k]) for k in sounds.targets])
    image, audio = images.fields["image"], sounds.fields["audio"]
    values = np.stack([image.values.read(int(k), None) for k in chosen])
    fields = {"image": type(image)(values, image.mean, image.std, mirror=True), "audio": audio}
    return HipExamples({name: fields[name] for name in senses}, sounds.targets, seed=seed)


TASKS = {"cifar": cifar, "camvid": camvid, "digits": digits, "joint": joint}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mae", type=int, default=500, help="steps of masked auto-encoding")
    parser.add_argument("--steps", type=int, default=1000, help="steps with classes")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.tasks:
        began = time.process_time()
        found = TASKS[name](args)
        line = {"task": name, "seed": args.seed, **{k: round(v, 4) for k, v in found.items()}}
        line["cpu_minutes"] = round((time.process_time() - began) / 60, 1)
        print(json.dumps(line), flush=True)
