"""Commands made of verbs: the options are the fields of the verb's dataclass; --json, progress and exit codes are the same for
all.

A module of `tapetum.app` holds a verb, of which `as_command` makes a command; or a `Command`, where the work takes a config
(`tapetum.app.shell.recipes`) or prints in a way of its own; or a `Group` of these, such as `tapetum eval`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Annotated, Any

import tyro

from tapetum.app.shell.parsing import names_last, positionals_of
from tapetum.app.verb import Result, Verb
from tapetum.core.errors import BadInput

JSON = Annotated[bool, tyro.conf.arg(help="Print the result as JSON instead of text.")]
"""Type of the option --json."""


@dataclass(frozen=True)
class Command:
    """A command: what it takes, and what it does."""

    options: type
    """Dataclass whose fields are the options; its docstring is the help."""
    run: Callable[[Any], None]
    """Does the work for an instance of `options` and prints the result; raises `TapetumError` for what the user can mend."""
    prepare: Callable[[Sequence[str]], list[str]] = list
    """Changes the words of the command line before they are parsed."""


@dataclass(frozen=True)
class Group:
    """Commands below a command."""

    help: str
    commands: Mapping[str, Any]
    """By name: a verb, a `Command` or a `Group`."""
    default: str | None = None
    """The command that is meant where the first word names none."""

    def summaries(self) -> dict[str, str]:
        """List the commands with the first sentence of their help."""
        return {name: _first_sentence(help_of(as_command(each))) for name, each in self.commands.items()}


def as_command(found: "Verb[..., Any, Result | None] | Command | Group") -> Command | Group:
    """Make the command of a verb; a command or a group stays as it is."""
    return found if isinstance(found, Command | Group) else command_of(found)


def command_of(verb: "Verb[..., Any, Result | None]") -> Command:
    """Make the command of a verb: its options and --json, progress on stderr, the result on stdout."""
    options = with_json(verb.options)

    def run(given: Any) -> None:
        from tapetum.app.shell.output import terminal

        with terminal(verb.counts, given.json) as listener:
            result = verb.run(given, listener)
        if result is not None:
            print_result(result, given.json)

    positionals = positionals_of(options)
    anywhere = len(positionals) > 1 and any(each.several for each in positionals)
    return Command(options, run, (lambda words: names_last(options, words)) if anywhere else list)


def with_json(options: type) -> type:
    """Make a dataclass of options one that has --json too, if it has not."""
    if any(each.name == "json" for each in fields(options)):
        return options
    made = make_dataclass(options.__name__, [("json", JSON, field(default=False))], bases=(options,), frozen=True, kw_only=True)
    made.__doc__, made.__module__ = options.__doc__, options.__module__
    return made


def print_result(result: Result, as_json: bool) -> None:
    """Print a result on stdout. Raises BadInput where it says that something failed."""
    from tapetum.app.shell.output import print_json, print_line

    if as_json and result.came_in_parts:
        print_line({"type": "summary", **result.as_json()})
    elif as_json:
        print_json(result.as_json())
    else:
        print(result.as_text())
    if (failure := result.failure()) is not None:
        raise BadInput(failure)


def resolve_command(found: Command | Group, words: Sequence[str], path: str) -> tuple[Command | Group, str, list[str]]:
    """Follow the commands that `words` begin with; return the last, the path that leads to it, and the rest of the words."""
    rest = list(words)
    while isinstance(found, Group):
        if found.default and rest and rest[0] not in (*found.commands, "-h", "--help"):
            rest = [found.default, *rest]
        if not rest or rest[0] not in found.commands:
            break
        name, *rest = rest
        found, path = as_command(found.commands[name]), f"{path} {name}"
    return found, path, rest


def help_of(command: Command | Group) -> str:
    """Return the whole help text of a command, without its options."""
    return command.help if isinstance(command, Group) else command.options.__doc__ or ""


def group_help(group: Group, path: str) -> str:
    """Write the help of a group: its commands, a line each."""
    summaries = group.summaries()
    width = max(map(len, summaries))
    paragraphs = [" ".join(paragraph.split()) for paragraph in group.help.split("\n\n")]
    text = "\n\n".join([f"usage: {path} COMMAND ...", *paragraphs])
    lines = [f"  {name:{width}}  {summary}" for name, summary in summaries.items()]
    return "\n".join([text, "", "commands:", *lines, "", f"options of a command: {path} COMMAND --help"])


def _first_sentence(text: str) -> str:
    """Return the first sentence, in one line and without its full stop.

    >>> _first_sentence("Score features (DAVIS), e.g. masks: all of\\n    them. Nothing is trained.")
    'Score features (DAVIS), e.g. masks: all of them'
    """
    paragraph = " ".join(text.split("\n\n")[0].split())
    return paragraph.split(". ")[0].removesuffix(".")
