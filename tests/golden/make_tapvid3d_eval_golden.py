"""Records what the public driver of TAPVid-3D says about small files.

    python tests/golden/make_tapvid3d_eval_golden.py PATH/OF/tapnet [--compare DIR PRED]

PATH is a clone of google-deepmind/tapnet, whose driver needs absl-py, tqdm and einops. Writes tapvid3d_eval.json here: the
scores of the clips and predictions that `tests/support/tapvid3d_clips.py` makes, in the modes in which the driver works. With
--compare it prints instead the largest difference to ours on a flat folder of clips and one of predictions.
"""

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

MODES = ("none", "median", "mean", "median_on_queries", "reproduce_2d")
"""per_trajectory and local_neighborhood end in an exception there, which the driver turns into 0."""
CLIPS = 3


def public(repository: Path, truth: Path, predictions: Path, names: list[str]) -> dict[str, dict[str, float]]:
    sys.path.insert(0, str(repository))
    from absl import flags  # pyright: ignore[reportMissingImports]
    from tapnet.tapvid3d.evaluation import evaluate_model  # pyright: ignore[reportMissingImports]

    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["driver"])
    logging.disable(logging.CRITICAL)
    scores = evaluate_model.evaluate_data_source(names, str(truth), str(predictions), list(MODES))
    return {mode: {name: float(np.squeeze(value)) for name, value in scores[mode].items()} for mode in MODES}


def write_files(folder: Path) -> list[str]:
    """Clips in folder/gt, predictions in folder/pred: one good, one off by 3 cm, and one that is missing."""
    from support.tapvid3d_clips import example, prediction, save

    for number in range(CLIPS):
        arrays = example(number)
        save(folder / "gt" / f"{number}.npz", arrays)
        if number < CLIPS - 1:
            save(folder / "pred" / f"{number}.npz", prediction(arrays, 0.03 * number))
    return [f"{number}.npz" for number in range(CLIPS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--compare", type=Path, nargs=2)
    arguments = parser.parse_args()
    if arguments.compare:
        from tapetum.bench.tapvid3d import evaluate

        truth, predictions = arguments.compare
        ours: dict[str, Any] = evaluate(truth, predictions, scalings=MODES)
        theirs = public(arguments.repository, truth, predictions, [f"{row['name']}.npz" for row in ours["per_clip"]])
        for mode in MODES:
            worst = max(abs(ours["scalings"][mode]["average"][name] - value) for name, value in theirs[mode].items())
            print(f"{mode:18} 3D-AJ {theirs[mode]['average_jaccard']:.6f}, largest difference {worst:.1e}")
        return
    sys.path.insert(0, str(Path(__file__).parents[1]))
    with tempfile.TemporaryDirectory() as folder:
        names = write_files(Path(folder))
        scores = public(arguments.repository, Path(folder) / "gt", Path(folder) / "pred", names)
    Path(__file__).with_name("tapvid3d_eval.json").write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
