"""Encoders as files that other libraries load, with the line of Python that loads them.

timm and torchvision take a safetensors file of weights under their names; transformers a folder with config.json and
model.safetensors, which `from_pretrained` reads.
"""

import json
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_folder
from tapetum.encoders.config import ViTConfig
from tapetum.encoders.convolutional import ConvolutionalEncoder
from tapetum.encoders.factory import describe, to_state
from tapetum.encoders.features import Encoder
from tapetum.encoders.library_net import LibraryNet
from tapetum.encoders.nfnet import NFNet
from tapetum.encoders.resnet import ResNet
from tapetum.encoders.vit import ViT
from tapetum.hub.state_dicts import finite_to_bytes


def write_for(encoder: Encoder, library: str, path: Path) -> str:
    """Write an encoder for timm, torchvision or huggingface to `path` (a file, or a folder that does not exist yet).

    Returns the Python that makes their network with these weights. Raises BadInput for parts that the library does not have.
    """
    state = {name: value.contiguous() for name, value in to_state(encoder, library).items()}
    if library == "huggingface":
        config, line = _transformers(encoder, path)
        write_folder(path, {"config.json": json.dumps(config, indent=1).encode(), "model.safetensors": _bytes(state)})
        return line
    made = _timm(encoder) if library == "timm" else _torchvision(encoder)
    with whole_file(path) as temporary:
        temporary.write_bytes(_bytes(state))
    return f"model = {made}; model.load_state_dict(safetensors.torch.load_file({str(path)!r}))"


def _bytes(state: Any) -> bytes:
    return finite_to_bytes(state, {"format": "pt"})


def _none(encoder: Encoder, library: str, why: str) -> BadInput:
    return BadInput(f"{library} has no network like this {type(encoder).__name__}, {why}; use tapetum.load, or another library")


def _timm(encoder: Encoder) -> str:
    classes = encoder.config.classes
    if isinstance(encoder, ViT):
        return f"timm.models.VisionTransformer({', '.join(f'{k}={v!r}' for k, v in _timm_vit(encoder.config).items())})"
    if isinstance(encoder, ResNet):
        _check_stem(encoder, "timm")
        block = "BasicBlock" if encoder.config.block == "basic" else "Bottleneck"
        return f"timm.models.ResNet(timm.models.resnet.{block}, {encoder.config.depths}, num_classes={classes})"
    if isinstance(encoder, LibraryNet):
        return f"timm.create_model({encoder.config.model!r}, num_classes=0)"
    if isinstance(encoder, NFNet):
        name = "nfnet_f0" if encoder.config.gamma_in_weights else "dm_nfnet_f0"
        return f"timm.create_model({name!r}, num_classes={classes})"
    from tapetum.encoders.convolutional_config import LITES

    for name, named in LITES.items():
        ours = describe(encoder).config
        if all(getattr(ours, f) == getattr(named.config, f) for f in ("width_multiplier", "depth_multiplier")):
            return f"timm.create_model('tf_{name.replace('-', '_')}', num_classes={classes})"
    raise _none(encoder, "timm", "whose multipliers are its own")


def _timm_vit(config: ViTConfig) -> dict[str, Any]:
    """The arguments of timm's VisionTransformer, without those at their defaults."""
    if config.activation != "gelu" or config.rotary:
        kind = "rotary positions" if config.rotary else config.activation
        raise BadInput(f"no line of timm is known for a ViT with {kind}; use tapetum.load, or another library")
    pool = {"token": "token", "mean": "avg", "attention": "map"}[config.pooling]
    given = {
        "img_size": config.image_size,
        "patch_size": config.patch,
        "embed_dim": config.width,
        "depth": config.depth,
        "num_heads": config.heads,
        "mlp_ratio": config.mlp_width / config.width,
        "num_classes": config.classes,
    }
    others = {
        "global_pool": (pool, "token"),
        "class_token": (config.class_token, True),
        "reg_tokens": (config.registers, 0),
        "no_embed_class": (not config.class_position, False),
        "pre_norm": (config.norm_before, False),
        "qkv_bias": (config.qkv_bias, True),
        "init_values": (config.layer_scale, None),
        "fc_norm": (config.norm == "pooled", False),
    }
    return given | {name: value for name, (value, usual) in others.items() if value != usual}


def _torchvision(encoder: Encoder) -> str:
    assert isinstance(encoder, ResNet)
    _check_stem(encoder, "torchvision")
    block = "BasicBlock" if encoder.config.block == "basic" else "Bottleneck"
    made = f"torchvision.models.ResNet(torchvision.models.resnet.{block}, {list(encoder.config.depths)}"
    return (
        f"{made}, num_classes={encoder.config.classes})"
        if encoder.config.classes
        else f"{made}); model.fc = torch.nn.Identity()"
    )


def _check_stem(encoder: ResNet, library: str) -> None:
    if encoder.config.stem_width != 64:
        raise _none(encoder, library, f"whose stem has {encoder.config.stem_width} channels and not 64")


def _transformers(encoder: Encoder, path: Path) -> tuple[dict[str, Any], str]:
    """The config of transformers, and the line that reads the folder."""
    if isinstance(encoder, LibraryNet):
        made: Any = encoder.network
        return made.config.to_dict(), f"model = transformers.{type(made).__name__}.from_pretrained({str(path)!r})"
    if isinstance(encoder, ConvolutionalEncoder):
        assert isinstance(encoder, ResNet)
        config: dict[str, Any] = {
            "model_type": "resnet",
            "embedding_size": encoder.config.stem_width,
            "hidden_sizes": list(encoder.config.channels),
            "depths": list(encoder.config.depths),
            "layer_type": encoder.config.block,
        }
        kind = "ResNetForImageClassification" if encoder.config.classes else "ResNetModel"
        more = ""
    else:
        if not isinstance(encoder, ViT) or encoder.config.norm_before or encoder.config.rotary:
            raise _none(encoder, "huggingface", "for which a config could be written")
        c = encoder.config
        scaled, gated = c.layer_scale is not None, c.mlp == "gated"
        ratio = round((1.5 if gated else 1) * c.mlp_width / c.width)  # of gated MLPs transformers takes two thirds of it
        width = (c.width * ratio * 2 // 3 + 7) // 8 * 8 if gated else c.width * ratio
        fits = c.mlp_width == width if scaled else not gated
        if not c.class_token or c.activation != ("silu" if gated else "gelu") or not fits:
            raise _none(encoder, "huggingface", "for which a config could be written")
        config = {
            "model_type": ("dinov2_with_registers" if c.registers else "dinov2") if scaled else "vit",
            "hidden_size": c.width,
            "num_hidden_layers": c.depth,
            "num_attention_heads": c.heads,
            "hidden_act": "gelu",
            "layer_norm_eps": c.norm_eps,
            "image_size": list(c.image_size) if c.image_size[0] != c.image_size[1] else c.image_size[0],
            "patch_size": c.patch,
            "qkv_bias": c.qkv_bias,
        }
        kind, more = ("Dinov2WithRegistersModel" if c.registers else "Dinov2Model"), ""
        if scaled:
            config |= {"mlp_ratio": ratio, "use_swiglu_ffn": gated}
            config |= {"layerscale_value": c.layer_scale, **({"num_register_tokens": c.registers} if c.registers else {})}
        else:
            config["intermediate_size"] = c.mlp_width
            kind = "ViTForImageClassification" if c.classes else "ViTModel"
            more = "" if c.classes or c.pooler else ", add_pooling_layer=False"
    if encoder.config.classes:
        config["num_labels"] = encoder.config.classes
    return config | {"architectures": [kind]}, f"model = transformers.{kind}.from_pretrained({str(path)!r}{more})"
