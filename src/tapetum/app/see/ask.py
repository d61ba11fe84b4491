"""`tapetum.ask`: visual question answering, about images or about a video."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.app.see.answer_model import with_model
from tapetum.app.see.ask_models import see
from tapetum.app.see.replies import ImageReplies, ImageReply
from tapetum.app.see.settings import AUTO, Request, SeeSettings, is_bundled, names_photographs
from tapetum.app.verb import Listener, one_text, verb
from tapetum.core.errors import BadInput
from tapetum.core.reading import check_length
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
    yours. Of a video, what moves, which way, how fast, and how often it passes is measured in tracks, without --frames."""
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
    if (films := _films(options)) and (made := _ask_of_motion(options, films, listener)):
        return made
    settings = with_model(options, options.images)
    prompt = question = options.question
    if not options.raw and question.strip():
        if options.language == "en":
            question = _in_known_words(question, settings.model)
        prompt = prompts.answer(question, options.language)
    if names_photographs(settings.model):
        from tapetum.app.see.photo_questions import read_question

        for remark in read_question(prompt).remarks():
            listener.note(remark)
    return see(settings, options.images, Request(prompt=prompt, kind="words"), listener, options.together)


def _films(options: AskOptions) -> list[Any]:
    """List what is asked about if it is videos alone, and no other model is named."""
    from tapetum.video import Video
    from tapetum.video.images import VIDEOS
    from tapetum.video.read import in_memory, list_sources

    if not (options.model == AUTO or names_photographs(options.model)) or options.raw or options.together:
        return []

    def is_film(source: Any) -> bool:
        if not in_memory(source):
            return Path(source).suffix.lower() in VIDEOS
        return isinstance(source, Video) or (options.frames is not None and getattr(source, "ndim", 0) == 4)

    sources = list_sources(options.images, "videos")
    return sources if all(map(is_film, sources)) else []


def _ask_of_motion(options: AskOptions, films: list[Any], listener: Listener) -> ImageReplies | None:
    """Answer a question about what moves in videos, as `tapetum.answer` does; None if it is about something else."""
    from tapetum.app.see.film_motion import TRACKER, answer_motion, own_options, read_motion
    from tapetum.systems.paligemma.answers import Reply
    from tapetum.video import open_video
    from tapetum.video.read import name_of

    check_length(options.question, "the question")
    answers = own_options(options.question)
    if not answers or not (claims := read_motion(options.question, answers)):
        return None
    if options.out is not None or options.report is not None:
        raise BadInput("what moves is measured, and nothing is drawn; leave out --out and --report")
    replies = []
    for number, film in enumerate(films):
        with open_video(film) as video:
            made = answer_motion(video, claims, answers, options.model, options.device, listener)
            reply = Reply(text=made.answer, ids=(), log_probabilities=(), ended=True)
            size, name = (video.width, video.height), name_of(film, number)
            replies.append(ImageReply.of(name, options.question, reply, None, size, len(video), None))
        for remark in made.remarks:
            listener.line(remark)
    return ImageReplies(images=tuple(replies), model=TRACKER)


def _in_known_words(question: str, model: str) -> str:
    """Rewrite a question in the form a bundled model was trained on; for other models it is unchanged."""
    if is_bundled(model):
        from tapetum.systems.paligemma.canonical_questions import canonical_question

        return canonical_question(question)
    return question
