"""Questions to models about one frame, through `tapetum ask`, caption, detect, segment and classify."""

import base64
import io
from pathlib import Path
from typing import Any

from tapetum.app.see.settings import CLASSIFIER
from tapetum.app.verb import Listener
from tapetum.bench.word_models import describe_model, fetch_command
from tapetum.core.errors import BadInput
from tapetum.desk.web.answers import Refused
from tapetum.desk.web.database import FILE, Database
from tapetum.desk.web.hidden import HIDDEN
from tapetum.desk.web.items import Items, MediaItem
from tapetum.desk.web.models import answer_models, choose, label_models
from tapetum.video import open_video

VERBS = ("ask", "caption", "detect", "segment", "classify")
_LONGEST = 10_000
_MOST_LABELS = 1000
_SHOWN = 10
"""Number of the best labels in an answer."""
_IMAGENET = "{}: knows the 1,000 classes of ImageNet (animals, plants, food, tools, vehicles, places), not people"
_WORDS = "{}: compares the image with the labels; a share says which label fits best, not that it is right"


def read_look(content: dict[str, Any], item: MediaItem, words: str | None = None) -> dict[str, Any]:
    """Validate a received question: verb, frame, text, labels, model. Raises Refused with 400 for invalid ones.

    `words` is the image-text encoder given to the server, in addition to those on this machine.
    """
    verb, frame, text = content.get("verb"), content.get("frame", 0), content.get("text", "")
    labels = content.get("labels") or []
    if verb not in VERBS:
        raise Refused(400, f"there is no verb {str(verb)[:40]!r}; choose one of {', '.join(VERBS)}")
    if type(frame) is not int or not 0 <= frame < item.frames:
        raise Refused(400, f"frame {str(frame)[:40]} is not in {item.name}, which has frames 0 to {item.frames - 1}")
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise Refused(400, f"the text is no text of at most {_LONGEST} letters; give a shorter one")
    if verb in ("ask", "detect", "segment") and not text.strip():
        raise Refused(400, f"{verb} needs a text: {'a question' if verb == 'ask' else 'what to look for'}")
    if not isinstance(labels, list) or len(labels) > _MOST_LABELS or not all(isinstance(each, str) for each in labels):
        raise Refused(400, f"labels are no list of at most {_MOST_LABELS} texts; give such a list")
    labels = [each for each in labels if each.strip()]
    model, loads = None, None
    if labels and verb == "classify":
        models = label_models(words)
        if not models:
            raise Refused(400, f"no model of this machine compares images with labels of your own; {fetch_command()}")
        model = choose(content.get("model"), list(models))
        loads = models[model]
    elif verb != "classify" and content.get("model"):
        model = choose(content["model"], answer_models())
    return {"verb": verb, "frame": frame, "text": text, "labels": labels, "model": model, "loads": loads}


def work(job: dict[str, Any], folder: Path, listener: Listener) -> dict[str, Any]:
    """Ask the model of a job; the result is the verb's --json, with masks also as PNGs. Raises BadInput as the verb."""
    database, settings = Database(folder / HIDDEN / FILE), job["settings"]
    try:
        item = Items(database, folder).get(job["item"])
    finally:
        database.close()
    listener.status("loading the model")
    with open_video(item.path) as video:
        try:
            image = video[settings["frame"]]
        except IndexError:  # damage cut it short
            raise BadInput(f"{item.name} has no frame {settings['frame']}; choose an earlier one") from None
    if settings["verb"] == "classify":
        return _fit(image, settings, listener) if settings["labels"] else _classify(image, listener)
    replies = _replies(settings["verb"], image, settings["text"], settings.get("model") or CLASSIFIER, listener)
    content = replies.as_json()
    content["masks"] = [_as_png(mask) for each in replies.images for mask in each.masks.masks]
    return {"result": content, "model": describe_model(replies.model)}


def _replies(verb: str, image: Any, text: str, model: str, listener: Listener) -> Any:
    from tapetum.app.see import ask, caption, detect, segment

    if verb == "ask":
        return ask.ask.run(ask.AskOptions((image,), text, model=model), listener)
    if verb == "caption":
        return caption.caption.run(caption.CaptionOptions((image,), model=model), listener)
    if verb == "detect":
        return detect.detect.run(detect.DetectOptions((image,), text, model=model), listener)
    return segment.segment.run(segment.SegmentOptions((image,), text, model=model), listener)


def _classify(image: Any, listener: Listener) -> dict[str, Any]:
    from tapetum.app.see import classify

    made = classify.classify.run(classify.ClassifyOptions((image,)), listener)
    return {"result": made.as_json(), "model": _IMAGENET.format(CLASSIFIER)}


def _fit(image: Any, settings: dict[str, Any], listener: Listener) -> dict[str, Any]:
    """Compare a frame with labels, as `tapetum classify --labels` does, except that a label never names a file of labels."""
    from tapetum.app.see.classify_labels import chosen_templates, fit_labels
    from tapetum.transfer.zero_shot import check_labels

    labels, templates = check_labels(settings["labels"], _MOST_LABELS), chosen_templates("photo", ())
    made = fit_labels(settings["loads"], [("frame", image)], labels, templates, "auto", _SHOWN, listener)
    return {"result": {**made.as_json(), "model": settings["model"]}, "model": _WORDS.format(settings["model"])}


def _as_png(mask: Any) -> str:
    """Encode a mask as the data address of a PNG, white inside the mask."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(mask).convert("L").save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
