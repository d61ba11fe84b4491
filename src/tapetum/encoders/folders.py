"""Folders of encoders laid out like Hugging Face repositories: network, preprocessing, tokenizer and class names.

    config.json              of transformers (model_type), whose fields may be left out; or of timm (architecture)
    open_clip_config.json    of open_clip: CLIP of OpenAI, LAION, DataComp, MetaCLIP; PE-Core; mirrors of SigLIP
    model.safetensors        or its shards with their index; of open_clip open_clip_model.safetensors
    preprocessor_config.json how images are prepared, for transformers; without it as is usual for the model; of videos
                             video_preprocessor_config.json
    tokenizer.json, ...      where there is a text tower (`tapetum.encoders.tokenizers`)

No code in a folder is run. If both layouts are present, open_clip's is read, because it has both towers.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from tapetum.core.errors import BadInput, TapetumError
from tapetum.encoders.config import Preprocessing
from tapetum.encoders.factory import from_state
from tapetum.encoders.features import Encoder
from tapetum.encoders.tables.timm import of_timm, read_interpolation, read_levels
from tapetum.encoders.tokenizers import LONGEST_ROW, TokenizerKind, read_tokenizer
from tapetum.encoders.towers import Towers
from tapetum.hub.repositories import FOLDER_FILE, OPEN_CLIP_FILE, OPEN_CLIP_WEIGHTS
from tapetum.hub.state_dicts import read_folder, read_settings, read_state


def of_processor(content: Mapping[str, Any]) -> Preprocessing:
    """Read a preprocessor_config.json: of ViT, CLIP, SigLIP, SigLIP 2 NaFlex, TIPSv2, BiT (DINOv2), ConvNeXT (ResNet), and for
    videos, V-JEPA 2.

    Raises BadInput for settings that tapetum does not support. Missing fields raise KeyError, TypeError or ValueError.
    """
    content = {name: value for name, value in content.items() if value is not None}
    kind = str(content.get("image_processor_type", content.get("feature_extractor_type", "")))
    size, crop = content.get("size", 224), content.get("crop_size")
    cropped = bool(content.get("do_center_crop", crop is not None))
    normal = bool(content.get("do_normalize", True))
    shared: dict[str, Any] = {
        "crop_offset": "down",
        "interpolation": read_interpolation(content.get("resample", 2)),
        "mean": read_levels(content["image_mean"]) if normal else (0.0, 0.0, 0.0),
        "std": read_levels(content["image_std"]) if normal else (255.0, 255.0, 255.0),
    }
    if not content.get("do_resize", True) or not content.get("do_rescale", True):
        raise BadInput("the preprocessor_config.json does not resize, or not rescale; tapetum does both")
    if kind.startswith("Siglip2"):
        patches, patch = int(content.get("max_num_patches", 256)), int(content.get("patch_size", 16))
        side = math.isqrt(patches) * patch
        return Preprocessing(size=(side, side), resize="patches", patches=patches, patch=patch, **shared)
    edge = size.get("shortest_edge") if isinstance(size, Mapping) else size if cropped or kind.startswith("ConvN") else None
    if kind.startswith("ConvN"):  # below 384 the middle of an image that is larger by crop_pct; from there on squashed
        edge = int(edge if edge is not None else _sides(size)[0])
        fraction = 1.0 if edge >= 384 else float(content.get("crop_pct") or 224 / 256)
        return Preprocessing(size=(edge, edge), resize="squash" if edge >= 384 else "crop", crop_fraction=fraction, **shared)
    if cropped and edge is not None:
        sides = _sides(crop if crop is not None else edge)
        if min(sides) > edge or sides[0] != sides[1]:
            raise BadInput(f"the preprocessor_config.json crops {sides} of images whose shorter side is {edge}")
        return Preprocessing(size=sides, crop_fraction=sides[0] / edge, **shared)
    if edge is not None:
        return Preprocessing(size=(int(edge), int(edge)), **shared)
    return Preprocessing(size=_sides(size), resize="squash", **shared)


def _sides(size: Any) -> tuple[int, int]:
    return (int(size["height"]), int(size["width"])) if isinstance(size, Mapping) else (int(size), int(size))


_PROCESSORS = "preprocessor_config.json", "video_preprocessor_config.json"
_KINDS: dict[str, TokenizerKind] = {"clip": "clip", "siglip": "siglip", "siglip2": "siglip2", "tipsv2": "tipsv2"}
"""Kind of the tokenizer by model_type; SigLIP 2 at a fixed size also calls itself siglip."""
_GEMMA_VOCABULARY = 256_000
"""Pieces of SigLIP 2's tokenizer; those of SigLIP are 32,000 or 250,000."""


def from_files(folder: Path, state: Mapping[str, Tensor] | None = None) -> Encoder:
    """Build the encoder of a folder, in evaluation mode.

    Args:
        folder: with the files above.
        state: its weights, if they have been read already.

    Raises:
        BadInput: a file is missing, damaged, or of an unsupported model; the message names the folder. Tokenizer errors are
            only reported when texts are read, because images need no tokenizer.
    """
    try:
        if (folder / OPEN_CLIP_FILE).is_file():
            return _of_open_clip(folder, state)
        config = read_settings(folder / FOLDER_FILE)
        state = read_folder(folder) if state is None else state
        if "model_type" not in config:
            name, cfg = str(config.get("architecture")), config.get("pretrained_cfg", {})
            tagged = f"{name}.{cfg['tag']}" if cfg.get("tag") else name
            return from_state(state, "timm", tagged, preprocessing=of_timm(cfg, name) if cfg else None)
        return _of_transformers(folder, config, state)
    except BadInput as error:
        raise error if str(folder) in str(error) else BadInput(f"{folder}: {error}") from error
    except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:  # torch: overflows
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise BadInput(f"the settings in {folder} cannot be read ({reason}); get the folder again") from error


def _of_transformers(folder: Path, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Encoder:
    processor = next((folder / name for name in _PROCESSORS if (folder / name).is_file()), None)
    how = None if processor is None else of_processor(read_settings(processor))
    encoder = from_state(state, "huggingface", config, preprocessing=how)
    labels = config.get("id2label") or {}
    if encoder.config.classes == len(labels) and labels.get("0") != "LABEL_0":  # as where nobody named them
        encoder.class_names = tuple(str(labels.get(str(k), f"class {k}")) for k in range(len(labels)))
    if isinstance(encoder, Towers):
        kind = _KINDS.get(str(config["model_type"]))
        if kind == "siglip" and encoder.config.text.vocabulary == _GEMMA_VOCABULARY:
            kind = "siglip2"
        _give_tokenizer(encoder, folder, kind)
    return encoder


def _of_open_clip(folder: Path, state: Mapping[str, Tensor] | None) -> Encoder:
    config = read_settings(folder / OPEN_CLIP_FILE)
    if state is None:
        own = folder / OPEN_CLIP_WEIGHTS
        state = read_state(own) if own.is_file() else read_folder(folder)
    encoder = from_state(state, "open_clip", config)
    assert isinstance(encoder, Towers)
    siglip = encoder.config.logit_bias
    gemma = encoder.config.text.vocabulary == _GEMMA_VOCABULARY
    _give_tokenizer(encoder, folder, ("siglip2" if gemma else "siglip") if siglip else "clip")
    return encoder


def _give_tokenizer(encoder: Towers, folder: Path, kind: TokenizerKind | None) -> None:
    """Read the tokenizer beside the weights; if that fails, the reason is stored for callers that need texts read."""
    try:
        if kind is None:
            raise BadInput(f"tapetum cannot read the tokenizer of {folder}; it has those of CLIP, SigLIP and TIPSv2")
        encoder.tokenizer = read_tokenizer(folder, kind, min(encoder.config.text.length, LONGEST_ROW))
        if encoder.tokenizer.size > encoder.config.text.vocabulary:
            pieces = f"{encoder.tokenizer.size:,} pieces, and the text tower {encoder.config.text.vocabulary:,}"
            encoder.tokenizer = None
            raise BadInput(f"the tokenizer in {folder} has {pieces}; put that of the same weights there")
    except TapetumError as error:
        encoder.tokenizer_fault = error
