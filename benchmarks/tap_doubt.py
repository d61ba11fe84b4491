"""How well tapir-nano knows where it is wrong: its predicted errors beside its confidence, on clips that it did not learn from.

    python evidence/tap-doubt/clips.py photos.parquet FOLDER --part plain --last 16   # and crowded, made, cutouts
    python evidence/tap-doubt/clips.py photos.parquet FOLDER --part marks --more FOLDER_OF_VIDEOS ...
    python benchmarks/tap_doubt.py FOLDER [--out results.json] [--picture curves.png]

Counted are the places that the tracker calls visible, but for queries; wrong is one more than 8 pixels of 256 away. `caught` is
the share of the wrong places among the tenth of all places that a score doubts most; `aurc` the area under the risk-coverage
curve: the mean share of wrong places among those trusted most, over all shares that are kept (an oracle's is the least);
`ece` the calibration error of the chance in ten equal bins. `above` is the share of errors above their predicted median. The
clips of evidence/real-marks are scored at their visible marks. Intervals of 95 %:
the bootstrap over clips.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

import tapetum
from tapetum.systems.tap.tracking.calibration import calibrated_confidence
from tapetum.systems.tap.tracking.error_model import WRONG
from tapetum.types import Tracks

EVIDENCE = Path(__file__).parents[1] / "evidence"
PARTS = "plain", "crowded", "made", "cutouts", "marks"
DOUBTED = 0.1
DRAWS = 400
SCORES = "chance", "confidence", "oracle"
"""What places are ranked by: the predicted chance of being wrong, today's confidence, the true error."""


METRICS = (
    "caught by chance",
    "caught by confidence",
    "caught by oracle",
    "aurc of chance",
    "aurc of confidence",
    "aurc of oracle",
)
METRICS += "aurc ratio", "ece of chance", "ece of calibrated confidence", "above"


def caught(doubt, wrong):
    """Share of the wrong places among the tenth that is doubted most."""
    worst = np.argsort(-doubt, kind="stable")[: round(DOUBTED * len(doubt))]
    return wrong[worst].sum() / max(wrong.sum(), 1)


def risks(doubt, wrong):
    """Share of wrong places among the k trusted most, for each k."""
    return np.cumsum(wrong[np.argsort(doubt, kind="stable")]) / np.arange(1, len(wrong) + 1)


def calibration_error(chance, wrong, bins=10):
    """Expected calibration error, bins weighed by their places."""
    bin_of = np.minimum((chance * bins).astype(int), bins - 1)
    return sum(abs(chance[bin_of == k].sum() - wrong[bin_of == k].sum()) for k in range(bins)) / len(wrong)


def metrics(table):
    """Metrics of rows (error, predicted error, chance, confidence, calibrated confidence)."""
    error, predicted, chance, confidence, calibrated = table.T
    wrong = error > WRONG
    doubts = {"chance": chance, "confidence": -confidence, "oracle": error}
    return {
        **{f"caught by {name}": caught(doubts[name], wrong) for name in SCORES},
        **{f"aurc of {name}": risks(doubts[name], wrong).mean() for name in SCORES},
        "aurc ratio": risks(chance, wrong).mean() / max(risks(-confidence, wrong).mean(), 1e-12),
        "ece of chance": calibration_error(chance, wrong),
        "ece of calibrated confidence": calibration_error(1 - calibrated, wrong),
        "above": (error > predicted).mean(),
    }


def summary(clips):
    """Metrics of all clips with their intervals."""
    rng, names, tables = np.random.default_rng(0), list(clips), list(clips.values())
    drawn = [metrics(np.concatenate([tables[k] for k in rng.integers(len(tables), size=len(tables))])) for _ in range(DRAWS)]
    whole = np.concatenate(tables)
    scores = {
        name: {"value": float(value), "interval": np.quantile([each[name] for each in drawn], (0.025, 0.975)).tolist()}
        for name, value in metrics(whole).items()
    }
    counts = {name: [len(table), int((table[:, 0] > WRONG).sum())] for name, table in zip(names, tables, strict=True)}
    return {"clips": len(names), "places": len(whole), "wrong": int((whole[:, 0] > WRONG).sum()), **scores, "of clips": counts}


def stored_clips(folder, part):
    """Rows of the clips that clips.py stored."""
    from train import read_clip

    model = tapetum.load("tapir-nano").error_model
    clips = {}
    for path in sorted(folder.glob(f"{part}-*.npz")):
        cues, error, seen, _ = read_clip(path)
        with torch.inference_mode():
            length, odds = model(cues).unbind(-1)
        file = np.load(path)
        tracks = Tracks(file["xy"], file["confidence"] > 0.5, file["confidence"], file["queries"])
        right = calibrated_confidence(tracks, "tapir-nano")
        columns = error, length.expm1(), odds.sigmoid(), tracks.confidence, right
        clips[path.stem] = np.stack([np.asarray(each)[seen.numpy()] for each in columns], -1)
    return clips


def table(results):
    """Write results in Markdown."""
    lines = [["", *(f"{part}, {each['clips']} clips" for part, each in results.items())], ["---"] * (len(results) + 1)]
    wrong = (f"{each['wrong']:,} of {each['places']:,} ({each['wrong'] / each['places']:.1%})" for each in results.values())
    lines.append(["wrong", *wrong])
    for name in METRICS:
        cells = [each[name] for each in results.values()]
        spans = ("{:.4f} to {:.4f}".format(*cell["interval"]) for cell in cells)
        lines.append([name, *(f"{cell['value']:.4f} ({span})" for cell, span in zip(cells, spans, strict=True))])
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def draw(parts, path):
    """Draw the risk-coverage curves."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(parts), figsize=(4 * len(parts), 3.2), squeeze=False)
    for axis, (title, clips) in zip(axes[0], parts.items(), strict=True):
        table = np.concatenate(list(clips.values()))
        for name, doubt in zip(SCORES, (table[:, 2], -table[:, 3], table[:, 0]), strict=True):
            axis.plot(np.arange(1, len(table) + 1) / len(table), risks(doubt, table[:, 0] > WRONG), label=name)
        axis.set(title=f"{title}: {len(clips)} clips", xlabel="share that is kept", ylabel="wrong among them", ylim=(0, None))
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.append(str(EVIDENCE / "tap-doubt"))
    parts = {part: stored_clips(given.folder, part) for part in PARTS}
    for part in [part for part in PARTS if not parts[part]]:
        print(f"{given.folder} has no clip of the part {part}: left out")
        del parts[part]
    results = {part: summary(clips) for part, clips in parts.items()}
    print(table(results))
    if given.out:
        given.out.write_text(json.dumps(results, indent=1) + "\n")
    if given.picture:
        draw(parts, given.picture)


if __name__ == "__main__":
    main()
