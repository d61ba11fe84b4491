"""Words about the world: scene graphs, captions, and questions that cannot be answered blindly. Exact, from an `Episode`.

    Episode ─► graph (a frame) ───────► images ─┐
       ├─────► happenings (all of it) ─► episodes ─┴─► candidates ─► balance ─► SceneQuestion
       └─────► captions

A scene's candidates are a function of its seed; `balance` chooses among those of a whole block of scenes, so that words alone
give no information about the answers.
"""

from tapetum_world.words.captions import CaptionedEvent, Captions, episode_caption, event_captions, image_captions
from tapetum_world.words.episodes import episode_candidates
from tapetum_world.words.events import EpisodeEvents
from tapetum_world.words.films import Film, FilmShot, Story, group_questions, join_films
from tapetum_world.words.graph import ObjectNode, SceneGraph, scene_graph
from tapetum_world.words.images import image_candidates
from tapetum_world.words.questions import BLOCK, Candidate, SceneQuestion, balance

__all__ = [
    "BLOCK",
    "Candidate",
    "CaptionedEvent",
    "Captions",
    "EpisodeEvents",
    "Film",
    "FilmShot",
    "ObjectNode",
    "SceneGraph",
    "SceneQuestion",
    "Story",
    "balance",
    "episode_candidates",
    "episode_caption",
    "event_captions",
    "group_questions",
    "image_candidates",
    "image_captions",
    "join_films",
    "scene_graph",
]
