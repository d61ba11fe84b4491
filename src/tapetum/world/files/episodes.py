"""Videos of the physical world with sound and full annotations.

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
from functools import partial
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput, Listener
from tapetum.data.entries import write_lines
from tapetum.data.perception import write_annotations
from tapetum.data.textures import Textures
from tapetum.data.video_language import OPTIONS as MANY
from tapetum.data.video_language import EgoQuestion, write_egoschema
from tapetum.world.files.annotations import mc_questions
from tapetum.world.files.items import begin, make_items, question_row, questions_of, read_truth, write_truth
from tapetum.world.files.recording import EpisodeRequest, Recording
from tapetum.world.physics import STORIES
from tapetum.world.words import SceneQuestion

FOLDERS = ("videos", "audios", "episodes", "tapvid", "tapvid3d", "egoschema")
OPTIONS = 3
"""Of a question, as in the Perception Test."""


def make_episodes(request: EpisodeRequest, listener: Listener) -> tuple[int, Path, int]:
    """Make videos with sound and annotations; returns the frames of each, the annotation file, and the number of questions.

    Resumes where it was interrupted. Raises BadInput for numbers that yield no video, for textures that cannot be read, for a
    folder of another request; MissingExtra without MuJoCo.
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
    frames = round(request.seconds * request.frame_rate) if request.frame_rate > 0 and request.seconds < float("inf") else 0
    if frames < 1 or not 1 <= request.frame_rate <= 120:
        raise BadInput(
            f"episodes of {request.seconds} s at {request.frame_rate} frames a second; give --frame-rate from 1 to 120, and "
            "--seconds for one frame or more"
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

    def long() -> Iterator[EgoQuestion]:
        for name, choices in choices_of(MANY):
            fit = [q for q in choices if len(q.options) == MANY and (q.span is None or q.span[1] >= request.seconds - 1e-6)]
            for i, q in enumerate(fit):
                yield EgoQuestion(uid=f"{name}-{i}", video=name, text=q.text, options=q.options, answer=q.correct)

    write_lines(out / "captions.jsonl", captions())
    write_lines(out / "questions.jsonl", (question_row(name, q) for name, choices in choices_of(OPTIONS) for q in choices))
    write_egoschema(out / "egoschema", long)
