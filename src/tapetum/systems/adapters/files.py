"""Files of adapters.

They are safetensors whose header says, as JSON under the key "adapter", to which trunk they belong and where they sit:

    format          1
    name            of the adapter
    trunk           sha256 of weights and buffers; class; name or path under which `tapetum.load` finds it, if that is known
    preprocessing   what is done to images before the trunk sees them
    sites           address and sizes of each adapter: a file does not depend on what presets mean today
    trained_on      words
    head            sizes of what follows the trunk (a classifier, a policy), if that is in the file too

Tensors are named ADDRESS.LAYER ("blocks.5.mlp.up.weight", of the pooled vector "pooled.up.weight"), those of a head
"head.LAYER". A file is refused for another trunk or other preprocessing. No code in a file is run.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.reading import no_pipe, parse_json
from tapetum.encoders.architectures import preprocessing_as_json
from tapetum.encoders.config import Preprocessing
from tapetum.encoders.features import Encoder
from tapetum.hub.headed import blueprint
from tapetum.hub.state_dicts import check_numbers, finite_to_bytes
from tapetum.systems.adapters.config import Site, check_name
from tapetum.systems.adapters.layers import undrawn

if TYPE_CHECKING:
    from tapetum.systems.adapters.adapted import Adapted

KEY = "adapter"
FORMAT = 1
HEAD = "head."


@dataclass(frozen=True, kw_only=True)
class StoredAdapters:
    name: str
    trunk_sha256: str
    trunk_class: str
    trunk: str | None
    """Name or path of the trunk for `tapetum.load`."""
    preprocessing: Mapping[str, Any] | None
    sites: tuple[Site, ...]
    tensors: Mapping[str, Tensor]
    """Of the adapters, by ADDRESS.LAYER."""
    trained_on: str
    head: Mapping[str, Any] | None = None
    head_tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Of the head, by head.LAYER."""


def preprocessing_of(trunk: nn.Module) -> dict[str, Any] | None:
    """Describe how images are prepared for a trunk: an encoder's `preprocessing`, or timm's; None if unknown."""
    if hasattr(trunk, "preprocessing"):
        return json.loads(json.dumps(preprocessing_as_json(trunk.preprocessing)))
    cfg = getattr(trunk, "pretrained_cfg", None)
    if not isinstance(cfg, Mapping):
        return None
    kept = ("mean", "std", "interpolation", "crop_pct", "input_size")
    return json.loads(json.dumps({key: cfg[key] for key in kept if key in cfg}))


def save(
    adapted: "Adapted",
    path: str | os.PathLike[str],
    name: str | None = None,
    *,
    trunk: str | None = None,
    trained_on: str = "",
    dtype: torch.dtype | None = None,
    head: tuple[Mapping[str, Any], nn.Module] | None = None,
) -> None:
    """Write one adapter, by default the one in use, to a .safetensors file, atomically.

    `trunk` is the name or path under which `tapetum.load` finds the trunk, so that the file can be loaded on its own; `dtype`
    what weights are rounded to, by default unchanged; `head` sizes (JSON values) and module of what follows the trunk. Raises
    BadInput where there is neither an adapter nor a head to save.
    """
    name = name or adapted.in_use
    if name is None and head is None:
        raise BadInput("no adapter is in use; name the one to save")
    tensors: dict[str, Tensor] = {}
    for site, adapter in adapted.at_sites(name).items() if name else ():
        tensors |= {f"{site.address or 'pooled'}.{leaf}": value for leaf, value in adapter.state_dict().items()}
    header: dict[str, Any] = {
        "format": FORMAT,
        "name": name or "none",
        "trunk": {"sha256": adapted.trunk_sha256, "class": _kind(adapted.trunk), "name": trunk},
        "preprocessing": preprocessing_of(adapted.trunk),
        "sites": [asdict(site) for site in adapted.sites(name)] if name else [],
        "trained_on": trained_on,
        "head": None,
    }
    if head is not None:
        header["head"] = dict(head[0])
        tensors |= {f"{HEAD}{leaf}": value for leaf, value in head[1].state_dict().items()}

    def stored(value: Tensor) -> Tensor:
        value = value.detach().to("cpu", dtype if dtype is not None and value.is_floating_point() else value.dtype)
        return value.contiguous().clone()

    content = finite_to_bytes({key: stored(value) for key, value in tensors.items()}, {KEY: json.dumps(header)})
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(content)


def read(path: str | os.PathLike[str]) -> StoredAdapters:
    """Read an adapter file. Raises BadInput if it is not one, or is damaged."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"there is no file {path}; give a file of an adapter")
    try:
        with safe_open(no_pipe(path), "pt") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} is not a safetensors file ({str(error)[:100]}); get it again") from error
    if text is None:
        raise BadInput(f"{path} holds no adapter; give a file that adapted.save wrote")
    for name, tensor in tensors.items():
        check_numbers(name, tensor, tensor, f" in {path}")
    try:
        header = parse_json(text)
        if header["format"] != FORMAT:
            raise BadInput(f"{path} has format {header['format']}, and this tapetum reads {FORMAT}; get a newer tapetum")
        heads = {} if header["head"] is None else {k: v for k, v in tensors.items() if k.startswith(HEAD)}
        return StoredAdapters(
            name=check_name(header["name"]),
            trunk_sha256=str(header["trunk"]["sha256"]),
            trunk_class=str(header["trunk"]["class"]),
            trunk=header["trunk"]["name"],
            preprocessing=header["preprocessing"],
            sites=tuple(Site(**site) for site in header["sites"]),
            tensors={k: v for k, v in tensors.items() if k not in heads},
            trained_on=str(header["trained_on"]),
            head=header["head"],
            head_tensors=heads,
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"the header of {path} cannot be read ({str(error)[:100]}); get the file again") from error


def add(adapted: "Adapted", path: str | os.PathLike[str], name: str | None = None, *, force: bool = False) -> StoredAdapters:
    """Add the adapter in a file to a bank, by its own name or another.

    Raises BadInput if the file is of another trunk or other preprocessing (unless `force`), or does not fit.
    """
    stored = read(path)
    if not stored.sites:
        raise BadInput(f"{os.fspath(path)} holds a head without adapters; load it with tapetum.systems.adapters.load_headed")
    if not force:
        _check(adapted, stored, Path(path))
    name, states = stored.name if name is None else name, []
    for site in stored.sites:
        with blueprint(site, len(stored.tensors), Path(path)):
            expected = undrawn(site).state_dict()
        states.append(fitting(expected, stored.tensors, f"{site.address or 'pooled'}.", Path(path)))
    adapted.add(name, stored.sites)
    for adapter, state in zip(adapted.at_sites(name).values(), states, strict=True):
        adapter.load_state_dict(state)
    return stored


def _check(adapted: "Adapted", stored: StoredAdapters, path: Path) -> None:
    if stored.trunk_sha256 != adapted.trunk_sha256:
        raise BadInput(
            f"{path} is of another trunk: {stored.trunk or stored.trunk_class} with SHA-256 {stored.trunk_sha256[:16]}..., and "
            f"this is {_kind(adapted.trunk)} with {adapted.trunk_sha256[:16]}...; load that trunk, or force it"
        )
    own = preprocessing_of(adapted.trunk)
    if stored.preprocessing is not None and own is not None and stored.preprocessing != own:
        differ = next(key for key in {**own, **stored.preprocessing} if own.get(key) != stored.preprocessing.get(key))
        raise BadInput(
            f"{path} was trained on images with {differ} {stored.preprocessing.get(differ)}, and this trunk prepares them "
            f"with {own.get(differ)}; set the trunk's preprocessing, or force it"
        )


def fitting(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], prefix: str, path: Path) -> dict[str, Tensor]:
    """Select a module's tensors, whose names begin with `prefix`. Raises BadInput if one does not fit."""
    for leaf, value in expected.items():
        tensor = tensors.get(prefix + leaf)
        if tensor is None or tensor.shape != value.shape or (value.is_floating_point() and not tensor.is_floating_point()):
            raise BadInput(f"the tensor {prefix + leaf!r} in {path} is missing or of another shape; get the file again")
    return {leaf: tensors[prefix + leaf] for leaf in expected}


def load(path: str | os.PathLike[str], trunk: nn.Module, *, force: bool = False, example: Any = None) -> "Adapted":
    """Attach the adapter in a file to its trunk, and use it; none if the file has only a head. Raises BadInput like `add`."""
    from tapetum.systems.adapters.adapted import Adapted

    adapted, stored = Adapted(trunk, example), read(path)
    if not stored.sites:
        if not force:
            _check(adapted, stored, Path(path))
        return adapted
    adapted.use(add(adapted, path, force=force).name)
    return adapted


def load_whole(path: str | os.PathLike[str], device: Any = None, dtype: torch.dtype | None = None) -> "Adapted":
    """Load an adapter with the trunk that its file names, as `tapetum.load` does."""
    return load(path, named_trunk(read(path), path)).to(device=device, dtype=dtype)


def named_trunk(stored: StoredAdapters, path: str | os.PathLike[str]) -> nn.Module:
    """Load the trunk that a file names, with the file's preprocessing, in evaluation mode. Raises BadInput if it names none, or
    the trunk is not available."""
    from tapetum.encoders.references import located
    from tapetum.hub.loading import load as load_weights

    if stored.trunk is None:
        raise BadInput(f"{os.fspath(path)} does not say where its trunk ({stored.trunk_class}) is; give the trunk too")
    trunk = load_weights(located(stored.trunk, Path(path).parent))
    if isinstance(trunk, Encoder) and stored.preprocessing is not None:
        try:
            prepared: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.preprocessing.items()}
            trunk.preprocessing = Preprocessing(**prepared)
        except (TypeError, ValueError) as error:
            raise BadInput(f"the preprocessing in {os.fspath(path)} cannot be read ({error}); get the file again") from error
    return trunk


def _kind(trunk: nn.Module) -> str:
    return f"{type(trunk).__module__}.{type(trunk).__qualname__}"
