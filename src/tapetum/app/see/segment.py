"""`tapetum.segment`: segmentation masks of objects in images, by text prompts; and the command, also by clicks."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.app.see.ask_models import see
from tapetum.app.see.replies import ImageReplies
from tapetum.app.see.segment_clicks import SEGMENTER, ClickSettings, SegmentClicksOptions, SegmentedVideo, segment_clicks
from tapetum.app.see.settings import CLASSIFIER, ImageOptions, Request, SeeSettings
from tapetum.app.verb import Listener, narrowed, one_text, verb
from tapetum.core.errors import BadInput
from tapetum.core.files import plain_name
from tapetum.systems.paligemma import prompts


@dataclass(frozen=True)
class SegmentOptions(ImageOptions):
    """Outline things that words name, in images.

    In photographs efficientnet-lite2 (extra [imagenet]) finds one thing for each noun, coarsely; a vision-language model, by
    --model, finds what any words name.
    """

    things: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="THINGS")]
    """What to outline, such as "cat", or "cat ; dog"."""


@verb(SegmentOptions, data=("images",))
def segment(options: SegmentOptions, listener: Listener) -> ImageReplies:
    """Find masks, with boxes and labels, of objects in each image, or in frames of videos.

    Malformed parts of the model's answer are dropped, and counted in the result. Raises BadInput as `tapetum.ask`.
    """
    request = Request(prompt=prompts.segment(options.things), kind="masks", task="segment", text=options.things)
    return see(options, request, listener)


@dataclass(frozen=True, kw_only=True)
class SegmentCommandOptions(ClickSettings, SeeSettings):
    """Outline what words name, in images; or what is clicked on, in an image or through a video.

    In photographs efficientnet-lite2 (extra [imagenet]) finds one thing for each noun, coarsely; a vision-language model, by
    --model, finds what any words name. Clicks and boxes work on anything, by sam2-tiny or another SAM 2 (extra [vlm]); results
    go to masks.json and overlay.mp4 in a folder, --out or the name of the video with -masks.
    """

    images: Annotated[
        tyro.conf.Positional[tuple[Annotated[Any, one_text("IMAGE")], ...]], tyro.conf.arg(metavar="IMAGE ... THINGS | VIDEO")
    ]
    """Images, folders of some, videos with --frames, or addresses of these, and last what to outline, such as "cat", or
    "cat ; dog". With --click or --box one video or image alone."""


_OF_CLICKS = "model", "out", "device"


@verb(SegmentCommandOptions, data=("images",))
def segment_any(options: SegmentCommandOptions, listener: Listener) -> ImageReplies | SegmentedVideo:
    """Run `tapetum segment`, by words or by clicks."""
    if not options.click and not options.box:
        if options.format != "coco":
            raise BadInput(f"--format {options.format} is of masks by --click or --box; add one, or leave it out")
        if len(options.images) < 2:
            raise BadInput(
                "say what to outline, as in: tapetum segment photo.jpg cat; or click on it: tapetum segment clip.mp4 "
                "--click 0,120,80"
            )
        *images, things = options.images
        return segment.run(narrowed(SegmentOptions, options, images=tuple(images), things=str(things)), listener)
    if len(options.images) != 1:
        raise BadInput("--click and --box outline objects in one video or image; give that alone, without words")
    for field in fields(SeeSettings):
        if field.name not in _OF_CLICKS and getattr(options, field.name) != field.default:
            raise BadInput(f"--{field.name.replace('_', '-')} does not go with --click or --box; leave it out")
    [video] = options.images
    out = options.out or Path(f"{plain_name(video)}-masks")
    model = SEGMENTER if options.model == CLASSIFIER else options.model
    return segment_clicks.run(narrowed(SegmentClicksOptions, options, video=video, out=out, model=model), listener)
