"""Over all commands, those to come too: none replaces a file that it is given, or trains on what it wrote."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

import tapetum
from support.commands import every_command
from support.files import listed, make_image
from support.users_files import refused
from tapetum.core.provenance import OUTPUTS

Run = Callable[..., tuple[int, str, str]]


WRITING = [
    "track FILE --out FILE",
    "show FILE FILE --out FILE",
    "convert FILE FILE",
    "index FILE --out FILE",
    "eval tapvid --data FILE --save-predictions FILE",
    "data shards FILE --out FILE",
    "weights convert FILE --out FILE",
    "train tap-nano --textures FILE --out FILE",
    "bootstrap FILE --out FILE",
]
"""Commands that write; FILE is the user's, and is aimed at as input and as result."""
INPUTS = """
    annotations beside check checks config correct data depth encoder episodes experiment eye features file files folders
    folder gt image index labels language libraries masks model name people images pixels place plan points predictions
    proposals query raw recording reference region runs shards source start textures tokenizer tracker tracks
    train trunk video videos voc what codec wordnet
"""
"""Options that may name files to read."""


@pytest.mark.parametrize("line", WRITING)
def test_no_command_replaces_a_file_that_it_is_given(run: Run, tmp_path: Path, line: str) -> None:
    file = tmp_path / "of the user.png"
    file.write_bytes(b"mine")
    said = refused(run, tmp_path, *(file if word == "FILE" else word for word in line.split()))
    assert f"{file}" in said
    assert said.endswith("choose another place to write to\n")
    assert listed(tmp_path) == [file.name]


def test_every_option_that_names_a_file_is_known_to_be_read_or_written() -> None:
    """An option that writes, and is not in OUTPUTS, would be guarded only when its file is put in place."""
    for path, command in every_command():
        types = get_type_hints(command.options)
        for field in fields(command.options):
            if "Path" in str(types[field.name]) and not is_dataclass(types[field.name]):
                assert field.name in OUTPUTS | set(INPUTS.split()), f"tapetum {path} --{field.name}: is it read or written?"
    assert not OUTPUTS & set(INPUTS.split())


@pytest.mark.parametrize(
    "line", ["train tap-nano --textures DATA --out RUN", "bootstrap DATA --out RUN", "data shards DATA --out RUN"]
)
def test_results_of_training_are_no_data_next_time(run: Run, tmp_path: Path, line: str) -> None:
    data = tmp_path / "data"
    make_image(data / "cat" / "1.png", (9, 9, 9))
    places = {"DATA": data, "RUN": data / "run"}
    said = refused(run, tmp_path, *(places.get(word, word) for word in line.split()))
    assert f"--out {data / 'run'} lies in {data}" in said
    assert listed(data) == ["cat"]


_TRACKS = {"tracks.csv": 10**5, "tracks.npz": 10**5, "overlay.mp4": 10**6}
_RUN = {
    "checkpoints": 10**6,
    "tensorboard": 10**5,
    **dict.fromkeys((".lock", "ledger.json", "log.jsonl", "settings.toml"), 10**4),
}
LEFT = {
    "track CLIP --grid 2": _TRACKS,
    "track CLIP --grid 2 --online": _TRACKS,
    "embed IMAGES --model ENCODER": {"": 10**4},
    "adapt IMAGES --task classify --trunk ENCODER --steps 2 --batch-size 2": {"adapter.safetensors": 10**6, **_RUN},
    "pretrain mae --data IMAGES --encoder vit-nano --size 32 --steps 2 --batch-size 2": {
        **_RUN,
        **dict.fromkeys(("encoder.safetensors", "checkpoints"), 12 * 10**6),
        **dict.fromkeys(("README.md", "curves.svg"), 10**4),
    },
}
"""Commands, and what they leave at --out: names and the most bytes of each, of folders all that is in them."""


@pytest.mark.slow
@pytest.mark.parametrize("line", LEFT)
def test_nothing_is_left_that_nobody_expects(run: Run, tmp_path: Path, clip: Path, line: str) -> None:
    for number in range(10):
        make_image(tmp_path / "images" / "ab"[number % 2] / f"{number}.png", (9, 25 * number, 9), (40, 40))
    tapetum.encoders.save(tapetum.encoders.build("vit-nano"), tmp_path / "encoder.safetensors")
    places = {"CLIP": clip, "IMAGES": tmp_path / "images", "ENCODER": tmp_path / "encoder.safetensors"}
    given = listed(tmp_path)
    out = tmp_path / ("out.parquet" if line.startswith("embed") else "out")
    code, _, said = run(*(places.get(word, word) for word in line.split()), "--out", out)
    assert code == 0, said
    assert listed(tmp_path) == sorted([*given, out.name])
    left = {path.name if path != out else "": path for path in (out.iterdir() if out.is_dir() else [out])}
    assert left.keys() == LEFT[line].keys()
    for name, most in LEFT[line].items():
        files = [left[name], *left[name].rglob("*")]
        assert sum(each.stat().st_size for each in files if each.is_file()) <= most, name
