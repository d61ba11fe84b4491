"""How fast samples come out of tar shards: the index, any order, and webdataset's stream beside it.

    python benchmarks/shards.py --samples 20000 --size 224

Prints seconds and samples a second of one process, the shards in the memory of the system.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import webdataset
from PIL import Image

from tapetum.data.samples import Shuffle
from tapetum.data.shards import Shards, write_shards


def make_image(seed: int, size: int) -> bytes:
    """A JPEG of smooth noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(file, "jpeg", quality=90)
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--decoded", type=int, default=1000, help="samples that are decoded for the timing of that")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = [make_image(k, asked.size) for k in range(50)]
        samples = ({"__key__": f"{k:08d}", "jpg": images[k % 50], "cls": k % 1000} for k in range(asked.samples))
        began = time.perf_counter()
        paths = write_shards(samples, folder, "train")
        print(f"written           {asked.samples / (time.perf_counter() - began):10,.0f} samples a second, with their index")
        for path in paths:
            Path(f"{path}.index").unlink()
        for name in ("made", "read"):
            began = time.perf_counter()
            shards = Shards(folder)
            print(f"index {name}        {time.perf_counter() - began:10.3f} s for {asked.samples:,} samples")
        order = Shuffle(len(shards), seed=0)
        order(0)
        numbers = [order(n) for n in range(len(shards))]
        rate("in any order", (shards.read(k) for k in numbers))
        rate("and decoded", (shards[k] for k in numbers[: asked.decoded]))
        stream = webdataset.WebDataset([str(path) for path in paths], shardshuffle=False)
        rate("webdataset", stream)
        rate("and decoded", (sample for sample, _ in zip(stream.decode("rgb8"), range(asked.decoded), strict=False)))


def rate(name: str, samples: Iterable[object]) -> None:
    began = time.perf_counter()
    count = sum(1 for _ in samples)
    print(f"{name:17} {count / (time.perf_counter() - began):10,.0f} samples a second")


if __name__ == "__main__":
    main()
