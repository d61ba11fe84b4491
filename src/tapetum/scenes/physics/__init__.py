"""Physics of episodes by MuJoCo: from a seed to an `Episode`. Needs the extra `[physics]`.

    make_episode ─► stories ─► Stage (hand, actions) ─► Simulation (MuJoCo) ─► Episode
                    props        hand, grasp              pieces, model          + sheets, containment

`resimulate` runs a recorded episode again with something changed, under the same script of the hand.
"""
