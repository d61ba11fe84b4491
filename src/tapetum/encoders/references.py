"""References: one string that identifies an encoder, the same everywhere in the library and its commands.

    efficientnet-lite0         published weights, by name (`tapetum weights list`)
    mine.safetensors, run/     a file that `save` wrote; the folder of a run of tapetum pretrain or train odin
    facebook/dinov2-small      a repository fetched from the Hub: tapetum weights fetch OWNER/NAME
    dinov2-small/              a folder in repository layout, of transformers, timm or open_clip (`tapetum.encoders.folders`)
    own.pth                    a state dict of timm or torchvision, if the names and shapes of its tensors are unambiguous
    timm:NAME=FILE             a state dict of timm's model NAME; also torchvision:NAME=FILE
    my_net.py:MyNet=FILE       weights or a state dict of your own encoder or module, with its class (tapetum.core.plugins)
    timm:NAME                  timm's own pretrained weights of that name, fetched by timm (the extra `encoders`)
    random:NAME                random weights of an architecture: resnet-50, or another library's, timm:vit_tiny_patch16_224

`load` accepts all of them, and so does `tapetum.load`. No code in a file is run: only safetensors, or pickles of tensors alone.
"""

import os
import re
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from tapetum.core.errors import BadInput, MissingExtra, Remark
from tapetum.core.plugins import resolve_class, split_reference
from tapetum.encoders.architectures import SOURCES, architecture, dotted
from tapetum.encoders.factory import build, from_state
from tapetum.encoders.factory import load as load_file
from tapetum.encoders.features import Encoder
from tapetum.encoders.folders import from_files
from tapetum.encoders.library_net import WrappedEncoder
from tapetum.encoders.published import PORT, PREFIXES
from tapetum.encoders.tables.rows import same, under_our_names
from tapetum.encoders.tables.timm import of_timm
from tapetum.encoders.towers import Towers
from tapetum.hub import loading
from tapetum.hub.registry import known, resolve
from tapetum.hub.repositories import FOLDER_FILE
from tapetum.hub.state_dicts import read_state

RANDOM = "random"
_RECOGNISED = "torchvision", "timm", PORT
"""Whose state dicts are recognised; of two libraries that give a network the same names, the first is taken."""
_TRANSFORMERS = re.compile(r"(vit\.|dinov2\w*\.)?embeddings\.|vision_model\.|(resnet\.)?embedder\.embedder\.")


def load(
    reference: str | os.PathLike[str],
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    *,
    seed: int = 0,
    text: bool = True,
) -> Encoder:
    """Load the encoder that a reference stands for, in evaluation mode.

    Args:
        reference: a name, a file, a folder, or PREFIX:REST, as above.
        device: where to put it; None is the CPU.
        dtype: of the weights; None is float32.
        seed: of random weights.
        text: False returns only the image tower of two towers, without projection, and frees the memory of the other.

    Raises:
        BadInput: the reference does not exist, is no encoder, or its tensors do not fit.
        MissingExtra: timm is not installed, and its own weights are requested.
    """
    name = os.fspath(reference)
    if name.startswith(f"{RANDOM}:") and not Path(name).exists():
        encoder = build(name.removeprefix(f"{RANDOM}:"), seed).to(device=device, dtype=dtype)
    else:
        loading.find_loader(reference, trackers=False)
        encoder = loading.load(reference, device, dtype)
    if not isinstance(encoder, Encoder):
        raise BadInput(f"{name} holds a {type(encoder).__name__}; give an encoder, such as tapetum pretrain makes")
    if isinstance(encoder, Towers) and not text:
        encoder = encoder.image
    return encoder


def relocated(reference: str, folder: Path) -> str:
    """Rewrite a reference for a file in `folder`: with paths relative to the folder, which `located` resolves."""
    prefix, file = _split(reference)
    if file is None:
        return reference
    return prefix + os.path.relpath(os.path.realpath(file), os.path.realpath(folder))


def located(reference: str, folder: Path) -> str:
    """Resolve a reference from a file in `folder` relative to the working directory."""
    prefix, file = _split(reference, folder)
    return reference if file is None else prefix + str(file)


def _split(reference: str, folder: Path | None = None) -> tuple[str, Path | None]:
    """The part before the path in a reference, and the path, in `folder`; None if there is no such file."""
    if reference in known():
        return "", None
    prefix, equals, rest = reference.partition("=")
    kind = reference.partition(":")[0]
    prefixed = bool(equals) and kind in PREFIXES and not Path(reference).exists()
    before, text = (f"{prefix}=", rest) if prefixed else ("", reference)
    path = Path(text) if folder is None else folder / text
    return before, path if path.exists() else None


def from_prefix(reference: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> Encoder:
    """Load what PREFIX:REST stands for, in evaluation mode."""
    name = os.fspath(reference)
    if name.startswith(f"{RANDOM}:"):
        return build(name.removeprefix(f"{RANDOM}:")).to(device=device, dtype=dtype)
    source, _, rest = name.partition(":")
    model, equals, file = rest.partition("=")
    if equals:
        try:
            encoder = from_state(read_state(Path(file)), source, model)
        except BadInput as error:
            raise BadInput(f"{name}: {error}") from error
    elif source == "timm":
        encoder = _fetched_by_timm(model)
    else:
        raise BadInput(f"{name} names no file; give {source}:NAME=FILE, or random:{source}:NAME for random weights")
    return encoder.to(device=device, dtype=dtype)


def from_class(reference: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> Encoder:
    """Load weights of a user's own encoder or module, CLASS=FILE, a file of ours or a state dict, in evaluation mode."""
    name = os.fspath(reference)
    own, file = split_reference(name, "encoder")
    resolve_class(own, "encoder")  # from here on its files can be read
    if not file:
        raise BadInput(f"{name} names no file; give {name}=FILE with its weights, or random:{name} for random ones")
    path = Path(file)
    if path.is_dir() or "encoder" in loading.header_of(path):
        return load_file(file, device, dtype)
    encoder, state = build(own), read_state(path)
    prefix = "network." if isinstance(encoder, WrappedEncoder) else ""
    rows = same({ours: ours.removeprefix(prefix) for ours in encoder.state_dict()})
    encoder.load_state_dict(under_our_names(encoder.state_dict(), state, rows, own))
    return encoder.to(device=device, dtype=dtype)


def _fetched_by_timm(name: str) -> Encoder:
    """timm's own weights, from its cache or the network, with timm's preprocessing for them."""
    architecture(f"timm:{name}")  # refuses what tapetum does not have before anything is fetched
    try:
        import timm
    except ImportError:
        raise MissingExtra("timm", "encoders", "fetching timm's weights") from None
    try:
        theirs = timm.create_model(name, pretrained=True)
    except Exception as error:  # the name, the network, the disk: timm and huggingface_hub raise whatever they meet
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise BadInput(
            f"timm cannot give weights of {name} ({reason}); fetch the file on a machine with a network and give "
            f"timm:{name}=FILE, or random:timm:{name} for random weights"
        ) from error
    cfg: Any = theirs.pretrained_cfg
    return from_state(theirs.state_dict(), "timm", name, preprocessing=of_timm(cfg, name))


def from_folder(reference: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> Encoder:
    """Load a folder of transformers, timm or open_clip, or a fetched repository, in evaluation mode."""
    folder = Path(reference)
    if not folder.is_dir():
        folder, _ = resolve(reference)
    return from_files(folder).to(device=device, dtype=dtype)


def has_names_of_an_encoder(names: Collection[str]) -> bool:
    """Check whether tensors with these names belong to another library's ViT, ResNet, NFNet or EfficientNet encoder."""
    return any(all(name in names for name in marks) for marks in (*_MARKS, *_OURS)) or any(
        _TRANSFORMERS.match(name) for name in names
    )


_MARKS = (
    ("patch_embed.proj.weight",),  # timm's ViT
    ("layer1.0.conv1.weight",),  # torchvision's and timm's ResNet
    ("conv_stem.weight",),  # timm's EfficientNet
    ("_conv_stem.weight",),  # the port's
    ("stem.conv4.weight",),  # timm's NFNet
)
_OURS = ("patches.weight", "blocks.0.attention.query.weight"), ("stem.weight", "stem_norm.weight")


def from_foreign(reference: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> Encoder:
    """Load a file of another library by the names and shapes of its tensors, in evaluation mode; warn about assumptions
    made. If a file lies beside its config.json, the config is used.

    Raises BadInput if the tensors do not determine the model.
    """
    path = Path(reference)
    state = read_state(path)
    if (path.parent / FOLDER_FILE).is_file():
        return from_files(path.parent, state).to(device=device, dtype=dtype)
    if any(all(name in state for name in names) for names in _OURS):
        raise BadInput(f"{path} has tensors of tapetum but no longer the header that says what they are of; give it as it was")
    if any(_TRANSFORMERS.match(name) for name in state):
        raise BadInput(
            f"{path} has the names of transformers, which do not say all of the network; put its {FOLDER_FILE} beside it, "
            "and preprocessor_config.json"
        )
    refused: BadInput | None = None
    for source in _RECOGNISED:
        for table in SOURCES[source]:
            for name in dotted(table).candidates(state):
                try:
                    encoder = from_state(state, source, name)
                except BadInput as error:
                    refused = refused or BadInput(
                        f"{path} looks like {source}'s {name}, but {error}; say what it is: {source}:NAME={path}"
                    )
                    continue
                how = encoder.preprocessing
                mean, deviation = (tuple(round(level) for level in levels) for levels in (how.mean, how.std))
                steps = f"{how.size[1]}x{how.size[0]}, mean {mean}, deviation {deviation}"
                warnings.warn(
                    f"{path} is taken for {source}'s {name}, whose images are prepared so: {steps}; "
                    f"if it is another, give timm:NAME={path} or torchvision:NAME={path}",
                    Remark,
                    stacklevel=2,
                )
                return encoder.to(device=device, dtype=dtype)
    raise refused or BadInput(
        f"{path} holds a network whose tensors leave open which one it is; give timm:NAME={path} or torchvision:NAME={path}, "
        "with the library's name of the model"
    )
