"""A model of PaliGemma's layout in shards: two steps, a checkpoint, a death, on to the end; memory beside the formula's.

    python evidence/scale/large.py [--processes 4] [--width 1152] [--depth 16] [--vision-depth 27] [--vocabulary 32768]
                                   [--steps 3] [--json evidence/scale/large.json]

The default has 1.0 billion parameters, float32: 16 GB with its optimiser, for 4 processes of a machine with 24 GB. Each
process makes its rows of the weights, trains on random images and texts, and saves after each step. When there is a checkpoint
after the second step, the last process is killed; the same command goes on. The finished weights are then read here by slices.
The memory of a process at each moment, as `memory.py` measures it, is printed, and what `tapetum.account.plan` computes of a
step.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from memory import mark, measure, phase
from tapetum.account.machine import machine
from tapetum.account.plan import measure_step, process_memory
from tapetum.core.devices import resident_bytes
from tapetum.encoders.config import DecoderConfig
from tapetum.hub.state_dicts import TensorFile, shards
from tapetum.systems.paligemma.config import PaliGemmaConfig, siglip
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.train import StepContext, Task, TrainConfig, fit

MOMENTS = {"start": "start", "steps": "step", "save": "save", "end": "end"}
"""Phases of `memory.py`, and their names in the table; the formula is of a step."""


class PaliGemmaLayout(Task):
    """PaliGemma of other widths and depths, on random images and texts of 8 tokens."""

    def __init__(self, args: argparse.Namespace):
        width = args.width
        vision = siglip(56, width=width, depth=args.vision_depth, heads=width // 64, mlp_width=4 * width)
        heads = {"heads": 8, "key_value_heads": 1, "head_width": width // 8, "mlp_width": 8 * width}
        language = DecoderConfig(width=width, depth=args.depth, vocabulary=args.vocabulary, **heads)
        self.config = PaliGemmaConfig(vision_encoder=vision, language=language)

    def model(self) -> nn.Module:
        return PaliGemma(self.config)

    def dataset(self) -> "PaliGemmaLayout":
        return self

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        side, known = self.config.image_size, min(1000, self.config.language.vocabulary)
        return {"pixels": torch.rand(1, 3, side, side) * 2 - 1, "text": torch.randint(1, known, (8,))}

    def loss(self, model: nn.Module, batch: dict[str, Tensor], context: StepContext) -> tuple[Tensor, dict[str, Any]]:
        assert isinstance(model, PaliGemma)
        prefix, suffix = batch["text"].split(4, 1)
        return nn.functional.cross_entropy(model.logits(batch["pixels"], prefix, suffix).flatten(0, 1), suffix.flatten()), {}


def train(args: argparse.Namespace, out: Path) -> None:
    """Train in this process, and write to stdout when each phase begins."""
    import torch.distributed.checkpoint.state_dict_saver
    import torch.distributed.fsdp

    from tapetum.train import fsdp, loop, sharded
    from tapetum.train.state import Saver

    assert callable(fsdp.shard)  # imported before the first phase, as are those below
    assert callable(sharded.load)
    torch.set_num_threads(1)
    torch._dynamo  # noqa: B018
    phase("idle")
    time.sleep(0.1)
    mark(loop._Run, "train", "steps", "end")
    mark(Saver, "save", "save", "steps")
    config = TrainConfig(
        steps=args.steps,
        batch_size=args.processes,
        lr=1e-4,
        parallel="fsdp",
        checkpoint="sharded",
        checkpoint_every=1,
        keep_last=1,
        device="cpu",
        tensorboard=False,
    )
    phase("start")
    fit(PaliGemmaLayout(args), config, out / "run")
    phase("ended")


def formula(args: argparse.Namespace) -> dict[str, Any]:
    """Compute a process's bytes in a step, by part."""
    task = PaliGemmaLayout(args)
    with torch.device("meta"):
        model = PaliGemma(task.config)
    batch = {name: value[None] for name, value in task[0].items()}

    def loss() -> Tensor:  # as the task's, whose ids are checked by value
        pixels = batch["pixels"].to("meta")
        text = model.language.embed(batch["text"][:, :-1].to("meta"))
        read = model.language(torch.cat((model.embed_images(pixels), text), 1))
        return model.language.logits(read[:, -4:]).float().log_softmax(-1).mean()

    step = measure_step(loss, {"model": model})
    memory = process_memory(step, 1, args.processes)
    return {"parameters": step.learning, "step": memory.total, "parts": vars(memory)}


def read_by_slices(folder: Path, processes: int) -> dict[str, int]:
    """Read the rows that each of so many processes would, one tensor at a time; returns numbers read and the memory it took."""
    before, most, numbers = resident_bytes(os.getpid()), 0, 0
    for path in shards(folder):
        file = TensorFile(path)
        for name, (count, *others) in file.shapes.items():
            own = torch.empty(-(-count // processes), *others)
            file.read(name, own)
            numbers += own.numel()
            most = max(most, resident_bytes(os.getpid()) - before)
    return {"numbers": numbers, "files": len(shards(folder)), "grown_mb": round(most / 1e6)}


def main() -> None:
    parser = argparse.ArgumentParser(description="A model of PaliGemma's layout in shards, from the start to the end.")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--width", type=int, default=1152, help="of vision encoder and decoder: a multiple of 64")
    parser.add_argument("--depth", type=int, default=16, help="blocks of the decoder")
    parser.add_argument("--vision-depth", type=int, default=27)
    parser.add_argument("--vocabulary", type=int, default=32_768)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        train(args, args.train)
        return
    planned = formula(args)
    print(f"{planned['parameters']:,} parameters, {args.processes} processes", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        killed = measure(args.processes, folder, __file__, folder / "run/checkpoints/step_00000002/manifest.json")
        whole = measure(args.processes, folder, __file__)
        said = (folder / "phases-0.err").read_text()
        resumed = "goes on after step" in said
        steps = [json.loads(line)["step"] for line in (folder / "run/log.jsonl").read_text().splitlines()]
        assert resumed, said[-2000:]
        assert steps == list(range(1, args.steps + 1)), steps
        slices = read_by_slices(folder / "run/weights", args.processes)
    print(f"a step by the formula: {planned['step'] / 1e6:,.0f} MB\n| moment | largest process MB |\n|---|---|")
    rows = {}
    runs = {"start": [killed], "start from a checkpoint": [whole]}
    for own, called in (*MOMENTS.items(), ("start", "start from a checkpoint")):
        largest = max(rank["peak_mb"][own] for run in runs.get(called, [killed, whole]) for rank in run["ranks"])
        rows[called] = {"largest_mb": largest}
        print(f"| {called} | {largest:,} |")
    print(f"went on after the death: {resumed}; weights by slices: {slices}")
    if args.json:
        settings = {key: value for key, value in vars(args).items() if key not in ("json", "train")}
        kept = [{key: rank[key] for key in ("idle_mb", "peak_mb", "seconds")} for rank in whole["ranks"]]
        found = {"settings": settings, "machine": machine(), **planned, "moments": rows, "slices": slices, "ranks": kept}
        args.json.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
