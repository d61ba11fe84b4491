"""Over all commands, those to come too: none replaces a file that it is given, or trains on what it wrote."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

from support.commands import every_command
from support.files import listed, make_image
from support.users_files import refused
from tapetum.app.shell.parsing import options_of
from tapetum.core.provenance import OUTPUTS

Run = Callable[..., tuple[int, str, str]]


WRITING = {
    "track": "track FILE --out FILE",
    "show": "show FILE FILE --out FILE",
    "convert": "convert FILE FILE",
    "ask": "ask FILE what? --out FILE",
    "classify": "classify FILE --report FILE",
    "caption": "caption FILE --out FILE",
    "detect": "detect FILE cat --out FILE",
    "segment": "segment FILE cat --out FILE",
    "index": "index FILE --out FILE",
    "search": "search cat --index FILE --sheet FILE",
    "discover": "discover FILE --out FILE",
    "embed": "embed FILE --out FILE",
    "eval tapvid": "eval tapvid --data FILE --save-predictions FILE",
    "eval tapvid3d": "eval tapvid3d --gt FILE --predictions FILE --out FILE",
    "eval paligemma": "eval paligemma --task vqav2 --data FILE --save FILE",
    "eval longvideo": "eval longvideo --task nextqa --data FOLDER --model FILE --save FILE",
    "eval perception-test": "eval perception-test --task object --annotations FILE --predictions FILE --out FILE",
    "eval all": "eval all --model static --data FOLDER --out FILE",
    "eval davis": "eval davis --data FOLDER --predictions FILE --save-predictions FILE",
    "submit": "submit perception-test --task object --annotations FILE --predictions FILE --out FILE",
    "tapvid3d make": "tapvid3d make drivetrack FILE --out FILE",
    "tapvid3d scenes": "tapvid3d scenes FILE --n 1 --textures FILE",
    "probe": "probe random:resnet-18 --data FILE --cache FILE",
    "study run": "study run --out FILE --images FILE",
    "study report": "study report FILE",
    "scenes make": "scenes make FILE --n 1 --textures FILE",
    "scenes images": "scenes images FILE --n 1 --textures FILE",
    "scenes episodes": "scenes episodes FILE --n 1 --textures FILE",
    "scenes films": "scenes films FILE --n 1 --textures FILE",
    "data shards": "data shards FILE --out FILE",
    "data demos": "data demos --task kitchen:knob --n 1 --out FILE",
    "data perception-test": "data perception-test --out FILE",
    "weights convert": "weights convert FILE --out FILE",
    "export": "export FILE FILE",
    "bootstrap": "bootstrap FILE --out FILE",
    "adapt learn": "adapt FILE --task classify --trunk FILE --out FILE",
}
"""A command line of each command that writes; FILE is the user's, and is aimed at as input and as result."""
INPUTS = """
    annotations beside check checks config correct data depth encoder episodes experiment eye features file files folders
    folder gt image index labels language libraries masks model name people images pixels place plan points predictions
    proposals query raw recording reference region runs shards source start textures tokenizer tracker tracks
    train trunk video videos voc what codec wordnet
"""
"""Options that may name files to read."""
TRAINING = [path for path, each in every_command() if any(o.place[0] == "launch" for o in options_of(each.options))]


def words_of(path: str) -> str:
    if path in WRITING:
        return WRITING[path]
    assert path in TRAINING, f"tapetum {path} writes: say in WRITING how"
    data = "--textures" if path.endswith("tap-nano") else "--data"
    return f"{path} {data} FILE --out FILE" + (" --encoder FILE" if path in ("train fcn", "train coco") else "")


def writes(path: str, kind: type) -> bool:
    given = {option.place[-1] for option in options_of(kind)} | set(getattr(kind, "__dataclass_fields__", ()))
    return bool(given & OUTPUTS)


@pytest.mark.parametrize(
    "path", [path for path, each in every_command() if writes(path, each.options) and words_of(path).count("FILE") > 1]
)
def test_no_command_replaces_a_file_that_it_is_given(run: Run, tmp_path: Path, path: str) -> None:
    file = tmp_path / "of the user.png"
    file.write_bytes(b"mine")
    places = {"FILE": file, "FOLDER": tmp_path}
    line = refused(run, tmp_path, *(places.get(word, word) for word in words_of(path).split()))
    assert f"{file}" in line
    assert line.endswith("choose another place to write to\n")
    assert listed(tmp_path) == [file.name]


def test_every_option_that_names_a_file_is_known_to_be_read_or_written() -> None:
    """An option that writes, and is not in OUTPUTS, would be guarded only when its file is put in place."""
    for path, command in every_command():
        types = get_type_hints(command.options)
        for field in fields(command.options):
            if "Path" in str(types[field.name]) and not is_dataclass(types[field.name]):
                assert field.name in OUTPUTS | set(INPUTS.split()), f"tapetum {path} --{field.name}: is it read or written?"
    assert not OUTPUTS & set(INPUTS.split())


@pytest.mark.parametrize("path", [*TRAINING, "bootstrap", "study run", "data shards"])
def test_results_of_training_are_no_data_next_time(run: Run, tmp_path: Path, path: str) -> None:
    data = tmp_path / "data"
    make_image(data / "cat" / "1.png", (9, 9, 9))
    places = {"FILE": data, "--textures": "--textures"}
    words = [str(places.get(word, word)) for word in words_of(path).split()]
    words[words.index("--out") + 1] = data / "run"
    assert f"--out {data / 'run'} lies in {data}" in refused(run, tmp_path, *words)
    assert listed(data) == ["cat"]
