"""`tapetum scenes`: synthetic videos and images with exact truth."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.scenes import EpisodesOptions, ImagesOptions, MakeOptions, episodes, images, make
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class Make(MakeOptions):
    """Make synthetic videos with exact truth, as a TAP-Vid pickle and TAPVid-3D files."""

    json: bool = False
    """Print a summary as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            made = make.run(self, listener)
        if self.json:
            print_json(made.as_json())
        else:
            print(f"made {made.videos} videos of {made.frames} frames\ntapvid  {made.tapvid}")


@dataclass(frozen=True, kw_only=True)
class Images(ImagesOptions):
    """Make images with boxes, masks, captions and questions, as JSON lines, files of COCO and tar shards.

    Needs tapetum[physics]. A run that was interrupted goes on when it is started again.
    """

    json: bool = False
    """Print a summary as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            made = images.run(self, listener)
        if self.json:
            print_json(made.as_json())
        else:
            print(f"made {made.images} images with {made.objects} things and {made.questions} questions")
            print(f"coco    {made.out / 'coco'}\nshards  {made.out / 'shards'}\nlines   {made.out / 'images.jsonl'}")


@dataclass(frozen=True, kw_only=True)
class Episodes(EpisodesOptions):
    """Make videos with sound, annotated in the formats of the Perception Test, TAP-Vid, TAPVid-3D and EgoSchema.

    Needs tapetum[physics]. A run that was interrupted goes on when it is started again.
    """

    json: bool = False
    """Print a summary as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            made = episodes.run(self, listener)
        if self.json:
            print_json(made.as_json())
        else:
            print(f"made {made.episodes} videos of {made.frames} frames with {made.questions} questions")
            print(f"annotations  {made.annotations}\ntapvid       {made.out / 'tapvid'}\ntapvid3d     {made.out / 'tapvid3d'}")


Action = (
    Annotated[Make, tyro.conf.subcommand("make", prefix_name=False)]
    | Annotated[Images, tyro.conf.subcommand("images", prefix_name=False)]
    | Annotated[Episodes, tyro.conf.subcommand("episodes", prefix_name=False)]
)


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Make synthetic videos and images with exact truth: painted facets (make), or a physical world (images, episodes)."""

    action: Action

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.action.run()
