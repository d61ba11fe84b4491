"""Tiny encoders with random weights in folders as repositories of the Hub have them, each beside the library's own model."""

import json
from pathlib import Path
from typing import Any

import torch

from support.tokenizers import train_pairs, train_pieces

VISION = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def shaken(model: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


def siglip2(folder: Path, size: int = 48, patch: int = 16, seed: int = 0) -> Any:
    """Write a SigLIP 2 of fixed size, its config without what is as usual; returns transformers' model."""
    from transformers import SiglipConfig, SiglipModel

    text = VISION | {"vocab_size": 256_000, "projection_size": 32, "max_position_embeddings": 64}
    vision = VISION | {"image_size": size, "patch_size": patch}
    torch.manual_seed(seed)
    model = shaken(SiglipModel(SiglipConfig(text_config=text, vision_config=vision)), seed)
    model.save_pretrained(folder)
    config = {"model_type": "siglip", "architectures": ["SiglipModel"], "text_config": text, "vision_config": vision}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.model").write_bytes(train_pieces("bpe", pad_id=0, eos_id=1, bos_id=2, unk_id=3))
    processor = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5] * 3,
        "image_processor_type": "SiglipImageProcessor",
        "image_std": [0.5] * 3,
        "resample": 2,
        "size": {"height": size, "width": size},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model


def open_clip(folder: Path, seed: int = 0, quick: bool = False) -> Any:
    """Write a CLIP in open_clip's layout with its tokenizer.json; returns open_clip's model."""
    import open_clip as library
    from safetensors.torch import save_file

    vocabulary, merges = train_pairs()
    vision = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16}
    text = {"context_length": 77, "vocab_size": len(vocabulary), "width": 24, "heads": 2, "layers": 2}
    config: dict[str, Any] = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, "quick_gelu": quick}
    torch.manual_seed(seed)
    model = shaken(library.model.CLIP(**config), seed)
    folder.mkdir(parents=True, exist_ok=True)
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    prepared = {"mean": mean, "std": std, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": prepared}))
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    pairs = {"type": "BPE", "vocab": vocabulary, "merges": [" ".join(merge) for merge in merges]}
    (folder / "tokenizer.json").write_text(json.dumps({"model": pairs, "added_tokens": []}))
    return model


def write_named(folder: Path) -> dict[str, Path]:
    """Write small networks for repositories that guides name; returns the folder of each."""
    makers = {
        "google/siglip2-base-patch32-256": siglip2,
        "timm/vit_small_patch16_dinov3.lvd1689m": dinov3,
        "facebook/dinov2-small": dinov2,
        "facebook/dinov2-with-registers-small": dinov2,
    }
    folders = {}
    for name, make in makers.items():
        folders[name] = folder / name.replace("/", "--")
        make(folders[name])
    return folders


def dinov3(folder: Path, seed: int = 0) -> Any:
    """Write a DINOv3 as timm has it; returns timm's model."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    model = timm.create_model("vit_small_patch16_dinov3").eval()  # its name says the sizes
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    prepared = {
        "tag": "lvd1689m",
        "input_size": [3, 64, 64],
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    config = {"architecture": "vit_small_patch16_dinov3", "num_features": 384, "pretrained_cfg": prepared}
    (folder / "config.json").write_text(json.dumps(config))
    return model


def dinov2(folder: Path, seed: int = 0, shards: bool = False) -> Any:
    """Write a DINOv2; returns transformers' model."""
    from transformers import Dinov2Config, Dinov2Model

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}
    torch.manual_seed(seed)
    model = shaken(Dinov2Model(Dinov2Config(**sizes, image_size=70, patch_size=14)), seed)
    model.save_pretrained(folder, **({"max_shard_size": "30KB"} if shards else {}))
    processor = {
        "crop_size": {"height": 56, "width": 56},
        "do_center_crop": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "BitImageProcessor",
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "size": {"shortest_edge": 64},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model
