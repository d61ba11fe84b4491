"""RoboTAP in MuJoCo: a robot learns from three demonstrations where to go, by points that it sorts into objects.

    python examples/robotap.py [--out robotap.mp4] [--pixels 160] [--seed 0]

A camera on a hand looks straight down on a table with two plates, which lie elsewhere each time. In each demonstration the hand
goes to the same place beside the first plate. Nobody says which plate matters, or where it ends in the image:

    frames of all demonstrations --> tracks of a grid of points --> clusters that move alike (the objects)
    cluster that ends at the same pixels each time --> its points, and their goals in the image
    camera image --> the same points, by their features --> image Jacobian --> velocity of the hand

Source: RoboTAP (arXiv 2308.15975, sections III and IV; the clusters: `tapnet/robotap` of google-deepmind/tapnet). Differs from
it: clusters are found by random samples of two points instead of by gradients, as points that one map per frame (moved, turned
and scaled: the hand's four degrees of freedom) takes to their places; there is one stage of motion and no gripper.

Printed is how far hand and goal are apart, in metres and degrees, for the object's points and for all points alike. The film
shows the camera's image and the points that count. Needs `pip install 'tapetum[world]'` and an OpenGL without a screen.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

import tapetum
from tapetum.core.errors import TapetumError
from tapetum.data.textures import procedural
from tapetum.systems.adapters.worlds.rendering import SimulatorCamera, simulator
from tapetum.systems.tap import TapirTracker
from tapetum.video import TrackPainter, write_video

FRAME_RATE, FRAMES, STEPS = 25, 20, 75
"""Frames a second, of a demonstration, and of the robot's own try."""
GAIN, DEPTH = 3.0, 0.38
"""1 / s: the share of the error that the hand makes good in a second; metres from the camera to the plates."""
SIDES = (0.07, 0.05, 0.01)
"""Half of a plate's length, width and height in metres."""
GOAL = np.array([0.03, -0.02, 0.4])
"""Where the hand goes, seen from the first plate: x and y in metres, and a turn in radians."""
_PLATE = '<body name="{0}" mocap="true"><geom type="box" size="{1} {2} {3}" material="{0}"/></body>'
_TEXTURE = '<texture name="{0}" type="{1}" builtin="flat" width="256" height="{2}"/><material name="{0}" texture="{0}"/>'
XML = f"""
<mujoco>
  <visual><headlight ambient="0.6 0.6 0.6" diffuse="0.4 0.4 0.4" specular="0 0 0"/><map znear="0.02"/></visual>
  <asset>
    {_TEXTURE.format("table", "2d", 256)}{_TEXTURE.format("first", "cube", 1536)}{_TEXTURE.format("second", "cube", 1536)}
  </asset>
  <worldbody>
    <geom type="plane" size="0.8 0.8 0.1" material="table"/>
    {_PLATE.format("first", *SIDES)}{_PLATE.format("second", *SIDES)}
    <body name="hand" mocap="true"><camera name="hand" fovy="50"/></body>
  </worldbody>
</mujoco>
"""


class Cell:
    """The simulated table: plates and a hand that goes where it is told."""

    def __init__(self, pixels: int, seed: int):
        self.mujoco = simulator("mujoco")
        self.model = self.mujoco.MjModel.from_xml_string(XML)
        self.data = self.mujoco.MjData(self.model)
        for number in range(self.model.ntex):
            first, height, width = (int(a[number]) for a in (self.model.tex_adr, self.model.tex_height, self.model.tex_width))
            sheet = procedural(np.random.default_rng((seed, number)), width)
            self.model.tex_data[first : first + height * width * 3] = np.resize(sheet, height * width * 3)
        self.camera_middle, self.focal = pixels / 2, pixels / 2 / np.tan(np.radians(25))
        self.camera = SimulatorCamera(self.model, pixels, "hand")
        self.poses = {name: np.zeros(4) for name in ("first", "second", "hand")}

    def place(self, name: str, x: float, y: float, z: float, turn: float) -> None:
        """Put a plate or the hand at a place (metres), turned about the vertical (radians)."""
        number = self.model.body(name).mocapid[0]
        self.poses[name] = np.array([x, y, z, turn])
        self.data.mocap_pos[number] = x, y, z
        self.data.mocap_quat[number] = np.cos(turn / 2), 0, 0, np.sin(turn / 2)

    def scatter(self, rng: np.random.Generator) -> None:
        """Lay the plates elsewhere, side by side, and put the hand back to its start."""
        for name, side in (("first", -1), ("second", 1)):
            self.place(
                name, side * 0.09 + rng.uniform(-0.015, 0.015), rng.uniform(-0.06, 0.06), SIDES[2], rng.uniform(-0.4, 0.4)
            )
        self.place("hand", 0.0, 0.0, DEPTH + 2 * SIDES[2], 0.0)

    def render(self) -> np.ndarray:
        """Draw what the hand's camera sees."""
        self.mujoco.mj_forward(self.model, self.data)
        return self.camera.render(self.data)

    @property
    def goal(self) -> np.ndarray:
        """Compute where the hand should be: x, y, z and turn."""
        x, y, _, turn = self.poses["first"]
        along = rotation(turn) @ GOAL[:2]
        return np.array([x + along[0], y + along[1], DEPTH + 2 * SIDES[2], turn + GOAL[2]])


def rotation(turn: float) -> np.ndarray:
    """Make the matrix of a turn in the plane."""
    return np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


def fit_similarity(start: np.ndarray, now: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit a and b of now = a * start + b in each frame by least squares, over the points that are seen.

    Points are complex numbers x + iy: `start` (n), `now` and `seen` (n, t). Gives a and b (t), NaN where fewer than two are
    seen.
    """
    weight = seen / np.where(seen.sum(0) > 1, seen.sum(0), np.nan)
    from_mean = start[:, None] - (weight * start[:, None]).sum(0)
    with np.errstate(invalid="ignore"):
        a = (weight * np.conj(from_mean) * now).sum(0) / (weight * np.abs(from_mean) ** 2).sum(0)
    return a, (weight * (now - a * start[:, None])).sum(0)


def cluster_points(
    xy: np.ndarray, visible: np.ndarray, rng: np.random.Generator, within: float = 3.0, least: int = 8
) -> np.ndarray:
    """Sort points into objects by their motion; gives the number of each one's cluster (n), -1 for none.

    Args:
        xy: tracks (n, t, 2) in pixels; the first frame is that in which all points were chosen.
        visible: where they are seen (n, t).
        rng: draws pairs of near points, whose similarity each point of their object goes with.
        within: pixels that a point may be off, in the median over the frames in which it is seen.
        least: points of a cluster.
    """
    now, labels = xy[..., 0] + 1j * xy[..., 1], np.full(len(xy), -1)
    start = now[:, 0]

    def members(chosen: np.ndarray, free: np.ndarray) -> np.ndarray:
        a, b = fit_similarity(start[chosen], now[chosen], visible[chosen])
        error = np.where(visible & np.isfinite(a), np.abs(now - a * start[:, None] - b), np.nan)
        enough = np.isfinite(error).sum(1) * 2 >= visible.sum(1)  # most of the frames that show the point
        return free & enough & (np.nanmedian(np.where(enough[:, None], error, np.inf), 1) < within)

    for cluster in range(len(xy)):
        free, best = (labels < 0) & (visible.sum(1) > 1), np.zeros(len(xy), bool)
        for _ in range(300 if free.sum() >= least else 0):
            one = rng.choice(np.flatnonzero(free))
            near = np.flatnonzero(free)[np.argsort(np.abs(start[free] - start[one]))[1:least]]
            found = members(np.array([one, rng.choice(near)]), free)
            best = found if found.sum() > best.sum() else best
        for _ in range(3 if best.sum() >= least else 0):
            best = members(np.flatnonzero(best), free)
        if best.sum() < least:
            break
        labels[best] = cluster
    return labels


def choose_cluster(labels: np.ndarray, ends: np.ndarray, seen: np.ndarray) -> int:
    """Find the cluster whose points end nearest to each other in all demonstrations; `ends` (n, d, 2), `seen` (n, d)."""
    spread = np.linalg.norm(np.where(seen[..., None], ends, np.nan) - np.nanmean(ends, 1, keepdims=True), axis=-1)
    return min(range(labels.max() + 1), key=lambda k: np.nanmedian(spread[(labels == k) & seen.all(1)]))


def servo(xy: np.ndarray, goals: np.ndarray, focal: float, middle: float) -> np.ndarray:
    """Compute the hand's velocity that brings points to their goals: right, up and down in metres, and a turn, per second.

    From a hand that goes by (x, y, z) a second and turns by w, seen from above against the clock, a point of depth Z that is
    (u, v) pixels right of and below the middle goes by u' = (-f x + u z) / Z - w v and v' = (f y + v z) / Z + w u.
    """
    u, v = (xy - middle).T
    zero = np.zeros_like(u)
    rows = np.stack([[zero - focal, zero, u, -v * DEPTH], [zero, zero + focal, v, u * DEPTH]]) / DEPTH
    wanted, use = GAIN * (goals - xy).T, np.ones(len(xy), bool)
    for _ in range(3):  # points that the others contradict are left out
        velocity = np.linalg.lstsq(rows[:, :, use].transpose(0, 2, 1).reshape(-1, 4), wanted[:, use].ravel(), rcond=None)[0]
        off = np.linalg.norm(np.einsum("ckn,k->cn", rows, velocity) - wanted, axis=0)
        use = off <= 2 * np.median(off) + 1e-9
    return velocity


def track_points(
    tracker: TapirTracker, reference: np.ndarray, points: np.ndarray, frames: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Track points of a reference image through frames: positions (n, t, 2) and visibility (n, t)."""
    stream, results = tracker.start(frames[0], points, reference=reference), []
    for frame in frames:
        stream, now = tracker.step(stream, frame)
        results.append(now)
    return np.stack([now.xy for now in results], 1), np.stack([now.visible for now in results], 1)


def demonstrate(cell: Cell, rng: np.random.Generator) -> list[np.ndarray]:
    """Move the hand to its goal, and record what its camera sees."""
    cell.scatter(rng)
    start, end, frames = cell.poses["hand"].copy(), cell.goal, []
    for share in (1 - np.cos(np.linspace(0, np.pi, FRAMES))) / 2:
        cell.place("hand", *(start + share * (end - start)))
        frames.append(cell.render())
    return frames


def points_on(cell: Cell, name: str, points: np.ndarray) -> np.ndarray:
    """Find which points of the hand's image (n, 2) are on a plate: the truth, which the robot is not told."""
    x, y, _, turn = cell.poses["hand"]
    offset = (points - cell.camera_middle) * [1, -1] / cell.focal * DEPTH
    place = offset @ rotation(turn).T + [x, y] - cell.poses[name][:2]
    return (np.abs(place @ rotation(cell.poses[name][3])) < SIDES[:2]).all(1)


def reach(
    cell: Cell, tracker: TapirTracker, reference: np.ndarray, points: np.ndarray, goals: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Bring points of the reference to their goals; gives the frames, painted, and the hand's way from its goal."""
    stream, frames, ways = tracker.start(cell.render(), points, reference=reference), [], []
    painter = TrackPainter(reference.shape[1], reference.shape[0], np.array([[255, 220, 0]], np.uint8).repeat(len(points), 0))
    for _ in range(STEPS):
        image = cell.render()
        stream, now = tracker.step(stream, image)
        frames.append(painter.paint(image, now.xy, now.visible))
        ways.append(cell.poses["hand"] - cell.goal)
        if now.visible.sum() < 3:
            continue  # the hand stays
        right, up, down, turn = servo(now.xy[now.visible], goals[now.visible], cell.focal, cell.camera_middle)
        x, y, z, angle = cell.poses["hand"]
        ahead = rotation(angle) @ [right, up]
        step = np.clip([*ahead, -down, turn], -0.4, 0.4) / FRAME_RATE
        cell.place("hand", *(np.array([x, y, z, angle]) + step))
    return frames, ways


def main() -> None:
    """Show the task three times, and let the robot do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="film, such as robotap.mp4")
    parser.add_argument("--model", default="causal-tapir-nano")
    parser.add_argument("--pixels", type=int, default=160, help="sides of the images")
    parser.add_argument("--seed", type=int, default=0, help="of places and of what is printed on plates and table")
    given = parser.parse_args()
    rng, cell, tracker = np.random.default_rng(given.seed), Cell(given.pixels, given.seed), tapetum.load(given.model)
    line = np.linspace(0.05, 0.95, 14) * given.pixels
    points = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    demonstrations = [demonstrate(cell, rng)]
    reference, truth = demonstrations[0][-1], np.stack([points_on(cell, name, points) for name in ("first", "second")])
    demonstrations += [demonstrate(cell, rng) for _ in range(2)]
    tracks = [track_points(tracker, reference, points, frames) for frames in demonstrations]
    xy = np.concatenate([points[:, None], *(places for places, _ in tracks)], 1)
    visible = np.concatenate([np.ones((len(points), 1), bool), *(seen for _, seen in tracks)], 1)
    labels = cluster_points(xy, visible, rng)
    ends, seen = np.stack([places[:, -1] for places, _ in tracks], 1), np.stack([seen[:, -1] for _, seen in tracks], 1)
    chosen = choose_cluster(labels, ends, seen)
    mine = (labels == chosen) & seen.any(1)
    print(f"{labels.max() + 1} clusters of {', '.join(str((labels == k).sum()) for k in range(labels.max() + 1))} points")
    print(
        f"chosen: {mine.sum()} points, {truth[0][mine].sum()} of them on the first plate, {truth[1][mine].sum()} on the second"
    )
    goals = np.nanmean(np.where(seen[..., None], ends, np.nan), 1)
    film = []
    for name, which in (("points of the object", mine), ("all points", seen.any(1))):
        cell.scatter(np.random.default_rng((given.seed, 1)))
        frames, ways = reach(cell, tracker, reference, points[which], goals[which])
        film += frames
        for when, (x, y, z, turn) in (("start", ways[0]), ("end", ways[-1])):
            print(
                f"{name}: {np.linalg.norm([x, y, z]):.4f} m and {abs(np.degrees(turn)):.2f} degrees from the goal at the {when}"
            )
    if given.out is not None:
        print(write_video(given.out, film, FRAME_RATE))
    cell.camera.close()


if __name__ == "__main__":
    try:
        main()
    except TapetumError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
