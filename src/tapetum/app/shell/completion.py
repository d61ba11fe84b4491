"""`tapetum completion`: scripts that complete verbs and options in a shell.

The printed script is self-contained and does not call tapetum: it needs only the shell's python and its standard library.
"""

from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any, Literal, Union

import tyro

from tapetum.app.commands import Command, Group, as_command
from tapetum.app.shell.parsing import SETTINGS
from tapetum.app.verb import Result


@dataclass(frozen=True)
class CompletionOptions:
    """Print a script that completes verbs and options in your shell."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """For which shell."""


@dataclass(frozen=True)
class Script(Result):
    """The script of a shell."""

    text: str

    def as_text(self) -> str:
        return self.text.rstrip("\n")


COMMAND = Command(CompletionOptions, lambda options, listener: Script(script(options.shell)))


def script(shell: Literal["bash", "zsh", "fish"]) -> str:
    """Build the completion script of a shell. Imports the commands of all verbs, none of which imports torch."""
    from contextlib import redirect_stdout, suppress
    from io import StringIO

    from tapetum.app.shell.main import VERBS, command

    verbs = _union({verb: (command(verb), entry.summary) for verb, entry in VERBS.items()})
    caught = StringIO()
    with redirect_stdout(caught), suppress(SystemExit):
        tyro.cli(verbs, prog="tapetum", args=["--tyro-print-completion", shell], config=SETTINGS)
    # Where nothing of ours fits, the shell completes names of files.
    return caught.getvalue().replace("\ncomplete -F", "\ncomplete -o bashdefault -o default -F")


def _union(commands: Mapping[str, tuple[Command | Group, str]]) -> Any:
    """Build the type that tyro takes for a choice among commands: a union of their annotated options."""
    return Union[tuple(_branch(name, *each) for name, each in commands.items())]  # noqa: UP007


def _branch(name: str, command: Command | Group, summary: str) -> Any:
    if isinstance(command, Command):
        kind = command.options
    else:
        summaries = command.summaries()
        below = _union({each: (as_command(inner), summaries[each]) for each, inner in command.commands.items()})
        kind = make_dataclass("Group", [("command", below)])
    return Annotated[kind, tyro.conf.subcommand(name, prefix_name=False, description=summary)]
