"""What a command understands: its options and the commands below it, read from its dataclass, so that a slip of the finger gets
one line with the nearest name."""

import difflib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import pairwise
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro

from tapetum.core.errors import BadInput


@dataclass(frozen=True)
class Option:
    """An option of a command."""

    names: tuple[str, ...]
    """Without dashes; the first is the usual one."""
    place: tuple[str, ...]
    """Names of fields that lead to its value."""
    default: Any
    switch: bool
    """It takes no value: --x or --no-x."""
    repeated: bool
    """It takes one value, as often as it is given."""


def options_of(kind: type) -> list[Option]:
    """List the options of a command, those of its configs (`tapetum.app.shell.options`) too, not those of commands below it."""
    types = get_type_hints(kind, include_extras=True)
    return [option for field in fields(kind) for option in _below(field.name, types[field.name], field.default, ())]


def commands_of(kind: type) -> dict[str, type]:
    """List the commands below a command, by name.

    >>> from tapetum.app.shell.eval import Eval
    >>> list(commands_of(Eval))
    ['tapvid', 'tapvid3d', 'paligemma', 'longvideo', 'perception-test', 'davis', 'objects']
    """
    types = get_type_hints(kind, include_extras=True)
    return {name: below for field in fields(kind) for name, below in _commands(types[field.name])}


def check_words(verb: str, kind: type, words: Sequence[str]) -> None:
    """Raise BadInput for a command or an option of `words` that there is not, with the nearest name, and for an empty word."""
    kind, path, words = resolve_command(kind, words, f"tapetum {verb}")
    if below := commands_of(kind):
        if not words or words[0].startswith("-"):
            return  # of help, or nothing: not for us to say
        raise BadInput(f"{path} has no {words[0]!r}; {_nearest(words[0], below)} (see: {path} --help)")
    known, may_be_empty = {"help"}, set[str]()
    for option in options_of(kind):
        known |= {*option.names, *(f"no-{name}" for name in option.names if option.switch)}
        may_be_empty |= set(option.names) if option.default == "" else set()
    for before, word in pairwise(["", *words]):
        name = plain(word)
        if not word and not (before.startswith("--") and plain(before) in may_be_empty):
            what = f"{before} is followed by" if before.startswith("--") else "there is"
            raise BadInput(f"{path}: {what} an empty word, as of a variable that is not set; give a value, or leave it out")
        if word.startswith("--") and word.endswith("=") and name not in may_be_empty and name in known:
            raise BadInput(f"{path}: --{name} has an empty value; give one, or leave the option out")
        if word == "--":
            return
        if word.startswith("--") and name not in known and not name.startswith("tyro-"):
            near = _nearest(name, sorted(known - {"help"}), "--")
            raise BadInput(f"{path} has no option --{name}; {near} (see: {path} --help)")


def resolve_command(kind: type, words: Sequence[str], path: str = "") -> tuple[type, str, Sequence[str]]:
    """Follow the commands below a command that `words` begin with; give the last, the path that leads to it, and the rest."""
    while words and words[0] in (below := commands_of(kind)):
        kind, path, words = below[words[0]], f"{path} {words[0]}", words[1:]
    return kind, path, words


def names_last(kind: type, words: Sequence[str]) -> list[str]:
    """Put what is no option of a command behind its options, so that these may stand anywhere among several names.

    >>> from tapetum.app.shell.ask import Ask
    >>> names_last(Ask, ["a.png", "--frames", "4", "b.png", "what?", "--json"])
    ['--frames', '4', '--json', 'a.png', 'b.png', 'what?']
    """
    switches = {name for option in options_of(kind) if option.switch for name in option.names}
    switches |= {f"no-{name}" for name in switches} | {"help"}
    chosen: list[str] = []
    names: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            names += rest
        elif word.startswith("--") and len(word) > 2:
            chosen.append(word)
            if "=" not in word and plain(word) not in switches and (value := next(rest, None)) is not None:
                chosen.append(value)
        else:
            (chosen if word == "-h" else names).append(word)
    return [*chosen, *(["--"] if any(name.startswith("-") for name in names) else []), *names]


def plain(word: str) -> str:
    """Give the name of an option as it is written on the command line.

    >>> plain("--save_every=5")
    'save-every'
    """
    return word[2:].partition("=")[0].replace("_", "-")


def _nearest(name: str, known: Any, dashes: str = "") -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {dashes}{near[0]}?" if near else f"it has {', '.join(dashes + each for each in known)}"


def _commands(annotation: Any) -> Iterator[tuple[str, type]]:
    for each in get_args(annotation) if get_origin(annotation) is not Annotated else (annotation,):
        about = getattr(each, "__metadata__", ())
        names = [mark.name for mark in about if type(mark).__name__ == "_SubcommandConfig"]
        if names:
            yield names[0], each.__origin__


def _below(name: str, annotation: Any, default: Any, place: tuple[str, ...]) -> Iterator[Option]:
    about = getattr(annotation, "__metadata__", ())
    kind = annotation.__origin__ if get_origin(annotation) is Annotated else annotation
    if tyro.conf.Positional in about or list(_commands(annotation)):
        return
    place = (*place, name)
    names, aliases = [name], []
    for each in about:
        if factory := getattr(each, "constructor_factory", None):
            for parameter in inspect.signature(factory()).parameters.values():
                yield from _below(parameter.name, parameter.annotation, parameter.default, place)
            return
        names += filter(None, [getattr(each, "name", None)])
        aliases += [alias.lstrip("-") for alias in getattr(each, "aliases", None) or ()]
    if is_dataclass(kind) and isinstance(kind, type):
        types = get_type_hints(kind, include_extras=True)
        for field in fields(kind):
            yield from _below(field.name, types[field.name], field.default, place)
        return
    yield Option(
        names=tuple(word.replace("_", "-") for word in (names[-1], *aliases)),
        place=place,
        default=default,
        switch=kind is bool and tyro.conf.FlagConversionOff not in about,
        repeated=tyro.conf.UseAppendAction in about,
    )
