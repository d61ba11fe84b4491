"""Trains the error model of tapir-nano on what clips.py stored of clips with exact tracks.

    python evidence/tap-doubt/train.py FOLDER --out src/tapetum/systems/tap/bundled/tapir-nano-errors.safetensors

Every sixth clip chooses the step at which training ends, by the pinball loss and the cross entropy of visible places; no clip
of another part is read. Cues of the group and of the way back are left out of some clips, as a tracker may not have them, and a
few others against learning by heart. Places that the tracker calls hidden take part with a small weight.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tapetum.hub.registry import known
from tapetum.systems.tap.tracking.cues import NETWORK, TrackCues, cue_array
from tapetum.systems.tap.tracking.error_model import WRONG, ErrorModel

AVERAGED = 0.98
"""Share of the weights of the steps before in their moving average, which is what is checked and saved."""
CLIPS = 3
"""Clips of a step."""
DROPPED = 0.1
"""Share of single cues that are left out of a clip in training."""
HIDDEN = 0.1
"""Weight of places that count as hidden."""


def read_clip(path):
    """Cues (n, t, c), error in pixels of 256, and which places count as visible, of a clip that clips.py stored."""
    file = np.load(path)
    height, width = (int(side) for side in file["size"])
    cues = TrackCues(*file["confidence"].shape, (height, width))
    for name in ("network", "correlation", "stretch", "hold", "sharpness", "brightness"):
        setattr(cues, name, torch.from_numpy(file[name]))
    xy, confidence, queries = (torch.from_numpy(file[name]) for name in ("xy", "confidence", "queries"))
    error = (xy - torch.from_numpy(file["truth"])).norm(dim=-1) / cues.pixel
    asked = torch.arange(xy.shape[1]) == queries[:, :1].round()
    return (
        cue_array(cues, xy, confidence, queries),
        error,
        (confidence > 0.5) & ~asked & error.isfinite(),
        torch.from_numpy(file["visible"]),
    )


def losses(output, error):
    """Pinball loss of the median of log(1 + error), and cross entropy of an error above WRONG, of each place."""
    return (output[..., 0] - error.log1p()).abs() / 2, F.binary_cross_entropy_with_logits(
        output[..., 1], (error > WRONG).float(), reduction="none"
    )


def left_out(cues, rng):
    """Cues of which some groups are missing at random."""
    cues = cues.masked_fill(torch.rand(cues.shape[-1]) < DROPPED, torch.nan)
    for part, share in ((slice(NETWORK - 4, NETWORK), 0.1), (slice(NETWORK, NETWORK + 4), 0.15)):
        if rng.random() < share:
            cues[..., part] = torch.nan
    return cues


def total(model, clips):
    """Mean loss of the visible places of clips."""
    with torch.inference_mode():
        rows = [torch.stack([each[seen] for each in losses(model(cues), error)], -1) for cues, error, seen, _ in clips]
    return torch.cat(rows).mean(0)


def fit(train, check, weights, steps, rate, seed, width):
    """Train a model, and return that of the best step."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = ErrorModel(weights, train[0][0].shape[-1], width)
    every = torch.cat([cues[seen] for cues, _, seen, _ in train])
    model.centre.copy_(every.nanmean(0))
    model.scale.copy_((every - model.centre).square().nanmean(0).sqrt().clamp(min=1e-3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGED), use_buffers=True)
    best, state, log = np.inf, None, []
    for step in range(steps):
        loss = torch.zeros(())
        for number in rng.choice(len(train), CLIPS, replace=False):
            cues, error, seen, _ = train[number]
            weight = torch.where(seen, 1.0, HIDDEN)
            loss = (
                loss + sum((each * weight).sum() for each in losses(model(left_out(cues, rng)), error)) / weight.sum() / CLIPS
            )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        averaged.update_parameters(model)
        if step % 50 == 49:
            pinball, entropy = total(averaged, check).tolist()
            log.append({"step": step + 1, "pinball": pinball, "cross_entropy": entropy})
            print(log[-1], flush=True)
            if pinball + entropy < best:
                best, state = pinball + entropy, {name: value.clone() for name, value in averaged.module.state_dict().items()}
    model.load_state_dict(state)
    return model, log


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--log", type=Path, help="write the losses to this JSON file")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    clips = [read_clip(path) for path in sorted(given.folder.glob("train-*.npz"))]
    train, check = [clip for k, clip in enumerate(clips) if k % 6 != 5], clips[5::6]
    model, log = fit(train, check, known()["tapir-nano"].sha256, given.steps, given.rate, given.seed, given.width)
    model.save(given.out)
    numbers = sum(each.numel() for each in model.parameters())
    print(f"{numbers} weights, {given.out.stat().st_size} bytes, from {len(train)} clips, ended by {len(check)}")
    if given.log:
        given.log.write_text(json.dumps({"clips": len(train), "checked": len(check), "weights": numbers, "losses": log}) + "\n")


if __name__ == "__main__":
    main()
