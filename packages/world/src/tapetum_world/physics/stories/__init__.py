"""Named stories drawn from a seed: the first poses, the causes of motion, and the hand's actions until the end."""

from tapetum_world.physics.builder import Act, Story
from tapetum_world.physics.stories import handling, moving

STORIES: dict[str, Story] = {
    "fall": moving.fall,
    "roll": moving.roll,
    "slide": moving.slide,
    "collide": moving.collide,
    "stack": handling.stack,
    "topple": moving.topple,
    "pour": handling.pour,
    "carry": handling.carry,
    "put-and-take": handling.put_and_take,
    "cups-shuffle": handling.cups_shuffle,
    "cover": handling.cover,
    "spin": moving.spin,
    "occluder": moving.occluder,
    "mixture": handling.mixture,
}
"""By name."""

__all__ = ["STORIES", "Act", "Story"]
