"""The short help of every command fits a screen, and its examples are commands."""

import shlex
from collections.abc import Callable, Iterator

import pytest

from tapetum.app.commands import Command, Group, as_command
from tapetum.app.shell import help as helps
from tapetum.app.shell.main import VERBS, command, parse
from tapetum.app.shell.parsing import options_of

Run = Callable[..., tuple[int, str, str]]


def below(chosen: Command | Group, path: str) -> Iterator[tuple[str, Command]]:
    """Yield each command with its path."""
    if isinstance(chosen, Command):
        yield path, chosen
    else:
        for name, each in chosen.commands.items():
            yield from below(as_command(each), f"{path} {name}")


COMMANDS = {path: chosen for verb in VERBS for path, chosen in below(command(verb), verb)}


@pytest.mark.parametrize("path", COMMANDS)
def test_short_help_is_one_screen(path: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns, most in (("120", 45), ("80", 60)):
        monkeypatch.setenv("COLUMNS", columns)
        code, out, err = run(*path.split(), "--help")
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert len(lines) <= most
        assert max(map(len, lines)) <= 120
    every = options_of(COMMANDS[path].options)
    shown = {line.split()[0] for line in lines if line.startswith("  --")}
    assert lines[-1].endswith(f"tapetum {path} --help all")
    assert lines[-1].startswith(f"All {len(every)} options") == (len(shown) < len(every))
    assert shown <= {f"--{option.names[0]}" for option in every}
    described = [line for line in lines[lines.index("options:") :] if line.startswith("  --")]
    assert all(len(line.split("  ", 2)) > 2 or len(line) > helps.COLUMN - 4 for line in described), described


@pytest.mark.parametrize("path", COMMANDS)
def test_examples_are_commands(path: str) -> None:
    examples = helps.examples(f"tapetum {path}")
    assert examples
    for line in examples:
        words = shlex.split(line.partition(" > ")[0])
        assert parse(words[1:]) is not None
        short = path.removesuffix(" learn").removesuffix(" tracks")
        assert line.startswith(f"tapetum {short}")


def test_every_section_is_of_a_command() -> None:
    groups = {f"tapetum {path.rpartition(' ')[0]} *" for path in COMMANDS}
    assert set(helps._examples()) <= {f"tapetum {path}" for path in COMMANDS} | groups


def test_all_of_it(run: Run) -> None:
    code, out, _ = run("track", "--help", "all")
    assert code == 0
    missing = [option.names[0] for option in options_of(COMMANDS["track"].options) if f"--{option.names[0]}" not in out]
    assert not missing
    assert "--threads" in out
    assert "--polish" not in run("track", "--help")[1]
    assert "--realtime" in run("track", "clip.mp4", "--online", "--help", "all")[1]
