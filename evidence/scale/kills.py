"""Kills one of two training processes again and again, and compares what comes out with a run that nothing disturbed.

    python evidence/scale/kills.py [--kills 20] [--parallel ddp] [--bare] [--seed 0]

The run is `tapetum train tap-kubric` with a tiny network on a tiny folder, on two gloo processes under torchrun (with --bare
without it: then nobody but the processes themselves notices a death). Every fourth kill hits at a moment inside a save, the
others a random time after a random step; the victim is drawn too. Exit code 0 only if after each kill the other process ended
by itself with one line and no step before the last due checkpoint was lost, and at the end every tensor is the same to the bit.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

STEPS, EVERY = 150, 5
STAGES = ["os.mkdir:tmp-step", "open:model.safetensors", "open:state.json", "open:manifest.json", "os.rename:tmp-step"]
"""Moments inside a save: audit events and a part of the path that they name."""


def make_data(folder):
    """Eight sequences in Kubric's layout, and a file of weights of a very small network."""
    import torch

    from tapetum.systems.tap import weights
    from tapetum.systems.tap.config import NANO
    from tapetum.systems.tap.model import Tapir
    from tapetum.tracks.training.clips import TrackedClip
    from tapetum.tracks.training.kubric import write_sequence
    from tapetum.world import SceneConfig, make_clip

    for k in range(8):
        clip = make_clip(k, SceneConfig(size=(48, 48), frames=8), points=40)
        write_sequence(folder / "data" / f"{k:04d}", TrackedClip(clip.video, clip.truth.xy, clip.truth.visible))
    torch.manual_seed(0)
    small = replace(NANO, mixer_width=32, mixer_blocks=2, stem_channels=16, channels=(16, 32, 32, 32))
    weights.save(Tapir(small), folder / "tiny.safetensors")


def train(folder, out, parallel, bare, stage="", victim=0):
    """Starts the two processes (or torchrun, which starts them)."""
    options = {"data": folder / "data", "weights": folder / "tiny.safetensors", "out": out, "parallel": parallel}
    options |= {"steps": STEPS, "save-every": EVERY, "batch-size": 4, "micro-batch": 2}
    options |= {"size": 32, "frames": 5, "points": 8, "workers": 0, "threads": 1}
    arguments = ["train", "tap-kubric"] + [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    rank = {"out": str(out), "stage": stage, "victim": victim, "arguments": arguments}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TRAIN_KILL": json.dumps(rank)}
    out.mkdir(exist_ok=True)
    for old in (*out.glob("pid-*"), *out.glob("code-*"), *out.glob("stderr-*")):
        old.unlink()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if not bare:
        line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
        return [subprocess.Popen(line, env=environment, **quiet)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        environment |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    ranks = [{**environment, "RANK": str(r), "LOCAL_RANK": str(r)} for r in (0, 1)]
    return [subprocess.Popen([sys.executable, __file__], env=each, **quiet) for each in ranks]


def be_rank(out, stage, victim, arguments):
    """In a training process: runs the command line, after arming the death inside a save."""
    out, rank = Path(out), os.environ["RANK"]
    os.dup2(os.open(out / f"stderr-{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    (out / f"pid-{rank}").write_text(str(os.getpid()))
    event, _, part = stage.partition(":")

    def kill(name, args):
        if name == event and part in str(args[0]) and "checkpoints/tmp-step" in str(args[0]):
            (out / "killed").write_text(repr(time.time()))
            os.kill(int((out / f"pid-{victim}").read_text()), signal.SIGKILL)

    if rank == "0" and stage:
        sys.addaudithook(kill)
    from tapetum.app.shell.main import main

    code = main(arguments)
    (out / f"code-{rank}").write_text(str(code))
    sys.exit(code)


def log_of(out):
    """The log without what a clock decides; a half-written last line is no line."""
    file = out / "log.jsonl"
    lines = [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]] if file.exists() else []
    return [{k: v for k, v in line.items() if k not in ("time", "samples_per_s")} for line in lines]


def newest(out):
    """Steps of the newest checkpoint."""
    return max([int(f.name[5:]) for f in (out / "checkpoints").glob("step_*")], default=0)


def tensors_of(out):
    """Every tensor file of the last checkpoint, and the finished weights, to the byte."""
    files = [*(out / "checkpoints" / f"step_{STEPS:08d}").glob("*.safetensors"), *out.glob("*.safetensors")]
    return {f.name: f.read_bytes() for f in files}


def disturb(folder, out, parallel, bare, dice, in_save):
    """One start, one death: the row of the table."""
    victim, stage = dice.randrange(2), dice.choice(STAGES) if in_save else ""
    start, delay = newest(out), dice.uniform(0, 0.08)
    after, resumed = start + dice.randrange(1, 2 * EVERY), False
    processes = train(folder, out, parallel, bare, stage, victim)
    killed = out / "killed"
    killed.unlink(missing_ok=True)
    while not killed.exists():
        if any(process.poll() is not None for process in processes):
            raise SystemExit(f"the run ended before the kill: {(out / 'stderr-0').read_text()[-500:]}")
        steps = len(log_of(out))
        resumed |= steps <= start  # by now the log is cut back to the checkpoint
        if not in_save and resumed and steps >= after:
            time.sleep(delay)
            killed.write_text(repr(time.time()))
            os.kill(int((out / f"pid-{victim}").read_text()), signal.SIGKILL)
        time.sleep(0.002)
    for process in processes:
        process.wait(timeout=120)
    other = 1 - victim
    code = out / f"code-{other}"
    said = (out / f"stderr-{other}").read_text()
    lines = [line for line in said.splitlines() if line.startswith("tapetum:")]
    return {
        "victim": victim,
        "moment": stage or f"step {after} + {1000 * delay:.0f} ms",
        "seconds": code.stat().st_mtime - float(killed.read_text()) if code.exists() else float("nan"),
        "code": int(code.read_text()) if code.exists() else None,
        "one line": len(lines) == 1 and "lost another process" in lines[0] and "Traceback" not in said,
        "reached": len(log_of(out)),
        "resumes": newest(out),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--parallel", choices=("ddp", "fsdp"), default="ddp")
    parser.add_argument("--bare", action="store_true", help="two processes without torchrun")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    dice, good = random.Random(args.seed), True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder)
        whole, out = folder / "whole", folder / "killed"
        for process in train(folder, whole, args.parallel, args.bare):
            process.wait()
        print("| kill | rank | moment | other's exit | after | one line | step reached | resumes at | steps lost |")
        print("|---|---|---|---|---|---|---|---|---|")
        for number in range(args.kills):
            row = disturb(folder, out, args.parallel, args.bare, dice, in_save=number % 4 == 3)
            lost = row["reached"] - row["resumes"]
            good &= row["code"] == 2 and row["one line"] and 0 <= lost <= EVERY
            print(
                f"| {number + 1} | {row['victim']} | {row['moment']} | {row['code']} | {row['seconds']:.2f} s "
                f"| {'yes' if row['one line'] else 'NO'} | {row['reached']} | {row['resumes']} | {lost} |",
                flush=True,
            )
        for process in train(folder, out, args.parallel, args.bare):
            good &= process.wait() == 0
        same = tensors_of(out) == tensors_of(whole) and log_of(out) == log_of(whole) and len(log_of(out)) == STEPS
        files = ", ".join(sorted(tensors_of(whole)))
        print(f"{args.kills} kills, {args.parallel}: {files} and log {'the same to the bit' if same else 'DIFFER'}")
        sys.exit(0 if good and same and len(tensors_of(whole)) == 3 else 1)


if __name__ == "__main__":
    if "TRAIN_KILL" in os.environ:
        be_rank(**json.loads(os.environ["TRAIN_KILL"]))
    main()
