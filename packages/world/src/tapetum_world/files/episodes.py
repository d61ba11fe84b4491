"""Videos of the physical world with sound and full annotations.

episode ─► frames ─► mp4 ◄─ sound ◄─ episode
   │          └─► the clip (its first frames): TAP-Vid pickle, TAPVid-3D npz
   └─► record (.npz), wav, annotations

DIR/videos/NAME.mp4, audios/NAME.wav    the video with its sound, and the sound alone
DIR/all_train.json                      the Perception Test's annotations of all videos; a question that looks ahead has
                                        an entry `cut_frame`, where the video must end for it
DIR/tapvid/NAME.pkl                     TAP-Vid; the folder is read as one data set
DIR/tapvid3d/NAME.npz                   TAPVid-3D
DIR/egoschema/questions.json, subset_answers.json
DIR/captions.jsonl, questions.jsonl     the story of each video; all questions with what of the video they may see
DIR/episodes/NAME.npz                   the record itself: poses, contacts, actions, from which all else was made
DIR/truth/NAME.json                     annotations, and all questions that could be asked
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput, Listener
from tapetum.data.entries import write_lines
from tapetum.data.perception import write_annotations
from tapetum.data.questions import Question
from tapetum.data.textures import Textures
from tapetum.data.video_language import OPTIONS as MANY
from tapetum.data.video_language import write_egoschema
from tapetum.systems.tapvid3d.data import write_clip
from tapetum.tracks.tapvid import TapVidEntry, write_entries
from tapetum.video import write_video
from tapetum.video.images import encode_jpeg
from tapetum.video.sound import SoundTrack, wav_file
from tapetum_world.bodies.files import save_episode
from tapetum_world.files.annotations import annotate, mc_questions
from tapetum_world.files.items import (
    ItemRequest,
    begin,
    candidate_rows,
    first_valid_start,
    make_items,
    question_row,
    questions_of,
    read_truth,
    write_truth,
)
from tapetum_world.physics import STORIES, make_episode
from tapetum_world.rendering import GroundTruth, PointTracks, random_render_config, render_episode
from tapetum_world.sound import record
from tapetum_world.words import EpisodeEvents, SceneQuestion, episode_candidates, episode_caption
from tapetum_world.words.episodes import grounded_questions

LONGEST_S = 60.0
SOUND_RATE = 16000
CLIP_FRAMES, CLIP_BYTES = 250, 2**28
"""Most frames of a clip whose points are followed, as in TAP-Vid's own videos, and most bytes that they have."""


@dataclass(frozen=True, kw_only=True)
class EpisodeRequest(ItemRequest):
    """Episodes to record."""

    seconds: float
    frame_rate: float
    points: int
    story: str | None
    split: str


class Recording:
    """Makes episode `number` and its files in the folder `out`."""

    def __init__(self, request: EpisodeRequest, out: Path, number: int, name: str, textures: Textures):
        """Simulate the episode."""
        self.request, self.out, self.name, self.textures = request, out, name, textures
        size = (request.size, request.size)
        self.key, self.episode = first_valid_start(
            (request.seed, number),
            lambda key: make_episode(key, request.story, seconds=request.seconds, size=size, frame_rate=request.frame_rate),
        )
        self.clip: list[np.ndarray] = []
        """The first frames."""

    def make(self) -> dict[str, Any]:
        """Write video, sound, record and tracks; returns the ground truth of the episode."""
        out, name, episode = self.out, self.name, self.episode
        save_episode(episode, out / "episodes" / f"{name}.npz")
        samples, sounds = record(episode, SOUND_RATE)
        with wav_file(out / "audios" / f"{name}.wav", SOUND_RATE) as wav:
            wav.write(samples)
        sound = SoundTrack([samples], SOUND_RATE)
        write_video(out / "videos" / f"{name}.mp4", self._film(), self.request.frame_rate, sound=sound)
        events = EpisodeEvents(episode)
        item = annotate(
            episode,
            sounds,
            self._write_tracks(),
            grounded_questions(events),
            video_id=name,
            split=self.request.split,
            audio_samples=len(samples),
            audio_sample_rate=SOUND_RATE,
        )
        return {
            "id": name,
            "story": episode.settings.get("story", ""),
            "caption": episode_caption(events),
            "told_s": episode.seconds,
            "item": item,
            "candidates": candidate_rows(episode_candidates(episode, self.key)),
        }

    def _film(self) -> Iterator[np.ndarray]:
        config = random_render_config(np.random.default_rng((self.key, 6)))
        most = max(1, min(CLIP_FRAMES, CLIP_BYTES // (3 * self.request.size**2)))
        for frame in render_episode(self.episode, self.textures, config):
            if len(self.clip) < most:
                self.clip.append(frame.rgb)
            yield frame.rgb

    def _write_tracks(self) -> tuple[np.ndarray, PointTracks]:
        """Write the tracks of points through the clip; returns their bodies (n,) and their tracks through the whole video."""
        episode, count = self.episode, len(self.clip)
        truth = GroundTruth(replace(episode, frames=count))
        points, queried, xy = truth.sample(np.random.default_rng((self.key, 7)), self.request.points)
        followed = GroundTruth(episode).follow(points)
        clip = PointTracks(followed.xy[:, :count], followed.xyz[:, :count], followed.state[:, :count], followed.instance)
        shares = clip.xy / np.float32(self.request.size)
        entry = TapVidEntry(name=self.name, video=np.stack(self.clip), points=shares, occluded=~clip.visible)
        write_entries(self.out / "tapvid" / f"{self.name}.pkl", {self.name: entry})
        write_clip(
            self.out / "tapvid3d" / f"{self.name}.npz",
            tracks_XYZ=clip.xyz.transpose(1, 0, 2).astype(np.float64),
            visibility=clip.visible.T,
            queries_xyt=np.concatenate([xy, queried[:, None]], 1).astype(np.float64),
            fx_fy_cx_cy=episode.camera.intrinsics[0],
            images_jpeg_bytes=[encode_jpeg(frame) for frame in self.clip],
            extrinsics_w2c=episode.camera.world_to_camera[np.arange(count) * episode.moments_per_frame],
        )
        return points.body, followed


FOLDERS = ("videos", "audios", "episodes", "tapvid", "tapvid3d", "egoschema")
OPTIONS = 3
"""Of a question, as in the Perception Test."""


def make_episodes(request: EpisodeRequest, listener: Listener) -> tuple[int, Path, int]:
    """Make videos with sound and annotations; returns the frames of each, the annotation file, and the number of questions.

    Resumes where it was interrupted. Raises BadInput for numbers that yield no video, for textures that cannot be read, for a
    folder of another request.
    """
    frames = _check(request)
    begin(request, "episodes", FOLDERS)
    out = request.out
    names = [f"episode_{number:05d}" for number in range(request.n)]
    make_items(request, "episodes", names, partial(_make, request, out.absolute()), listener)
    questions = 0

    def videos() -> Iterator[tuple[str, dict[str, Any]]]:
        nonlocal questions
        for name, choices in zip(names, questions_of(out, names, request.seed, OPTIONS), strict=True):
            rows = mc_questions(choices, request.frame_rate, frames)
            questions += len(rows)
            yield name, {**read_truth(out, name)["item"], "mc_question": rows}

    annotations = write_annotations(out / f"all_{request.split}.json", videos())
    _write_words(out, names, request)
    return frames, annotations, questions


def _check(request: EpisodeRequest) -> int:
    """Return the frames of an episode. Raises BadInput if there would be none, or for an unknown story."""
    frames = round(request.seconds * request.frame_rate) if request.frame_rate > 0 and request.seconds <= LONGEST_S else 0
    if frames < 1 or not 1 <= request.frame_rate <= 120:
        raise BadInput(
            f"episodes of {request.seconds} s at {request.frame_rate} frames a second; give --frame-rate from 1 to 120, and "
            f"--seconds for one frame or more, at most {LONGEST_S:g}; tapetum scenes films makes longer videos"
        )
    if request.points < 1:
        raise BadInput(f"asked for {request.points} tracks of points; give --points 1 or more")
    if request.story is not None and request.story not in STORIES:
        raise BadInput(f"there is no story {request.story!r}; give --story one of {', '.join(STORIES)}")
    return frames


def _make(request: EpisodeRequest, out: Path, number: int, textures: Textures) -> None:
    """Make one episode; its ground truth is written last."""
    name = f"episode_{number:05d}"
    write_truth(out, name, Recording(request, out, number, name, textures).make())


def _write_words(out: Path, names: list[str], request: EpisodeRequest) -> None:
    """Write captions and questions of all episodes."""

    def captions() -> Iterator[dict[str, Any]]:
        for name in names:
            truth = read_truth(out, name)
            yield {"video": name, "story": truth["story"], "caption": truth["caption"], "until_s": truth["told_s"]}

    def choices_of(number: int) -> Iterator[tuple[str, list[SceneQuestion]]]:
        yield from zip(names, questions_of(out, names, request.seed, number), strict=True)

    def long() -> Iterator[Question]:
        for name, choices in choices_of(MANY):
            fit = [q for q in choices if len(q.options) == MANY and (q.span is None or q.span[1] >= request.seconds - 1e-6)]
            for i, q in enumerate(fit):
                key, options = f"{name}-{i}", tuple(q.options)
                yield Question(key=key, video=Path(name), question=q.text, options=options, right=q.correct)

    write_lines(out / "captions.jsonl", captions())
    write_lines(out / "questions.jsonl", (question_row(name, q) for name, choices in choices_of(OPTIONS) for q in choices))
    write_egoschema(out / "egoschema", long)
