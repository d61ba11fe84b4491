"""Small tables as other programs write them, to be read by ours, and a check that they read what ours writes.

Needs none of tapetum, but pandas, movement and napari (written with pandas 3.1.1, movement 0.15.0, napari 0.9.2):

    python -m venv peers && peers/bin/pip install pandas movement napari
    QT_QPA_PLATFORM=offscreen peers/bin/python tests/golden/make_exchange_golden.py             # writes tests/golden/exchange
    tapetum convert tests/golden/exchange/truth.npz dlc.csv --to dlc
    tapetum convert tests/golden/exchange/truth.npz napari.csv --to napari
    QT_QPA_PLATFORM=offscreen peers/bin/python tests/golden/make_exchange_golden.py --compare dlc.csv napari.csv
"""

import argparse
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "exchange"
POINTS, FRAMES = 3, 4


def truth() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """xy (n, t, 2) in raster pixels, visible (n, t), confidence (n, t)."""
    rng = np.random.default_rng(0)
    visible = np.array([[1, 1, 1, 1], [1, 0, 0, 1], [0, 1, 1, 0]], np.bool_)
    confidence = np.where(visible, 0.75, 0.25).astype(np.float32)
    return rng.uniform(0, 60, (POINTS, FRAMES, 2)).astype(np.float32), visible, confidence


def make() -> None:
    import pandas as pd
    from movement.io import load_poses, save_poses
    from napari.layers import Tracks

    xy, visible, confidence = truth()
    centred = np.where(visible[..., None], xy.astype(np.float64) - 0.5, np.nan)
    queries = np.array([[row.argmax(), *places[row.argmax()]] for row, places in zip(visible, xy, strict=True)])
    FOLDER.mkdir(exist_ok=True)
    np.savez(FOLDER / "truth.npz", xy=xy, visible=visible, confidence=confidence, queries=queries.astype(np.float32))

    parts = ["nose", "left ear", "tail"]
    columns = pd.MultiIndex.from_product([["scorer"], parts, ["x", "y", "likelihood"]], names=["scorer", "bodyparts", "coords"])
    cells = np.concatenate([centred, confidence[..., None]], axis=2).transpose(1, 0, 2).reshape(FRAMES, -1)
    frame = pd.DataFrame(cells, columns=columns)
    frame.to_csv(FOLDER / "deeplabcut.csv")

    poses = load_poses.from_file(FOLDER / "deeplabcut.csv", source_software="DeepLabCut", fps=10)
    (FOLDER / "movement.csv").unlink(missing_ok=True)  # movement does not write over files
    save_poses.to_dlc_file(poses, FOLDER / "movement.csv", split_individuals=False)

    layer = Tracks(np.column_stack([*np.nonzero(visible), *centred[visible].T[::-1]]))
    np.savetxt(FOLDER / "napari.csv", layer.data, delimiter=",", header="ID,T,Y,X")


def compare(dlc: Path, napari: Path) -> None:
    """Read what tapetum wrote of the truth with pandas (as DeepLabCut does), movement and napari."""
    import pandas as pd
    from movement.io import load_poses
    from napari.layers import Image, Tracks

    xy, visible, confidence = truth()
    centred = np.where(visible[..., None], xy.astype(np.float64) - 0.5, np.nan)
    cells = pd.read_csv(dlc, header=[0, 1, 2], index_col=0).to_numpy().reshape(FRAMES, POINTS, 3).transpose(1, 0, 2)
    poses = load_poses.from_file(dlc, source_software="DeepLabCut", fps=10).isel(individuals=0)
    layer = Tracks(np.loadtxt(napari, delimiter=",", skiprows=1))
    for name, found, wanted in (
        ("pandas, positions", cells[..., :2], centred),
        ("pandas, likelihood", cells[..., 2], confidence),
        ("movement, positions", poses.position.transpose("keypoints", "time", "space").values, centred),
        ("movement, confidence", poses.confidence.transpose("keypoints", "time").values, confidence),
        ("napari", layer.data, np.column_stack([*np.nonzero(visible), *centred[visible].T[::-1]])),
    ):
        same = np.array_equal(np.isnan(found), np.isnan(wanted))
        print(f"{name:22} hidden the same: {same}, largest difference {np.nanmax(np.abs(found - wanted)):g}")
    print("napari: a pixel's value is found from", end=" ")
    edges = [at for at in np.arange(-1, 1.1, 0.25) if Image(np.ones((1, 1))).get_value((at, 0)) is not None]
    print(f"{edges[0]} to {edges[-1]} around its integer coordinate")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("DLC.csv", "NAPARI.csv"))
    arguments = parser.parse_args()
    compare(*arguments.compare) if arguments.compare else make()
