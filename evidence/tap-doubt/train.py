"""Trains the error model of a tracker on what clips.py stored of clips with exact tracks.

    python evidence/tap-doubt/train.py FOLDER --out src/tapetum/systems/tap/bundled/tapir-nano-errors.safetensors

Every sixth clip chooses the step at which training ends (`fit_errors`); no clip of another part is read.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from tapetum.hub.registry import known
from tapetum.systems.tap.tracking.cues import TrackCues
from tapetum.systems.tap.tracking.error_model import example_of, fit_errors


def read_clip(path, live=False):
    """Make the example of a clip that clips.py stored, or that of its live frames."""
    file = np.load(path)
    height, width = (int(side) for side in file["size"])
    cues = TrackCues(*file["confidence"].shape, (height, width))
    for name in ("network", "correlation", "stretch", "hold", "sharpness", "brightness"):
        setattr(cues, name, torch.from_numpy(file[name]))
    return example_of(cues, *(file[name] for name in ("xy", "confidence", "queries", "truth")), live=live)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="tapir-nano", help="whose tracks were stored")
    parser.add_argument("--live", action="store_true", help="train that for live frames, of a network of one pass")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--log", type=Path, help="write the losses to this JSON file")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--width", type=int, default=64)
    given = parser.parse_args()
    torch.set_num_threads(1)
    clips = [read_clip(path, given.live) for path in sorted(given.folder.glob("train-*.npz"))]
    train, check = [clip for k, clip in enumerate(clips) if k % 6 != 5], clips[5::6]
    model, log = fit_errors(train, check, known()[given.model].sha256, steps=given.steps, width=given.width)
    model.save(given.out)
    numbers = sum(each.numel() for each in model.parameters())
    print(f"{numbers} weights, {given.out.stat().st_size} bytes, from {len(train)} clips, ended by {len(check)}: {log[-1]}")
    if given.log:
        given.log.write_text(json.dumps({"clips": len(train), "checked": len(check), "weights": numbers, "losses": log}) + "\n")


if __name__ == "__main__":
    main()
