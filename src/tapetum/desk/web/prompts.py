"""Edits of the clicks and boxes on one object of a video, whose mask `mask_job` computes.

    sent, saved    prompt, with a frame, and a box or x, y, inside    clear_prompts

A frame has one box, the last that was drawn, and any number of clicks.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tapetum.core.reading import parse_json
from tapetum.desk.web.answers import Refused

if TYPE_CHECKING:
    from tapetum.tracks.masks import Prompt

KINDS = "prompt", "clear_prompts"


def replay_prompts(texts: Iterable[str]) -> list[dict[str, Any]]:
    """Read the prompts that result from saved edits, each as JSON: frame, box (or None), inside, outside, in the order of their
    frames' first mention. Raises Refused with 409 for edits no server saved."""
    frames: dict[int, dict[str, Any]] = {}
    try:
        for edit in map(parse_json, texts):
            if edit["type"] == "clear_prompts":
                frames.clear()
            elif edit["type"] == "prompt":
                frame, boxed = edit["frame"], "box" in edit
                places = edit["box"] if boxed else [edit["x"], edit["y"]]
                if type(frame) is not int or frame < 0 or (boxed and len(places) != 4) or not all(map(math.isfinite, places)):
                    raise ValueError
                prompt = frames.setdefault(frame, {"frame": frame, "box": None, "inside": [], "outside": []})
                if boxed:
                    prompt["box"] = places
                else:
                    prompt["inside" if edit["inside"] else "outside"].append(places)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        raise Refused(409, "the clicks are not as tapetum serve saves them; move .tapetum-web away and start over") from None
    return list(frames.values())


def as_prompts(prompts: list[dict[str, Any]]) -> "list[Prompt]":
    """Convert prompts to those of the solver."""
    from tapetum.tracks.masks import Prompt

    return [
        Prompt(
            frame=each["frame"],
            box=None if each["box"] is None else tuple(each["box"]),
            inside=tuple(map(tuple, each["inside"])),
            outside=tuple(map(tuple, each["outside"])),
        )
        for each in prompts
    ]
