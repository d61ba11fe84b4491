"""Sizes that come from outside are bounded before anything is built of them: options, settings, configs beside weights."""

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.modules.module import register_module_module_registration_hook

import tapetum
from tapetum import encoders
from tapetum.core.errors import BadInput
from tapetum.core.fields import BOUNDS, LARGEST, check_sizes
from tapetum.hub.headed import blueprint
from tapetum.hub.registry import known, location
from tapetum.systems import adapters
from tapetum.systems.adapters import attach

Run = Callable[..., tuple[int, str, str]]

FILES = {name: location(entry) for name, entry in known().items() if entry.bundled and entry.file.endswith(".safetensors")}
"""One file of each system, and the key of its config."""


def rewritten(source: Path, target: Path, change: Callable[[Any], Any]) -> Path:
    data = source.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    for key, text in header["__metadata__"].items():
        if text.startswith("{"):
            header["__metadata__"][key] = json.dumps(change(json.loads(text)))
    new = json.dumps(header).encode()
    target.write_bytes(struct.pack("<Q", len(new)) + new + data[8 + length :])
    return target


def with_numbers(value: Any, name: str, wanted: Callable[[str], bool], number: int) -> Any:
    """A config in which numbers of some names are another."""
    if isinstance(value, dict):
        return {key: with_numbers(each, key, wanted, number) for key, each in value.items()}
    if isinstance(value, list):
        return [with_numbers(each, name, wanted, number) for each in value]
    return number if type(value) is int and wanted(name) else value


FOLDER = Path(__file__).parents[2] / "docs" / "images"
"""A folder of images."""


@contextmanager
def few_modules() -> Iterator[None]:
    """Fail if the block builds more modules than the largest file of weights in the tests could ask for."""
    built = 0

    def count(*_: Any) -> None:
        nonlocal built
        built += 1

    hook = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
    assert built < 20_000


def layers(name: str) -> bool:
    return BOUNDS.get(name) == 1000


@pytest.mark.parametrize("name", FILES)
def test_configs_of_absurd_size_are_refused_before_they_are_built(name: str, tmp_path: Path) -> None:
    path = tmp_path / FILES[name].name
    for wanted, number in ((layers, 10**9), (layers, 1000), (lambda _: True, 10**7)):
        changed = []

        def change(config: Any, wanted: Any = wanted, number: int = number, changed: Any = changed) -> Any:
            changed.append(new := with_numbers(config, "", wanted, number))
            return new if new != config else None

        rewritten(FILES[name], path, change)
        if any(changed):
            with few_modules(), pytest.raises(BadInput):
                tapetum.load(path)


def test_building_ends_where_a_file_has_no_more(tmp_path: Path) -> None:
    with few_modules(), pytest.raises(BadInput, match="asks for more parts than its 3 tensors"), blueprint({}, 3, "a file"):
        torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(10**9))
    with few_modules(), pytest.raises(BadInput, match="asks for more parts"), blueprint({}, 3, "a file"):
        torch.nn.Sequential(*(torch.nn.Identity() for _ in range(10**4)))
    with pytest.raises(BadInput, match="is of no network that can be built"), blueprint({}, 3, "a file"):
        torch.nn.Linear(2**40, 2**40)
    with blueprint({"depth": 3}, 3, "a file"):
        assert torch.nn.Linear(2**18, 2**18).weight.device.type == "meta"
    assert len(torch.nn.Sequential(*(torch.nn.Identity() for _ in range(10**4)))) == 10**4  # what watched is gone


def test_numbers_are_bounded_by_their_names() -> None:
    for given, said in [
        ({"depth": 10**9}, "depth is 1,000,000,000; it may be 1,000 at most"),
        ({"a": [{"size": (8, 10**5)}]}, "size is 100,000; it may be 16,384 at most"),
        ({"x": 10**40}, "x is a number of very many digits; it may be"),
        ({"seed": -(2**70)}, "seed is -1,180,"),
    ]:
        with pytest.raises(BadInput, match=said.replace("(", r"\(")):
            check_sizes(given)
        check_sizes({"depth": 1000, "seed": LARGEST, "x": LARGEST, "flag": True, "name": "9" * 99})


HUGE = "1000000000"
OPTIONS = (
    ("scenes", "make", "OUT", "--size", "32", "--n", "1", "--frames", HUGE),
    ("embed", "CLIP", "--out", "e.npz", "--batch-size", HUGE),
    ("track", "CLIP", "--model", "static", "--resize", HUGE),
    ("pretrain", "mae", "--data", "IMAGES", "--out", "OUT", "--change", f"depth={HUGE}"),
)
"""Commands with an option that sets a size, which is absurd."""


@pytest.mark.parametrize("words", OPTIONS, ids=" ".join)
def test_absurd_sizes_of_options_are_one_line(run: Run, clip: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    places = {"CLIP": clip, "OUT": tmp_path / "out", "IMAGES": FOLDER}
    with few_modules():
        code, out, err = run(*(places.get(word, word) for word in words))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "it may be" in err or "is no size" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", [{"rank": 10**9}, {"rank": 2**17, "width": 2**17}], ids=str)
def test_adapters_of_absurd_size(change: dict[str, int], tmp_path: Path) -> None:
    trunk = encoders.build("vit-nano", width=32, depth=1, heads=2, mlp_width=64)
    attach(trunk, "bottom").save(tmp_path / "a.safetensors")

    def changed(header: Any) -> Any:
        return {**header, "sites": [{**site, **change} for site in header["sites"]]}

    rewritten(tmp_path / "a.safetensors", tmp_path / "b.safetensors", changed)
    with few_modules(), pytest.raises(BadInput):
        adapters.load(tmp_path / "b.safetensors", trunk)


def test_configs_of_hugging_face() -> None:
    for change, said in [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1,000,000,000"),
        ({"num_hidden_layers": 1000}, "asks for more parts than its 3 tensors"),
        ({"hidden_size": 2**17, "num_attention_heads": 1}, "the weights lack embeddings.cls_token"),
    ]:
        config = {
            "model_type": "vit",
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "intermediate_size": 8,
        }
        config |= {"image_size": 32, "patch_size": 16, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "qkv_bias": True} | change
        with few_modules(), pytest.raises(BadInput, match=said):
            encoders.from_state({name: torch.zeros(2) for name in "abc"}, "huggingface", config)


def test_folders_of_paligemma(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "paligemma", "text_config": {"num_hidden_layers": 10**9}, "vision_config": {}})
    )
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with few_modules(), pytest.raises(BadInput):
        tapetum.load(tmp_path)
