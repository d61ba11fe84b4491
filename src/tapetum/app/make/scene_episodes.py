"""`tapetum.app.make.scenes.episodes`: videos of the physical world with sound and full annotations.

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
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tapetum.app.make.scene_items import ItemOptions, begin, make_items, question_row, questions_of, read_truth, write_truth
from tapetum.app.verb import Listener, Result, verb
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from tapetum.app.make.episode.recording import EpisodeRequest
    from tapetum.data.textures import Textures
    from tapetum.data.video_language.questions import EgoQuestion
    from tapetum.world.words import SceneQuestion

FOLDERS = ("videos", "audios", "episodes", "tapvid", "tapvid3d", "egoschema")
OPTIONS = 3
"""Of a question, as in the Perception Test."""


@dataclass(frozen=True)
class EpisodesOptions(ItemOptions):
    """Make videos with sound, annotated in the formats of the Perception Test, TAP-Vid, TAPVid-3D and EgoSchema.

    Needs tapetum[physics]. A run that was interrupted goes on when it is started again.
    """

    seconds: float = 8.0
    """Length of each; one of more than a minute is made in parts, so that memory does not grow."""
    frame_rate: float = 24.0
    """Frames per second."""
    points: int = 32
    """Tracks of points in each."""
    story: str | None = None
    """What happens, such as pour or cups-shuffle; by default one is drawn for each."""
    split: Literal["train", "valid"] = "train"
    """Part of a data set that they are said to be; give another seed for another part."""


@dataclass(frozen=True, kw_only=True)
class EpisodesMade(Result):
    """Videos in a folder."""

    out: Path
    episodes: int
    """How many."""
    frames: int
    """Of each."""
    size: int
    """Width and height in pixels."""
    annotations: Path
    """In the format of the Perception Test."""
    questions: int
    """Multiple-choice questions about all of them."""

    def as_json(self) -> dict[str, Any]:
        """Summarise."""
        return {**asdict(self), "out": str(self.out), "annotations": str(self.annotations)}

    def as_text(self) -> str:
        """Summarise."""
        lines = [f"made {self.episodes} videos of {self.frames} frames with {self.questions} questions"]
        lines += [f"annotations  {self.annotations}", f"tapvid       {self.out / 'tapvid'}"]
        return "\n".join([*lines, f"tapvid3d     {self.out / 'tapvid3d'}"])


@verb(EpisodesOptions, data=("textures",))
def episodes(options: EpisodesOptions, listener: Listener) -> EpisodesMade:
    """Make videos with sound, annotated in the formats of the Perception Test, TAP-Vid, TAPVid-3D and EgoSchema.

    A run that was interrupted goes on when it is started again. Raises BadInput for numbers that make no video, for textures
    that cannot be read, and for a folder that belongs to another run; MissingExtra without MuJoCo.

    >>> import tempfile
    >>> import tapetum
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tapetum.app.make.scenes.episodes(folder, n=1, size=32, seconds=0.2, points=4).frames
    5
    """
    frames = _check(options)
    begin(options, "episodes", FOLDERS)
    from tapetum.app.make.episode.annotations import mc_questions
    from tapetum.app.make.episode.recording import EpisodeRequest
    from tapetum.data.perception import write_annotations

    out = Path(options.out)
    names = [f"episode_{number:05d}" for number in range(options.n)]
    request = EpisodeRequest(**{name: getattr(options, name) for name in EpisodeRequest.__dataclass_fields__})
    make_items(options, "episodes", names, partial(_make, request, out.absolute()), listener)
    questions = 0

    def videos() -> Iterator[tuple[str, dict[str, Any]]]:
        nonlocal questions
        for name, choices in zip(names, questions_of(out, names, options.seed, OPTIONS), strict=True):
            rows = mc_questions(choices, options.frame_rate, frames)
            questions += len(rows)
            yield name, {**read_truth(out, name)["item"], "mc_question": rows}

    annotations = write_annotations(out / f"all_{options.split}.json", videos())
    _write_words(out, names, options)
    return EpisodesMade(
        out=out, episodes=options.n, frames=frames, size=options.size, annotations=annotations, questions=questions
    )


def _check(options: EpisodesOptions) -> int:
    """Return the frames of an episode. Raises BadInput where there would be none, or no such story."""
    from tapetum.world.physics import STORIES

    frames = round(options.seconds * options.frame_rate) if options.frame_rate > 0 and options.seconds < float("inf") else 0
    if frames < 1 or not 1 <= options.frame_rate <= 120:
        raise BadInput(
            f"episodes of {options.seconds} s at {options.frame_rate} frames a second; give --frame-rate from 1 to 120, and "
            "--seconds for one frame or more"
        )
    if options.points < 1:
        raise BadInput(f"asked for {options.points} tracks of points; give --points 1 or more")
    if options.story is not None and options.story not in STORIES:
        raise BadInput(f"there is no story {options.story!r}; give --story one of {', '.join(STORIES)}")
    return frames


def _make(request: "EpisodeRequest", out: Path, number: int, textures: "Textures") -> None:
    """Make one episode; its truth is written last."""
    from tapetum.app.make.episode.recording import Recording

    name = f"episode_{number:05d}"
    write_truth(out, name, Recording(request, out, number, name, textures).make())


def _write_words(out: Path, names: list[str], options: EpisodesOptions) -> None:
    """Write captions and questions of all episodes."""
    from tapetum.data.entries import write_lines
    from tapetum.data.video_language.questions import OPTIONS as MANY
    from tapetum.data.video_language.questions import EgoQuestion, write_egoschema

    def captions() -> Iterator[dict[str, Any]]:
        for name in names:
            truth = read_truth(out, name)
            yield {"video": name, "story": truth["story"], "caption": truth["caption"], "until_s": truth["told_s"]}

    def choices_of(number: int) -> Iterator[tuple[str, list["SceneQuestion"]]]:
        yield from zip(names, questions_of(out, names, options.seed, number), strict=True)

    def long() -> Iterator["EgoQuestion"]:
        for name, choices in choices_of(MANY):
            fit = [q for q in choices if len(q.options) == MANY and (q.span is None or q.span[1] >= options.seconds - 1e-6)]
            for i, q in enumerate(fit):
                yield EgoQuestion(uid=f"{name}-{i}", video=name, text=q.text, options=q.options, answer=q.correct)

    write_lines(out / "captions.jsonl", captions())
    write_lines(out / "questions.jsonl", (question_row(name, q) for name, choices in choices_of(OPTIONS) for q in choices))
    write_egoschema(out / "egoschema", long)
