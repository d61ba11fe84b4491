"""Names by which a network says at which of its modules adapters stand. Imports no torch."""

from typing import Literal, NamedTuple


class AdapterNames(NamedTuple):
    """Names of the modules at which presets of adapters stand (`tapetum.systems.adapters.addresses`)."""

    stem: str = "stem"
    """The first convolution, or the patches."""
    stem_end: str = "stem_norm"
    """What follows it, up to the first activation where that is a module; the patches themselves."""
    inside: str = "convs.0"
    """In a block: its first convolution, or `mlp`."""
    pooled: str = ""
    """The module at which the pooled vector is changed; "" is the network itself."""
    where: Literal["after", "before", "pooled"] = "pooled"
    """Whether that vector is what the module gives, what it gets, or `pooled` among what it gives."""
    first_stage: int = 0
    """Number of the first stage of blocks that counts: the first that halves the image, or follows a stem that did."""
