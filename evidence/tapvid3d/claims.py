"""3D tracking on synthetic scenes in the format of TAPVid-3D, and the paper's rows for the real benchmark beside it.

    python evidence/tapvid3d/claims.py DIR --textures photos.parquet --out evidence/tapvid3d/results.json

Makes the scenes in DIR/scenes (unless they are there) and scores on them: the static baseline and the bundled trackers with
true depth, and these with nothing but the tracks (`adjust`). Surfaces wear every tenth photograph only, which `tapetum train
tap-nano` holds out. `reproduce_2d` takes depth from the truth, so that row for row it is the bound of what lifting can reach.
Finished clips are kept in DIR: the same command goes on. Prints the tables in Markdown, as docs/evidence/tapvid3d.md has them,
and writes the scores after every tracker, leaving out those that the file has; how scenes and the real benchmark differ is said
there.
"""

import argparse
import io
import json
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

from tapetum.bench.baselines import load_tracker3d
from tapetum.bench.tapvid3d import evaluate
from tapetum.systems.tapvid3d.made_clips import write_scenes
from tapetum.tracks.metrics import HEADLINES

SCALINGS = "none", "median", "per_trajectory", "reproduce_2d"
TRACKERS = (("static", "true"), ("tapir-nano", "true"), ("tapir-nano", "adjust"))

PUBLISHED = {
    "static": ("4.9 / 10.2 / 55.4", "3.9 / 6.5 / 80.8", "5.9 / 11.5 / 75.8", "4.9 / 9.4 / 70.7"),
    "TAPIR + COLMAP": ("7.1 / 11.9 / 72.6", "8.9 / 14.7 / 80.4", "6.1 / 10.7 / 75.2", "7.4 / 12.4 / 76.1"),
    "CoTracker + COLMAP": ("8.0 / 12.3 / 78.6", "11.7 / 19.1 / 81.7", "8.1 / 13.5 / 77.2", "9.3 / 15.0 / 79.1"),
    "BootsTAPIR + COLMAP": ("9.1 / 14.5 / 78.6", "11.8 / 18.6 / 83.8", "6.9 / 11.6 / 81.8", "9.3 / 14.9 / 81.4"),
    "TAPIR + ZoeDepth": ("9.0 / 14.3 / 79.7", "5.2 / 8.8 / 81.6", "10.7 / 18.2 / 78.7", "8.3 / 13.8 / 80.0"),
    "CoTracker + ZoeDepth": ("10.0 / 15.9 / 87.8", "5.0 / 9.1 / 82.6", "11.2 / 19.4 / 80.0", "8.7 / 14.8 / 83.4"),
    "BootsTAPIR + ZoeDepth": ("9.9 / 16.3 / 86.5", "5.4 / 9.2 / 85.3", "11.3 / 19.0 / 82.7", "8.8 / 14.8 / 84.8"),
    "SpatialTracker + ZoeDepth": ("9.9 / 16.1 / 89.0", "6.2 / 11.1 / 83.7", "10.9 / 19.2 / 78.6", "9.0 / 15.5 / 83.7"),
}
"""3D-AJ / APD / OA x 100 on adt, drivetrack, pstudio and their average: arXiv 2407.05921, table 3, full set, `median`."""


def held_out(textures, folder):
    """Write every tenth image of a parquet file into a folder."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        table = pq.read_table(textures)
        column = next(name for name in table.column_names if isinstance(table.column(name)[0].as_py(), dict))
        for number, image in enumerate(table.column(column).to_pylist()):
            if number % 10 == 9:
                Image.open(io.BytesIO(image["bytes"])).convert("RGB").save(folder / f"{number:05d}.png")
    return folder


def table(results):
    """Write the scores in Markdown."""
    lines = [f"| tracker | {' | '.join(f'`{name}`' for name in SCALINGS)} | failed |\n|---{'|---' * (len(SCALINGS) + 1)}|"]
    for name, row in results["trackers"].items():
        cells = [" / ".join(f"{100 * row['scalings'][scaling][key]:.1f}" for key in HEADLINES) for scaling in SCALINGS]
        if name.endswith("adjust depth"):
            cells[0] = "(unknown unit)"
        lines.append(f"| {name} | {' | '.join(cells)} | {row['failed']} |")
    return "\n".join(lines) + "\n"


def main(folder, n, seed, textures, workers, out):
    scenes = folder / "scenes"
    if not (folder / "made").exists():
        painted = textures and held_out(textures, folder / "held-out")
        write_scenes(scenes, n, seed=seed, points=128, textures=painted, depth=True)
        (folder / "made").touch()
    settings = {"scenes": n, "seed": seed, "textures": "every tenth photograph" if textures else "made up"}
    results = json.loads(out.read_text()) if out.exists() else {**settings, "trackers": {}}
    if {name: results[name] for name in settings} != settings:
        raise SystemExit(f"{out} is of other settings: {settings}; give another file")
    for model, depth in TRACKERS:
        if f"{model}, {depth} depth" in results["trackers"]:
            continue
        true = depth == "true"
        result = evaluate(
            scenes,
            load=partial(load_tracker3d, model, None if true else depth),
            true_depth=true,
            scalings=SCALINGS,
            workers=workers,
            rows=folder / f"{model}-{depth}.jsonl",
            settings={"model": model, "depth": depth},
        )
        averages = {name: result["scalings"][name]["average"] for name in SCALINGS}
        results["trackers"][f"{model}, {depth} depth"] = {"scalings": averages, "failed": len(result["failed"])}
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"3D-AJ / APD / OA on {n} scenes (24 frames of 256x256, 128 points)\n\n{table(results)}")
    print("\nPublished, on the real benchmark (full, `median`):\n")
    print("| tracker | adt | drivetrack | pstudio | average |\n|---|---|---|---|---|")
    for name, cells in PUBLISHED.items():
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--textures", type=Path, default=None)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the scores")
    main(**vars(parser.parse_args()))
