"""The encoder that a transfer begins from."""

from tapetum.encoders.factory import build
from tapetum.encoders.features import Encoder
from tapetum.errors import BadInput
from tapetum.hub.loading import load

RANDOM = "random:"
"""Before the name of an architecture: its weights are random, the control of every transfer."""


def starting_encoder(name: str, seed: int = 0) -> Encoder:
    """Give the encoder of a name, file or run; of random:ARCHITECTURE, such as random:resnet-50, one with weights of `seed`.

    Raises BadInput for what is neither.
    """
    if name.startswith(RANDOM):
        return build(name.removeprefix(RANDOM), seed)
    found = load(name)
    if not isinstance(found, Encoder):
        raise BadInput(f"{name} holds a {type(found).__name__}; give an encoder, such as tapetum train odin makes")
    return found
