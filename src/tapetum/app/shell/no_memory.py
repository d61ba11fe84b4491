"""Messages for out-of-memory errors: what was too large, judged by where in the package it was allocated, and what to do."""

import re
import traceback
from typing import NamedTuple


class _Thing(NamedTuple):
    what: str
    advice: str
    file: str
    """Pattern of files of the package in which it is made."""
    function: str = ""
    """Pattern of functions of them."""


_THINGS = (
    _Thing(
        "the network that the config or the file of weights describes",
        "give a smaller one, and check its widths and depths",
        r"(encoders|layers|transfer|systems/(hip|paligemma|longvideo|tap/network|odin|adapters|pretraining))/"
        r"(?!.*(data|images|sources)\.py)",
        r"__init__|build|from_config",
    ),
    _Thing("the file of weights", "take a smaller model, or a larger machine", r"hub/|.*/(npz|weights)\.py"),
    _Thing(
        "a mask",
        "give images and masks of fewer pixels, and check the sizes that files of masks state",
        r"data/(rle|polygons)|data/segmentation|types/regions|tracks/region|video/draw_regions|.*mask\w*\.py",
    ),
    _Thing(
        "an image",
        "make it smaller, or give fewer at a time",
        r"video/images|data/media|data/views/|.*/images\.py|.*/classify",
    ),
    _Thing("a batch", "lower --micro-batch (or --batch-size), or take smaller images and models", r"train/"),
    _Thing("a recording", "give a shorter one", r"video/sound"),
    _Thing("a video, or its points,", "try a shorter or smaller video, or fewer points", r"video/|.*/tap/|tracks/|app/track"),
)
_MADE_AT_ONCE = _Thing("what was asked for", "give fewer or smaller inputs at a time", "")
_AMOUNT = re.compile(r"(?:allocate|Tried to allocate) ([\d.]+ ?[KMGTPE]i?B|\d+ bytes)", re.IGNORECASE)


def no_memory(error: BaseException) -> str | None:
    """Write that memory ran out, what was too large, and what to do; None for another error."""
    text = " ".join(str(error).split())
    if not isinstance(error, MemoryError) and type(error).__name__ != "OutOfMemoryError" and "DefaultCPUAllocator" not in text:
        return None
    frames = [
        (frame.filename.replace("\\", "/").rpartition("/tapetum/")[2], frame.name)
        for frame in traceback.extract_tb(error.__traceback__)
        if "/tapetum/" in frame.filename.replace("\\", "/")
    ]
    thing = next(
        (thing for thing in _THINGS if any(re.match(thing.file, f) and re.match(thing.function, name) for f, name in frames)),
        _MADE_AT_ONCE,
    )
    amount = _AMOUNT.search(text)
    amount_text = f" (it asked for {_readable(amount[1])})" if amount else ""
    return f"out of memory: {thing.what} was too large{amount_text}; {thing.advice}"


def _readable(amount: str) -> str:
    from tapetum.core.devices import memory_size

    return memory_size(int(amount.split()[0])) if amount.endswith("bytes") else amount
