"""oneDNN's products beside torch's own in linear layers without gradients: which is faster on this processor?

    python benchmarks/linear_kernels.py [--repeats 7] [--json evidence/linear-kernels/VENDOR.json]

Shapes are those of the layers in a step of pre-training and in PaliGemma's decoder. Times are processor seconds of one thread,
the least of several repeats that take turns. A ratio above 1 says that oneDNN is faster. The last column is what
`tapetum.layers.cpu` takes on this processor, for float32; bfloat16 is oneDNN's either way, apart from the GELU.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tapetum.account.machine import machine
from tapetum.core.devices import processor
from tapetum.layers import cpu
from tapetum.layers.cpu import speed_up

SHAPES = {
    "ViT-Tiny, SimCLR, 128 views of 65 tokens": [(128 * 65, 192, 576), (128 * 65, 192, 768), (128 * 65, 768, 192)],
    "head of SimCLR, 128 views": [(128, 192, 2048), (128, 2048, 128)],
    "ViT-B/16, 8 images of 197 tokens": [(8 * 197, 768, 2304), (8 * 197, 768, 3072), (8 * 197, 3072, 768)],
    "PaliGemma's decoder, one token": [(1, 2048, 2560), (1, 2048, 16384), (1, 16384, 2048)],
    "PaliGemma's decoder, a step of learning, 272 tokens": [(272, 2048, 2560), (272, 2048, 16384), (272, 16384, 2048)],
    "pg-mini's decoder, one token": [(1, 512, 768), (1, 512, 2048), (1, 2048, 512)],
}
"""Rows, and widths before and after, of the layers of each."""


@torch.no_grad()
def step(layers: list[nn.Linear], inputs: list[torch.Tensor]) -> None:
    """Go through the layers once."""
    for layer, x in zip(layers, inputs, strict=True):
        layer(x)


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Measure the least seconds of each kernel, and their ratio."""
    layers = [speed_up(nn.Linear(inward, outward)) for _, inward, outward in SHAPES[name]]
    inputs = [torch.randn(rows, inward) for rows, inward, _ in SHAPES[name]]
    times: dict[cpu.Kernel, list[float]] = {"onednn": [], "torch": []}
    chosen = cpu.KERNEL
    try:
        for repeat in range(repeats + 1):
            for kernel, found in times.items():
                cpu.KERNEL = kernel
                calls, began = 0, time.process_time()
                while time.process_time() - began < 0.05:
                    step(layers, inputs)
                    calls += 1
                found += [(time.process_time() - began) / calls] if repeat else []  # the first warms up
    finally:
        cpu.KERNEL = chosen
    least = {kernel: min(found) for kernel, found in times.items()}
    return {"layers": name, **least, "ratio": least["torch"] / least["onednn"]}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{processor().vendor}, {', '.join(processor().features)}; taken here: {cpu.KERNEL}")
    print(f"{'':54} {'oneDNN ms':>10} {'torch ms':>9} {'ratio':>6}")
    rows = []
    for name in SHAPES:
        row = measure(name, given.repeats)
        rows.append(row)
        print(f"{name:54} {1e3 * row['onednn']:10.3f} {1e3 * row['torch']:9.3f} {row['ratio']:6.2f}", flush=True)
    if given.json:
        about = {**machine(), "vendor": processor().vendor, "features": processor().features, "kernel": cpu.KERNEL}
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps({"machine": about, "torch": torch.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
