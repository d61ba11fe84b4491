"""A robot arm that follows a point: a camera on its hand, a live tracker, and visual servoing, in MuJoCo.

    python examples/robot_loop.py [--seconds 12] [--out robot-loop.mp4] [--click 150 100]

A plate with a printed surface slides and turns on a table. The camera on the hand of an arm with three joints looks straight
down. A person clicks on a point of the plate in the first image; from then on the arm shall stay above that point. In each
frame:

    camera image --> LiveTracker --> pixel --> image Jacobian --> velocity of the hand --> velocities of the joints

What the hand is told counts until the next frame. While the point is hidden the hand stops. Printed is how far the hand is from
being above the point, in metres, beside the same of an arm that stays where it was, and how late the tracks are. The film
shows the camera's image with the tracked point, and the arm from outside. Needs `pip install 'tapetum[world]'` and an OpenGL
without a screen (MUJOCO_GL=egl or osmesa; by default the first that draws).
"""

import argparse
import sys
from collections import deque
from dataclasses import dataclass, field

import numpy as np

import tapetum
from tapetum.core.errors import BadInput, TapetumError
from tapetum.data.textures import procedural
from tapetum.systems.adapters.worlds.rendering import SimulatorCamera, looking_at, simulator
from tapetum.tracks.live import LiveTracker, LiveTracks
from tapetum.video import TrackPainter, write_video

FRAME_RATE, STEPS = 25, 20
"""Frames a second, and steps of the simulation between two."""
HEIGHT, PLATE = 0.40, 0.02
"""Metres: of the camera above the table, and of the plate's upper side."""
GAIN = 3.0
"""1 / s: the share of the error that the hand makes good in a second."""
FASTEST = 0.5
"""Metres a second that the hand may be told to go."""
FIT = 5
"""Frames that the target's velocity is computed from."""
XML = f"""
<mujoco>
  <compiler angle="radian"/>
  <option timestep="{1 / FRAME_RATE / STEPS}" gravity="0 0 -9.81"/>
  <visual><headlight ambient="0.5 0.5 0.5" diffuse="0.4 0.4 0.4" specular="0 0 0"/><map znear="0.02"/></visual>
  <asset>
    <texture name="table" type="2d" builtin="flat" width="512" height="512"/><material name="table" texture="table"/>
    <texture name="plate" type="cube" builtin="flat" width="256" height="256"/><material name="plate" texture="plate"/>
  </asset>
  <default><geom contype="0" conaffinity="0"/><joint axis="0 0 1" damping="0.2" armature="0.02"/></default>
  <worldbody>
    <geom type="plane" size="0.8 0.8 0.1" material="table"/>
    <body name="plate" mocap="true" pos="0.35 0 {PLATE / 2}">
      <geom name="plate" type="box" size="0.08 0.06 {PLATE / 2}" material="plate"/>
    </body>
    <body pos="0 0 {HEIGHT + 0.05}">
      <geom type="cylinder" size="0.04 {(HEIGHT + 0.05) / 2}" pos="0 0 {-(HEIGHT + 0.05) / 2}" rgba="0.3 0.3 0.35 1"/>
      <body>
        <joint name="shoulder"/><geom type="capsule" size="0.025" fromto="0 0 0 0.3 0 0" rgba="0.9 0.5 0.1 1" mass="1"/>
        <body pos="0.3 0 0">
          <joint name="elbow"/><geom type="capsule" size="0.02" fromto="0 0 0 0.25 0 0" rgba="0.9 0.5 0.1 1" mass="0.7"/>
          <body name="hand" pos="0.25 0 0">
            <joint name="wrist"/><geom type="cylinder" size="0.02 0.02" pos="0 0 -0.02" rgba="0.3 0.3 0.35 1" mass="0.2"/>
            <site name="camera" pos="0 0 -0.05"/><camera name="camera" pos="0 0 -0.05" fovy="50"/>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>
    <velocity joint="shoulder" kv="20"/><velocity joint="elbow" kv="20"/><velocity joint="wrist" kv="5"/>
  </actuator>
</mujoco>
"""
START = (-0.7168, 1.6248, -0.908)
"""Angles of the joints at the start, by which the camera's x axis is the table's."""


class Cell:
    """The simulated arm, table and plate."""

    def __init__(self, pixels: int, seed: int):
        self.mujoco = simulator("mujoco")
        self.model = self.mujoco.MjModel.from_xml_string(XML)
        self.data = self.mujoco.MjData(self.model)
        rng = np.random.default_rng(seed)
        for number in range(self.model.ntex):
            first, height, width = (int(part[number]) for part in self._textures)
            sheet = procedural(rng, width)  # a cube's texture is six squares, one below the other
            self.model.tex_data[first : first + height * width * 3] = np.resize(sheet, height * width * 3)
        self.data.qpos[:] = START
        self.move_plate(0.0)
        self.mujoco.mj_forward(self.model, self.data)
        self.pixels = pixels
        self.focal = pixels / 2 / np.tan(float(self.model.cam_fovy[0]) / 2 * np.pi / 180)
        self.camera = SimulatorCamera(self.model, pixels, "camera")
        self.outside = SimulatorCamera(self.model, pixels, looking_at((0.3, 0.0, 0.1), 1.3, 150, -30))

    @property
    def _textures(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.model.tex_adr, self.model.tex_height, self.model.tex_width

    def move_plate(self, seconds: float) -> None:
        """Put the plate where it is at this time: on a figure of eight, 12 by 36 cm, once in 12 s, turning to and fro."""
        angle = 2 * np.pi * seconds / 12
        self.data.mocap_pos[0] = 0.38 + 0.06 * np.sin(2 * angle), 0.18 * np.sin(angle), PLATE / 2
        turn = 0.5 * np.sin(angle)
        self.data.mocap_quat[0] = np.cos(turn / 2), 0, 0, np.sin(turn / 2)

    @property
    def hand(self) -> np.ndarray:
        """Get the place of the camera (x, y, z) in metres."""
        return self.data.site("camera").xpos

    @property
    def across(self) -> np.ndarray:
        """Get the directions of the image's right and up on the table, as columns."""
        return self.data.site("camera").xmat.reshape(3, 3)[:2, :2]

    def clicked(self, x: float, y: float) -> np.ndarray:
        """Find the point of the plate under a pixel, in the plate's own coordinates. Raises BadInput where it is not there."""
        ray = np.array([(x - self.pixels / 2) / self.focal, (self.pixels / 2 - y) / self.focal])
        direction = np.append(self.across @ ray, -1.0)
        hit = np.zeros(1, np.int32)
        depth = self.mujoco.mj_ray(self.model, self.data, self.hand, direction, None, 1, -1, hit)
        if hit[0] != self.model.geom("plate").id:
            raise BadInput(f"there is no plate at pixel {x:g}, {y:g}; click on it")
        return self.data.body("plate").xmat.reshape(3, 3).T @ (self.hand + depth * direction - self.data.body("plate").xpos)

    def place_of(self, point: np.ndarray) -> np.ndarray:
        """Compute where a point of the plate is now, in metres."""
        return self.data.body("plate").xpos + self.data.body("plate").xmat.reshape(3, 3) @ point

    def move(self, velocity: np.ndarray, seconds: float) -> None:
        """Simulate until the next frame while the hand shall go with this velocity (x, y) and not turn."""
        jacobian, turning = np.zeros((3, 3)), np.zeros((3, 3))
        for step in range(STEPS):
            self.mujoco.mj_jacSite(self.model, self.data, jacobian, turning, self.model.site("camera").id)
            self.data.ctrl[:] = np.linalg.solve(np.stack([jacobian[0], jacobian[1], turning[2]]), [*velocity, 0.0])
            self.move_plate(seconds + (step + 1) / FRAME_RATE / STEPS)
            self.mujoco.mj_step(self.model, self.data)
        self.mujoco.mj_forward(self.model, self.data)


@dataclass
class Servo:
    """Visual servoing: from a tracked pixel to the velocity of the hand, by the inverse of the image Jacobian.

    For a camera that looks straight down from the height Z, a hand that goes by d metres moves the image of what stands still
    by f / Z * d pixels the other way. So Z / f times the pixel's way from the middle is how far the hand must go. Added to
    where the hand is, that is the target's place on the table; the slope through the last places is how fast the target goes.
    """

    focal: float
    middle: float
    depth: float = HEIGHT - PLATE
    places: deque[tuple[float, float, float]] = field(default_factory=lambda: deque(maxlen=FIT))
    """Time, x and y of the target in the last frames."""

    def __call__(self, tracks: LiveTracks, hand: np.ndarray, across: np.ndarray) -> np.ndarray:
        """Compute the hand's velocity (x, y) in metres a second; zero while the point is hidden."""
        if not tracks.visible[0]:
            self.places.clear()
            return np.zeros(2)
        right, down = self.depth / self.focal * (tracks.xy[0] - self.middle)
        offset = across @ [right, -down]
        self.places.append((tracks.time_s, *(hand + offset)))
        velocity = GAIN * offset
        if len(self.places) == FIT:
            times, *xy = np.array(self.places).T
            velocity = velocity + [np.polyfit(times - times[-1], line, 1)[0] for line in xy]
        return velocity * min(1.0, FASTEST / max(float(np.linalg.norm(velocity)), 1e-9))


def main() -> None:
    """Run the loop, and print the distances of this arm and of one that stays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--out", help="film, such as robot-loop.mp4")
    parser.add_argument("--model", default="causal-tapir-nano")
    parser.add_argument("--click", nargs=2, type=float, default=(150, 100), metavar=("X", "Y"), help="in the first image")
    parser.add_argument("--pixels", type=int, default=240, help="sides of the images")
    parser.add_argument("--seed", type=int, default=0, help="of what is printed on plate and table")
    given = parser.parse_args()
    cell = Cell(given.pixels, given.seed)
    x, y = given.click
    point, begun = cell.clicked(x, y), cell.hand.copy()
    servo, film, errors = Servo(cell.focal, given.pixels / 2), [], []
    painter = TrackPainter(given.pixels, given.pixels, np.array([[255, 220, 0]], np.uint8))
    late = []
    with LiveTracker(tapetum.load(given.model)) as live:
        for number in range(round(given.seconds * FRAME_RATE)):
            seconds = number / FRAME_RATE
            image = cell.camera.render(cell.data)
            live.submit(image, seconds, [[x, y]] if number == 0 else None)
            live.wait()  # so that the result is the same on every machine
            tracks = live.latest(seconds)
            assert tracks is not None
            late.append(1000 * tracks.latency_s)
            place = cell.place_of(point)[:2]
            errors.append([np.linalg.norm(place - cell.hand[:2]), np.linalg.norm(place - begun[:2])])
            if number % FRAME_RATE == 0:
                shown = "visible" if tracks.visible[0] else "hidden"
                print(f"{seconds:5.1f} s  {errors[-1][0]:.4f} m from the point ({shown}); arm that stays {errors[-1][1]:.4f} m")
            if given.out is not None:
                painted = painter.paint(image, tracks.xy, tracks.visible)
                film.append(np.concatenate([painted, cell.outside.render(cell.data)], 1))
            cell.move(servo(tracks, cell.hand[:2], cell.across), seconds)
    cell.camera.close()
    cell.outside.close()
    result = np.array(errors)
    settled = result[FRAME_RATE:] if len(result) > FRAME_RATE else result
    for name, column in (("this arm", settled[:, 0]), ("arm that stays", settled[:, 1])):
        print(f"{name}: {column.mean():.4f} m in the mean after the first second, {column.max():.4f} m at most")
    print(f"latency {np.median(late):.0f} ms (median), {np.percentile(late, 99):.0f} (99 %)")
    if given.out is not None:
        print(write_video(given.out, film, FRAME_RATE))


if __name__ == "__main__":
    try:
        main()
    except TapetumError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
