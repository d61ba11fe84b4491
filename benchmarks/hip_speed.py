"""HiP beside the flat Perceiver IO of transformers: FLOPs, CPU time and peak memory of a forward pass, as inputs grow.

    python benchmarks/hip_speed.py [--threads 1] [--rounds 3] [--sizes 224 512 1024 av] [--skip-flat-beyond 524288]
        [--json OUT.json]

Inputs are images of raw pixels, or `av`: 8 frames of 224x224 and 122,880 samples of sound, 524,288 elements. HiP's rows hold
everything: embedding, encoder, decoder and the reconstruction of every input. The flat model is `PerceiverModel` of
transformers with the settings of Perceiver IO on ImageNet (512 latents x 1024, 8 x 6 layers, inputs of 512 channels), without a
decoder and given inputs that are embedded already, which flatters it. All have random weights, one example, float32.

Every row runs in a process of its own, one after the other: CPU seconds are the least of the rounds after one to warm up,
memory is the peak of the process less what it had before the model was made. FLOPs are counted by the ledger.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

HIP = "hip-16", "hip-256"
FLAT = "perceiver-io"


def shapes(size):
    return {"video": ((8, 224, 224), 3), "audio": ((122880,), 1)} if size == "av" else {"image": ((int(size), int(size)), 3)}


def elements(size):
    return 524288 if size == "av" else int(size) ** 2


def hip(name, size):
    import torch

    from tapetum.systems.hip.config import Modality, variant
    from tapetum.systems.hip.model import Hip

    modalities = {k: Modality(*shape) for k, shape in shapes(size).items()}
    model = Hip(variant(name), modalities).eval()
    inputs = {k: torch.randn(1, m.length, m.channels) for k, m in modalities.items()}
    return lambda: model(inputs), model


def flat(size):
    import torch
    from transformers import PerceiverConfig, PerceiverModel

    config = PerceiverConfig(
        num_latents=512,
        d_latents=1024,
        d_model=512,
        num_blocks=8,
        num_self_attends_per_block=6,
        num_self_attention_heads=8,
        num_cross_attention_heads=1,
        self_attention_widening_factor=1,
        cross_attention_widening_factor=1,
    )
    model = PerceiverModel(config).eval()
    inputs = torch.randn(1, elements(size), 512)
    return lambda: model(inputs), model


def measure(name, size, rounds, threads):
    import torch

    from tapetum.account.flops import count_flops

    torch.set_num_threads(threads)
    torch.nn.Linear(64, 64)(torch.randn(64, 64)).sum().backward()
    if name == FLAT:
        import transformers.models.perceiver.modeling_perceiver  # noqa: F401
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    run, model = flat(size) if name == FLAT else hip(name, size)
    times = []
    with torch.no_grad():
        for _ in range(rounds + 1):
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            times.append((time.process_time() - cpu, time.perf_counter() - wall))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
        flops = count_flops(run).forward
    cpu, wall = (min(row[k] for row in times[1:]) for k in range(2))
    parameters = sum(p.numel() for p in model.parameters())
    return {"cpu": cpu, "wall": wall, "peak": peak, "flops": flops, "parameters": parameters}


def main(args):
    rows = {}
    print(
        f"{'size':>6} {'elements':>9} {'model':>13} {'M param.':>9} {'GFLOPs':>9} {'CPU s':>8} {'GFLOP/s':>8} {'peak MiB':>9}"
    )
    for size in args.sizes:
        for name in (*HIP, FLAT):
            if name == FLAT and elements(size) > args.skip_flat_beyond:
                continue
            options = ["--threads", str(args.threads), "--rounds", str(args.rounds)]
            command = [sys.executable, __file__, "--row", name, size, *options]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            rows[name, size] = row
            per_second = row["flops"] / row["cpu"] / 1e9
            print(
                f"{size:>6} {elements(size):9} {name:>13} {row['parameters'] / 1e6:9.1f} {row['flops'] / 1e9:9.2f} "
                f"{row['cpu']:8.2f} {per_second:8.1f} {row['peak'] / 2**20:9.0f}",
                flush=True,
            )
    if args.json:
        named = {f"{name} {size}": row for (name, size), row in rows.items()}
        args.json.write_text(json.dumps(named, indent=1) + "\n")
    for name in HIP:
        for size in args.sizes:
            if (FLAT, size) in rows:
                ours, theirs = rows[name, size], rows[FLAT, size]
                ratios = ", ".join(f"{ours[k] / theirs[k]:.3f} of its {what}" for k, what in _WHAT)
                print(f"{name} at {size}, to the flat model: {ratios}")
        if {"224", "1024"} <= set(args.sizes):
            small, large = rows[name, "224"], rows[name, "1024"]
            cpu, flops = (large[k] / small[k] for k in ("cpu", "flops"))
            print(f"{name} from 224 to 1024: {cpu:.2f} x CPU, {flops:.2f} x FLOPs")


_WHAT = ("flops", "FLOPs"), ("cpu", "CPU time"), ("peak", "memory")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["224", "512", "1024", "av"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--skip-flat-beyond", type=int, default=524288)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--row", nargs=2, default=None, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.row:
        print(json.dumps(measure(*chosen.row, chosen.rounds, chosen.threads)))
    else:
        main(chosen)
