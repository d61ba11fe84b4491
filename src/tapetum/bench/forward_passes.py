"""Forward passes of every kind of network in the package, on empty inputs."""

from collections.abc import Callable
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
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if kind in _PASSES:
        return _PASSES[kind](model.eval(), batch, side)
    how = next((part.preprocessing for part in _parts(model) if hasattr(part, "preprocessing")), None)
    return None if how is None else _images(model.eval(), batch, (side, side) if side else how.size)


def _parts(model: Any) -> list[Any]:
    """A network, and the parts that may specify image preprocessing: the trunk of adapters, the encoder of Odin."""
    return [model, *(getattr(model, name) for name in ("trunk", "encoder") if hasattr(model, name))]


def _images(model: Any, batch: int, size: tuple[int, int]) -> Pass:
    import torch

    images = torch.zeros(batch, 3, *size)
    return f"a forward pass of {many(batch, 'image')} of {size[1]}x{size[0]}", lambda: model(images)


def _tapir(model: Any, batch: int, side: int | None) -> Pass:
    import torch

    side = side or _SIDE
    video, queries = torch.zeros(batch, _CLIP, side, side, 3), torch.zeros(batch, _POINTS, 3)
    return f"{many(batch, 'clip')} of {_CLIP} frames of {side}x{side}, {_POINTS} points", lambda: model(video, queries)


def _tapnext(model: Any, batch: int, side: int | None) -> Pass:
    import torch

    rows, columns = (side, side) if side else model.config.video_size
    video, queries = torch.zeros(batch, 1, rows, columns, 3), torch.zeros(batch, _POINTS, 3)
    return f"{many(batch, 'frame')} of {columns}x{rows}, {_POINTS} points", lambda: model(video, queries)


def _hip(model: Any, batch: int, side: int | None) -> Pass:
    import torch

    inputs = {name: torch.zeros(batch, m.length, m.channels) for name, m in model.modalities.items()}
    shown = ", ".join(f"{name} {m.length} x {m.channels}" for name, m in model.modalities.items())
    return f"a forward pass of {many(batch, 'input')} ({shown})", lambda: model(inputs)


def _paligemma(model: Any, batch: int, side: int | None) -> Pass:
    import torch

    rows, columns = model.config.vision_encoder.image_size
    pixels = torch.zeros(batch, 1, 3, rows, columns)
    prefix, suffix = (torch.full((batch, n), 5, dtype=torch.int64) for n in (_PREFIX, _SUFFIX))
    texts = f"questions of {_PREFIX} tokens and answers of {_SUFFIX}, read at once"
    return f"{many(batch, 'image')} of {columns}x{rows}, {texts}", lambda: model.logits(pixels, prefix, suffix)


def _mask_codec(model: Any, batch: int, side: int | None) -> Pass:
    import torch

    masks = torch.zeros(batch, _MASK_SIDE, _MASK_SIDE)
    return f"{many(batch, 'mask')} of {_MASK_SIDE}x{_MASK_SIDE}, to codes and back", lambda: model.decode(model.encode(masks))


def _video(model: Any, batch: int, side: int | None) -> Pass:
    import torch

    how = model.config
    rows, columns = (side, side) if side else how.size
    video = torch.zeros(batch, how.frames, rows, columns, 3)
    return f"{many(batch, 'video')} of {how.frames} frames of {columns}x{rows}", lambda: model(video)


def _video_text(model: Any, batch: int, side: int | None) -> Pass:
    import torch

    about, look = _video(model.video, batch, side)
    ids = torch.full((batch, model.config.text.length), 5, dtype=torch.int64)
    return f"{about}, and as many texts of {ids.shape[1]} tokens", lambda: (look(), model.embed_texts(ids))


_PASSES: dict[str, Callable[[Any, int, int | None], Pass]] = {
    "tapetum.systems.tap.model.Tapir": _tapir,
    "tapetum.systems.tapnext.model.TapNext": _tapnext,
    "tapetum.systems.hip.model.Hip": _hip,
    "tapetum.systems.paligemma.model.PaliGemma": _paligemma,
    "tapetum.systems.paligemma.masks.codec.MaskCodec": _mask_codec,
    "tapetum.systems.longvideo.encoder.VideoEncoder": _video,
    "tapetum.systems.longvideo.video_text.VideoText": _video_text,
}
"""By the kind of network; others take prepared images, and say how large."""
