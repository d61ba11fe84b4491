"""Time vectors of images a second against transformers, open_clip, timm and onnxruntime, in turns.

    python benchmarks/encoder_speed.py [--images 16] [--repeats 5] [--json evidence/encoder-speed/results.json]
    python benchmarks/encoder_speed.py --loops [--images 128] [--repeats 3] [--json evidence/encoder-speed/loops.json]

Every side has the same random weights and begins with the same JPEG files of 640x480: decoding, preparing and the network are
in the time. Without --loops on one thread, SigLIP-B/16 and DINOv2-S in float32 and bfloat16, CPU seconds.

With --loops on all cores by the clock (so on an idle machine), as users would: `tapetum embed`'s own loop; a plain loop over
timm's model, in batches of 32 from a DataLoader with a worker for each core; and, in float32, the same loop over onnxruntime,
in batches of 1 and 32. bfloat16 and int8 (beside timm's float32) are left out where the processor has none. `batches` are
images a second of our network alone, without decoding, by the size of the batch.
Needs transformers, open_clip, timm and onnxruntime beside tapetum.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import open_clip
import timm
import torch
import transformers
from PIL import Image

from tapetum.core.batched_work import BatchedWork
from tapetum.core.devices import choose_dtype, knows_int8, processor
from tapetum.core.errors import BadInput
from tapetum.encoders import build, from_state
from tapetum.encoders.embed import set_precision
from tapetum.layers.cpu import speed_up
from tapetum.video.read import read_image

TOGETHER = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--loops", action="store_true")
    parser.add_argument("--only", choices=LOOPS, help="of --loops; the file of --json keeps its other networks")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.loops:
        rows = time_loops(options.images, options.repeats, [options.only] if options.only else list(LOOPS))
        if options.only and options.json and options.json.exists():
            rows += [row for row in json.loads(options.json.read_text()) if row["model"] != options.only]
        save(sorted(rows, key=lambda row: list(LOOPS).index(row["model"])), options.json)
        return
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
    save(rows, options.json)


def save(rows: list[dict[str, Any]], path: Path | None) -> None:
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows, indent=1) + "\n")


LOOPS = {
    "EfficientNet-Lite2": ("efficientnet-lite2", "tf_efficientnet_lite2", 260),
    "ResNet-50": ("resnet-50", "resnet50", 224),
    "ConvNeXt-T": ("timm:convnext_tiny", "convnext_tiny", 224),
    "Swin-T": ("swin-t", "swin_tiny_patch4_window7_224", 224),
    "ViT-S/16": ("vit-small-16", "vit_small_patch16_224", 224),
    "SigLIP-B/16": ("siglip-base-16", "vit_base_patch16_siglip_224", 224),
}
"""Our name, timm's, and the side of its images."""


class Prepared(torch.utils.data.Dataset):
    """What a plain loop reads: Pillow and timm's transform."""

    def __init__(self, files: list[Path], transform: Any):
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Any:
        return self.transform(Image.open(self.files[number]).convert("RGB"))


def time_loops(count: int, repeats: int, names: list[str]) -> list[dict[str, Any]]:
    """Time the loops, each as often as `repeats`, in turns; the median counts."""
    rows = []
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory() as folder:
        files = photos(Path(folder), count)
        precisions = (
            ["float32"] + ["bfloat16"] * (choose_dtype("auto", "cpu") == "bfloat16") + ["int8"] * knows_int8(processor())
        )
        for name, kind in product(names, precisions):
            own, other, side = LOOPS[name]
            embedder = build(own).eval().embedder()
            try:
                set_precision(embedder.encoder, kind)
            except BadInput:
                continue  # int8, of networks that are not convolutional
            dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
            theirs = timm.create_model(other, num_classes=0).eval()
            transform = timm.data.create_transform(
                **{**timm.data.resolve_model_data_config(theirs), "input_size": (3, side, side)}
            )
            plain = partial(plain_loop, transform)
            sides = {"tapetum": partial(own_loop, embedder)}
            for size in (1, 32) if kind == "float32" else ():
                sides[f"onnxruntime, {size}"] = partial(plain, onnx_of(theirs, Path(folder), side, size), size)
            theirs.to(dtype)
            sides["timm"] = partial(plain, lambda batch, model=theirs, dtype=dtype: model(batch.to(dtype)), 32)
            seconds: dict[str, list[float]] = {each: [] for each in sides}
            for turn in range(repeats + 1):
                for each, loop in sides.items():
                    start = time.perf_counter()
                    loop(files)
                    if turn:
                        seconds[each].append(time.perf_counter() - start)
            rates = {each: count / float(np.median(taken)) for each, taken in seconds.items()}
            batches = {size: network_rate(embedder.encoder, side, size) for size in (1, 2, 4, 8, 16, 32)}
            row = {"model": name, "dtype": kind, "vectors_a_second": rates, "batches": batches, "cores": os.cpu_count()}
            rows.append(row)
            print(name, kind, {each: round(rate, 1) for each, rate in rates.items()}, batches, flush=True)
    return rows


def own_loop(embedder: Any, files: list[Path]) -> None:
    work = BatchedWork(
        read=lambda path, tool: tool.pieces(path),
        compute=lambda pieces, tool: tool.embed(pieces),
        finish=lambda path, outputs, tool: outputs[0],
        size=16,
        ahead=32,
    )
    assert len(list(work.run(files, embedder))) == len(files)


def plain_loop(transform: Any, run: Callable[[Any], Any], size: int, files: list[Path]) -> None:
    loader = torch.utils.data.DataLoader(Prepared(files, transform), batch_size=size, num_workers=os.cpu_count() or 1)
    for batch in loader:
        run(batch)


def onnx_of(model: torch.nn.Module, folder: Path, side: int, size: int) -> Callable[[Any], Any]:
    path = folder / "model.onnx"
    torch.onnx.export(model, (torch.zeros(size, 3, side, side),), path, dynamo=False, input_names=["images"])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(batch: Any) -> Any:
        missing = size - len(batch)  # its shape is fixed
        return session.run(None, {"images": np.pad(batch.numpy(), ((0, missing), (0, 0), (0, 0), (0, 0)))})

    return run


def network_rate(encoder: Any, side: int, size: int) -> float:
    """Compute images a second of the network alone: the best of three passes of at least 32 images."""
    images = torch.randn(size, 3, side, side, dtype=next(encoder.parameters()).dtype)
    passes = -(-32 // size)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(passes):
            encoder(images)
        best = min(best, time.perf_counter() - start)
    return round(passes * size / best, 2)


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
