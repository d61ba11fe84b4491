"""Words about the world: scene graphs, captions, and questions that cannot be answered blindly. Exact, from an `Episode`.

    Episode ─► graph (a frame) ───────► pictures ─┐
       ├─────► happenings (all of it) ─► episodes ─┴─► candidates ─► balance ─► Question
       └─────► captions, names

A scene's candidates are a function of its seed; `balance` chooses among those of a whole block of scenes, so that words alone
say nothing about the answers.
"""

from tapetum.scenes.words.balance import BLOCK, balance, block_of
from tapetum.scenes.words.captions import Captions, episode_caption, picture_captions
from tapetum.scenes.words.episodes import episode_candidates
from tapetum.scenes.words.graph import Graph, Thing, scene_graph
from tapetum.scenes.words.happenings import Happenings
from tapetum.scenes.words.names import Named, named_objects
from tapetum.scenes.words.pictures import picture_candidates
from tapetum.scenes.words.question import Candidate, Question

__all__ = [
    "BLOCK",
    "Candidate",
    "Captions",
    "Graph",
    "Happenings",
    "Named",
    "Question",
    "Thing",
    "balance",
    "block_of",
    "episode_candidates",
    "episode_caption",
    "named_objects",
    "picture_candidates",
    "picture_captions",
    "scene_graph",
]
