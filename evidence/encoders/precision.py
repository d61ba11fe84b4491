"""How much top-1 on photographs changes in bfloat16 and in 8 bits, and what one thread gains by them.

    python evidence/encoders/precision.py photos.parquet [--json evidence/encoders/precision.json]

The table has a column `image` (bytes of an image file), row N of class N of ImageNet. Ours are `--dtype int8`, whose ranges
are measured on noise; those of onnxruntime are static, too, with a scale for each channel of the weights, calibrated on every
tenth photograph. Needs onnx and onnxruntime; bfloat16 is emulated slowly where the processor has none.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import torch
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import tapetum
from tapetum.data.files import StoredFile, opened_image
from tapetum.encoders.batching import run_in_batches
from tapetum.encoders.embed import set_precision
from tapetum.layers.cpu import speed_up

NAME = "efficientnet-lite2"


class Classifier(torch.nn.Module):
    """The logits of an encoder's classifier."""

    def __init__(self, encoder: Any):
        super().__init__()
        self.encoder = encoder

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.encoder.classify(images)


class Calibration(CalibrationDataReader):
    """Every tenth image."""

    def __init__(self, images: torch.Tensor):
        self.images = iter(images[::10].split(1))

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else {"images": image.numpy()}


def measure(
    name: str, classify: Callable[[torch.Tensor], np.ndarray], images: torch.Tensor
) -> tuple[dict[str, Any], np.ndarray]:
    """Classify the images; returns the row, and the class of each."""
    classify(images[:8])
    start = time.process_time()
    classes = classify(images).argmax(1)
    seconds = time.process_time() - start
    row = {"precision": name, "top1": float((classes == np.arange(len(images))).mean())}
    return {**row, "images_a_second": len(images) / seconds}, classes


def onnx_session(path: Path) -> Callable[[torch.Tensor], np.ndarray]:
    """Make a function that classifies images one by one with onnxruntime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: np.concatenate(
        [np.asarray(session.run(None, {"images": image.numpy()})[0]) for image in images.split(1)]
    )


def classify_in(dtype: str) -> Callable[[torch.Tensor], np.ndarray]:
    """Make a function that classifies images in batches, in a precision, on one thread."""
    encoder = speed_up(tapetum.load(NAME).eval())
    set_precision(encoder, dtype)

    def classify(images: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            images = images.to(next(encoder.parameters()).dtype)
            return run_in_batches(images, encoder.classify, encoder).float().numpy()

    return classify


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = tapetum.load(NAME).eval()
    stored = pq.read_table(options.photos, columns=["image"])["image"].to_pylist()
    photos = [np.array(opened_image(StoredFile("image", row["bytes"]), "RGB")) for row in stored]
    images = torch.cat([encoder.prepare(photo[None]) for photo in photos])
    sides: dict[str, Callable[[torch.Tensor], np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        plain, quantised = Path(folder, "plain.onnx"), Path(folder, "quantised.onnx")
        torch.onnx.export(Classifier(encoder).eval(), (images[:1],), plain, dynamo=False, input_names=["images"])
        quant_pre_process(plain, Path(folder, "prepared.onnx"))
        quantize_static(Path(folder, "prepared.onnx"), quantised, Calibration(images), per_channel=True)
        for dtype in ("float32", "bfloat16", "int8"):
            sides[f"tapetum, {dtype}"] = classify_in(dtype)
        sides["onnxruntime, float32"] = onnx_session(plain)
        sides["onnxruntime, 8 bits"] = onnx_session(quantised)
        rows, first = [], None
        for name, side in sides.items():
            row, classes = measure(name, side, images)
            first = classes if first is None else first
            rows.append({**row, "alike": float((classes == first).mean())})
            print(
                "{precision:22} top-1 {top1:.3f}  as in float32 {alike:.3f}  {images_a_second:.1f} images a second".format(
                    **rows[-1]
                )
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
