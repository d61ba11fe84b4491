"""How large a number may be that comes from outside: an option, a file of settings, the config in a file of weights.

Without a bound a config with 10^9 layers is built until memory ends. The bounds are far above what anybody has trained or will
soon; what they let pass may still be too much for a machine, which `tapetum.core.memory` says.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from tapetum.core.errors import BadInput

LARGEST = 2**63 - 1
"""What any whole number may be."""
LARGEST_SIZE = 2**24
"""What any number in the config of a network may be, but a seed."""
_LAYERS = "depth depths layers self_layers blocks_per_group extra_convs stem stem_blocks mixer_blocks residuals levels"
_LAYERS += " num_hidden_layers"
_SIDES = "size image_size pixels image resize long_side short_side short_sides local_size crop patch initial_resolution"
_SIDES += " refine_at_least refine_with_gradient tubelet image image_size patch_size"
_WIDTHS = "width mlp_width head_width stem_width group_width final_width adapter_width pyramid_width hidden_width mixer_width"
_WIDTHS += " projection_width code_width channels hidden projection embedding bottleneck middle rank lora_rank stem_channels"
_WIDTHS += " heads self_heads cross_heads key_value_heads groups latents codes registers fourier_bands matching_channels"
_WIDTHS += " hidden_size intermediate_size num_attention_heads num_key_value_heads head_dim projection_dim"
_COUNTS = "frames batch batch_size micro_batch vocabulary classes prototypes clusters points neighbours memories proposals"
_COUNTS += " top grid context radius beams best_of local_views masks max_new_tokens event_frames length trail"
_COUNTS += " window segment_frames vocab_size"
BOUNDS: dict[str, int] = {
    **dict.fromkeys(_LAYERS.split(), 1000),
    **dict.fromkeys(_SIDES.split(), 2**14),
    **dict.fromkeys(_WIDTHS.split(), 2**18),
    **dict.fromkeys(_COUNTS.split(), 2**24),
}
"""What numbers may be, by the name of the field: layers, sides in pixels, widths, and what is counted."""
UNBOUNDED = {"seed", "shuffle"}
"""What is no size, whose bound is `LARGEST`."""


def check_sizes(given: Any, where: str = "", most: int = LARGEST, dashes: bool = False) -> None:
    """Raise BadInput where a whole number in a dataclass, mapping or sequence is larger than its name may have.

    Args:
        given: what came from outside.
        where: for the message: " in FILE", or nothing.
        most: what numbers may be of whose names nothing is said in `BOUNDS`.
        dashes: names are those of options.

    >>> check_sizes({"config": {"depth": 12, "width": 10**9}}, " in a.safetensors")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: width is 1,000,000,000 in a.safetensors; it may be 262,144 at most
    """
    for name, value in _numbers(given, ""):
        bound = LARGEST if name in UNBOUNDED else min(BOUNDS.get(name, most), most)
        if abs(value) > bound:
            shown = f"{value:,}" if abs(value) < 10**30 else "a number of very many digits"
            shown_name = f"--{name.replace('_', '-')}" if dashes else name
            raise BadInput(f"{shown_name} is {shown}{where}; it may be {bound:,} at most")


def _numbers(given: Any, name: str) -> Iterable[tuple[str, int]]:
    """Whole numbers with the name of the field that they are in."""
    if isinstance(given, int) and not isinstance(given, bool):
        yield name, given
    elif is_dataclass(given) and not isinstance(given, type):
        for field in fields(given):
            yield from _numbers(getattr(given, field.name), field.name)
    elif isinstance(given, Mapping):
        for key, value in given.items():
            yield from _numbers(value, str(key))
    elif isinstance(given, list | tuple):
        for value in given:
            yield from _numbers(value, name)
