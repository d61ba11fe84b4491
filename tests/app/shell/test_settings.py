"""`--config run.toml` of training commands: a file says what options say, the command line wins, a run repeats itself."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.files import stripes
from tapetum.app.shell.main import parse
from tapetum.app.shell.settings import settings_of
from tapetum.core.errors import BadInput

Run = Callable[..., tuple[int, str, str]]

COMMANDS = [
    "train hip --out o --data d",
    "train hip --out o --data d --layout imagenet --size 32 48 --bf16 False --no-shared --lr 1e-5 --device cpu",
    "train hip --out o --data d --layout voc --mae-steps 7 --ratio 0.5 --checkpointing --workers 0",
    "train tap-kubric --out o --data d --preset public --steps 7 --weights w --betas 0.5 0.75 --refine-with-gradient None",
    "train tap-kubric --out o --data d --bf16 --parallel fsdp --size 64 --batch-size 2",
    "train tap-nano --out o --size 64 --batch-size 2 --save-every 5 --device cpu --textures t",
    "bootstrap v --out o",
    "bootstrap v --out o --batch-size 4 --no-polish --cycle --apart --without moving --without stride --iterations None",
    "bootstrap v --out o --no-bf16 --area 0.5 0.75 --textures a\"b\\c'é --engine ray",
]


def parsed(words: list[str]) -> tuple[Any, str]:
    return parse(words), words[1] if words[0] == "train" else "bootstrap"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_says_what_the_options_said(command: str, tmp_path: Path) -> None:
    words = command.split()
    made, recipe = parsed(words)
    file = tmp_path / "run.toml"
    file.write_text(settings_of(made, recipe, "tapetum train"))
    again, _ = parsed([*words[:2], "--config", str(file), "--out", "other"])
    assert again.recipe == made.recipe
    assert {**vars(again.launch), "out": 0} == {**vars(made.launch), "out": 0}
    assert getattr(again, "without", None) == getattr(made, "without", None)
    assert settings_of(again, recipe, "tapetum train") == settings_of(made, recipe, "tapetum train")


def test_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('steps = 3\nbatch_size = 8\nbf16 = true\nlayout = "voc"\nimage = [16, 24]\nout = "o"\ndata = "d"\n')
    recipe = parse(["train", "hip", "--steps=5", f"--config={file}", "--bf16", "False", "--size", "32"])
    assert (recipe.recipe.steps, recipe.recipe.batch_size, recipe.recipe.bf16) == (5, 8, False)
    assert (recipe.recipe.layout, recipe.recipe.sizes.image, recipe.launch.out) == ("voc", (32, 32), Path("o"))
    file.write_text("offload = false\npolish = true\ncycle = false\nshrink = false\n")
    settings = parse(["bootstrap", "v", "--out", "o", "--no-polish", "--cycle", "--config", str(file)]).recipe.settings
    assert (settings.polish, settings.cycle, settings.shrink) == (False, True, False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"stesp = 3", "'stesp' is no option of tap-nano; did you mean steps?"),
        (b"settings = 'x'", "'settings' is no option"),
        (b"offload = true", "'offload' is no option"),
        (b"[steps]\na = 1", "steps is a dict"),
        (b"steps", "is no TOML"),
        (b"recipe = 'hip'", "holds settings of 'hip', and this is tap-nano"),
        (None, "there is no such file"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(run: Run, tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "run.toml"
    if content is not None:
        file.write_bytes(content)
    code, out, err = run("train", "tap-nano", "--config", file, "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "out").exists()


def test_a_switch_is_true_or_false(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('polish = "perhaps"')
    with pytest.raises(BadInput, match="polish is 'perhaps'; wanted true or false"):
        parse(["bootstrap", "v", "--out", "o", "--config", str(file)])


def test_every_recipe_has_the_common_options() -> None:
    common = "--save-every 7 --batch-size 4 --device cpu --size 64 --out o"
    for command in ("train tap-nano", "train causal-tap-nano", "train more-tap-nano", "bootstrap v"):
        assert parsed([*command.split(), *common.split()])[0].launch.save_every == 7
    for recipe in ("hip", "tap-kubric"):
        assert parse(["train", recipe, "--data", "d", *common.split()]).recipe.batch_size == 4


@pytest.mark.slow
def test_a_run_keeps_its_settings_and_repeats_itself(run: Run, tmp_path: Path) -> None:
    data = stripes(tmp_path / "stripes.parquet", 20)
    words = ["train", "hip", "--data", data, "--size", 8, "--mae-steps", 1, "--steps", 0, "--batch-size", 4, "--workers", 0]
    first = tmp_path / "first"
    code, _, err = run(*words, "--threads", 1, "--bf16", False, "--out", first)
    assert code == 0, err
    kept = (first / "settings.toml").read_text()
    assert tomllib.loads(kept)["image"] == [8, 8]
    code, _, err = run("train", "hip", "--config", first / "settings.toml", "--out", tmp_path / "other")
    assert code == 0, err
    assert (tmp_path / "other" / "settings.toml").read_text() == kept
    weights = [(folder / "hip-nano.safetensors").read_bytes() for folder in (first, tmp_path / "other")]
    assert weights[0] == weights[1]
    code, _, err = run("train", "hip", "--config", first / "settings.toml", "--seed", 9, "--out", first)
    assert code == 2  # the folder is of another run, and keeps the settings of that
    assert (first / "settings.toml").read_text() == kept
