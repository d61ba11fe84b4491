"""`tapetum scenes images`, `episodes` and `films`: images and videos of a simulated physical world, with exact ground truth."""

from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.verb import File, Listener, Result, narrowed, verb


@dataclass(frozen=True)
class ItemOptions:
    """Options that images, episodes and films share."""

    out: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="DIR")]
    """Folder to write into; items that are there from the same command are not made again."""
    _: KW_ONLY
    n: int
    """How many."""
    seed: int = 0
    """The same seed makes the same files, whatever the number of workers."""
    size: int = 256
    """Width and height in pixels, 16 to 2048."""
    textures: Annotated[File | None, tyro.conf.arg(metavar="PATH")] = None
    """Folder or parquet file of images to paint surfaces with, or its address; by default patterns that are made up."""
    workers: int = 1
    """Processes that work at a time on this machine."""
    engine: Literal["local", "ray"] = "local"
    """What works: processes of this machine, or Ray on a cluster or this machine (needs tapetum[cluster])."""

    def paths(self) -> dict[str, Any]:
        """Convert the options that are paths."""
        return {"out": Path(self.out), "textures": None if self.textures is None else Path(self.textures)}


@dataclass(frozen=True)
class ImagesOptions(ItemOptions):
    """Make images with boxes, masks, captions and questions, as JSON lines, files of COCO and tar shards.

    A run that was interrupted goes on when it is started again.
    """


@dataclass(frozen=True, kw_only=True)
class ImagesMade(Result):
    """Images in a folder."""

    out: Path
    images: int
    """How many."""
    size: int
    """Width and height in pixels."""
    objects: int
    """Things of which anything is seen, in all of them."""
    questions: int
    """About all of them."""

    def as_text(self) -> str:
        lines = [f"made {self.images} images with {self.objects} things and {self.questions} questions"]
        lines += [f"coco    {self.out / 'coco'}", f"shards  {self.out / 'shards'}", f"lines   {self.out / 'images.jsonl'}"]
        return "\n".join(lines)


@verb(ImagesOptions, data=("textures",))
def images(options: ImagesOptions, listener: Listener) -> ImagesMade:
    """Make images with boxes, masks, captions and questions, as JSON lines, COCO files and tar shards.

    An interrupted run resumes when started again. Raises BadInput for numbers that yield no image, for textures
    that cannot be read, and for a folder that belongs to another run.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     images(folder, n=1, size=32).images
    1
    """
    from tapetum_world.files.images import ItemRequest, make_images

    request = narrowed(ItemRequest, options, **options.paths())
    objects, questions = make_images(request, listener)
    return ImagesMade(out=request.out, images=options.n, size=options.size, objects=objects, questions=questions)


@dataclass(frozen=True)
class EpisodesOptions(ItemOptions):
    """Make videos with sound, annotated in the formats of the Perception Test, TAP-Vid, TAPVid-3D and EgoSchema.

    A run that was interrupted goes on when it is started again.
    """

    seconds: float = 8.0
    """Length of each, at most 60."""
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

    def as_text(self) -> str:
        lines = [f"made {self.episodes} videos of {self.frames} frames with {self.questions} questions"]
        lines += [f"annotations  {self.annotations}", f"tapvid       {self.out / 'tapvid'}"]
        return "\n".join([*lines, f"tapvid3d     {self.out / 'tapvid3d'}"])


@verb(EpisodesOptions, data=("textures",))
def episodes(options: EpisodesOptions, listener: Listener) -> EpisodesMade:
    """Make videos with sound, annotated in the formats of the Perception Test, TAP-Vid, TAPVid-3D and EgoSchema.

    An interrupted run resumes when started again. Raises BadInput for numbers that yield no video, for textures
    that cannot be read, and for a folder that belongs to another run.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     episodes(folder, n=1, size=32, seconds=0.2, points=4).frames
    5
    """
    from tapetum_world.files.episodes import EpisodeRequest, make_episodes

    request = narrowed(EpisodeRequest, options, **options.paths())
    frames, annotations, questions = make_episodes(request, listener)
    return EpisodesMade(
        out=request.out, episodes=options.n, frames=frames, size=options.size, annotations=annotations, questions=questions
    )


@dataclass(frozen=True)
class FilmsOptions(ItemOptions):
    """Make films of minutes by joining short stories in many orders, with questions that need the memory of earlier ones.

    For `tapetum train longvideo --stage films`, `tapetum eval longvideo --task episodes` and `tapetum search`. A run
    that was interrupted goes on when it is started again.
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

    def as_text(self) -> str:
        made = f"made {self.films} films of {self.seconds:.0f} seconds together, of {self.usable} of {self.stories} stories"
        return f"{made}\n{self.questions} questions, {self.moments} moments\nfilms  {self.out / 'videos'}"


@verb(FilmsOptions, data=("textures",))
def films(options: FilmsOptions, listener: Listener) -> FilmsMade:
    """Make films of minutes by joining short stories in many orders, with questions that need memory of earlier stories.

    An interrupted run resumes when started again. Raises BadInput for numbers that yield no film, for too few
    stories, and for a folder that belongs to another run.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     films(folder, n=1, size=32, seconds=1, stories=6, minutes=0.05).films
    1
    """
    from tapetum_world.files.films import FilmRequest, make_films

    request = narrowed(FilmRequest, options, **options.paths())
    return FilmsMade(out=request.out, **asdict(make_films(request, listener)))
