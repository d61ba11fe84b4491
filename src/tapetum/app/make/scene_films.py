"""`tapetum.app.make.scenes.films`: films of minutes, joined of short stories of the physical world, with questions and moments.

DIR/stories/NAME.mp4     each story, rendered once
DIR/stories.jsonl        what the hand does in each, with times and words; `tapetum train longvideo --stage films` learns
                         from them, and joins them anew for each step
DIR/videos/NAME.mp4      films, three a group (`tapetum.world.words.films`); frames of the stories, encoded again
DIR/questions.jsonl      questions of memory, as those of `tapetum scenes episodes`
DIR/moments.jsonl        what the hand does in each film, with times and words
DIR/truth/NAME.json      what is known of a story
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.app.make.scene_items import ItemOptions, begin, make_items, question_row, read_truth, write_truth
from tapetum.app.verb import Listener, Result, verb
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

    from tapetum.data.textures import Textures
    from tapetum.world.words import Film, Story

FOLDERS = ("stories", "videos")


@dataclass(frozen=True)
class FilmsOptions(ItemOptions):
    """Make films of minutes by joining short stories in many orders, with questions that need the memory of earlier ones.

    For `tapetum train longvideo --stage films`, `tapetum eval longvideo --task episodes` and `tapetum search`. Needs
    tapetum[physics]. A run that was interrupted goes on when it is started again.
    """

    minutes: float = 1.0
    """Length of a film, about."""
    stories: int = 60
    """Stories to render; films are joined of them."""
    seconds: float = 8.0
    """Length of a story; of a shot at most."""
    frame_rate: float = 2.0
    """Frames per second."""


@dataclass(frozen=True, kw_only=True)
class FilmsMade(Result):
    """Films in a folder."""

    out: Path
    films: int
    """How many."""
    stories: int
    """Rendered."""
    usable: int
    """Of them, those of which all is known in words; films are joined of these."""
    seconds: float
    """Of all films."""
    questions: int
    """About all of them."""
    moments: int
    """With words, in all of them."""

    def as_json(self) -> dict[str, Any]:
        """Summarise."""
        return {**asdict(self), "out": str(self.out)}

    def as_text(self) -> str:
        """Summarise."""
        made = f"made {self.films} films of {self.seconds:.0f} seconds together, of {self.usable} of {self.stories} stories"
        return f"{made}\n{self.questions} questions, {self.moments} moments\nfilms  {self.out / 'videos'}"


@verb(FilmsOptions)
def films(options: FilmsOptions, listener: Listener) -> FilmsMade:
    """Make films of minutes by joining short stories in many orders, with questions that need the memory of earlier ones.

    A run that was interrupted goes on when it is started again. Raises BadInput for numbers that make no film, for too few
    stories, and for a folder that belongs to another run; MissingExtra without MuJoCo.

    >>> import tempfile
    >>> import tapetum
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tapetum.app.make.scenes.films(folder, n=1, size=32, seconds=1, stories=6, minutes=0.05).films
    1
    """
    _check(options)
    begin(options, "films", FOLDERS)
    from tapetum.data.entries import write_lines
    from tapetum.world.words.films import FILMS, group_questions, join_films

    out = Path(options.out)
    names = [f"story_{number:05d}" for number in range(options.stories)]
    make_items(options, "stories", names, partial(_make_story, options, out.absolute()), listener)
    stories = list(_read_stories(out, names))
    write_lines(out / "stories.jsonl", map(asdict, stories))
    shots = _shots_of(options, stories)
    joined, questions, moments = [], [], []
    for number in range(-(-options.n // FILMS)):
        group = join_films(stories, options.seed, number, shots)
        for film, own in zip(group, group_questions(group, options.seed, number), strict=True):
            if len(joined) == options.n:
                break
            name = f"film_{len(joined):05d}"
            joined.append(film)
            questions += [question_row(name, each) for each in own]
            moments += [{"video": name, **asdict(event)} for event in film.events]
    for done, film in enumerate(joined):
        listener.progress("films", done, len(joined))
        _write_film(out, out / "videos" / f"film_{done:05d}.mp4", film, options)
    listener.progress("films", len(joined), len(joined))
    write_lines(out / "questions.jsonl", questions)
    write_lines(out / "moments.jsonl", moments)
    return FilmsMade(
        out=out,
        films=len(joined),
        stories=options.stories,
        usable=len(stories),
        seconds=float(sum(film.seconds for film in joined)),
        questions=len(questions),
        moments=len(moments),
    )


def _check(options: FilmsOptions) -> None:
    rate = options.frame_rate
    if not (1 <= rate <= 120 and rate == round(rate)):
        raise BadInput(
            f"films of {rate} frames a second; give --frame-rate a whole number from 1 to 120, for cuts are in whole seconds"
        )
    if not 0 < options.minutes <= 600 or not 1 <= options.seconds <= 60 or options.seconds != round(options.seconds):
        raise BadInput(
            f"films of {options.minutes} minutes of stories of {options.seconds} s; give --minutes above 0, at most 600, and "
            "--seconds a whole number from 1 to 60"
        )
    if not 4 <= options.stories <= 100_000:
        raise BadInput(f"asked for {options.stories} stories; give --stories from 4 to 100000")


def _make_story(options: FilmsOptions, out: Path, number: int, textures: "Textures") -> None:
    """Render one story; its truth is written last."""
    import numpy as np

    from tapetum.video import write_video
    from tapetum.world.image import first_valid_start
    from tapetum.world.physics import make_episode
    from tapetum.world.rendering import random_render_config, render_episode
    from tapetum.world.words import EpisodeEvents, event_captions

    size = (options.size, options.size)
    key, episode = first_valid_start(
        (options.seed, number),
        lambda key: make_episode(key, seconds=options.seconds, size=size, frame_rate=options.frame_rate),
    )
    name = f"story_{number:05d}"
    config = random_render_config(np.random.default_rng((key, 6)))
    frames = (frame.rgb for frame in render_episode(episode, textures, config))
    write_video(out / "stories" / f"{name}.mp4", frames, options.frame_rate)
    events = event_captions(EpisodeEvents(episode))
    truth = None if events is None else [asdict(event) for event in events]
    write_truth(
        out, name, {"id": name, "story": episode.settings.get("story", ""), "seconds": options.seconds, "events": truth}
    )


def _read_stories(out: Path, names: list[str]) -> "Iterator[Story]":
    """Read the stories of which all is known in words."""
    from tapetum.world.words import CaptionedEvent, Story

    for name in names:
        truth = read_truth(out, name)
        if truth["events"] is not None:
            events = tuple(CaptionedEvent(**event) for event in truth["events"])
            yield Story(name=name, seconds=truth["seconds"], events=events)


def _shots_of(options: FilmsOptions, stories: "list[Story]") -> int:
    """Compute how many shots make a film of about the length that is asked for: 4, 7, 10, ..."""
    import numpy as np

    from tapetum.world.words.films import FILMS, draw_shot

    shots = [draw_shot(story, np.random.default_rng((437, k))) for k, story in enumerate(stories)]
    mean = float(np.mean([shot.stop_s - shot.start_s for shot in shots])) if shots else options.seconds
    return max(FILMS * round((60 * options.minutes / mean - 1) / FILMS) + 1, FILMS + 1)


def _write_film(out: Path, path: Path, film: "Film", options: FilmsOptions) -> None:
    from tapetum.video import open_video, write_video

    def frames() -> "Iterator[np.ndarray]":
        rate = round(options.frame_rate)
        for shot in film.shots:
            with open_video(out / "stories" / f"{shot.story.name}.mp4") as video:
                yield from video[list(range(shot.start_s * rate, shot.stop_s * rate))]

    if not path.exists():
        write_video(path, frames(), options.frame_rate)
