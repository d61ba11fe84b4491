"""Weights of video encoders: their files, and those of an image ViT (`inflate`) or of the stage before (`continue_from`).

A file has an encoder, with or without a text tower or a language model; the config stands in the header under "longvideo". A
language model of transformers is stored by name only and loaded again by it; a text tower's tokenizer is in the file.

Inflation uses every weight, so that a static video initially gives its image's result:

    patches     each frame of a tubelet has its part of the image's weights (divided by the number of frames); the image
                path has them as they are
    positions   those of the grid, for every time step alike
    colours     what the image network subtracts and divides by becomes part of the patches' weights, for a video is in -1..1
    stem        of convolutions, as it is for each frame; its last layer as patches, and its batch norms stay as they are
    left out    class token, registers, pooling and classifier: a video is pooled by the mean

Between stages, positions are stretched in time if the new embedding is longer (MC-ViT, arXiv 2402.05861, section 5.1: linearly,
all else unchanged); adapters and low-rank updates are added to weights that have none.

Sources: LongViViT, arXiv 2312.07395, section 3.1; ViViT, arXiv 2103.15691, section 3.5.
Differs from the paper: the text available does not say whether weights are divided by the frames; here they are.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from tapetum.core.errors import BadInput
from tapetum.encoders.config import DecoderConfig, ViTConfig
from tapetum.encoders.tokenizers import TOKENIZER, Tokenizer, restore_tokenizer, store_tokenizer
from tapetum.encoders.vit import ViT, plain_patches
from tapetum.hub.headed import blueprint, check_fit, read_headed, save_headed
from tapetum.hub.registry import VIDEO_FILE, known, resolve
from tapetum.layers.patches import ConvolutionalStem, ImagePatches, TubeletStem, VideoTubelets, inflate_weight, interpolate
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.config import VideoConfig, named
from tapetum.systems.longvideo.encoder import VideoEncoder
from tapetum.systems.longvideo.language import ByteLanguage, make_language
from tapetum.systems.longvideo.layers import FactorisedBlock, stretch
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.systems.longvideo.video_text_config import AnyConfig, CaptionerConfig, from_json, to_json

Model = VideoEncoder | VideoText | Captioner | ByteLanguage


def save(model: Model, path: str | os.PathLike[str], dtype: torch.dtype = torch.float32) -> None:
    """Write weights (rounded to `dtype`), config and tokenizer, atomically."""
    about, more = to_json(model.config), {}
    if isinstance(model, VideoText) and model.tokenizer is not None:
        about[TOKENIZER], more[TOKENIZER] = store_tokenizer(model.tokenizer)
    save_headed(model, path, "longvideo", about, dtype, more)


def load(name_or_path: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> Model:
    """Load a known name, a file that `save` wrote, or the folder of a run, in evaluation mode; float32 by default.

    Raises BadInput: the file cannot be read, holds something else, its tensors do not fit its config, or the language model
    that it names is not available.
    """
    path = _file_of(name_or_path)
    about, tensors = read_headed(path, "longvideo", "video encoder")
    language = tokenizer = None
    if isinstance(about, dict) and TOKENIZER in about:
        tokenizer = restore_tokenizer(about.pop(TOKENIZER), tensors.pop(TOKENIZER, None), path)
    try:
        config = from_json(about)
        from_transformers = isinstance(config, CaptionerConfig) and isinstance(config.language, str)
        if not from_transformers:
            with blueprint(about, len(tensors), path):
                expected = _build(config).state_dict()
    except (ValueError, TypeError, KeyError, AttributeError, BadInput) as error:
        raise BadInput(f"the config in {path} cannot be read ({str(error)[:100]}); save it again") from error
    if from_transformers:
        assert isinstance(config, CaptionerConfig)
        language = make_language(config.language)
        expected = Captioner(config, language).state_dict()
    check_fit(expected, tensors, path)
    model = _build(config) if language is None else Captioner(config, language)  # pyright: ignore[reportArgumentType]
    model.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()})
    if isinstance(model, VideoText):
        model.tokenizer = tokenizer
    return model.to(device=device, dtype=dtype).eval()


def load_tokenizer(name_or_path: str | os.PathLike[str]) -> Tokenizer | None:
    """Load the tokenizer of a text tower from its file, without the network; None if it has none."""
    path = _file_of(name_or_path)
    about, tensors = read_headed(path, "longvideo", "video encoder")
    stored = about.get(TOKENIZER) if isinstance(about, dict) else None
    return None if stored is None else restore_tokenizer(stored, tensors.get(TOKENIZER), path)


def _file_of(name_or_path: str | os.PathLike[str]) -> Path:
    path = resolve(name_or_path)[0] if os.fspath(name_or_path) in known() else Path(name_or_path)
    return path / VIDEO_FILE if path.is_dir() else path


def _build(config: AnyConfig) -> Model:
    if isinstance(config, VideoConfig):
        return VideoEncoder(config)
    if isinstance(config, DecoderConfig):
        return ByteLanguage(config)
    return Captioner(config) if isinstance(config, CaptionerConfig) else VideoText(config)


_Model = TypeVar("_Model", VideoEncoder, VideoText)
_ADDED = "adapters", "lora"
_SHARED = (
    *("width", "depth", "heads", "mlp_width", "activation", "norm_eps", "norm_before", "qkv_bias", "layer_scale", "stem"),
    "stem_blocks",
)
"""Fields that an image ViT and a video encoder have alike."""


def inflate(image_vit: ViT, name: str, **changes: Any) -> VideoEncoder:
    """Build the video encoder `name` with the weights of an image ViT of `tapetum.encoders`, in evaluation mode.

    Width, depth, heads, activation and so on are the ViT's; frames, memory, frame size and so on those of `name`, with
    `changes`. Positions are resampled to another grid by the ViT's own method.

    Raises BadInput: the network is not a ViT, or a change contradicts it.
    """
    if not isinstance(image_vit, ViT):
        raise BadInput(f"a {type(image_vit).__name__} cannot become a video encoder; give a ViT of tapetum.encoders")
    config = _config(image_vit.config, name, changes)
    kind = next(image_vit.parameters()).dtype
    encoder = VideoEncoder(replace(config, tune="all")).to(kind)
    with torch.no_grad():
        _patches(encoder, image_vit)
        _blocks(encoder, image_vit)
    if config.tune != "all":
        trained = encoder.state_dict()
        encoder = VideoEncoder(config).to(kind)
        own = encoder.state_dict()
        names = {plain_name(name): name for name in own}
        encoder.load_state_dict(own | {names[name]: value for name, value in trained.items()})
    return encoder.eval()


def inflate_from(reference: str, name: str, **changes: Any) -> VideoEncoder:
    """Inflate the image ViT of a reference (`tapetum.encoders.references`). Raises BadInput as both do."""
    from tapetum.encoders import references

    image_encoder = references.load(reference, text=False)
    try:
        return inflate(image_encoder, name, **changes)  # pyright: ignore[reportArgumentType]
    except BadInput as error:
        raise BadInput(f"{reference}: {error}") from error


def _config(vit: ViTConfig, name: str, changes: dict[str, Any]) -> VideoConfig:
    if vit.rotary or vit.positions == "none" or vit.mlp != "plain" or not vit.key_bias or vit.norm == "none":
        raise BadInput("this image ViT has rotary positions or gated MLPs, which a video encoder has not; give another")
    own = {name: getattr(vit, name) for name in _SHARED}
    for field in own.keys() & changes.keys():
        if changes[field] != own[field]:
            raise BadInput(f"{field} is {changes[field]} where the image ViT has {own[field]}; leave it out")
    base = named(name)
    tubelet = changes.get("tubelet", (base.tubelet[0], vit.patch, vit.patch))
    if tuple(tubelet[1:]) != (vit.patch, vit.patch) or changes.get("kernels"):
        raise BadInput(f"tubelets are {tubelet} where the image ViT has patches of {vit.patch}; give those")
    size = changes.get("size", vit.image_size)
    return named(name, **{**own, "tubelet": tubelet, "size": size, **changes})


def _patches(encoder: VideoEncoder, vit: ViT) -> None:
    config, tubelets = encoder.config, encoder.tubelets
    if isinstance(vit.patches, ConvolutionalStem):  # they pad with 0, so other colour scales cannot be folded into them
        if {*vit.preprocessing.mean, *vit.preprocessing.std} != {127.5}:
            raise BadInput("a stem of convolutions can be inflated only where the image ViT expects images in -1..1")
        assert isinstance(tubelets.video, TubeletStem)
        tubelets.images.load_state_dict(vit.patches.state_dict())
        tubelets.video.layers.load_state_dict(vit.patches.layers[:-1].state_dict())
        tubelets.video.inflate(vit.patches.layers[-1])
    else:
        weight, bias = plain_patches(vit)
        for layer, own in ((tubelets.images, weight), (tubelets.video, inflate_weight(weight, config.tubelet[0], "average"))):
            assert isinstance(layer, ImagePatches | VideoTubelets)
            assert layer.bias is not None
            layer.weight.copy_(own)
            layer.bias.copy_(bias)
    grid, rows = vit.config.grid, vit.positions.shape[0]
    positions = vit.positions[rows - grid[0] * grid[1] :]
    moved = interpolate(positions, grid, config.grid, vit.config.resample).unflatten(0, config.grid)
    tubelets.positions.copy_(moved.expand_as(tubelets.positions))


def _blocks(encoder: VideoEncoder, vit: ViT) -> None:
    """Set blocks and norms; a factorised block's temporal part is initialised from its spatial part."""
    if vit.config.norm_before:
        encoder.norm_before.load_state_dict(vit.norm_before.state_dict())
    encoder.norm.load_state_dict(vit.norm.state_dict())
    for ours, theirs in zip(encoder.blocks, vit.blocks, strict=True):
        if isinstance(ours, FactorisedBlock):
            ours.space.load_state_dict(theirs.state_dict())
            ours.time_norm.load_state_dict(ours.space.attention_norm.state_dict())
            ours.time.load_state_dict(ours.space.attention.state_dict())
        else:
            ours.load_state_dict(theirs.state_dict())


def plain_name(name: str) -> str:
    """Undo the changes that adapters and low-rank updates make to a name."""
    return name.replace(".mlp.mlp.", ".mlp.").replace(".parametrizations.weight.original", ".weight")


def continue_from(model: _Model, **changes: Any) -> _Model:
    """Build a network with the weights of `model` and a changed `VideoConfig`, in evaluation mode.

    Raises BadInput if weights do not fit: another width, another grid, or the removal of trained adapters.
    """
    old = model.config if isinstance(model, VideoEncoder) else model.config.video
    new = replace(old, **changes)
    if old.tune in _ADDED and new.tune != old.tune:
        raise BadInput(f"the weights have {old.tune} of their own, which tune {new.tune} has not; go on with {old.tune}")
    described = ", ".join(f"{name} {value}" for name, value in changes.items()) or "its own settings"
    made: Any = VideoEncoder(new) if isinstance(model, VideoEncoder) else VideoText(replace(model.config, video=new))
    own = made.state_dict()
    names = {plain_name(name) if new.tune != old.tune else name: name for name in own}
    for name, value in model.state_dict().items():
        target = names.get(name)
        if name.endswith("tubelets.positions") and target is not None:  # in time; a shorter table is the beginning
            value = stretch(value.detach(), new.slots) if new.slots > old.slots else value[: new.slots]
        if target is None or own[target].shape != value.shape:
            raise BadInput(
                f"the weights {name} {tuple(value.shape)} have no place in a network with {described}; leave that out"
            )
        own[target] = value
    made.load_state_dict(own)
    if isinstance(model, VideoText):
        made.tokenizer = model.tokenizer
    return made.to(next(model.parameters()).device).eval()
