"""The same episode with something left out: what counterfactual questions are answered from."""

from functools import cached_property

import numpy as np

from tapetum.scenes.bodies.episode import Episode
from tapetum.scenes.physics import resimulate
from tapetum.scenes.words.events import EpisodeEvents


class CounterfactualEvents(EpisodeEvents):
    """What happened in an episode that was run again."""

    def number(self, name: str) -> int:
        """Tell the number here of a body by its name."""
        return [b.name for b in self.episode.bodies].index(name)


class Counterfactuals:
    """Runs an episode again without its hand, or without one thing; each once, when asked."""

    def __init__(self, episode: Episode, seed: int):
        """Prepare; which thing is left out is drawn by the seed."""
        self.episode, self.seed = episode, seed

    def hand(self) -> CounterfactualEvents | None:
        """Return the episode without the hand; None where there is none."""
        return self._no_hand

    def thing(self, happenings: EpisodeEvents) -> tuple[int | None, CounterfactualEvents | None]:
        """Return the number of a thing that had a part in the episode, and the episode without it; None where none had."""
        if "_thing" not in self.__dict__:
            self.__dict__["_thing"] = self._draw(happenings)
        return self.__dict__["_thing"]

    @cached_property
    def _no_hand(self) -> CounterfactualEvents | None:
        hands = [b.name for b in self.episode.bodies if b.group == "hand"]
        return CounterfactualEvents(resimulate(self.episode, without=hands[0])) if hands else None

    def _draw(self, happenings: EpisodeEvents) -> tuple[int | None, CounterfactualEvents | None]:
        parts = {x for h in happenings.hits for x in h.bodies}
        picked = [d.body for d in happenings.deeds if d.picked_s is not None][:1]
        rng = np.random.default_rng((self.seed & 0xFFFFFFFF, 93))
        pool = picked if picked and rng.random() < 0.4 else sorted(parts)
        if not pool:
            return None, None
        gone = int(rng.choice(pool))
        return gone, CounterfactualEvents(resimulate(self.episode, without=gone))
