"""Records the tracks of the public ADT generator of TAPVid-3D on the small sequence of tests/support/raw_adt.py.

    PYTHONPATH=tests python tests/golden/make_adt_golden.py PATH/OF/adt_utils.py

PATH is tapnet/tapvid3d/annotation_generation/adt_utils.py of google-deepmind/tapnet at d44db05, the first public release.
Three of its methods are taken; the tables are read by projectaria-tools' own reader (2.3.0), which must be installed. The
frames come from the sequence, since it has no VRS files; the bilinear reading of visu3d is scipy's map_coordinates. Writes
adt.npz here.
"""

import argparse
import ast
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from projectaria_tools.core.sophus import SE3
from projectaria_tools.projects.adt import AriaDigitalTwinDataPathsProvider, AriaDigitalTwinDataProvider
from scipy.ndimage import map_coordinates

from support.raw_adt import DEVICE_FROM_CAMERA, SIZE, write_sequence

METHODS = ("get_queries_in_3d", "get_trajectories", "filter_visibilities")
FRAMES, QUERIES = 8, 300


def public_methods(path: Path) -> dict[str, Any]:
    tree = ast.parse(path.read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    tree.body = [node for c in classes for node in c.body if isinstance(node, ast.FunctionDef) and node.name in METHODS]

    def interp_img(image: np.ndarray, xy: np.ndarray) -> np.ndarray:
        at = [xy[:, 1] - 0.5, xy[:, 0] - 0.5]
        return map_coordinates(image[..., 0].astype(np.float64), at, order=1, mode="nearest")[:, None]

    scope = {"np": np, "npt": npt, "Image": Image, "HEIGHT": SIZE, "WIDTH": SIZE, "FOCAL_LENGTH": 280}
    scope["interp_utils"] = SimpleNamespace(interp_img=interp_img)
    exec(compile(tree, str(path), "exec"), scope)
    return {name: scope[name] for name in METHODS}


class Provider:
    """projectaria-tools' reader of the tables, with the calibration that a VRS file would hold."""

    def __init__(self, folder: Path):
        paths = AriaDigitalTwinDataPathsProvider(str(folder)).get_datapaths_by_device_num(0, False)
        self.tables = AriaDigitalTwinDataProvider(paths)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tables, name)

    def get_aria_transform_device_camera(self, stream: object) -> SE3:
        return SE3.from_matrix(DEVICE_FROM_CAMERA)


def people(frames: int) -> np.ndarray:
    """Probabilities (t, 520, 520) of a person: a disc that walks through the image."""
    y, x = np.mgrid[:520, :520]
    return np.stack([0.3 * np.exp(-(((x - 60 * t) ** 2 + (y - 300) ** 2) / 80**2)) for t in range(frames)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    public = public_methods(parser.parse_args().path)
    with tempfile.TemporaryDirectory() as folder:
        sequence = write_sequence(Path(folder) / "Apartment_release_meal_seq136_M1292", FRAMES)
        me = SimpleNamespace(gt_provider=Provider(sequence.folder), stream_id=None)
        times = sequence.times.tolist()
        frames = [np.load(sequence.folder / "rectified" / f"{time}.npz") for time in times]
        depth, instances = [frame["depth"] for frame in frames], [frame["instances"] for frame in frames]
    rng = np.random.default_rng(0)
    queries = np.concatenate([rng.uniform(1, SIZE - 1, (QUERIES, 2)), rng.integers(0, FRAMES, (QUERIES, 1))], 1)
    found = public["get_queries_in_3d"](me, queries, depth, instances, times)
    tracks, visible = public["get_trajectories"](me, found, depth, times)
    masks = people(FRAMES) > 0.1
    hidden = public["filter_visibilities"](SimpleNamespace(extract_masks=lambda jpegs: masks), tracks, visible.copy(), None)
    out = Path(__file__).with_name("adt.npz")
    np.savez_compressed(out, queries=queries, tracks=tracks, visible=visible, without_people=hidden)
    print(f"{out}: {tracks.shape[1]} of {QUERIES} queries on objects, visible {visible.mean():.3f}, then {hidden.mean():.3f}")


if __name__ == "__main__":
    main()
