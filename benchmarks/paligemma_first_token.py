"""Cost of the first token of small PaliGemmas by their configs: parameters, size, FLOPs, and CPU time in one process.

    python benchmarks/paligemma_first_token.py paligemma-nano-2 [--repeats 40]

An image and a prompt of 12 tokens, on one thread, with random weights, prepared as `ask` does (`tapetum.layers.cpu.speed_up`).
Models take turns, and times are medians of the process's CPU time, so a busy machine slows all of them alike. `image` is the
vision encoder with the projector, `prompt` what the decoder reads before the first token.
"""

import argparse
import json
import statistics
import time

import torch

from tapetum.account.flops import count_flops
from tapetum.layers.cpu import speed_up
from tapetum.systems.paligemma.config import named
from tapetum.systems.paligemma.decoding import PrefixDecodingState
from tapetum.systems.paligemma.model import PaliGemma, build

PROMPT = 12
"""Tokens of the prompt."""
WARM_UP = 5
"""Rounds that are not counted."""


@torch.no_grad()
def first_token(model: PaliGemma, pixels: torch.Tensor, prefix: torch.Tensor) -> tuple[float, float]:
    """Compute the first token; returns the CPU seconds of the image and of the prompt."""
    start = time.process_time()
    images = model.embed_images(pixels)
    middle = time.process_time()
    PrefixDecodingState(model, images, prefix, 20, None)
    return middle - start, time.process_time() - middle


def main() -> None:
    """Measure all models in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = {name: build(named(name)) for name in options.models}
    prefix = torch.arange(5, 5 + PROMPT)[None]
    pixels = {name: torch.zeros(1, 1, 3, model.config.image_size, model.config.image_size) for name, model in models.items()}
    flops = {name: count_flops(lambda: first_token(model, pixels[name], prefix)) for name, model in models.items()}  # noqa: B023
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    fast = {name: speed_up(model) for name, model in models.items()}
    for round_ in range(WARM_UP + options.repeats):
        for name, model in fast.items():
            seconds = first_token(model, pixels[name], prefix)
            if round_ >= WARM_UP:
                times[name].append(seconds)
    for name, model in models.items():
        parameters = sum(parameter.numel() for parameter in model.parameters())
        image, prompt = zip(*times[name], strict=True)
        parts = {"image": image, "prompt": prompt, "all": [sum(both) for both in times[name]]}
        made = {
            "model": name,
            "image_tokens": model.config.image_tokens,
            "parameters": parameters,
            "float16_megabytes": round(2 * parameters / 1e6, 2),
            "gflop": round(flops[name].forward / 1e9, 2),
            "milliseconds": {part: round(1000 * statistics.median(seconds), 1) for part, seconds in parts.items()},
        }
        print(json.dumps(made))


if __name__ == "__main__":
    main()
