"""Settings shared by `ask`, `caption`, `detect` and `segment`, and the model that they use."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.app.commands import Device
from tapetum.app.verb import File, one_text
from tapetum.core.devices import choose_device
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options
from tapetum.core.identity import fingerprint

if TYPE_CHECKING:
    from tapetum.app.see.photo_answers import PhotoAnswerer
    from tapetum.systems.image_text.model import ImageTextModel
    from tapetum.systems.paligemma.answers import Answerer

    AnyAnswerer = Answerer | PhotoAnswerer | ImageTextModel

CANNOT_SAY = "I cannot say"
CLASSIFIER = "efficientnet-lite2"
"""Default model: the classifier that names photographs (`app.see.photo_answers`)."""
READS_WORDS = (
    "a vision-language model, such as --model smolvlm-500m (Apache-2.0; tapetum weights fetch smolvlm-500m), or --model "
    "paligemma2-3b-mix-224, which needs the Gemma licence"
)
"""What answers questions that a classifier cannot."""


@dataclass(frozen=True, kw_only=True)
class SeeSettings:
    """Settings of how images are shown to the model, and where its replies are written."""

    model: Annotated[str, tyro.conf.arg(metavar="NAME|FILE|DIR")] = CLASSIFIER
    """Name of weights (see: tapetum weights list), a file of them with its tokenizer beside it, or a folder of Hugging Face.
    The default, of the extra [imagenet], knows nouns; for any words give a vision-language model."""
    model_config: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """What a file that does not say it is, such as paligemma-3b-224 for an official .npz; its tokenizer lies beside it."""
    frames: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Show so many frames of a video, evenly spread; without it, videos and animated images are refused."""
    tokens: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """The most tokens of an answer; by default 64 for words, 256 for boxes and masks."""
    beams: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Follow so many answers at a time and give the likeliest; 1 takes the likeliest token each time."""
    resize: Literal["reference", "reference-plain", "reference-video", "transformers"] = "reference"
    """How images become square: bilinear as the published training did, with antialias or plain, or as transformers does."""
    masks: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE")] = None
    """Codec of masks; by default the one that comes along, for official weights paligemma-masks-official."""
    out: Annotated[File | None, tyro.conf.arg(metavar="FILE.png|FILE.json|DIR")] = None
    """Draw what was said: a file for one image, a folder for several; a folder also gets NAME.json of each, and what is there
    is not done again. A file .json gets what was said of all, and nothing is drawn."""
    report: Annotated[File | None, tyro.conf.arg(metavar="FILE.html")] = None
    """Write a page that needs no network: a row an image, drawn, the least sure first."""
    engine: Literal["local", "ray"] = "local"
    """What works on several images: processes of this machine, or Ray on a cluster or this machine (needs tapetum[cluster])."""
    workers: int = 1
    """Processes that work at a time on this machine; each loads the model. Of one process several images make a batch."""
    device: Device = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the weights."""

    def check(self) -> None:
        """Raise `BadInput` for numbers that cannot work."""
        check_options(self, frames="[1, inf)", tokens="[1, inf)", beams="[1, inf)", workers="[1, inf)")


@dataclass(frozen=True)
class ImageOptions(SeeSettings):
    """Images, and settings of how they are shown to the model."""

    images: tyro.conf.Positional[tuple[Annotated[Any, one_text("IMAGE")], ...]]
    """Images, folders of some, videos with --frames, or addresses of these. In Python also one alone, and arrays (h, w, 3)
    or (n, h, w, 3), which is a video with --frames."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Prompt for each image, and the kind of its reply."""

    prompt: str
    """As PaliGemma was taught."""
    kind: Literal["words", "boxes", "masks"]
    task: Literal["ask", "say", "caption", "detect", "segment"]
    text: str = ""
    """Question or things, in the user's words."""
    language: str = "en"

    @property
    def tokens(self) -> int:
        """Choose the maximum number of tokens of an answer, unless the user sets it."""
        return 64 if self.kind == "words" else 256


def names_photographs(model: object) -> bool:
    """Check whether a model names photographs by ImageNet's nouns: the classifier, or a named encoder of images and words."""
    from tapetum.hub.registry import entry_of

    entry = entry_of(model) if isinstance(model, str) else None
    return entry is not None and {"ask", "classify"}.issubset(entry.verbs)


def prompt_for(answerer: "AnyAnswerer", request: Request) -> str:
    """Choose what is said to a model: PaliGemma's prompt, or words of a turn in a chat."""
    from tapetum.systems.image_text.model import ImageTextModel

    is_chat = isinstance(answerer, ImageTextModel)
    return answerer.words(request.task, request.text, request.language) if is_chat else request.prompt


def is_image_text(model: object) -> bool:
    """Check whether a name or a folder is of a model of transformers other than PaliGemma, by its config."""
    from tapetum.core.reading import read_json
    from tapetum.hub.registry import resolve

    try:
        path = Path(str(model))
        path = path if path.is_dir() else resolve(path)[0]
        kind = read_json(path / "config.json").get("model_type")
    except (BadInput, OSError, ValueError, AttributeError):
        return False
    return kind not in (None, "paligemma")


def load_answerer(settings: SeeSettings) -> "AnyAnswerer":
    """Load the requested model; the last one is cached for the next call."""
    files = [path for path in (settings.model, settings.masks) if path and Path(path).exists()]
    stamps = json.dumps([fingerprint(path) for path in files])
    device = choose_device(settings.device)
    if settings.resize != "reference" and is_image_text(settings.model):
        raise BadInput(f"--resize is for PaliGemma, and {settings.model} prepares images itself; leave it out")
    return _answerer(settings.model, settings.model_config, settings.masks, device, settings.dtype, stamps)


@lru_cache(maxsize=1)
def _answerer(model: str, config: str | None, masks: str | None, device: str | None, dtype: str, stamps: str) -> "AnyAnswerer":
    """Load a model; `stamps` are of its files, so that a changed one is reloaded."""
    from tapetum.hub.registry import known, resolve

    if model in known() or not Path(model).exists():
        resolve(model, "ask")  # what can be said without torch is said at once
    if names_photographs(model):
        from tapetum.app.see.photo_answers import PhotoAnswerer

        return PhotoAnswerer.load(model, device)
    import torch

    if is_image_text(model):
        from tapetum.systems.image_text.model import ImageTextModel

        if config or masks:
            raise BadInput(f"{model} says itself what it is, and writes no masks; leave out --model-config and --masks")
        return ImageTextModel.load(model, device, getattr(torch, dtype))
    from tapetum.systems.paligemma.answers import Answerer

    return Answerer.load(model, config=config, masks=masks, device=device, dtype=getattr(torch, dtype))
