"""Writes lerobot/set and lerobot/expected.npz: a data set that the package lerobot wrote, and what it reads from it.

Made with lerobot 0.4.4 (data sets of version v3.0), which needs its own environment: pip install lerobot. Two cameras of
64x48 at 10 frames a second, three episodes of 7, 5 and 9 frames and two tasks; all episodes share one file of each camera.

    python tests/golden/make_lerobot_golden.py
"""

import shutil
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

HERE = Path(__file__).parent / "lerobot"
LENGTHS, TASKS = (7, 5, 9), ("push the red block", "lift the block", "push the red block")
CAMERAS = ("observation.images.top", "observation.images.wrist")
FEATURES = {
    **{camera: {"dtype": "video", "shape": (48, 64, 3), "names": ["height", "width", "channels"]} for camera in CAMERAS},
    "observation.state": {"dtype": "float32", "shape": (3,), "names": ["x", "y", "grip"]},
    "action": {"dtype": "float32", "shape": (2,), "names": ["dx", "dy"]},
}


def frame(episode: int, t: int, camera: int) -> np.ndarray:
    """Paint a block that moves over a table; its colour says which episode, the table's which camera."""
    image = np.full((48, 64, 3), (200, 190, 170) if camera == 0 else (90, 110, 130), np.uint8)
    x, y = 4 + 5 * t, 6 + 10 * episode
    image[y : y + 12, x : x + 12] = ((220, 30, 30), (30, 180, 40), (40, 60, 220))[episode]
    return image


def main() -> None:
    """Write the set, and then what the package reads from it."""
    shutil.rmtree(HERE, ignore_errors=True)
    generator = np.random.default_rng(0)
    made = LeRobotDataset.create("tapetum/tiny", 10, FEATURES, root=HERE / "set", robot_type="painted", vcodec="h264")
    for episode, (length, task) in enumerate(zip(LENGTHS, TASKS, strict=True)):
        for t in range(length):
            made.add_frame(
                {
                    **{name: frame(episode, t, camera) for camera, name in enumerate(CAMERAS)},
                    "observation.state": generator.normal(size=3).astype(np.float32),
                    "action": generator.normal(size=2).astype(np.float32),
                    "task": task,
                }
            )
        made.save_episode()
    made.finalize()
    shutil.rmtree(HERE / "set" / "images", ignore_errors=True)
    read = LeRobotDataset("tapetum/tiny", root=HERE / "set")
    items = [read[i] for i in range(len(read))]
    np.savez_compressed(
        HERE / "expected.npz",
        frames=np.stack([[np.round(255 * item[name].numpy()).astype(np.uint8) for name in CAMERAS] for item in items]),
        state=np.stack([item["observation.state"].numpy() for item in items]),
        action=np.stack([item["action"].numpy() for item in items]),
        timestamp=np.array([float(item["timestamp"]) for item in items]),
        episode=np.array([int(item["episode_index"]) for item in items]),
        task=np.array([item["task"] for item in items]),
    )


if __name__ == "__main__":
    main()
