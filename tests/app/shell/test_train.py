"""The training commands: their options are the fields of the recipes, with the numbers of the preset that was asked for."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from tapetum.app.shell.main import parse as parse_words
from tapetum.systems.hip.config import Sizes
from tapetum.systems.hip.recipes import RECIPES, recipe
from tapetum.systems.tap.bootstrap.config import BootstrapRun, Ingredient, without
from tapetum.systems.tap.recipes import RECIPES as TAP
from tapetum.systems.tap.recipes import TAP_NANO
from tapetum.train.launch_config import Launch


def parse(words: str) -> Any:
    return parse_words(words.split())


@pytest.mark.slow
def test_configs_and_commands_import_no_torch() -> None:
    code = (
        "import sys, tapetum.app.learn.bootstrap, tapetum.app.learn.train;"
        "sys.exit([name for name in ('torch', 'numpy', 'av') if name in sys.modules] or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == ""


@pytest.mark.parametrize("layout", RECIPES)
def test_a_layout_says_what_is_not_given(layout: Any) -> None:
    command = parse(f"train hip --out o --data d --layout {layout} --seed 3")
    assert command.recipe == recipe(layout, "d", seed=3)
    assert command.launch == Launch(out=Path("o"))
    command = parse(f"train hip --out o --data d --layout {layout} --steps 0 --image 32 --ratio 0.5 --bf16 False")
    usual = RECIPES[layout]
    assert command.recipe == replace(
        usual,
        data="d",
        steps=0,
        bf16=False,
        sizes=replace(usual.sizes, image=(32, 32)),
        masked=replace(usual.masked, ratio=0.5),
    )


def test_parquet_is_the_usual_layout_and_images_may_have_two_sides() -> None:
    command = parse("train hip --out o --data d --image 32 48 --samples 5")
    assert command.recipe == recipe("parquet", "d", sizes=Sizes(image=(32, 48), samples=5, sound_rate=8000))


def test_a_schedule_says_what_is_not_given() -> None:
    words = "train tap-kubric --out o --data d"
    assert parse(words).recipe == replace(TAP["paper"], data="d")
    assert parse(f"{words} --preset public").recipe == replace(TAP["public"], data="d")
    command = parse(f"{words} --preset public --steps 7 --weights w --model bootstapir --workers 2 --parallel fsdp")
    assert command.recipe == replace(TAP["public"], data="d", steps=7, start="w", model="bootstapir")
    assert command.launch == Launch(out=Path("o"), workers=2, parallel="fsdp")


@pytest.mark.parametrize("name", TAP_NANO)
def test_runs_on_scenes_by_name(name: str) -> None:
    command = parse(f"train {name} --out o --steps 9 --textures t --cache c --minutes 1.5 --threads 2")
    assert command.recipe == replace(TAP_NANO[name], steps=9, textures="t", cache="c")
    assert command.launch == Launch(out=Path("o"), minutes=1.5, threads=2)


@pytest.mark.parametrize("ingredient", get_args(Ingredient))
def test_what_is_left_out_is_left_out(ingredient: Ingredient) -> None:
    usual, parsed = BootstrapRun(), parse(f"bootstrap videos --out out --without {ingredient}")
    assert parsed.without == (ingredient,)
    assert parsed.recipe == usual
    assert without(usual, [ingredient]) != usual


def test_options_of_bootstrap() -> None:
    words = "--cycle --apart --lr 1e-4 --steps 3 --extra-convs 2 --iterations None --device cpu --engine ray"
    parsed, usual = parse(f"bootstrap videos --out out {words}"), BootstrapRun()
    settings = replace(usual.settings, cycle=True, separate_moments=True)
    assert parsed.recipe == replace(usual, settings=settings, lr=1e-4, steps=3, extra_convs=2, iterations=None)
    assert (parsed.launch, parsed.engine) == (Launch(out=Path("out"), device="cpu"), "ray")
