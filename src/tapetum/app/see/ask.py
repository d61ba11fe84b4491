"""`tapetum.ask`: visual question answering, about images or about a video."""

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import tyro

from tapetum.app.see.answer_model import with_model
from tapetum.app.see.ask_models import see
from tapetum.app.see.replies import ImageReplies
from tapetum.app.see.settings import CLASSIFIER, Request, SeeSettings, is_bundled
from tapetum.app.verb import Listener, one_text, verb
from tapetum.systems.paligemma import prompts


@dataclass(frozen=True)
class AskOptions(SeeSettings):
    """Answer a question about images, or about a video.

    By default the classifier efficientnet-lite2 answers about photographs (what this is, what animal it is, whether there is a
    dog), where the extra [imagenet] is installed; about images of tapetum scenes paligemma-nano-2, which knows simple things on
    a table, their colours and places.
    """

    images: tyro.conf.Positional[tuple[Annotated[Any, one_text("IMAGE")], ...]]
    """Images, folders of some, videos with --frames, or addresses of these. In Python also one alone, and arrays (h, w, 3)
    or (n, h, w, 3), which is a video with --frames."""
    question: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="QUESTION")]
    """What to ask of each. The bundled models are told it in the words that they know, where they say the same; others in
    yours."""
    _: KW_ONLY
    language: Annotated[str, tyro.conf.arg(metavar="CODE")] = "en"
    """Language of the answer."""
    raw: bool = False
    """Say the question as it is, without "answer en" before it, and in no other words: for models that were taught other
    prompts."""
    together: bool = False
    """Ask once about all images together, in their order."""


@verb(AskOptions, data=("images",))
def ask(options: AskOptions, listener: Listener) -> ImageReplies:
    """Answer a question about each image or video, or about all images together.

    Unreadable images are reported to the listener. Raises BadInput if there are no images or none can be read, the question is
    empty or too long, or the model is not on this machine.
    """
    settings = with_model(options, options.images)
    prompt = question = options.question
    if not options.raw and question.strip():
        if options.language == "en":
            question = _in_known_words(question, settings.model)
        prompt = prompts.answer(question, options.language)
    if settings.model == CLASSIFIER:
        from tapetum.app.see.photo_questions import read_question

        for remark in read_question(prompt).remarks():
            listener.note(remark)
    return see(settings, options.images, Request(prompt=prompt, kind="words"), listener, options.together)


def _in_known_words(question: str, model: str) -> str:
    """Rewrite a question in the form a bundled model was trained on; for other models it is unchanged."""
    if is_bundled(model):
        from tapetum.systems.paligemma.canonical_questions import canonical_question

        return canonical_question(question)
    return question
