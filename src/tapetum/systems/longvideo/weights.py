"""Files of video encoders, with or without a text tower or a language model; the config stands in the header under "longvideo".

A language model of transformers is stored by name only and loaded again by it; a text tower's tokenizer is in the file.
"""

import os
from pathlib import Path
from typing import Any

import torch

from tapetum.core.errors import BadInput
from tapetum.encoders.config import DecoderConfig
from tapetum.encoders.tokenizers import TOKENIZER, Tokenizer, restore_tokenizer, store_tokenizer
from tapetum.hub.headed import blueprint, check_fit, read_headed, save_headed
from tapetum.hub.registry import VIDEO_FILE, known, resolve
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.config import VideoConfig
from tapetum.systems.longvideo.encoder import VideoEncoder
from tapetum.systems.longvideo.language import ByteLanguage, make_language
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
