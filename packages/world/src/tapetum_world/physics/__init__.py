"""Physics of episodes by MuJoCo: from a seed to an `Episode`.

    make_episode ─► stories ─► Stage (hand, actions) ─► Simulation (MuJoCo) ─► Episode
                    props        hand, grasp              pieces, model          + sheets, containment

`resimulate` reruns a recorded episode with a change, using the same hand script.
"""

from tapetum_world.physics.episodes import make_episode, resimulate
from tapetum_world.physics.stories import STORIES

__all__ = ["STORIES", "make_episode", "resimulate"]
