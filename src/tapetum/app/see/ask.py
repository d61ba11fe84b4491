"""`tapetum.ask`: visual question answering, about images or about a video."""

from dataclasses import KW_ONLY, dataclass
from typing import Annotated

import tyro

from tapetum.app.see.ask_models import see
from tapetum.app.see.replies import ImageReplies
from tapetum.app.see.settings import ImageOptions, Request
from tapetum.app.verb import Listener, verb
from tapetum.systems.paligemma import prompts


@dataclass(frozen=True)
class AskOptions(ImageOptions):
    """Answer a question about images, or about a video.

    By default the classifier efficientnet-lite2 (extra [imagenet]) says what photographs show: "what is this?", "is there a
    dog?". Any other question needs a vision-language model, by --model.
    """

    question: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="QUESTION")]
    """What to ask of each."""
    _: KW_ONLY
    language: Annotated[str, tyro.conf.arg(metavar="CODE")] = "en"
    """Language of the answer."""
    raw: bool = False
    """Say the question as it is, without "answer en" before it: for models that were taught other prompts."""
    together: bool = False
    """Ask once about all images together, in their order."""


@verb(AskOptions, data=("images",))
def ask(options: AskOptions, listener: Listener) -> ImageReplies:
    """Answer a question about each image or video, or about all images together.

    Unreadable images are reported to the listener. Raises BadInput if there are no images or none can be read, the question is
    empty or too long, or the model is not on this machine.
    """
    verbatim = options.raw or not options.question.strip()
    prompt = options.question if verbatim else prompts.answer(options.question, options.language)
    task = "say" if options.raw else "ask"
    request = Request(prompt=prompt, kind="words", task=task, text=options.question, language=options.language)
    return see(options, request, listener, options.together)
