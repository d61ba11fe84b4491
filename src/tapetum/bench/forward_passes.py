"""Forward passes of every kind of network in the package, on empty inputs."""

from collections.abc import Callable
from functools import partial
from typing import Any

Pass = tuple[str, Callable[[], Any]]
"""What it is in words, and a call that makes it."""
_CLIP, _POINTS, _SIDE = 24, 64, 256
_PREFIX, _SUFFIX = 16, 16
_MASK_SIDE = 64


def many(count: int, thing: str) -> str:
    """Write a count with its noun, in the plural unless it is one.

    >>> many(1, "clip"), many(1200, "clip")
    ('1 clip', '1,200 clips')
    """
    return f"{count:,} {thing}" + ("s" if count != 1 else "")


def forward_pass(model: Any, batch: int, side: int | None) -> Pass | None:
    """Find the forward pass of a network on a batch of inputs, whose images have `side` pixels (None: the network's own size).

    None for a network with unknown inputs.
    """
    import torch

    model, zeros = model.eval(), torch.zeros
    match f"{type(model).__module__}.{type(model).__qualname__}".removeprefix("tapetum.systems."):
        case "tap.model.Tapir":
            side = side or _SIDE
            clip, points = zeros(batch, _CLIP, side, side, 3), zeros(batch, _POINTS, 3)
            return f"{many(batch, 'clip')} of {_CLIP} frames of {side}x{side}, {_POINTS} points", lambda: model(clip, points)
        case "tapnext.model.TapNext":
            rows, columns = (side, side) if side else model.config.video_size
            frame, points = zeros(batch, 1, rows, columns, 3), zeros(batch, _POINTS, 3)
            return f"{many(batch, 'frame')} of {columns}x{rows}, {_POINTS} points", lambda: model(frame, points)
        case "hip.model.Hip":
            inputs = {name: zeros(batch, m.length, m.channels) for name, m in model.modalities.items()}
            shown = ", ".join(f"{name} {m.length} x {m.channels}" for name, m in model.modalities.items())
            return f"a forward pass of {many(batch, 'input')} ({shown})", lambda: model(inputs)
        case "paligemma.model.PaliGemma":
            rows, columns = model.config.vision_encoder.image_size
            pixels = zeros(batch, 1, 3, rows, columns)
            prefix, suffix = (torch.full((batch, n), 5, dtype=torch.int64) for n in (_PREFIX, _SUFFIX))
            texts = f"questions of {_PREFIX} tokens and answers of {_SUFFIX}, read at once"
            return f"{many(batch, 'image')} of {columns}x{rows}, {texts}", lambda: model.logits(pixels, prefix, suffix)
        case "paligemma.masks.codec.MaskCodec":
            masks = zeros(batch, _MASK_SIDE, _MASK_SIDE)
            about = f"{many(batch, 'mask')} of {_MASK_SIDE}x{_MASK_SIDE}, to codes and back"
            return about, lambda: model.decode(model.encode(masks))
        case "longvideo.encoder.VideoEncoder":
            rows, columns = (side, side) if side else model.config.size
            video = zeros(batch, model.config.frames, rows, columns, 3)
            return f"{many(batch, 'video')} of {model.config.frames} frames of {columns}x{rows}", lambda: model(video)
        case "longvideo.video_text.VideoText":
            about, look = forward_pass(model.video, batch, side) or ("", None)
            ids = torch.full((batch, model.config.text.length), 5, dtype=torch.int64)
            assert look is not None
            return f"{about}, and as many texts of {ids.shape[1]} tokens", lambda: (look(), model.embed_texts(ids))
    for part in (model, getattr(model, "trunk", None), getattr(model, "encoder", None)):  # of adapters, of Odin
        if (how := getattr(part, "preprocessing", None)) is not None:
            rows, columns = (side, side) if side else how.size
            images = zeros(batch, 3, rows, columns)
            return f"a forward pass of {many(batch, 'image')} of {columns}x{rows}", partial(model, images)
    return None
