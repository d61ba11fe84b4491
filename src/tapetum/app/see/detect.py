"""`tapetum.detect`: object detection by text prompts, in images, or through a video."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tapetum.app.see.ask_models import see
from tapetum.app.see.replies import ImageReplies
from tapetum.app.see.settings import ImageOptions, Request
from tapetum.app.track.track_things import FollowSettings, Things, ThingsOptions, track_things
from tapetum.app.verb import Listener, narrowed, verb
from tapetum.core.errors import BadInput
from tapetum.core.files import plain_name
from tapetum.systems.paligemma import prompts


@dataclass(frozen=True)
class DetectOptions(ImageOptions):
    """Find things that words name in images; the command can also follow them through a video."""

    things: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="THINGS")]
    """What to look for, such as "cat", or "cat ; dog"."""


@verb(DetectOptions, data=("images",))
def detect(options: DetectOptions, listener: Listener) -> ImageReplies:
    """Find boxes, with labels, around objects in each image, or in frames of videos.

    Malformed parts of the model's answer are dropped, and counted in the result. Raises BadInput as `tapetum.ask`.
    """
    request = Request(prompt=prompts.detect(options.things), kind="boxes", task="detect", text=options.things)
    return see(options, request, listener)


@dataclass(frozen=True, kw_only=True)
class DetectCommandOptions(FollowSettings, DetectOptions):
    """Find things that words name in images, or follow them through a video.

    In photographs efficientnet-lite2 (extra [imagenet]) finds one thing for each noun; a vision-language model, by --model,
    finds what any words name.
    With --track, results go to boxes.npz, boxes.csv and overlay.mp4 in a folder, --out or the name of the video with -boxes; or
    to one of these alone, where --out ends in .npz, .csv or .mp4.
    """

    track: bool = False
    """Follow what is found through the whole video: points in a box carry it, and it is looked for again where it is lost."""


@verb(DetectCommandOptions, data=("images",))
def detect_or_follow(options: DetectCommandOptions, listener: Listener) -> ImageReplies | Things:
    """Run `tapetum detect`, with or without --track."""
    if not options.track:
        if options.look_every is not None:
            raise BadInput("--look-every belongs to --track; add that, or leave it out")
        return detect.run(options, listener)
    if len(options.images) != 1:
        raise BadInput(f"{len(options.images)} videos were given; --track takes one")
    [video] = options.images
    out = options.out or Path(f"{plain_name(video)}-boxes")
    return track_things.run(narrowed(ThingsOptions, options, video=video, out=out), listener)
