"""Time vectors of images a second of SigLIP-B/16 and DINOv2-S against transformers and open_clip, on one thread, in turns.

    python benchmarks/encoder_speed.py [--images 16] [--repeats 5] [--json evidence/encoder-speed/results.json]

Every side has the same random weights and begins with the same JPEG files of 640x480: decoding, preparing and the network are
in the time. float32, and bfloat16 weights. Needs transformers, open_clip and timm beside tapetum.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import transformers
from PIL import Image

from tapetum.encoders import from_state
from tapetum.layers.cpu import speed_up
from tapetum.video.read import read_image

TOGETHER = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = photos(Path(folder), options.images)
        for name, makers in (("SigLIP-B/16", siglip_sides), ("DINOv2-S", dinov2_sides)):
            for dtype in (torch.float32, torch.bfloat16):
                sides = makers(dtype)
                seconds = {side: [] for side in sides}
                for turn in range(options.repeats + 1):
                    for side, run in sides.items():
                        start = time.process_time()
                        run(files)
                        if turn:  # the first warms up
                            seconds[side].append(time.process_time() - start)
                rates = {side: options.images / float(np.median(each)) for side, each in seconds.items()}
                rows.append({"model": name, "dtype": str(dtype).removeprefix("torch."), "vectors_a_second": rates})
                shown = "  ".join(f"{side} {rate:6.2f}" for side, rate in rates.items())
                best = max(rate for side, rate in rates.items() if side != "tapetum")
                print(
                    f"{name:12} {rows[-1]['dtype']:9} {shown}  ratio to the best peer {rates['tapetum'] / best:.2f}", flush=True
                )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def photos(folder: Path, count: int) -> list[Path]:
    """Write photos of 640x480: blurred noise, whose JPEG files are as large as those of photographs."""
    rng = np.random.default_rng(0)
    files = []
    for k in range(count):
        small = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
        files.append(folder / f"{k}.jpg")
        small.resize((640, 480), Image.Resampling.BICUBIC).save(files[-1], quality=90)
    return files


def batches(files: list[Path]) -> list[list[Path]]:
    return [files[k : k + TOGETHER] for k in range(0, len(files), TOGETHER)]


def of_tapetum(encoder: Any, dtype: torch.dtype) -> Callable[[list[Path]], None]:
    encoder = speed_up(encoder.to(dtype))

    def run(files: list[Path]) -> None:
        for part in batches(files):
            encoder.image_vectors(encoder.prepare([read_image(path) for path in part]).to(dtype))

    return run


def of_transformers(network: Callable[[Any], Any], processor: Any, dtype: torch.dtype) -> Callable[[list[Path]], None]:
    def run(files: list[Path]) -> None:
        for part in batches(files):
            images = [Image.open(path).convert("RGB") for path in part]
            network(processor(images, return_tensors="pt")["pixel_values"].to(dtype))

    return run


def siglip_sides(dtype: torch.dtype) -> dict[str, Callable[[list[Path]], None]]:
    """SigLIP-B/16 at 224 pixels; the text tower of transformers' model is made small, for no text is read."""
    text = {"num_hidden_layers": 1, "vocab_size": 99}
    theirs = transformers.SiglipModel(transformers.SiglipConfig(text_config=text)).eval()
    ours = from_state(theirs.state_dict(), "huggingface", theirs.config.to_dict())
    theirs = theirs.to(dtype)
    other = open_clip.create_model("ViT-B-16-SigLIP", pretrained=None).eval().to(dtype)
    transform = open_clip.image_transform(224, is_train=False, mean=(0.5,) * 3, std=(0.5,) * 3, resize_mode="squash")

    def run(files: list[Path]) -> None:
        for part in batches(files):
            prepared = torch.stack([transform(Image.open(path)) for path in part])
            other.encode_image(prepared.to(dtype), normalize=True)

    processor = transformers.SiglipImageProcessor()
    return {
        "tapetum": of_tapetum(ours, dtype),
        "transformers": of_transformers(lambda x: theirs.get_image_features(pixel_values=x), processor, dtype),
        "open_clip": run,
    }


def dinov2_sides(dtype: torch.dtype) -> dict[str, Callable[[list[Path]], None]]:
    """DINOv2-S, 224 of 256 pixels."""
    config = transformers.Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14)
    theirs = transformers.Dinov2Model(config).eval()
    ours = from_state(theirs.state_dict(), "huggingface", theirs.config.to_dict())
    theirs = theirs.to(dtype)
    processor = transformers.BitImageProcessor(size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224})
    return {"tapetum": of_tapetum(ours, dtype), "transformers": of_transformers(theirs, processor, dtype)}


if __name__ == "__main__":
    main()
