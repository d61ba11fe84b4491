"""Physics of episodes by MuJoCo: from a seed to an `Episode`. Needs the extra `[physics]`.

    make_episode ─► stories ─► Stage (hand, actions) ─► Simulation (MuJoCo) ─► Episode
                    props        hand, grasp              pieces, model          + sheets, containment

`episode_parts` tells a long episode part by part; `resimulate` runs a recorded episode again with something changed, under
the same script of the hand.
"""

from tapetum.world.physics.episodes import episode_parts, make_episode, resimulate
from tapetum.world.physics.stories import STORIES

__all__ = ["STORIES", "episode_parts", "make_episode", "resimulate"]
