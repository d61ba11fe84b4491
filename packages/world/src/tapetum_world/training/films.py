"""Training films, joined afresh for each step from the stories of a folder of `tapetum scenes films`.

    stories --frames, or features of a cache--> shots --joined--> film: a question of memory, and events with words and times

A film has as many shots as certainly fit into the run's frames. Every tenth story is for validation only. A story's vision
features (its tubelets before positions are added) depend only on its frames while the tubelets are frozen, so they can be
computed once and stored in float16:

    CACHE/settings.json    of which weights and stories they are
    CACHE/NAME.npy         float16 (time steps, rows, columns, channels) of a story
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float16

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_json
from tapetum.core.finished import changed_settings
from tapetum.core.reading import no_pipe, read_bytes
from tapetum.data.entries import JsonEntry, line_entries
from tapetum.systems.longvideo.data import CaptionedClip, Frames
from tapetum.systems.longvideo.recipes import VideoTextRun
from tapetum.systems.longvideo.streaming import FrameSelection
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.video import open_video
from tapetum.video.types import resize_frame
from tapetum_world.words import CaptionedEvent, Film, SceneQuestion, Story, group_questions, join_films
from tapetum_world.words.films import FILMS

Features = Float16[np.ndarray, "slots rows columns d"]
_VALIDATION = 1 << 32
"""Numbers of groups of films from here on are of validation stories."""
_TRIES = 8
"""Groups that are tried for a film with a question."""


@dataclass(frozen=True, kw_only=True)
class FilmClip(CaptionedClip):
    """A film: its text is its first question with the answer, `wrong` are those with wrong answers."""

    features: Features | None = None
    """Where there is a cache; the frames are then empty."""
    questions: tuple[tuple[str, ...], ...] = ()
    """Each with the right answer, and then with every wrong one."""
    events: tuple[CaptionedEvent, ...] = ()
    """What the hand does, with times of the film."""
    answers: tuple[CaptionedEvent, ...] = ()
    """Each question with the right answer, at the time of what the hand does with the thing that answers it."""


class FilmClips:
    """Films of stories."""

    count: int | None = None

    def __init__(self, run: VideoTextRun):
        self.run = run
        place = Path(run.data)
        stories = read_stories(place)
        self._parts = [s for k, s in enumerate(stories) if k % 10 != 9], [s for k, s in enumerate(stories) if k % 10 == 9]
        longest = max(round(story.seconds * run.frame_rate) for story in stories)
        self._shots = tuple(_count_shots(min(run.frames // longest, len(part))) for part in self._parts)
        if not all(self._shots):
            raise BadInput(
                f"films of {run.frames} frames of {len(stories)} stories of {longest} frames in {place}: a film has 4 or more "
                f"stories, and every tenth story is for validation; give --frames {4 * longest} or more, and 40 stories or more"
            )
        self.validation_count = run.checks

    def training_clip(self, k: int, rng: np.random.Generator) -> FilmClip:
        return self._clip(0, k, rng)

    def validation_clip(self, k: int) -> FilmClip:
        return self._clip(1, _VALIDATION + k, np.random.default_rng(k))

    def _clip(self, part: int, k: int, rng: np.random.Generator) -> FilmClip:
        film, chosen = self._draw(part, k, rng)
        questions = tuple(_with_options(question) for question in chosen)
        if self.run.cache:
            parts = [self._features(shot.story, shot.start_s, shot.stop_s) for shot in film.shots]
            features, frames = np.concatenate(parts), np.zeros((1, 1, 1, 3), np.uint8)
        else:
            shots = [read_story(self.run, shot.story.name, shot.start_s, shot.stop_s) for shot in film.shots]
            features, frames = None, np.concatenate(shots)
        right, *wrong = questions[0]
        shown = {"frames": frames, "image": frames[0], "features": features}
        answers = tuple(_answer_event(film, question) for question in chosen)
        words = {"text": right, "image_text": right, "wrong": (*wrong,), "questions": questions, "answers": answers}
        return FilmClip(**shown, **words, events=film.events)

    def _draw(self, part: int, k: int, rng: np.random.Generator) -> tuple[Film, list[SceneQuestion]]:
        for number in range(k * _TRIES, (k + 1) * _TRIES):
            group = join_films(self._parts[part], self.run.seed, number, self._shots[part])
            one = int(rng.integers(FILMS))
            if questions := group_questions(group, self.run.seed, number)[one]:
                return group[one], questions
        raise BadInput(f"no question can be asked about films of {self.run.data}; make more stories, of 8 seconds")

    def _features(self, story: Story, start_s: int, stop_s: int) -> Features:
        features = np.load(no_pipe(_features_of(self.run, story)), mmap_mode="r", allow_pickle=False)
        slots = self.run.frame_rate / self.run.config.video.tubelet[0]
        return np.asarray(features[round(start_s * slots) : round(stop_s * slots)])


def _with_options(question: SceneQuestion) -> tuple[str, ...]:
    """Write a question with each of its options, the correct one first."""
    options = question.answer, *(option for option in question.options if option != question.answer)
    return tuple(f"{question.text} {option}" for option in options)


def _answer_event(film: Film, question: SceneQuestion) -> CaptionedEvent:
    """Place a question with its correct answer at the hand's action on the object, which occurs in only one shot."""
    own = [event for event in film.events if event.thing == question.answer]
    start, stop = min(event.start_s for event in own), max(event.stop_s for event in own)
    return CaptionedEvent(start_s=start, stop_s=stop, thing=question.answer, caption=f"{question.text} {question.answer}")


def _count_shots(most: int) -> int:
    """Count the shots of a film: 4, 7, 10, ...; 0 if there are fewer."""
    return (most - 1) // FILMS * FILMS + 1 if most >= FILMS + 1 else 0


def read_stories(place: Path) -> list[Story]:
    """Read the stories of a films folder. Raises BadInput for another folder."""
    if not (place / "stories.jsonl").is_file():
        raise BadInput(f"{place} holds no stories.jsonl; give a folder of tapetum scenes films")
    stories = []
    for entry in line_entries(place / "stories.jsonl"):
        name, seconds = entry.file_name("name"), entry.fields.get("seconds")
        if not isinstance(seconds, int | float) or not 0 < seconds <= 60 or not (place / "stories" / f"{name}.mp4").is_file():
            raise BadInput(f"{entry.where}: a story of {seconds} seconds, or without its file {name}.mp4; make the films again")
        events = tuple(_event(each, seconds) for each in entry.entries("events"))
        stories.append(Story(name=name, seconds=float(seconds), events=events))
    if not stories:
        raise BadInput(f"{place / 'stories.jsonl'} lists no story; make the films again")
    return stories


def _event(entry: JsonEntry, seconds: float) -> CaptionedEvent:
    times = [entry.fields.get(name) for name in ("start_s", "stop_s")]
    if not all(isinstance(time, int | float) and 0 <= time <= seconds for time in times):
        raise BadInput(f"{entry.where}: an event from {times[0]} to {times[1]} in a story of {seconds} s; make the films again")
    start, stop = map(float, times)  # pyright: ignore[reportArgumentType]
    return CaptionedEvent(start_s=start, stop_s=stop, thing=entry.text("thing"), caption=entry.text("caption"))


def read_story(run: VideoTextRun, name: str, start_s: float = 0.0, stop_s: float | None = None) -> Frames:
    """Decode a part of a story at the run's frame rate and size."""
    with open_video(Path(run.data) / "stories" / f"{name}.mp4") as video:
        numbers = FrameSelection(frame_rate=run.frame_rate, start_s=start_s, stop_s=stop_s).numbers(video)
        frames = video[numbers]
    return np.stack([resize_frame(frame, run.size, run.size) for frame in frames])


def moments_of(events: Sequence[CaptionedEvent], moments: int, moment_s: float) -> Bool[np.ndarray, "events moments"]:
    """Find the moments of each event: those with their middle inside it, or else the nearest.

    >>> event = CaptionedEvent(start_s=1.2, stop_s=3.6, thing="the cup", caption="")
    >>> moments_of([event], 5, 1.0).astype(int).tolist()
    [[0, 1, 1, 1, 0]]
    """
    middles = (np.arange(moments) + 0.5) * moment_s
    inside = np.zeros((len(events), moments), bool)
    for row, event in zip(inside, events, strict=True):
        row[:] = (middles >= event.start_s) & (middles <= event.stop_s)
        if not row.any():
            row[np.abs(middles - (event.start_s + event.stop_s) / 2).argmin()] = True
    return inside


@torch.inference_mode()
def write_features(run: VideoTextRun, model: VideoText, say: Callable[[str], None] = print) -> None:
    """Compute the features of all stories missing from the run's cache.

    Raises BadInput if they would change during training, or the cache is of other weights or stories.
    """
    place, cache = Path(run.data), Path(run.cache)
    tubelets = model.video.tubelets
    if run.tune != "last-4" or tubelets.kernels:
        raise BadInput(f"--cache {cache}: the tubelets learn with --tune {run.tune}, so features change; give --tune last-4")
    if run.frame_rate % tubelets.config.tubelet[0]:
        step = tubelets.config.tubelet[0]
        raise BadInput(f"--frame-rate {run.frame_rate}: whole tubelets must make a second; give a multiple of {step}")
    digest = blake2b(read_bytes(place / "stories.jsonl"), digest_size=8)
    for name, tensor in tubelets.video.state_dict().items():
        digest.update(name.encode() + tensor.detach().float().cpu().contiguous().numpy().tobytes())
    settings = {"of": digest.hexdigest(), "size": run.size, "frame_rate": run.frame_rate}
    changed = changed_settings(cache / "settings.json", settings, "remove the folder and run the same command again")
    if changed:
        raise BadInput(f"{cache} holds features of other weights, stories or frames; give another --cache, or remove it")
    if changed is None:
        if cache.exists() and any(cache.iterdir()):
            raise BadInput(f"{cache} holds other files; give a --cache that is empty or not there yet")
        cache.mkdir(parents=True, exist_ok=True)
        write_json(cache / "settings.json", settings)
    missing = [story for story in read_stories(place) if not _features_of(run, story).exists()]
    for story in missing:
        with whole_file(_features_of(run, story), own=True) as temporary, temporary.open("wb") as file:
            np.save(file, compute_features(model, read_story(run, story.name)))
    if missing:
        say(f"{cache}: features of {len(missing)} stories computed")


def has_features(run: VideoTextRun) -> bool:
    """Check whether the features of all stories are in the run's cache."""
    return all(_features_of(run, story).exists() for story in read_stories(Path(run.data)))


def _features_of(run: VideoTextRun, story: Story) -> Path:
    return Path(run.cache) / f"{story.name}.npy"


def compute_features(model: VideoText, frames: Frames) -> Features:
    """Compute the features of frames, rounded to float16."""
    pixels = torch.from_numpy(frames).to(model.log_scale.device).float() / 127.5 - 1
    return model.video.tubelets.compute_features(pixels[None])[0].half().cpu().numpy()
