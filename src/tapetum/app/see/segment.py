"""`tapetum.segment`: segmentation masks of objects in images, by text prompts, or through a video, by clicks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.app.see.answer_model import with_region_model
from tapetum.app.see.ask_models import see
from tapetum.app.see.replies import ImageReplies
from tapetum.app.see.settings import Request, SeeSettings
from tapetum.app.track.segment_clicks import ClickSettings, SegmentClicksOptions, SegmentedClip, segment_clicks
from tapetum.app.verb import Listener, narrowed, one_text, verb
from tapetum.core.errors import BadInput
from tapetum.core.files import plain_name
from tapetum.systems.paligemma import prompts


@dataclass(frozen=True)
class SegmentOptions(SeeSettings):
    """Outline things that words name, in images.

    In photographs efficientnet-lite2 (extra [imagenet]) finds one thing for each noun, of a colour if named; in images of
    tapetum scenes paligemma-nano-2 finds simple things on a table, by their colours and places.
    """

    images: tyro.conf.Positional[tuple[Annotated[Any, one_text("IMAGE")], ...]]
    """Images, folders of some, videos with --frames, or addresses of these. In Python also one alone, and arrays (h, w, 3)
    or (n, h, w, 3), which is a video with --frames."""
    things: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="THINGS")]
    """What to outline, such as "cat", or "cat ; dog"."""


@verb(SegmentOptions, data=("images",))
def segment(options: SegmentOptions, listener: Listener) -> ImageReplies:
    """Find masks, with boxes and labels, of objects in each image, or in frames of videos.

    Malformed parts of the model's answer are dropped, and counted in the result. Raises BadInput as `tapetum.ask`.
    """
    prompt = prompts.segment(options.things)
    settings = with_region_model(options, options.images, prompt, listener)
    return see(settings, options.images, Request(prompt=prompt, kind="masks"), listener)


@dataclass(frozen=True, kw_only=True)
class SegmentCommandOptions(ClickSettings, SeeSettings):
    """Outline what words name, in images; or what is clicked on, through a video.

    In photographs efficientnet-lite2 (extra [imagenet]) finds one thing for each noun, of a colour if named; in images of
    tapetum scenes paligemma-nano-2 finds simple things on a table, by their colours and places. Clicks work on anything, by
    its colours, edges and motion; results go to masks.json and overlay.mp4 in a folder, --out or the name of the video with
    -masks.
    """

    images: Annotated[
        tyro.conf.Positional[tuple[Annotated[Any, one_text("IMAGE")], ...]], tyro.conf.arg(metavar="IMAGE ... THINGS | VIDEO")
    ]
    """Images, folders of some, videos with --frames, or addresses of these, and last what to outline, such as "cat", or
    "cat ; dog". With --click or --box one video or image alone."""


@verb(SegmentCommandOptions)
def segment_any(options: SegmentCommandOptions, listener: Listener) -> ImageReplies | SegmentedClip:
    """Run `tapetum segment`, by words or by clicks."""
    if not options.click and not options.box:
        if len(options.images) < 2:
            raise BadInput(
                "say what to outline, as in: tapetum segment photo.jpg cat; or click on it: tapetum segment clip.mp4 "
                "--click 0,120,80"
            )
        *images, things = options.images
        return segment.run(narrowed(SegmentOptions, options, images=tuple(images), things=str(things)), listener)
    if len(options.images) != 1:
        raise BadInput("--click and --box outline one object in one video or image; give that alone, without words")
    [video] = options.images
    out = options.out or Path(f"{plain_name(video)}-masks")
    return segment_clicks.run(narrowed(SegmentClicksOptions, options, video=video, out=out), listener)
