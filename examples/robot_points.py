"""Points for a robot: a node of plain callbacks, in the shape of ROS 2 but without it.

    python examples/robot_points.py VIDEO [--model causal-tapir-nano] [--points 3]

plays a video as if it were a camera and prints, for each frame that was tracked, where its points are, how fast they go and how
sure that is. In ROS 2, `on_image` is the callback of a subscription to sensor_msgs/Image, and `publish` that of a publisher.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import tapetum
from tapetum.core.errors import BadInput, TapetumError
from tapetum.tracks.live import LiveTracker, LiveTracks
from tapetum.video import open_video


@dataclass(frozen=True)
class Image:
    """As sensor_msgs/Image: rows of `step` bytes, rgb8 or bgr8."""

    stamp_s: float
    height: int
    width: int
    encoding: str
    step: int
    data: bytes


class PointTrackerNode:
    """Tracks points through the images that it is given; `publish` hears of each result, in the tracker's thread."""

    def __init__(self, model: str, publish: Callable[[LiveTracks], None]):
        self.live = LiveTracker(tapetum.load(model), publish, stale_after_s=0.5)
        self.new_points: list[list[float]] = []

    def on_points(self, points: list[list[float]]) -> None:
        """Track further points (x, y), which are those of the next image."""
        self.new_points += points

    def on_image(self, message: Image) -> None:
        """Take an image; returns at once. Raises BadInput for other encodings than rgb8 and bgr8."""
        if message.encoding not in ("rgb8", "bgr8"):
            raise BadInput(f"an image is encoded as {message.encoding}; convert it to rgb8 or bgr8")
        rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        frame = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
        frame = frame[..., ::-1] if message.encoding == "bgr8" else frame
        points, self.new_points = self.new_points, []
        self.live.submit(frame, message.stamp_s, points)

    def on_shutdown(self) -> None:
        """End the thread."""
        self.live.close()


def show(tracks: LiveTracks) -> None:
    """Print a line for each point."""
    for row, number in enumerate(tracks.ids):
        if not tracks.visible[row]:
            print(f"{tracks.time_s:8.3f} s  point {number}: hidden")
            continue
        (x, y), (right, down) = tracks.xy[row], tracks.velocity[row]
        sigma = "" if tracks.covariance is None else f" +- {np.sqrt(np.linalg.eigvalsh(tracks.covariance[row])[-1]):.2f} px"
        velocity = f"{right:+.0f}, {down:+.0f} px/s" if np.isfinite(right) else "velocity not known yet"
        print(f"{tracks.time_s:8.3f} s  point {number}: {x:.1f}, {y:.1f}{sigma}, {velocity}")


def main() -> None:
    """Play a video at its own pace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--model", default="causal-tapir-nano")
    parser.add_argument("--points", type=int, default=3)
    given = parser.parse_args()
    node = PointTrackerNode(given.model, show)
    with open_video(given.video) as video:
        places = np.linspace(0.2, 0.8, given.points)
        node.on_points([[video.width * place, video.height / 2] for place in places])
        begin = time.monotonic()
        for number, frame in enumerate(video):
            stamp = number / video.frame_rate
            time.sleep(max(0.0, begin + stamp - time.monotonic()))
            height, width = frame.shape[:2]
            node.on_image(Image(stamp, height, width, "rgb8", 3 * width, np.ascontiguousarray(frame).tobytes()))
    node.live.wait()
    node.on_shutdown()
    print(f"{node.live.dropped} frames dropped")


if __name__ == "__main__":
    try:
        main()
    except TapetumError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
