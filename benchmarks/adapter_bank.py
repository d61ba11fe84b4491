"""A bank of adapters beside peft: choosing one, what a call costs with it, memory and room on the disk.

    python benchmarks/adapter_bank.py [--adapters 50] [--rounds 10] [--width 768] [--pixels 64] [--json OUT.json]

The trunk is timm's ViT of 12 blocks with patches of 16 (random weights, images of --pixels). Ours: adapters of the preset
bottom-middle-top; one of them is trained a step, and another one's bytes and results are compared before and after. peft, if
it is installed: as many of lora on the query, key and value of all blocks (it has no bottlenecks), rank 8. Times are
CPU times on one thread, the least of the rounds; ratios are against peft and against the bare trunk in the same run.
"""

import argparse
import json
import statistics
import tempfile
import time
import tracemalloc
from importlib import util
from pathlib import Path

import numpy as np
import timm
import torch

from tapetum.systems.adapters import attach


def least(work, rounds):
    """Milliseconds of the fastest and of the middle round."""
    found = []
    for i in range(rounds):
        began = time.process_time()
        work(i)
        found.append((time.process_time() - began) * 1e3)
    return min(found), statistics.median(found)


def trunk(width, pixels):
    torch.manual_seed(0)
    heads = width // 64
    return timm.create_model("vit_base_patch16_224", img_size=pixels, embed_dim=width, num_heads=heads, num_classes=0).eval()


def apart(adapted, x, learns, stays):
    """Whether training one adapter leaves another as it was, bit for bit."""

    def state():
        with torch.no_grad():
            return [p.clone() for p in adapted.adapter_parameters(stays)] + [adapted(x, adapter=stays)]

    before = state()
    adapted.train_only(learns)
    optimizer = torch.optim.AdamW(adapted.adapter_parameters(), 1e-2, weight_decay=0.1)
    first = adapted(x)
    first.square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        learned = not torch.equal(adapted(x), first)
    return learned and all(map(torch.equal, before, state()))


def ours(args, x, rows):
    whole = trunk(args.width, args.pixels)
    adapted = attach(whole, name="a0")
    own = sum(p.numel() for p in adapted.adapter_parameters())
    rows["add_ms"], _ = least(lambda i: adapted.add(f"a{i + 1}", seed=i), args.adapters - 2)
    tracemalloc.start()
    adapted.add(f"a{args.adapters - 1}")
    rows["python_kb_per_adapter"] = tracemalloc.get_traced_memory()[0] / 1024
    tracemalloc.stop()
    names = adapted.names
    rows["use_ms"], rows["use_ms_median"] = least(lambda i: adapted.use(names[i % len(names)]), args.rounds * 10)
    with torch.no_grad():
        rows["trunk_ms"], _ = least(lambda i: whole(x), args.rounds)
        rows["off_ms"], _ = least(lambda i: adapted(x, adapter=None), args.rounds)
        rows["adapted_ms"], _ = least(lambda i: adapted(x, adapter=names[i % len(names)]), args.rounds)
        rows["four_calls_ms"], _ = least(lambda i: [adapted(x[j::4], adapter=names[j]) for j in range(4)], args.rounds)
    with tempfile.TemporaryDirectory() as folder:
        adapted.save(Path(folder) / "a.safetensors", "a0")
        rows["file_mb"] = (Path(folder) / "a.safetensors").stat().st_size / 1e6
    rows["others_stay"] = apart(adapted, x, *np.random.default_rng(0).choice(names, 2, replace=False))
    rows["parameters"] = own
    rows["trunk_mb"] = sum(p.numel() for p in whole.parameters()) * 4 / 1e6
    adapted.verify(x)


def theirs(args, x, rows):
    import peft

    model = peft.get_peft_model(trunk(args.width, args.pixels), peft.LoraConfig(r=8, target_modules=["qkv"]), "a0")
    for i in range(1, args.adapters):
        model.add_adapter(f"a{i}", peft.LoraConfig(r=8, target_modules=["qkv"]))
    rows["peft_use_ms"], rows["peft_use_ms_median"] = least(lambda i: model.set_adapter(f"a{i % args.adapters}"), args.rounds)
    with torch.no_grad():
        rows["peft_adapted_ms"], _ = least(lambda i: model(x), args.rounds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    x = torch.randn(8, 3, args.pixels, args.pixels)
    rows = {}
    ours(args, x, rows)
    if util.find_spec("peft"):
        theirs(args, x, rows)
    if "peft_use_ms" in rows:
        rows["use_peft_over_ours"] = rows["peft_use_ms_median"] / rows["use_ms_median"]
    rows["adapted_over_trunk"] = rows["adapted_ms"] / rows["trunk_ms"]
    rows["off_over_trunk"] = rows["off_ms"] / rows["trunk_ms"]
    for name, value in rows.items():
        print(f"{name:24} {value:.4g}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
