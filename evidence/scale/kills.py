"""Kills one of several training processes again and again, and compares what comes out with a run that nothing disturbed.

    python evidence/scale/kills.py [--kills 20] [--parallel ddp] [--bare] [--seed 0]
    python evidence/scale/kills.py --moments 4 [--parallel fsdp] [--json evidence/scale/kills.json]

The run is `tapetum train tap-kubric` with a tiny network on a tiny folder, on two gloo processes under torchrun (with --bare
without it: then nobody but the processes themselves notices a death). Every fourth kill hits at a moment inside a save, the
others a random time after a random step; the victim is drawn too. Exit code 0 only if after each kill the other process ended
by itself with one line and no step before the last due checkpoint was lost, and at the end every tensor is the same to the bit.

With --moments so many processes run under one torchrun that restarts them. Its k-th start dies at the k-th of `MOMENTS`: at
the start, in an exchange, in a save, at the end. Before a start goes on, every checkpoint that counts is verified, and finished
weights are compared with those of the undisturbed run. Exit code 0 only if all are whole, each start goes on after the newest
checkpoint, and at the end every tensor and the log are the same to the bit.
"""

import argparse
import importlib
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
from typing import Any

STEPS, EVERY = 150, 5
STAGES = ["os.mkdir:tmp-step", "open:model.safetensors", "open:state.json", "open:manifest.json", "os.rename:tmp-step"]
"""Moments inside a save: audit events and a part of the path that they name."""


Moment = tuple[str, int, str, str, int, int]
"""Its name, the process that is killed, function or audit event, one of the two functions that call it or a part of the path,
after how many steps, and which time after that."""
_TMP = f"checkpoints/tmp-step_{2 * EVERY:08d}"
_BOTH: list[Moment] = [
    ("save: before its manifest", 0, "open", f"{_TMP}/manifest.json", 0, 1),
    ("save: before it is renamed", 0, "os.rename", _TMP, 0, 1),
    ("save: as an old one is removed", 0, "os.rename", "checkpoints/step", 0, 1),
]
MOMENTS: dict[str, list[Moment]] = {
    "ddp": [
        ("start: before it joins", 1, "torch.distributed:init_process_group", "", 0, 1),
        ("start: as the network is built", 2, "tapetum.train.loop:new_model", "", 0, 1),
        ("exchange: of gradients", 3, "torch:Tensor.backward", "", EVERY + 1, 1),
        ("start: as it reads its checkpoint", 3, "tapetum.train.loop:restore", "", 0, 1),
        ("exchange: of loss and norm", 1, "tapetum.train.process_group:ProcessGroup.mean_on_device", "", EVERY + 2, 1),
        ("save: in its first file", 0, "open", _TMP, 0, 1),
        *_BOTH,
        ("end: before the weights are renamed", 0, "os.rename", "/.tiny.", 0, 1),
    ],
    "fsdp": [
        ("start: before it joins", 1, "torch.distributed:init_process_group", "", 0, 1),
        ("start: as it gets its rows", 2, "tapetum.train.fsdp:shard", "", 0, 1),
        ("gather: of weights, between two processes' rows", 3, "torch.distributed:broadcast", "_AllGather.__call__", 0, 7),
        ("gather: of gradients", 0, "torch.distributed:reduce", "_ReduceScatter.__call__", EVERY + 1, 3),
        ("start: as it reads its part", 1, "tapetum.train.sharded:load", "", 0, 1),
        ("save: in its part", 1, "open", f"{_TMP}/part-00001", 0, 1),
        *_BOTH,
        ("end: in the gather of the finished weights", 2, "tapetum.train.checkpoint:gather_tensor", "write_weights", 0, 5),
        ("end: before they are renamed", 0, "os.rename", "weights/.", 0, 1),
        ("end: all is written", 3, "tapetum.train.process_group:ProcessGroup.barrier", "_Run.result", 0, 1),
    ],
}


def make_data(folder):
    """Eight sequences in Kubric's layout, and a file of weights of a very small network."""
    import torch

    from tapetum.systems.tap import weights
    from tapetum.systems.tap.config import NANO
    from tapetum.systems.tap.model import Tapir
    from tapetum.tracks.facets import SceneConfig, make_clip
    from tapetum.tracks.training.clips import TrackedClip
    from tapetum.tracks.training.kubric import write_sequence

    for k in range(8):
        clip = make_clip(k, SceneConfig(size=(48, 48), frames=8), points=40)
        write_sequence(folder / "data" / f"{k:04d}", TrackedClip(clip.video, clip.truth.xy, clip.truth.visible))
    torch.manual_seed(0)
    small = replace(NANO, mixer_width=32, mixer_blocks=2, stem_channels=16, channels=(16, 32, 32, 32))
    weights.save(Tapir(small), folder / "tiny.safetensors")


def train(folder, out, parallel, bare, stage="", victim=0, moments=(), processes=2, steps=STEPS):
    """Starts the processes (or torchrun, which starts them, and again after each of the moments at which one is killed)."""
    options = {"data": folder / "data", "weights": folder / "tiny.safetensors", "out": out, "parallel": parallel}
    options |= {"steps": steps, "save-every": EVERY, "batch-size": 4, "micro-batch": 4 // processes}
    options |= {"size": 32, "frames": 5, "points": 8, "workers": 0, "threads": 1}
    arguments = ["train", "tap-kubric"] + [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    if processes > 2 and parallel == "fsdp":
        arguments += ["--checkpoint", "sharded", "--async-checkpoint"]
    rank = {"out": str(out), "stage": stage, "victim": victim, "moments": moments, "arguments": arguments}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TRAIN_KILL": json.dumps(rank)}
    out.mkdir(exist_ok=True)
    for old in (*out.glob("pid-*"), *out.glob("code-*"), *out.glob("stderr-*")):
        old.unlink()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if not bare:
        restarts = ["--max-restarts", str(len(moments)), "--monitor-interval", "0.1"]
        line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        return [subprocess.Popen([*line, *restarts, __file__], env=environment, **quiet)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        environment |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    ranks = [{**environment, "RANK": str(r), "LOCAL_RANK": str(r)} for r in (0, 1)]
    return [subprocess.Popen([sys.executable, __file__], env=each, **quiet) for each in ranks]


def be_rank(out, stage, victim, moments, arguments):
    """In a training process: runs the command line, after arming its death."""
    out, rank, start = Path(out), os.environ["RANK"], int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
    os.dup2(os.open(out / f"stderr-{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    (out / f"pid-{rank}").write_text(str(os.getpid()))
    event, _, part = stage.partition(":")

    def kill(name, args):
        if name == event and part in str(args[0]) and "checkpoints/tmp-step" in str(args[0]):
            (out / "killed").write_text(repr(time.time()))
            os.kill(int((out / f"pid-{victim}").read_text()), signal.SIGKILL)

    if rank == "0" and stage:
        sys.addaudithook(kill)
    if moments and rank == "0":
        (out / f"start-{start}").write_text(json.dumps({"newest": newest(out), "broken": broken(out)}))
    if start < len(moments) and moments[start][1] == int(rank):
        arm(out, start, moments[start])
    from tapetum.app.shell.main import main

    code = main(arguments)
    (out / f"code-{rank}").write_text(str(code))
    sys.exit(code)


def arm(out: Path, start: int, moment: Moment) -> None:
    """Let this process die at a moment."""
    name, _, event, where, after, which = moment
    counted = 0

    def count(matches: bool) -> None:
        nonlocal counted
        counted += matches and (not after or len(log_of(out)) >= after)
        if matches and counted == which:
            (out / f"killed-{start}").write_text(json.dumps({"moment": name, "reached": len(log_of(out))}))
            os.kill(os.getpid(), signal.SIGKILL)

    module, _, attribute = event.partition(":")
    if not attribute:
        sys.addaudithook(lambda kind, args: count(kind == event and where in str(args[0])))
        return
    owner: Any = importlib.import_module(module)
    *path, last = attribute.split(".")
    for each in path:
        owner = getattr(owner, each)
    own = getattr(owner, last)

    def call(*arguments, **others):
        caller = sys._getframe(1)
        names = [frame.f_code.co_qualname for frame in (caller, caller.f_back) if frame]
        count(any(where in name for name in names))
        return own(*arguments, **others)

    setattr(owner, last, call)


def broken(out):
    """What counts and is not whole: checkpoints, and finished weights unlike those of the undisturbed run."""
    from tapetum.core.errors import BadInput
    from tapetum.train.checkpoint import checkpoints, verify

    names = []
    for folder in checkpoints(out / "checkpoints"):
        try:
            verify(Path(folder))
        except BadInput as error:
            names.append(str(error))
    finished = (*(out / "weights").glob("[!.]*"), *out.glob("[!.]*.safetensors"))
    whole = out.with_name("whole")
    return names + [f.name for f in finished if f.read_bytes() != (whole / f.relative_to(out)).read_bytes()]


def log_of(out):
    """The log without what a clock decides; a half-written last line is no line."""
    file = out / "log.jsonl"
    lines = [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]] if file.exists() else []
    return [{k: v for k, v in line.items() if k not in ("time", "samples_per_s")} for line in lines]


def newest(out):
    """Steps of the newest checkpoint."""
    return max([int(f.name[5:]) for f in (out / "checkpoints").glob("step_*")], default=0)


def tensors_of(out, steps=STEPS):
    """Every tensor of the last checkpoint, and the finished weights, to the byte.

    Of parts the rows of each tensor: which process writes what all have is not always the same after a start from a checkpoint.
    """
    from safetensors import safe_open

    folder, tensors = out / "checkpoints" / f"step_{steps:08d}", {}
    for file in folder.glob("part-*"):
        with safe_open(file, "np") as content:
            places = json.loads(next(iter(content.metadata().values())))
            for name in content.keys():  # noqa: SIM118, which is no dictionary
                tensors[f"{name} {places[name]}"] = content.get_tensor(name).tobytes()
    files = [*folder.glob("[!p]*.safetensors"), *out.glob("*.safetensors"), *(out / "weights").glob("*")]
    return tensors | {file.name: file.read_bytes() for file in files}


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


def kill_at_moments(folder: Path, parallel: str, processes: int) -> dict[str, Any]:
    """One run under torchrun, killed at each moment; what each start found and went on after."""
    from tapetum.account.machine import machine

    moments, steps, outs = MOMENTS[parallel], 4 * EVERY, (folder / "whole", folder / "killed")
    codes = []
    for out in outs:
        deaths = moments if out.name == "killed" else []
        [run] = train(folder, out, parallel, bare=False, moments=deaths, processes=processes, steps=steps)
        codes.append(run.wait())
    out, rows = outs[1], []
    said = (out / "stderr-0").read_text()
    for number, (name, victim, *_) in enumerate(moments):
        died, after = (json.loads((out / f"{kind}-{k}").read_text()) for kind, k in (("killed", number), ("start", number + 1)))
        rows.append({"moment": name, "process": victim, "step": died["reached"], "next_start_finds": after["newest"]})
        rows[-1]["not_whole"] = after["broken"]
    starts = [int(line.split()[4]) for line in said.splitlines() if line.startswith("goes on after step")]
    found = [row["next_start_finds"] for row in rows if row["next_start_finds"]]
    same = tensors_of(outs[0], steps) == tensors_of(out, steps) and log_of(outs[0]) == log_of(out)
    return {
        "machine": machine(),
        "processes": processes,
        "parallel": parallel,
        "steps": steps,
        "checkpoint_every": EVERY,
        "kills": rows,
        "went_on_after": starts,
        "older_than_the_newest": sum(start not in found for start in starts),
        "tensors": len(tensors_of(outs[0], steps)),
        "log_lines": len(log_of(out)),
        "same_to_the_bit": same,
        "left_over": sorted(str(f.relative_to(out)) for f in out.rglob("*tmp*")),
        "good": codes == [0, 0] and same and not any(row["not_whole"] for row in rows) and "looking for an older" not in said,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--parallel", choices=("ddp", "fsdp"), default="ddp")
    parser.add_argument("--bare", action="store_true", help="two processes without torchrun")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--moments", type=int, metavar="PROCESSES", help="kill one of so many at each moment of a list")
    parser.add_argument("--json", type=Path, help="with --moments: add the result to this file")
    args = parser.parse_args()
    if args.moments:
        with tempfile.TemporaryDirectory() as name:
            make_data(Path(name))
            result = kill_at_moments(Path(name), args.parallel, args.moments)
        print(json.dumps(result, indent=1))
        if args.json:
            others = json.loads(args.json.read_text()) if args.json.exists() else {}
            args.json.write_text(json.dumps({**others, args.parallel: result}, indent=1) + "\n")
        sys.exit(0 if result["good"] else 1)
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
