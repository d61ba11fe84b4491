"""The commands of the command line, however deep."""

from collections.abc import Iterator

from tapetum.app.commands import Command, Group, as_command
from tapetum.app.shell.main import VERBS, command


def commands_of(verb: str) -> Iterator[tuple[str, Command]]:
    """List the commands of a verb with the words that choose each, such as "eval tapvid"."""
    return _below(verb, command(verb))


def every_command() -> Iterator[tuple[str, Command]]:
    for verb in VERBS:
        yield from commands_of(verb)


def _below(path: str, found: Command | Group) -> Iterator[tuple[str, Command]]:
    if isinstance(found, Command):
        yield path, found
        return
    for name, each in found.commands.items():
        yield from _below(f"{path} {name}", as_command(each))
