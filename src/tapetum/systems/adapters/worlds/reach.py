"""A task for tests, in NumPy alone: a gripper on a table, seen from above, is to be moved onto a disc.

A policy must see which disc is the goal (by colour) and where it is. `shift` changes only the image's appearance, to test
robustness to lighting: colours are rotated, the table is striped, and the image is noisy.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8

from tapetum.core.errors import BadInput
from tapetum.systems.adapters.worlds.world import Observation

STEP, NEAR = 0.12, 0.12
"""Greatest move of a step and greatest distance at success; the table is 2 wide."""
GOAL, OTHER, GRIPPER, TABLE = (0.85, 0.2, 0.15), (0.2, 0.35, 0.8), (0.1, 0.1, 0.1), (0.75, 0.7, 0.6)
"""Colours, red green blue."""
_RADIUS = 0.2
_TURN = np.array([[0.5, 0.4, 0.1], [0.1, 0.5, 0.4], [0.4, 0.1, 0.5]])


@dataclass(kw_only=True)
class ReachWorld:
    """The task; `expert` goes straight to the goal."""

    pixels: int = 48
    """Side of the image."""
    distractors: int = 1
    """Discs of another colour."""
    shift: float = 0.0
    """How far the image is from the usual one, 0 to 1."""
    horizon: int = 30
    camera: str = "top"

    name: str = "reach-disc"
    action_size: int = 2
    own_size: int = 2

    def __post_init__(self) -> None:
        if self.pixels < 8 or self.distractors < 0 or not 0 <= self.shift <= 1 or self.horizon < 1:
            raise BadInput(f"a task {self} cannot be; wanted 8 pixels or more, 0 distractors or more, and shift from 0 to 1")
        middle = (np.arange(self.pixels) + 0.5) / self.pixels * 2 - 1
        self._x, self._y = np.meshgrid(middle, middle)

    def reset(self, seed: int) -> Observation:
        """Begin the episode of a seed: gripper, goal and distractors apart from each other."""
        generator = np.random.default_rng([seed, 0])
        self._noise = np.random.default_rng([seed, 2])
        places = [generator.uniform(-0.8, 0.8, 2)]
        while len(places) < 2 + self.distractors:
            place = generator.uniform(-0.8, 0.8, 2)
            if min(np.hypot(*(place - other)) for other in places) > 2 * _RADIUS:
                places.append(place)
        self.gripper, self.goal, *self._others = places
        return self._observe()

    def step(self, action: Float64[np.ndarray, "2"]) -> Observation:
        """Move the gripper by up to STEP along x (right) and y (down)."""
        self.gripper = np.clip(self.gripper + STEP * np.clip(action, -1, 1), -1, 1)
        return self._observe()

    @property
    def success(self) -> bool:
        """Check whether the gripper is on the goal."""
        return bool(np.hypot(*(self.gripper - self.goal)) < NEAR)

    def expert(self) -> Float64[np.ndarray, "2"]:
        """Go straight to the goal, slowing down only at it."""
        way = (self.goal - self.gripper) / STEP
        return way / max(1.0, np.abs(way).max())

    def close(self) -> None:
        """Do nothing: there are no resources to release."""

    def _observe(self) -> Observation:
        return Observation(self._paint(), self.gripper.astype(np.float32))

    def _paint(self) -> UInt8[np.ndarray, "h w 3"]:
        image = np.broadcast_to(np.array(TABLE), (self.pixels, self.pixels, 3)).copy()
        image *= 1 - 0.4 * self.shift * (np.sin(9 * self._x + 5 * self._y) > 0)[..., None]
        for place in self._others:
            self._disc(image, place, _RADIUS, OTHER)
        self._disc(image, self.goal, _RADIUS, GOAL)
        self._disc(image, self.gripper, 0.5 * _RADIUS, GRIPPER)
        image = (1 - self.shift) * image + self.shift * (image @ _TURN)
        image += 0.1 * self.shift * self._noise.standard_normal(image.shape)
        return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)

    def _disc(self, image: np.ndarray, place: np.ndarray, radius: float, colour: tuple[float, float, float]) -> None:
        """Draw a disc whose edge is one pixel wide."""
        distance = np.hypot(self._x - place[0], self._y - place[1])
        cover = np.clip((radius - distance) * self.pixels / 2 + 0.5, 0, 1)[..., None]
        image[:] = (1 - cover) * image + cover * np.array(colour)
