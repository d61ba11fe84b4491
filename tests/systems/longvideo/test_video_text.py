"""Two towers: what they give, what they learn from, and their files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import tapetum
from tapetum.core.errors import BadInput
from tapetum.encoders.towers_config import TextConfig
from tapetum.systems import longvideo
from tapetum.systems.longvideo.video_text import VideoText

SMALL: dict[str, Any] = {"width": 24, "depth": 2, "heads": 2, "mlp_width": 48, "size": (16, 16), "tubelet": (2, 8, 8)}
SMALL |= {"frames": 16, "segment_frames": 8, "memories": 3, "projection": 6}
TEXT = TextConfig(
    width=16, depth=2, heads=2, mlp_width=32, vocabulary=258, length=32, causal=False, pooling="mean", activation="gelu"
)


def towers(**changes: Any) -> VideoText:
    return longvideo.build_video_text("mcvit-nano", **{**SMALL, "text": TEXT, **changes})


def clip(frames: int = 16, batch: int = 2) -> Tensor:
    return torch.rand(batch, frames, 16, 16, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for model in (towers(tune="lora"), longvideo.build("vivit-nano", **{k: v for k, v in SMALL.items() if k != "projection"})):
        longvideo.save(model, path)
        again = tapetum.load(path)
        assert type(again) is type(model)
        assert again.config == model.config
        assert again.state_dict().keys() == model.state_dict().keys()
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
        assert not again.training
    tapetum.encoders.save(tapetum.encoders.build("vit-tiny-16", depth=1), path)
    with pytest.raises(BadInput, match="holds no video encoder"):
        longvideo.load(path)


def test_files_that_are_not_whole_get_one_line(tmp_path: Path) -> None:
    from tapetum.hub.headed import save_headed
    from tapetum.systems.longvideo.video_text_config import to_json

    model, path = towers(), tmp_path / "a.safetensors"
    with pytest.raises(BadInput, match="is no file of weights"):
        longvideo.load(path)
    about = to_json(model.config)
    bad = {**about, "video": {**about["video"], "width": "wide"}}
    for wrong in (bad, {}, [], {**about, "text": {"width": 3}}, {**about, "projection": 0}):
        save_headed(model, path, "longvideo", wrong)
        with pytest.raises(BadInput, match=r"the config in .* cannot be read"):
            longvideo.load(path)
    save_headed(model, path, "longvideo", json.loads(json.dumps({**about, "projection": 7})))
    with pytest.raises(BadInput, match="does not fit its config"):
        longvideo.load(path)
    longvideo.save(model, path)
    with safe_open(path, "pt") as file:
        header = file.metadata()
    save_file(load_file(path) | {"log_scale": torch.full((), torch.nan)}, path, header)
    with pytest.raises(BadInput, match="log_scale"):
        longvideo.load(path)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(BadInput, match="there are no texts"):
        towers().tokens([])
    with pytest.raises(BadInput, match="a tokenizer that is not with it"):
        towers(text=TextConfig(**{**vars(TEXT), "vocabulary": 300})).tokens(["a"])
    with pytest.raises(BadInput, match="did you mean mcvit-nano"):
        longvideo.build_video_text("mcvit-nan")
