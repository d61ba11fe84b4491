"""Files of weights: folders of Hugging Face, big_vision's .npz, and files of ours.

A model is created uninitialised, in the requested precision, and filled from the file through a small buffer: memory grows by
little more than the weights. No code in a file is run, and a folder's index can only name files in that folder.

Our own format is a safetensors file whose header has the config as JSON under the key "paligemma".
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.utils import parametrize

from tapetum.core.devices import find_device
from tapetum.core.errors import BadInput
from tapetum.core.fields import LARGEST_SIZE, check_sizes
from tapetum.core.files import whole_file, write_folder
from tapetum.core.reading import parse_json
from tapetum.encoders.config import squashed
from tapetum.encoders.tables.rows import NameRow, to_official
from tapetum.hub.loading import header_of
from tapetum.hub.registry import known, resolve
from tapetum.hub.state_dicts import TensorFile, finite_to_bytes, read_settings, shards
from tapetum.layers.cpu import is_quantised
from tapetum.layers.patches import Resample, interpolate
from tapetum.systems.paligemma.config import PaliGemmaConfig, as_json, from_json, named
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.official import big_vision, huggingface
from tapetum.systems.paligemma.official.big_vision import NpzFile
from tapetum.systems.paligemma.official.fill import filled_model, is_weight, source_of
from tapetum.systems.paligemma.tokens import EXTRA, Tokens
from tapetum.systems.paligemma.tokens import FILES as TOKENIZER_FILES

HEADER = "paligemma"
"""Entry in the header of a file of ours."""
TOKENIZER = "tokenizer"
"""Entry in it that says which tokenizer the weights belong to (`Tokens.identity`)."""
EIGHT_BITS = "eight_bits"
"""Entry in it that says which parts have weights of bytes: language, vision encoder, or both with a space between."""
_PARTS = "language", "vision_encoder"
CONFIG = "config.json"


def load(
    folder_or_name: str | os.PathLike[str],
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    *,
    config: PaliGemmaConfig | str | None = None,
) -> PaliGemma:
    """Load a PaliGemma or PaliGemma 2, in evaluation mode.

    `folder_or_name` is a folder of Hugging Face (config.json, safetensors), a big_vision .npz (with `config`), a file that
    `save` wrote, or a known name (`tapetum weights list`); the CPU and float32 are the defaults. `config`, or its name
    (`tapetum.systems.paligemma.config.NAMED`), is for files without one, or overrides theirs: for another image size, positions
    are interpolated as its vision encoder says; with fewer vocabulary rows, the first are taken.

    Raises BadInput, naming the file, if one is missing, damaged or hostile, or has other weights than the config says.
    """
    place = find_device(device)
    sizes = named(config) if isinstance(config, str) else config
    path = Path(folder_or_name)
    if os.fspath(folder_or_name) in known() or not path.exists():
        path = resolve(folder_or_name)[0]
    dtype = torch.float32 if dtype is None else dtype
    if path.is_dir():
        sizes = sizes or huggingface.read_config(read_settings(path / CONFIG))
        return _from_huggingface([TensorFile(file) for file in shards(path)], sizes, place, dtype)
    if path.suffix == ".npz":
        if sizes is None:
            raise BadInput(f"{path} does not say what it is; give config=, such as config='paligemma-3b-224'")
        with NpzFile(path) as file:
            return filled_model(sizes, big_vision.table, source_of([file], big_vision.plain_name), place, dtype)
    text = header_of(path).get(HEADER)
    if text is not None:
        return _own(path, sizes, place, dtype)
    if sizes is None:
        raise BadInput(f"{path} holds no PaliGemma of tapetum; give a folder, or config= beside a file of other weights")
    return _from_huggingface([TensorFile(path)], sizes, place, dtype)


def save(
    model: PaliGemma, path: str | os.PathLike[str], dtype: torch.dtype | None = None, tokenizer: str | None = None
) -> None:
    """Write weights (rounded to `dtype`, if that is given) and config to a safetensors file that `tapetum.load` knows.

    With `tokenizer`, the identity of their tokenizer, the commands refuse any other. Bytes of a model that was rounded to 8
    bits stay bytes. Raises BadInput if it cannot be written; then no file is left.
    """
    own = {name: t.detach().to("cpu") for name, t in model.state_dict().items() if is_weight(t)}
    tensors = {name: (t.to(dtype) if t.is_floating_point() else t).contiguous() for name, t in own.items()}
    with whole_file(Path(path)) as temporary:
        also = {} if tokenizer is None else {TOKENIZER: tokenizer}
        if parts := [part for part in _PARTS if is_quantised(getattr(model, part))]:
            also[EIGHT_BITS] = " ".join(parts)
        save_file(tensors, temporary, {HEADER: json.dumps(as_json(model.config)), **also})


def to_state(model: PaliGemma, source: str) -> dict[str, Tensor]:
    """Copy the weights under other names: "huggingface" (as transformers 5 writes them) or "big_vision".

    Raises BadInput for another source, a model that was rounded to 8 bits, and a vision encoder with a convolutional stem.
    """
    if source not in _TABLES:
        raise BadInput(f"there is no source {source!r}; it is one of {', '.join(_TABLES)}")
    if is_quantised(model):
        raise BadInput("this model was rounded to 8 bits, for which there are no other names; give it as it was before that")
    if model.config.vision_encoder.stem != "patch":
        raise BadInput(f"its vision encoder begins with convolutions, which {source}'s has not; give a model that cuts patches")
    return to_official(model, _TABLES[source](model.config))


_TABLES: dict[str, Callable[[PaliGemmaConfig], list[NameRow]]] = {
    "huggingface": huggingface.table,
    "big_vision": big_vision.table,
}


def write_for_transformers(model: PaliGemma, tokens: Tokens, folder: Path) -> str:
    """Write a folder that transformers loads: model, processor and tokenizer. Returns the Python that loads it.

    Raises BadInput if transformers cannot compute the model, the tokenizer is another model's, or the folder exists.
    """
    tokens.check(model.config.language.vocabulary)
    config = huggingface.write_config(model.config, tokens.size)
    state = {
        name.replace("vision_tower.", "vision_tower.vision_model."): t for name, t in to_state(model, "huggingface").items()
    }
    processor = {"image_processor_type": "SiglipImageProcessor", "processor_class": "PaliGemmaProcessor", "resample": 3}
    processor |= {"size": {"height": model.config.image_size, "width": model.config.image_size}}
    processor |= {"do_resize": True, "do_rescale": True, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    processor |= {"image_seq_length": model.config.image_tokens}
    text: dict[str, Any] = {f"{name}_token": f"<{name}>" for name in ("pad", "eos", "bos", "unk")}
    text |= {"tokenizer_class": "GemmaTokenizer", "processor_class": "PaliGemmaProcessor", "add_bos_token": False}
    text |= {"mask_token": None, "extra_special_tokens": {"image_token": _IMAGE}}
    added = {number: (name, False) for name, number in zip(EXTRA, (*tokens.location_ids, *tokens.segment_ids), strict=True)}
    added[tokens.size] = _IMAGE, True
    text["added_tokens_decoder"] = {
        str(number): {"content": name, "special": special, "normalized": False, "lstrip": False, "rstrip": False}
        for number, (name, special) in added.items()
    }
    files = {"config.json": config, "preprocessor_config.json": processor, "tokenizer_config.json": text}
    files["generation_config.json"] = {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    contents = {name: json.dumps(content, indent=1).encode() for name, content in files.items()}
    contents |= {TOKENIZER_FILES[0]: tokens.model, "model.safetensors": finite_to_bytes(state, {"format": "pt"})}
    write_folder(folder, contents)
    return (
        f"model = transformers.PaliGemmaForConditionalGeneration.from_pretrained({str(folder)!r}); "
        f"processor = transformers.AutoProcessor.from_pretrained({str(folder)!r})"
    )


_IMAGE = "<image>"
"""The token of transformers in whose place the features of an image are put: the first after ours."""


def write_peft(model: PaliGemma, folder: Path, base: str) -> None:
    """Write the low-rank updates of the decoder (`add_lora`) as a folder of PEFT, for the model `base` of transformers.

    Layers of ours that are several of transformers' share their first factor; the rows of the second are theirs.
    """
    state: dict[str, Tensor] = {}
    update: Any = None
    for name, layer in model.language.blocks.named_modules():
        if not parametrize.is_parametrized(layer, "weight"):
            continue
        update = layer.parametrizations.weight[0]  # pyright: ignore
        for theirs, rows in huggingface.lora_names(name, model.config):
            state[f"base_model.model.{theirs}.lora_A.weight"] = update.down.detach().cpu().clone()
            state[f"base_model.model.{theirs}.lora_B.weight"] = update.up.detach()[rows].cpu().contiguous()
    if update is None:
        raise BadInput("the model has no low-rank updates; train it with --lora-rank")
    rank = int(update.down.shape[0])
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "bias": "none"}
    config |= {"r": rank, "lora_alpha": update.scale * rank, "lora_dropout": 0.0, "inference_mode": True}
    config |= {"target_modules": sorted({name.split(".")[-3] for name in state}), "exclude_modules": ".*vision_tower.*"}
    files = {"adapter_config.json": json.dumps(config, indent=1).encode()}
    write_folder(folder, {**files, "adapter_model.safetensors": finite_to_bytes(state, {"format": "pt"})})


def resized(model: PaliGemma, image_size: int, how: Resample = "big_vision") -> PaliGemma:
    """Change a model to another image size and return it; `how` selects the interpolation of positions."""
    vision_encoder = replace(model.config.vision_encoder, image_size=(image_size, image_size), resample=how)
    old = model.config.vision_encoder.grid
    with torch.no_grad():
        table = interpolate(model.vision_encoder.positions.detach(), old, vision_encoder.grid, how)
    model.config = replace(model.config, vision_encoder=vision_encoder)
    model.vision_encoder.config, model.vision_encoder.preprocessing = vision_encoder, squashed(image_size)
    model.vision_encoder.positions = torch.nn.Parameter(
        table.clone(), requires_grad=model.vision_encoder.positions.requires_grad
    )
    return model


def _from_huggingface(files: list[TensorFile], config: PaliGemmaConfig, device: torch.device, dtype: torch.dtype) -> PaliGemma:
    source = source_of(files, huggingface.own_name)
    second = any(name.endswith("pre_feedforward_layernorm.weight") for name in source.shapes)
    if second != config.language.post_norms:
        weights_kind, config_kind = ("PaliGemma 2", "PaliGemma") if second else ("PaliGemma", "PaliGemma 2")
        raise BadInput(
            f"the weights are those of a {weights_kind}, and the config is that of a {config_kind}; give the right one"
        )
    return filled_model(config, huggingface.table, source, device, dtype)


def _own(path: Path, sizes: PaliGemmaConfig | None, device: torch.device, dtype: torch.dtype) -> PaliGemma:
    header = header_of(path)
    parts = header.get(EIGHT_BITS, "").split()
    try:
        stored = parse_json(header[HEADER])
        check_sizes(stored, f" in the config of {path}", LARGEST_SIZE)
        config = from_json(stored)
    except (ValueError, TypeError, KeyError, AttributeError, SafetensorError) as error:
        raise BadInput(f"the config in {path} cannot be read ({str(error)[:100]}); save the model again") from error
    if sizes is not None and sizes != config:
        raise BadInput(f"{path} has a config of its own, and it is another one; leave config= out")
    if not set(parts) <= set(_PARTS):
        raise BadInput(f"{path} has bytes in {' '.join(parts)[:60]!r}; they may be in {' and '.join(_PARTS)}: save it again")
    source = source_of([TensorFile(path, eight_bits=bool(parts))], str)
    return filled_model(config, None, source, device, dtype, parts)
