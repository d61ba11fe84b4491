"""Time and memory of PaliGemma beside transformers' own, with the same weights, in one run.

    python benchmarks/paligemma_speed.py [--repeats 5] [--out evidence/paligemma-speed/results.json] [--memory-alone]
    python benchmarks/paligemma_speed.py --first-token paligemma-nano paligemma-nano-2 [--repeats 40]

The network is `pg-mini`: 68 million parameters, 256 tokens of an image and 16 of text. Times are of the process's CPU on one
thread, the least of several repeats that take turns, since the machine is shared. A step is (33 tokens - 1 token) / 32, greedy,
with nothing that ends. Prefill is one forward with the logits of the last position, the vision encoder included. `ours` is as
`ask` loads it (`tapetum.layers.cpu.speed_up`), `plain` is without copies of the weights in oneDNN's order, `int8` ours with the
decoder's weights in 8 bits.

Memory is what loading a folder of Hugging Face adds to the peak of a fresh process that has imported all it needs; no load of
the machine changes it, so `--memory-alone` measures it anew and leaves the rest of the file as it is.

`--first-token` tells what the first token of small PaliGemmas costs by their configs: parameters, size, FLOPs, and CPU time in
one process. An image and a prompt of 12 tokens, on one thread, with random weights, prepared as `ask` does. Models take turns,
and times are medians of the process's CPU time, so a busy machine slows all of them alike. `image` is the vision encoder with
the projector, `prompt` what the decoder reads before the first token.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from tapetum.account.flops import count_flops
from tapetum.layers.cpu import speed_up
from tapetum.systems.paligemma import PaliGemma, build, to_state
from tapetum.systems.paligemma.config import named
from tapetum.systems.paligemma.decoding import PrefixDecodingState
from tapetum.systems.paligemma.official import huggingface

TOKENS = 33
PROMPT = 12
"""Tokens of the prompt."""
WARM_UP = 5
"""Rounds that are not counted."""
WHO = "ours", "plain", "int8", "theirs"


def theirs(model: PaliGemma, kind: torch.dtype):
    """transformers' PaliGemma with these weights."""
    import transformers

    c, sight = model.config.language, model.config.vision_encoder
    settings = transformers.PaliGemmaConfig(
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": sight.width,
            "num_hidden_layers": sight.depth,
            "num_attention_heads": sight.heads,
            "intermediate_size": sight.mlp_width,
            "patch_size": sight.patch,
            "image_size": model.config.image_size,
            "vision_use_head": False,
        },
        text_config={
            "model_type": "gemma",
            "hidden_size": c.width,
            "num_hidden_layers": c.depth,
            "num_attention_heads": c.heads,
            "num_key_value_heads": c.key_value_heads,
            "head_dim": c.head_width,
            "intermediate_size": c.mlp_width,
            "vocab_size": c.vocabulary,
        },
        projection_dim=c.width,
        hidden_size=c.width,
        image_token_index=c.vocabulary - 1,
    )
    settings._attn_implementation = "sdpa"
    other = transformers.PaliGemmaForConditionalGeneration(settings).eval()
    state = {huggingface.in_memory(name): tensor for name, tensor in to_state(model, "huggingface").items()}
    missing, unknown = other.load_state_dict(state, strict=False)
    assert set(missing) <= set(huggingface.HEADS), missing
    assert not unknown, unknown
    other.tie_weights()
    other.generation_config.eos_token_id = None
    return other.to(kind)


def measured(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Least CPU milliseconds of each call, taking turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats + 1):  # the first round warms up, and may count
        for name, call in calls.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], (time.process_time() - start) * 1e3)
    return best


@torch.no_grad()
def compare(kind: torch.dtype, batch: int, repeats: int) -> dict[str, object]:
    """Eye, prefill and step of ours, of ours in 8 bits, and of transformers."""
    ours, plain = (speed_up(build("pg-mini").to(kind)) for _ in range(2))
    speed_up(ours.language, copies=True)
    bytes_ = speed_up(build("pg-mini").to(kind).to_int8())
    other = theirs(build("pg-mini"), kind)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(batch, 1, 3, 224, 224, generator=generator) * 2 - 1
    prefix = torch.randint(3, 31_000, (1, 16), generator=generator).expand(batch, -1).contiguous()
    prefix[:, 0] = 2
    ids = torch.cat((torch.full((batch, 256), 31_999), prefix), 1)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    given["pixel_values"] = pixels.flatten(0, 1).to(kind)

    def theirs_generate(count: int):
        return other.generate(**given, do_sample=False, min_new_tokens=count, max_new_tokens=count)

    calls = {
        "vision_encoder/ours": lambda: ours.embed_images(pixels),
        "vision_encoder/theirs": lambda: other.get_image_features(given["pixel_values"]),
        "prefill/ours": lambda: ours.start(pixels, prefix, TOKENS),
        "prefill/plain": lambda: plain.start(pixels, prefix, TOKENS),
        "prefill/int8": lambda: bytes_.start(pixels, prefix, TOKENS),
        "prefill/theirs": lambda: other(**given, logits_to_keep=1),
    }
    for count in (1, TOKENS):
        calls[f"{count}/ours"] = lambda count=count: ours.generate_ids(pixels, prefix, count)
        calls[f"{count}/plain"] = lambda count=count: plain.generate_ids(pixels, prefix, count)
        calls[f"{count}/int8"] = lambda count=count: bytes_.generate_ids(pixels, prefix, count)
        calls[f"{count}/theirs"] = lambda count=count: theirs_generate(count)
    found = ours.generate_ids(pixels, prefix, TOKENS)
    assert all(len(ids) == TOKENS for ids in found), "an answer ended; choose another seed"
    same = found == theirs_generate(TOKENS)[:, ids.shape[1] :].tolist()
    times = measured(calls, repeats)
    row: dict[str, object] = {"dtype": str(kind).removeprefix("torch."), "batch": batch, "same_ids": same}
    for part in ("vision_encoder", "prefill", "step"):
        for who in WHO:
            if part == "step":
                row[f"{part}/{who}"] = (times[f"{TOKENS}/{who}"] - times[f"1/{who}"]) / (TOKENS - 1)
            elif f"{part}/{who}" in times:
                row[f"{part}/{who}"] = times[f"{part}/{who}"]
        row[f"{part}/ratio"] = row[f"{part}/ours"] / row[f"{part}/theirs"]
    return row


@torch.no_grad()
def int8_loss(kind: torch.dtype) -> dict[str, float]:
    """How far the logits of 8 bits are from those of float32, and how often the likeliest token is another."""
    full, half, bytes_ = build("pg-mini"), build("pg-mini").to(kind), build("pg-mini").to(kind).to_int8()
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(8, 1, 3, 224, 224, generator=generator) * 2 - 1
    prefix, suffix = (torch.randint(3, 31_000, (8, n), generator=generator) for n in (16, 32))
    expected = full.logits(pixels, prefix, suffix)
    out = {}
    for name, model in (("unrounded", half), ("int8", bytes_)):
        losses = model.logits(pixels, prefix, suffix).float()
        out[f"{name}/rms"] = float((losses - expected).square().mean().sqrt() / expected.std())
        out[f"{name}/other_token"] = float((losses.argmax(-1) != expected.argmax(-1)).float().mean())
        chance = expected.log_softmax(-1)
        out[f"{name}/kl"] = float((chance.exp() * (chance - losses.log_softmax(-1))).sum(-1).mean())
    return out


LOADERS = {
    "ours": "from tapetum.systems.paligemma.weights import load; from tapetum.systems.paligemma.model import PaliGemma\n"
    "go = lambda: load(folder, dtype=kind)",
    "theirs": "from transformers import PaliGemmaForConditionalGeneration as P\n"
    "go = lambda: P.from_pretrained(folder, dtype=kind)",
}
PEAK = """
import sys, torch
folder, kind = sys.argv[1], getattr(torch, sys.argv[2])
{loader}
torch.ones(8, 8) @ torch.ones(8, 8)
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
before = peak()
model = go()
weights = sum(tensor.nbytes for tensor in {{p.data_ptr(): p for p in model.parameters()}}.values())
print((peak() - before) / weights)
"""


def memory(kind: str) -> dict[str, float]:
    """Growth of the peak at load, over the bytes of the weights."""
    with tempfile.TemporaryDirectory() as folder:
        theirs(build("pg-mini"), torch.float32).save_pretrained(folder)
        out = {}
        for who, loader in LOADERS.items():
            code = PEAK.format(loader=loader)
            done = subprocess.run([sys.executable, "-c", code, folder, kind], capture_output=True, text=True, check=True)
            out[who] = float(done.stdout.split()[-1])
        return out


@torch.no_grad()
def first_token(model: PaliGemma, pixels: torch.Tensor, prefix: torch.Tensor) -> tuple[float, float]:
    """Compute the first token; returns the CPU seconds of the image and of the prompt."""
    start = time.process_time()
    images = model.embed_images(pixels)
    middle = time.process_time()
    PrefixDecodingState(model, images, prefix, 20, None)
    return middle - start, time.process_time() - middle


def first_tokens(names: list[str], repeats: int) -> None:
    """Measure all models in turn."""
    models = {name: build(named(name)) for name in names}
    prefix = torch.arange(5, 5 + PROMPT)[None]
    pixels = {name: torch.zeros(1, 1, 3, model.config.image_size, model.config.image_size) for name, model in models.items()}
    flops = {name: count_flops(lambda: first_token(model, pixels[name], prefix)) for name, model in models.items()}  # noqa: B023
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    fast = {name: speed_up(model) for name, model in models.items()}
    for round_ in range(WARM_UP + repeats):
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


def main() -> None:
    """Print a table, and write it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--memory-alone", action="store_true")
    parser.add_argument("--first-token", nargs="+", metavar="MODEL")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.first_token:
        first_tokens(options.first_token, options.repeats or 40)
        return
    if options.memory_alone:
        _keep(options.out, {"peak_over_weights": _peaks()})
        return
    rows = [compare(kind, batch, options.repeats or 5) for kind in (torch.float32, torch.bfloat16) for batch in (1, 4)]
    print("milliseconds of CPU   part       ours  plain   int8 theirs  ours/theirs   same ids")
    for row in rows:
        for part in ("vision_encoder", "prefill", "step"):
            shown = " ".join(f"{row.get(f'{part}/{who}', float('nan')):6.2f}" for who in WHO)
            told = f"{row[f'{part}/ratio']:8.2f}       {row['same_ids']}"
            print(f"{row['dtype']:>9} batch {row['batch']}     {part:8} {shown} {told}")
    peaks = _peaks()
    losses = {kind: int8_loss(getattr(torch, kind)) for kind in ("float32", "bfloat16")}
    for kind, found in losses.items():
        print(f"int8 of {kind} against float32:", ", ".join(f"{name} {value:.4f}" for name, value in found.items()))
    _keep(options.out, {"speed": rows, "peak_over_weights": peaks, "int8_loss": losses})


def _peaks() -> dict[str, dict[str, float]]:
    peaks = {kind: memory(kind) for kind in ("float32", "bfloat16")}
    for kind, found in peaks.items():
        print(f"peak growth at load as {kind}, over the weights: ours {found['ours']:.2f}, theirs {found['theirs']:.2f}")
    return peaks


def _keep(out: Path | None, results: dict[str, object]) -> None:
    """Write what was found over what the file has of it."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        before = json.loads(out.read_text()) if out.exists() else {}
        out.write_text(json.dumps(before | results, indent=1) + "\n")


if __name__ == "__main__":
    main()
