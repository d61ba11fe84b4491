"""Records what the public DriveTrack code makes of the small segment of tests/support/raw_waymo.py.

    PYTHONPATH=tests:... python tests/golden/make_drivetrack_golden.py PATH/OF/FOLDER

FOLDER holds generate_drivetrack.py of arjunvb/drivetrack at 2a3e204. It is run whole, with its own range images, boxes and
depth, which needs tensorflow, pandas, dask and the `v2` package of waymo-research/waymo-open-dataset (with its protos
compiled); pools of processes are replaced by loops and dask by pandas, and packages that it imports for other purposes by
stand-ins. Writes drivetrack.npz here: for each vehicle that it keeps, its number of points, and points and visibility of
some of them.
"""

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pandas as pd

from support.raw_waymo import SEGMENT, write_segment

FRAMES, EVERY = 28, 120
UNUSED = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional", "gcsfs", "sklearn")


class Loop:
    def __init__(self, size: int = 0):
        pass

    def __enter__(self) -> "Loop":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def starmap(self, work: Callable, jobs: Iterable[tuple]) -> list:
        return [work(*job) for job in jobs]

    def imap_unordered(self, work: Callable, jobs: Iterable[Any]) -> Iterator[Any]:
        return (work(job) for job in jobs)

    def dict(self, content: dict) -> dict:
        return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    sys.path.insert(0, str(parser.parse_args().folder))
    for name in UNUSED:
        sys.modules.setdefault(name, MagicMock())
    import generate_drivetrack as public

    public.mp = SimpleNamespace(Pool=Loop, Manager=Loop, current_process=multiprocessing.current_process)
    public.queue = public.receivers = None
    pd.DataFrame.compute = lambda self: self
    with tempfile.TemporaryDirectory() as folder:
        root, made = Path(folder) / "training", Path(folder) / "made"
        write_segment(root, FRAMES)
        (made / "dev" / "training").mkdir(parents=True)
        public.get_reader = lambda *_: lambda table: pd.read_parquet(root / table / f"{SEGMENT}.parquet")
        public.process_scene(SEGMENT, str(made), local_dataset_path=folder)
        out: dict[str, np.ndarray] = {}
        for file in sorted((made / "dev" / "training").iterdir()):
            uid = file.stem.removeprefix(f"waymo_{SEGMENT}_1_")
            content = np.load(file)
            assert len(content["visibles"]) == len(content["points3d"]), (
                "points that are never visible are dropped from one only"
            )
            out[f"{uid} count"] = np.array(len(content["points3d"]))
            out[f"{uid} points"] = content["points3d"][::EVERY].astype(np.float32)
            out[f"{uid} visible"] = content["visibles"][::EVERY]
    path = Path(__file__).with_name("drivetrack.npz")
    np.savez_compressed(path, **out)
    print(path, {name: array.shape for name, array in out.items()})


if __name__ == "__main__":
    main()
