"""`tapetum.ask`: visual question answering, about images or about a video."""

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import tyro

from tapetum.app.replies import ImageReplies
from tapetum.app.see import see
from tapetum.app.see_settings import Request, SeeSettings, is_bundled
from tapetum.app.verb import Listener, one_text, verb
from tapetum.systems.paligemma import prompts


@dataclass(frozen=True)
class AskOptions(SeeSettings):
    """Answer a question about images, or about a video.

    The default model, paligemma-nano, knows the world of tapetum scenes: simple things on a table, their colours and places.
    """

    images: tyro.conf.Positional[tuple[Annotated[Any, one_text("IMAGE")], ...]]
    """Images, folders of some, or videos with --frames. In Python also one alone, and arrays (h, w, 3)."""
    question: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="QUESTION")]
    """What to ask of each. paligemma-nano is told it in the words that it knows, where they say the same; others in yours."""
    _: KW_ONLY
    language: Annotated[str, tyro.conf.arg(metavar="CODE")] = "en"
    """Language of the answer."""
    raw: bool = False
    """Say the question as it is, without "answer en" before it, and in no other words: for models that were taught other
    prompts."""
    together: bool = False
    """Ask once about all images together, in their order."""


@verb(AskOptions)
def ask(options: AskOptions, listener: Listener) -> ImageReplies:
    """Answer a question about each image or video, or about all images together.

    The listener hears of images that cannot be read. Raises BadInput: there are no images or none can be read, the question
    is empty or too long, or the model is not on this machine.
    """
    prompt = question = options.question
    if not options.raw and question.strip():
        from tapetum.systems.paligemma.nano.canonical_questions import canonical_question

        plain = options.language == "en" and is_bundled(options.model)
        prompt = prompts.answer(canonical_question(question) if plain else question, options.language)
    return see(options, options.images, Request(prompt=prompt, kind="words"), listener, options.together)
