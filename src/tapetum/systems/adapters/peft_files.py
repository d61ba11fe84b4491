"""Reading and writing lora adapters as Hugging Face peft folders (adapter_config.json, adapter_model.safetensors).

peft names a layer's weights base_model.model.ADDRESS.lora_A.weight (down, rank x in) and lora_B.weight (up, out x rank), and
adds lora_alpha / rank times their product. It has no bottlenecks with an activation and no 1x1 convolutions: those need our own
files. Other features of peft (DoRA, biases, layers other than linear ones) are refused by name.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_folder, write_text
from tapetum.core.reading import no_pipe, read_json
from tapetum.hub.state_dicts import finite_to_bytes
from tapetum.systems.adapters.config import Site, check_name

if TYPE_CHECKING:
    from tapetum.systems.adapters.adapted import Adapted

_PREFIX = "base_model.model."
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_HASH = "trunk_sha256"
_REFUSED = ("use_dora", "fan_in_fan_out", "lora_bias", "modules_to_save", "use_qalora", "use_bdlora", "trainable_token_indices")


def save_peft(adapted: "Adapted", folder: str | os.PathLike[str], name: str | None = None, *, trunk: str | None = None) -> None:
    """Write an adapter as a folder for peft's `PeftModel.from_pretrained`; by default the one in use.

    Raises BadInput for adapters other than lora, or if the folder cannot be written.
    """
    name = name or adapted.in_use
    if name is None:
        raise BadInput("no adapter is in use; name the one to save")
    tensors: dict[str, Tensor] = {}
    for site, adapter in adapted.at_sites(name).items():
        if site.form != "lora":
            raise BadInput(
                f"peft knows no adapter like that at {site.address or 'pooled'} ({site.form}), only lora; save a file of ours"
            )
        scale = 1.0 if adapter.scale is None else adapter.scale
        tensors[f"{_PREFIX}{site.address}.lora_A.weight"] = adapter.get_parameter("down.weight")
        tensors[f"{_PREFIX}{site.address}.lora_B.weight"] = scale * adapter.get_parameter("up.weight")
    sites = adapted.sites(name)
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": trunk,
        "r": sites[0].rank,
        "lora_alpha": sites[0].rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": [site.address for site in sites],
        "rank_pattern": {site.address: site.rank for site in sites if site.rank != sites[0].rank},
        "alpha_pattern": {site.address: site.rank for site in sites if site.rank != sites[0].rank},
        "inference_mode": True,
    }
    stored = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    with whole_folder(Path(folder), (CONFIG, WEIGHTS)) as made:
        write_text(made / CONFIG, json.dumps(config, indent=2) + "\n")
        (made / WEIGHTS).write_bytes(finite_to_bytes(stored, {"format": "pt", _HASH: adapted.trunk_sha256}))


def load_peft(adapted: "Adapted", folder: str | os.PathLike[str], name: str) -> None:
    """Add the adapter in a folder of peft to a bank.

    Raises BadInput if the folder has no lora for linear layers of the trunk, or belongs to another trunk.
    """
    config, tensors, sha256 = _read(Path(folder))
    check_name(name)
    if sha256 not in (None, adapted.trunk_sha256):
        raise BadInput(f"{folder} is of another trunk, with SHA-256 {sha256[:16]}...; load that trunk")  # pyright: ignore[reportOptionalSubscript]
    downs = {key.removesuffix(".lora_A.weight"): value for key, value in tensors.items() if key.endswith(".lora_A.weight")}
    unknown = [k for k in tensors if k.removesuffix(".lora_A.weight").removesuffix(".lora_B.weight") not in downs]
    if unknown or not downs:
        raise BadInput(
            f"{folder} holds {(unknown or ['no lora'])[0]!r}, which tapetum does not know; only lora of linear layers"
        )
    sites, factors = [], {}
    for address, down in downs.items():
        site = _site(adapted.trunk, address, down, tensors.get(f"{address}.lora_B.weight"))
        sites.append(site)
        factors[site] = _factor(config, address, site.rank)
    adapted.add(name, sites)
    with torch.no_grad():
        for site, adapter in adapted.at_sites(name).items():
            adapter.get_parameter("down.weight").copy_(downs[site.address])
            adapter.get_parameter("up.weight").copy_(factors[site] * tensors[f"{site.address}.lora_B.weight"])


def _read(folder: Path) -> tuple[Mapping[str, Any], dict[str, Tensor], str | None]:
    try:
        config = read_json(folder / CONFIG)
        with safe_open(no_pipe(folder / WEIGHTS), "pt") as file:
            sha256 = (file.metadata() or {}).get(_HASH)
            tensors = {key.removeprefix(_PREFIX): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise BadInput(f"{folder} is no folder of peft ({str(error)[:100]}); it has {CONFIG} and {WEIGHTS}") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise BadInput(
            f"{folder} holds {config.get('peft_type') if isinstance(config, dict) else 'nothing'}; only LORA is known"
        )
    used = [key for key in _REFUSED if config.get(key)]
    if used or config.get("bias", "none") != "none":
        raise BadInput(f"{folder} uses {(used or ['bias'])[0]}, which tapetum does not know; save it without")
    return config, tensors, sha256


def _site(trunk: nn.Module, address: str, down: Tensor, up: Tensor | None) -> Site:
    try:
        module = trunk.get_submodule(address)
    except AttributeError as error:
        raise BadInput(f"the trunk has no module {address!r}; the folder is of another trunk") from error
    shapes = (tuple(down.shape), () if up is None else tuple(up.shape))
    rank = len(down) if down.ndim else 0
    linear = isinstance(module, nn.Linear)
    if up is None or not linear or shapes != ((rank, module.in_features), (module.out_features, rank)):
        raise BadInput(f"the weights for {address!r} do not fit a linear layer of the trunk; the folder is of another trunk")
    common = {"section": "middle", "where": "weight", "form": "lora", "axis": -1}
    return Site(address=address, inward=down.shape[1], width=up.shape[0], rank=rank, **common)


def _factor(config: Mapping[str, Any], address: str, rank: int) -> float:
    alpha = (config.get("alpha_pattern") or {}).get(address, config.get("lora_alpha", rank))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
