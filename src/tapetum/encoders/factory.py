"""Encoders: built with random weights, loaded from our files, converted from other libraries, saved.

Our files are safetensors files whose header has family, config and preprocessing as JSON under the key "encoder". No code
in a file is run. For everything else that can stand for an encoder see `tapetum.encoders.references`.

A table of `architectures.SOURCES` is a module, or an object, with two functions; some have a third:

    describe(architecture, state) -> (Architecture, state) or None   what the weights are, with their usual names
    rows(encoder) -> list of NameRow                                 the table of names for what it describes
    candidates(state) -> iterator of str                             models that weights without a name may be of

If the module does not know such a network, `describe` returns None and the next one is asked.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.fields import LARGEST_SIZE, check_sizes
from tapetum.core.files import named_path, whole_file
from tapetum.core.plugins import own_error, reference_of, resolve_subclass
from tapetum.core.reading import no_pipe, parse_json
from tapetum.encoders.architectures import (
    FAMILIES,
    SOURCES,
    architecture,
    as_json,
    changed,
    dotted,
    family_class,
    from_json,
    prepared_by_timm,
)
from tapetum.encoders.config import Architecture, Preprocessing
from tapetum.encoders.features import Encoder
from tapetum.encoders.library_net import WrappedEncoder
from tapetum.encoders.published import PORT, PUBLISHED
from tapetum.encoders.tables.rows import under_our_names
from tapetum.encoders.tokenizers import TOKENIZER, restore_tokenizer, store_tokenizer
from tapetum.hub.headed import blueprint, check_fit
from tapetum.hub.registry import ENCODER_FILE, find, resolve
from tapetum.hub.state_dicts import read_state, write_finite


def build(name: str, seed: int = 0, **changes: Any) -> Encoder:
    """Build a named architecture with random weights, float32, in evaluation mode.

    Args:
        name: one of `tapetum.encoders.names()`.
        seed: of the weights; torch's own random state is not changed.
        changes: fields of the config, such as classes=10, or for a ViT image_size=(96, 96).

    Raises:
        BadInput: the name or a field is unknown, or the values are incompatible.
    """
    return make(architecture(name, **changes), seed)


def make(architecture: Architecture, seed: int = 0) -> Encoder:
    """Build the network of an architecture with random weights, float32, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if architecture.family not in FAMILIES:
            return _own(architecture)
        return family_class(architecture.family, "model")(architecture.config, architecture.preprocessing).eval()


def _own(architecture: Architecture) -> Encoder:
    """Build the network of a user's own class, an encoder or any module. Raises BadInput if it lacks parts of one."""
    name, see = architecture.family, "see docs/guides/bring-your-own.md"
    cls, config = resolve_subclass(name, "encoder", nn.Module), architecture.config
    plain = not issubclass(cls, Encoder)
    try:
        if plain:
            return WrappedEncoder(cls(config) if hasattr(cls, "Config") else cls(), config, architecture.preprocessing).eval()
        encoder = cls(config, architecture.preprocessing)
    except TapetumError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        reason = own_error(error) or f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
        given = "no arguments, or of its Config alone" if plain else "a config and a preprocessing"
        raise BadInput(f"{name} cannot be built of {given} ({reason}); {see}") from error
    if missing := [each for each in ("width", "map_channels", "strides", "head") if not hasattr(encoder, each)]:
        raise BadInput(f"{name} sets no {missing[0]}; {see}")
    return encoder.eval()


def describe(encoder: Encoder) -> Architecture:
    for family, parts in FAMILIES.items():
        if type(encoder.config) is dotted(parts.config):
            return Architecture(family=family, config=encoder.config, preprocessing=encoder.preprocessing)
    if own := reference_of(type(encoder.network if type(encoder) is WrappedEncoder else encoder)):
        return Architecture(family=own, config=encoder.config, preprocessing=encoder.preprocessing)
    raise BadInput(
        f"{type(encoder).__name__} is of no family that tapetum knows, and cannot be saved or sent; give its class as "
        "FILE.py:CLASS (docs/guides/bring-your-own.md)"
    )


def from_state(
    state: Mapping[str, Tensor],
    source: str,
    architecture: str | Mapping[str, Any],
    preprocessing: Preprocessing | None = None,
    **changes: Any,
) -> Encoder:
    """Build an encoder with the weights of another library, in evaluation mode.

    Args:
        state: the library's state dict; every tensor in it is used exactly once.
        source: "timm", "torchvision" or "huggingface".
        architecture: the library's name of the model; for Hugging Face its config as a dict (`model.config.to_dict()`).
        preprocessing: of the weights, if it differs from the library's default for this architecture.
        changes: fields of our config, if the library's model was made with sizes other than its name says.

    Returns:
        The encoder. For a model of images and text (CLIPModel, SiglipModel) it is a `tapetum.encoders.towers.Towers`: an
        image encoder that also has the text tower, the projections and the scale of the logits.

    Raises:
        BadInput: the source or architecture is unknown; or a tensor, which is named, is missing, unknown, of another shape or
            not finite.
    """
    if isinstance(architecture, Mapping):
        check_sizes(architecture, " in the config")
        _check_above_0(architecture)
    if source not in SOURCES:
        raise BadInput(f"there is no source {source!r}; it is one of {', '.join(SOURCES)}")
    for table in map(dotted, SOURCES[source]):
        try:
            answer = table.describe(architecture, state)
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
            raise BadInput(f"the config, or a tensor, is not as {source} has it ({reason}); get the weights again") from error
        if answer is not None:
            match, named = answer
            if preprocessing is None and source == "timm":
                match = prepared_by_timm(match, str(architecture))
            match = changed(match, changes)
            with blueprint(match.config, len(named), f"these weights of {source}"):
                sketch = make(match)
            weights = under_our_names(sketch.state_dict(), named, table.rows(sketch), source)
            encoder = make(match)
            encoder.load_state_dict(weights)
            if preprocessing is not None:
                encoder.preprocessing = preprocessing
            return encoder
    shown = architecture if isinstance(architecture, str) else architecture.get("model_type")
    raise BadInput(f"tapetum has no table of names for {shown!r} of {source}; see docs/systems/encoders.md for those it has")


_ABOVE_0 = frozenset(
    (
        *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "mlp_ratio", "vocab_size"),
        *("max_position_embeddings", "image_size", "patch_size", "crop_size", "frames_per_clip", "tubelet_size"),
        *("width", "layers", "heads", "head_width", "embed_dim", "context_length"),
    )
)
"""Fields of configs of other libraries that are divided by, multiplied or counted up to."""


def _check_above_0(config: Mapping[str, Any]) -> None:
    """Raise BadInput, naming the field, if a size in a config of another library, or in a part of it, is not above 0."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            _check_above_0(value)
        elif name in _ABOVE_0 and value is not None:
            for each in value if isinstance(value, list | tuple) else [value]:
                if not isinstance(each, int | float) or isinstance(each, bool) or not 0 < each <= LARGEST_SIZE:
                    raise BadInput(f"{name} is {value!r:.60} in the config; it must be a number above 0, to {LARGEST_SIZE:,}")


def save(encoder: Encoder, path: str | os.PathLike[str], dtype: torch.dtype = torch.float32) -> None:
    """Write weights (rounded to `dtype`), config, preprocessing and tokenizer to a safetensors file, whole or not at all."""
    tensors = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in encoder.state_dict().items()
    }
    header = {"encoder": json.dumps(as_json(describe(encoder)))}
    if (tokenizer := getattr(encoder, "tokenizer", None)) is not None:
        about, tensors[TOKENIZER] = store_tokenizer(tokenizer)
        header[TOKENIZER] = json.dumps(about)
    with whole_file(Path(path)) as temporary:
        write_finite(tensors, header, temporary)


def load(
    name_or_path: str | os.PathLike[str], device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> Encoder:
    """Load a published encoder by name, or a file that `save` wrote, in evaluation mode.

    Args:
        name_or_path: a name such as efficientnet-lite2 (`tapetum weights list`), or a path: a file, or the folder of a run of
            `tapetum pretrain`.
        device: where to put it; None is the CPU.
        dtype: of the weights; None is float32.

    Raises:
        BadInput: the file cannot be read, holds something else, or its tensors do not fit its config.
    """
    name = os.fspath(name_or_path)
    path = named_path(name)
    if any(weights.name == name for weights in PUBLISHED):
        file, _ = resolve(name, "embed")  # one of ours, or one of the port installed with a package
        ours = file.suffix == ".safetensors"
        encoder = _from_file(file) if ours else from_state(read_state(file), PORT, find(name).architecture)
    else:
        encoder = _from_file(path / ENCODER_FILE if path.is_dir() else path)
    return encoder.to(device=device, dtype=dtype).eval()


def _from_file(path: Path) -> Encoder:
    if not path.is_file():
        names = ", ".join(weights.name for weights in PUBLISHED)
        raise BadInput(f"there is no encoder and no file {path}; give a file of weights or one of {names}")
    try:
        with safe_open(no_pipe(path), "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} is not a safetensors file ({str(error)[:100]}); get it again") from error
    if "encoder" not in header:
        raise BadInput(f"{path} holds no encoder; give a file that tapetum.encoders.save wrote")
    tokenizer = None
    try:
        about = parse_json(header["encoder"])
        check_sizes(about, f" in the config of {path}", LARGEST_SIZE)
        stored = from_json(about)
        if TOKENIZER in header:
            tokenizer = restore_tokenizer(parse_json(header[TOKENIZER]), tensors.pop(TOKENIZER, None), path)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"the config in {path} cannot be read ({str(error)[:100]}); save the encoder again") from error
    with blueprint(stored.config, len(tensors), path):
        own = make(stored).state_dict()
    check_fit(own, tensors, path)
    encoder = make(stored)
    encoder.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in tensors.items()})
    if tokenizer is not None:
        encoder.tokenizer = tokenizer  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return encoder
