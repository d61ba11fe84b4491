"""Networks that turn images into vectors, with one interface: built, loaded, or converted from other libraries.

Does not import torch itself.

>>> import tapetum
>>> import torch
>>> encoder = tapetum.encoders.build("vit-nano")
>>> encoder(encoder.prepare(torch.zeros(1, 90, 120, 3, dtype=torch.uint8))).pooled.shape
torch.Size([1, 64])
"""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes

if TYPE_CHECKING:
    from tapetum.encoders.architectures import architecture, names
    from tapetum.encoders.config import EncoderConfig, Preprocessing
    from tapetum.encoders.factory import build, from_state, save
    from tapetum.encoders.features import Encoder, Features
    from tapetum.encoders.references import load

__all__ = [
    "Encoder",
    "EncoderConfig",
    "Features",
    "Preprocessing",
    "architecture",
    "build",
    "from_state",
    "load",
    "names",
    "save",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "architectures": ("architecture", "names"),
        "config": ("EncoderConfig", "Preprocessing"),
        "factory": ("build", "from_state", "save"),
        "features": ("Encoder", "Features"),
        "references": ("load",),
    },
)
