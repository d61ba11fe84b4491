"""Over all commands, those to come too: none replaces a file that it is given, or trains on what it wrote."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

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
    "line",
    [
        "train tap-nano --textures DATA --out RUN",
        "bootstrap DATA --out RUN",
        "data shards DATA --out RUN",
    ],
)
def test_results_of_training_are_no_data_next_time(run: Run, tmp_path: Path, line: str) -> None:
    data = tmp_path / "data"
    make_image(data / "cat" / "1.png", (9, 9, 9))
    places = {"DATA": data, "RUN": data / "run"}
    said = refused(run, tmp_path, *(places.get(word, word) for word in line.split()))
    assert f"--out {data / 'run'} lies in {data}" in said
    assert listed(data) == ["cat"]
