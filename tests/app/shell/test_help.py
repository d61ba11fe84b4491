"""The short help of every command fits a screen, its examples are commands, and the tree of commands is the recorded one.

python tests/app/shell/test_help.py writes tests/golden/commands.txt anew: what each command takes
"""

import inspect
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tapetum.app.commands import Command, Group, as_command
from tapetum.app.shell import help as helps
from tapetum.app.shell.main import VERBS, command, parse
from tapetum.app.shell.parsing import options_of, positionals_of

Run = Callable[..., tuple[int, str, str]]
GOLDEN = Path(__file__).parents[2] / "golden" / "commands.txt"


def below(chosen: Command | Group, path: str) -> Iterator[tuple[str, Command]]:
    if isinstance(chosen, Command):
        yield path, chosen
    else:
        for name, each in chosen.commands.items():
            yield from below(as_command(each), f"{path} {name}")


@pytest.fixture(scope="module")
def commands() -> dict[str, Command]:
    return {path: chosen for verb in VERBS for path, chosen in below(command(verb), verb)}


def tree(commands: dict[str, Command]) -> str:
    """Write what each command takes: names, required options with a star, and other options."""
    lines = []
    for path, each in sorted(commands.items()):
        words = [one.name if one.required else f"[{one.name}]" for one in positionals_of(each.options)]
        for option in sorted(options_of(each.options), key=lambda option: option.names[0]):
            words.append(f"--{option.names[0]}{'*' * (option.default is inspect.Parameter.empty)}")
        lines.append(f"{path}: {' '.join(words)}\n")
    return "".join(lines)


def test_the_tree_of_commands_is_the_recorded_one(commands: dict[str, Command]) -> None:
    assert tree(commands).splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines(), f"run: python {__file__}"


def test_short_help_is_one_screen(commands: dict[str, Command], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, each in commands.items():
        for columns, most in (("120", 45), ("80", 60)):
            monkeypatch.setenv("COLUMNS", columns)
            code, out, err = run(*path.split(), "--help")
            assert (code, err) == (0, "")
            lines = out.splitlines()
            assert len(lines) <= most, path
            assert max(map(len, lines)) <= 120, path
        every = options_of(each.options)
        shown = {line.split()[0] for line in lines if line.startswith("  --")}
        assert lines[-1].endswith(f"tapetum {path} --help all")
        assert lines[-1].startswith(f"All {len(every)} options") == (len(shown) < len(every))
        assert shown <= {f"--{option.names[0]}" for option in every}
        described = [line for line in lines[lines.index("options:") :] if line.startswith("  --")]
        assert all(len(line.split("  ", 2)) > 2 or len(line) > helps.COLUMN - 4 for line in described), described


def test_examples_are_commands(commands: dict[str, Command]) -> None:
    for path in commands:
        examples = helps.examples(f"tapetum {path}")
        assert examples, path
        for line in examples:
            words = shlex.split(line.partition(" > ")[0])
            assert parse(words[1:]) is not None
            short = path.removesuffix(" learn").removesuffix(" tracks")
            assert line.startswith(f"tapetum {short}")
    groups = {f"tapetum {path.rpartition(' ')[0]} *" for path in commands}
    assert set(helps._examples()) <= {f"tapetum {path}" for path in commands} | groups


def test_all_of_it(commands: dict[str, Command], run: Run) -> None:
    code, out, _ = run("track", "--help", "all")
    assert code == 0
    missing = [option.names[0] for option in options_of(commands["track"].options) if f"--{option.names[0]}" not in out]
    assert not missing
    assert "--threads" in out
    assert "--polish" not in run("track", "--help")[1]


if __name__ == "__main__":
    GOLDEN.write_text(tree({path: chosen for verb in VERBS for path, chosen in below(command(verb), verb)}), encoding="utf-8")
