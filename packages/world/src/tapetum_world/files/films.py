"""Films of several minutes, joined from short stories of the physical world, with questions and moments.

DIR/stories/NAME.mp4     each story, rendered once
DIR/stories.jsonl        what the hand does in each, with times and words; `tapetum train longvideo --stage films` learns
                         from them, and joins them again for each step
DIR/videos/NAME.mp4      films, three a group (`tapetum_world.words.films`); frames of the stories, encoded again
DIR/questions.jsonl      questions of memory, as those of `tapetum scenes episodes`
DIR/moments.jsonl        what the hand does in each film, with times and words
DIR/truth/NAME.json      what is known of a story
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput, Listener
from tapetum.data.entries import write_lines
from tapetum.data.textures import Textures
from tapetum.video import open_video, write_video
from tapetum_world.files.items import ItemRequest, begin, first_valid_start, make_items, question_row, read_truth, write_truth
from tapetum_world.physics import make_episode
from tapetum_world.rendering import random_render_config, render_episode
from tapetum_world.words import CaptionedEvent, EpisodeEvents, Film, Story, event_captions
from tapetum_world.words.films import FILMS, draw_shot, group_questions, join_films

FOLDERS = ("stories", "videos")


@dataclass(frozen=True, kw_only=True)
class FilmRequest(ItemRequest):
    """Films to make."""

    minutes: float
    """Length of a film, about."""
    stories: int
    """Stories to render."""
    seconds: float
    """Length of a story; of a shot at most."""
    frame_rate: float


@dataclass(frozen=True, kw_only=True)
class FilmCounts:
    """What films there are in a folder."""

    films: int
    stories: int
    """Rendered."""
    usable: int
    """Of them, those of which all is known in words; films are joined of these."""
    seconds: float
    """Of all films."""
    questions: int
    moments: int
    """With words, in all of them."""


def make_films(request: FilmRequest, listener: Listener) -> FilmCounts:
    """Make films by joining stories in many orders, with questions that need the memory of earlier ones.

    Resumes where it was interrupted. Raises BadInput for numbers that yield no film, for too few stories, and for a folder of
    another request.
    """
    _check(request)
    begin(request, "films", FOLDERS)
    out = request.out
    names = [f"story_{number:05d}" for number in range(request.stories)]
    make_items(request, "stories", names, partial(_make_story, request, out.absolute()), listener)
    stories = list(_read_stories(out, names))
    write_lines(out / "stories.jsonl", map(asdict, stories))
    shots = _shots_of(request, stories)
    joined, questions, moments = [], [], []
    for number in range(-(-request.n // FILMS)):
        group = join_films(stories, request.seed, number, shots)
        for film, own in zip(group, group_questions(group, request.seed, number), strict=True):
            if len(joined) == request.n:
                break
            name = f"film_{len(joined):05d}"
            joined.append(film)
            questions += [question_row(name, each) for each in own]
            moments += [{"video": name, **asdict(event)} for event in film.events]
    for done, film in enumerate(joined):
        listener.progress("films", done, len(joined))
        _write_film(out, out / "videos" / f"film_{done:05d}.mp4", film, request)
    listener.progress("films", len(joined), len(joined))
    write_lines(out / "questions.jsonl", questions)
    write_lines(out / "moments.jsonl", moments)
    return FilmCounts(
        films=len(joined),
        stories=request.stories,
        usable=len(stories),
        seconds=float(sum(film.seconds for film in joined)),
        questions=len(questions),
        moments=len(moments),
    )


def _check(request: FilmRequest) -> None:
    rate = request.frame_rate
    if not (1 <= rate <= 120 and rate == round(rate)):
        raise BadInput(
            f"films of {rate} frames a second; give --frame-rate a whole number from 1 to 120, for cuts are in whole seconds"
        )
    if not 0 < request.minutes <= 600 or not 1 <= request.seconds <= 60 or request.seconds != round(request.seconds):
        raise BadInput(
            f"films of {request.minutes} minutes of stories of {request.seconds} s; give --minutes above 0, at most 600, and "
            "--seconds a whole number from 1 to 60"
        )
    if not 4 <= request.stories <= 100_000:
        raise BadInput(f"asked for {request.stories} stories; give --stories from 4 to 100000")


def _make_story(request: FilmRequest, out: Path, number: int, textures: Textures) -> None:
    """Render one story; its ground truth is written last."""
    size = (request.size, request.size)
    key, episode = first_valid_start(
        (request.seed, number), lambda key: make_episode(key, seconds=request.seconds, size=size, frame_rate=request.frame_rate)
    )
    name = f"story_{number:05d}"
    config = random_render_config(np.random.default_rng((key, 6)))
    frames = (frame.rgb for frame in render_episode(episode, textures, config))
    write_video(out / "stories" / f"{name}.mp4", frames, request.frame_rate)
    events = event_captions(EpisodeEvents(episode))
    truth = None if events is None else [asdict(event) for event in events]
    write_truth(
        out, name, {"id": name, "story": episode.settings.get("story", ""), "seconds": request.seconds, "events": truth}
    )


def _read_stories(out: Path, names: list[str]) -> Iterator[Story]:
    """Read the stories that can be fully described in words."""
    for name in names:
        truth = read_truth(out, name)
        if truth["events"] is not None:
            events = tuple(CaptionedEvent(**event) for event in truth["events"])
            yield Story(name=name, seconds=truth["seconds"], events=events)


def _shots_of(request: FilmRequest, stories: list[Story]) -> int:
    """Compute how many shots make a film of about the requested length: 4, 7, 10, ..."""
    shots = [draw_shot(story, np.random.default_rng((437, k))) for k, story in enumerate(stories)]
    mean = float(np.mean([shot.stop_s - shot.start_s for shot in shots])) if shots else request.seconds
    return max(FILMS * round((60 * request.minutes / mean - 1) / FILMS) + 1, FILMS + 1)


def _write_film(out: Path, path: Path, film: Film, request: FilmRequest) -> None:
    def frames() -> Iterator[np.ndarray]:
        rate = round(request.frame_rate)
        for shot in film.shots:
            with open_video(out / "stories" / f"{shot.story.name}.mp4") as video:
                yield from video[list(range(shot.start_s * rate, shot.stop_s * rate))]

    if not path.exists():
        write_video(path, frames(), request.frame_rate)
