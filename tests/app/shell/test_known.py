"""What a command understands is known before it is parsed: a slip of the finger gets one line with the nearest name."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tapetum.app.commands import Command, Group, as_command
from tapetum.app.shell.completion import script
from tapetum.app.shell.main import VERBS, command
from tapetum.app.shell.parsing import options_of

Run = Callable[..., tuple[int, str, str]]


def every(found: Command | Group, spec: dict[str, Any], path: str) -> Iterator[tuple[str, Command, dict[str, Any]]]:
    """All commands, however deep, with what tyro says of them."""
    if isinstance(found, Command):
        yield path, found, spec
        return
    assert set(found.commands) == set(spec["subcommands"]), path
    for name, below in found.commands.items():
        yield from every(as_command(below), spec["subcommands"][name], f"{path} {name}")


@pytest.mark.slow
def test_what_is_known_is_what_tyro_takes() -> None:
    text = re.search(r"^COMPLETION_SPEC = (.*)$", script("bash"), re.MULTILINE)
    assert text
    spec = eval(text[1])  # a literal that tyro printed
    for verb in VERBS:
        for path, each, told in every(command(verb), spec["subcommands"][verb], verb):
            options = options_of(each.options)
            taken = {flag for option in told["options"] for flag in option["flags"]} - {"-h", "--help"}
            known = {name for option in options for name in option.names}
            known |= {f"no-{name}" for option in options if option.switch for name in option.names}
            assert {flag[2:].replace("_", "-") for flag in taken} <= known, path
            surely = {option.names[0] for option in options if not option.switch}
            assert surely <= {flag[2:].replace("_", "-") for flag in taken}, path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("track a.mp4 --gird 5", "tapetum track has no option --gird; did you mean --grid?"),
        ("track a.mp4 --gird=5", "tapetum track has no option --gird; did you mean --grid?"),
        ("train tap-nano --out o --stesp 5", "tapetum train tap-nano has no option --stesp; did you mean --steps?"),
        ("train tap-nano --out o --layout voc", "tapetum train tap-nano has no option --layout; did you mean"),
        ("eval tapvdi --data x", "tapetum eval has no 'tapvdi'; did you mean tapvid?"),
        ("data shrads x", "tapetum data has no 'shrads'; did you mean shards?"),
        ("tapvid3d chek x", "tapetum tapvid3d has no 'chek'; did you mean check?"),
        ("weights list --zzzzzzzz", "tapetum weights list has no option --zzzzzzzz; it has --json"),
    ],
)
def test_a_slip_is_one_line(run: Run, words: str, message: str) -> None:
    code, out, err = run(*words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"tapetum: {message}")
