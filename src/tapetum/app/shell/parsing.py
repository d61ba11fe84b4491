"""Parses the words of a command line into an options dataclass with tyro, and explains errors in one line.

A command's options are read from its dataclass. Typing errors are found before tyro parses the words (`check_words`). When tyro
rejects them, it prints a box of several lines; that is suppressed, and `explain` derives the reason from the command's options.
"""

import difflib
import inspect
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import MISSING, dataclass, fields, is_dataclass
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from tapetum.app.learn.options import docstrings
from tapetum.core.errors import BadInput

Options = TypeVar("Options")
SETTINGS = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
"""How fields become options."""
PLACES, NOWHERE = ("data", "out"), "nowhere"
"""Options that a dry run need not be given, and what stands for their values there."""


@dataclass(frozen=True)
class Option:
    """An option of a command."""

    names: tuple[str, ...]
    """Without dashes; the first is the usual one."""
    place: tuple[str, ...]
    """Names of fields that lead to its value."""
    default: Any
    """`inspect.Parameter.empty` where it must be given."""
    switch: bool
    """It takes no value: --x or --no-x."""
    repeated: bool
    """It takes one value, as often as it is given."""
    type: Any
    """Of its value, without annotations."""
    parsed: bool
    """Its values are read in a way of their own."""
    help: str
    metavar: str
    """What stands for its value in help."""

    @property
    def several(self) -> bool:
        """Check whether it takes all words that follow."""
        return get_origin(self.type) is tuple and not self.repeated


@dataclass(frozen=True)
class Positional:
    """A word of a command that has no dashes."""

    name: str
    """As the help shows it."""
    type: Any
    required: bool
    help: str

    @property
    def several(self) -> bool:
        """Check whether it may be given more than once."""
        return get_origin(self.type) is tuple


def parse(options: type[Options], words: Sequence[str], path: str) -> Options:
    """Parse `words` into a dataclass of options; help goes to stdout.

    Raises BadInput, in one line, where the words do not fit; SystemExit after help.
    """
    try:
        with redirect_stderr(io.StringIO()):
            return tyro.cli(options, prog=path, args=list(words), config=SETTINGS)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise BadInput(f"{explain(options, words)} (see: {path} --help)") from stop


def explain(options: type, words: Sequence[str]) -> str:
    """Explain why `words` do not fit a command."""
    given, names = _split(options, words)
    for name, option, values in given:
        if not values and not option.switch:
            return f"--{name} lacks its value"
        for value in values:
            if not option.parsed and (reason := _misfit(option.type, value)):
                return f"--{name}: {value!r} {reason}"
    positionals = positionals_of(options)
    for positional, name in zip(positionals, names, strict=False):
        if reason := _misfit(positional.type, name):
            return f"{positional.name}: {name!r} {reason}"
    every = [name for name, _, _ in given]
    lacking = [each.name for each in positionals if each.required][len(names) :]
    lacking += [
        f"--{option.names[0]}"
        for option in options_of(options)
        if option.default is inspect.Parameter.empty and not set(option.names) & set(every)
    ]
    if lacking:
        return f"{', '.join(lacking)} must be given"
    try:
        with redirect_stderr(io.StringIO()):
            _, unknown = tyro.cli(options, args=list(words), config=SETTINGS, return_unknown_args=True)
    except SystemExit:
        unknown = []
    return f"nothing takes {' '.join(unknown)}" if unknown else "this cannot be read"


def options_of(kind: type) -> list[Option]:
    """List the options of a command, including those of its configs (`tapetum.app.learn.options`)."""
    texts = docstrings(kind)
    return [one for name, type_, value in _fields(kind) for one in _below(name, type_, value, (), texts.get(name, ""))]


def positionals_of(kind: type) -> list[Positional]:
    """List the positional words of a command, in order."""
    every: list[Positional] = []
    for name, annotation, default in _fields(kind):
        marks = getattr(annotation, "__metadata__", ())
        if tyro.conf.Positional in marks:
            shown = [mark.metavar for mark in marks if getattr(mark, "metavar", None)]
            required, text = default is inspect.Parameter.empty, " ".join(docstrings(kind).get(name, "").split())
            every.append(Positional((shown or [name])[-1], _plain_type(annotation), required, text))
    return every


def check_words(options: type, words: Sequence[str], path: str) -> None:
    """Raise BadInput for an unknown option in `words`, suggesting the nearest name, and for an empty word."""
    known, may_be_empty = {"help"}, set[str]()
    for option in options_of(options):
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
            near = nearest(name, sorted(known - {"help"}), "--")
            raise BadInput(f"{path} has no option --{name}; {near} (see: {path} --help)")


def names_last(kind: type, words: Sequence[str]) -> list[str]:
    """Move positional words behind the options, so that options may stand anywhere among several names.

    >>> from tapetum.app.see.ask import AskOptions
    >>> names_last(AskOptions, ["a.png", "--frames", "4", "b.png", "what?", "--raw"])
    ['--frames', '4', '--raw', 'a.png', 'b.png', 'what?']
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


def with_places(kind: type, words: Sequence[str]) -> list[str]:
    """Add the required paths that a dry run ignores: data to read, a folder to write."""
    given, names = _split(kind, words)
    known = {name for _, option, _ in given for name in option.names}
    lacking = [each for each in options_of(kind) if each.default is inspect.Parameter.empty and not known & set(each.names)]
    places = [word for each in lacking if each.names[0] in PLACES for word in (f"--{each.names[0]}", NOWHERE)]
    positionals = [each for each in positionals_of(kind) if each.required][len(names) :]
    return [*([NOWHERE] * len(positionals)), *words, *places]


def plain(word: str) -> str:
    """Write the name of an option as on the command line.

    >>> plain("--save_every=5")
    'save-every'
    """
    return word[2:].partition("=")[0].replace("_", "-")


def nearest(name: str, known: Iterable[str], dashes: str = "") -> str:
    """Suggest the known name nearest to an unknown one, or list all."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {dashes}{near[0]}?" if near else f"it has {', '.join(dashes + each for each in known)}"


def _split(kind: type, words: Sequence[str]) -> tuple[list[tuple[str, Option, list[str]]], list[str]]:
    """Split words into options with their values, and names."""
    known = {name: option for option in options_of(kind) for name in option.names}
    known |= {f"no-{name}": option for name, option in known.items() if option.switch}
    given: list[tuple[str, Option, list[str]]] = []
    names: list[str] = []
    room = 0
    for number, word in enumerate(words):
        if word == "--":
            return given, [*names, *words[number + 1 :]]
        option = known.get(plain(word)) if word.startswith("--") else None
        if option is not None:
            value = [word.partition("=")[2]] if "=" in word else []
            given.append((plain(word), option, value))
            room = 0 if option.switch or value else len(words) if option.several else 1
        elif room:
            given[-1][2].append(word)
            room -= 1
        else:
            names.append(word)
    return given, names


def _misfit(kind: Any, word: str) -> str | None:
    """Say why a word is not a valid value of a type; None if it may be one."""
    if get_origin(kind) is tuple:
        return _misfit(get_args(kind)[0], word)
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    parts = tuple(_plain_type(part) for part in parts)
    if NoneType in parts and word == "None":
        return None
    parts = tuple(part for part in parts if part is not NoneType)
    literals = [value for part in parts if get_origin(part) is Literal for value in get_args(part)]
    literals += [True, False] if bool in parts else []
    if literals and not any(word == str(value) for value in literals) and len(parts) == 1:
        return f"is none of {', '.join(repr(str(value)) for value in literals)}"
    number = next((part for part in parts if part in (int, float)), None)
    if number is not None and len(parts) == 1 + bool(literals) and word not in map(str, literals):
        try:
            number(word)
        except ValueError:
            return f"is no {number.__name__.upper()}{''.join(f', nor {value}' for value in literals)}"
    return None


def _fields(kind: type) -> Iterator[tuple[str, Any, Any]]:
    types = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        if field.init:
            needed = field.default is MISSING and field.default_factory is MISSING
            default = None if field.default is MISSING else field.default
            yield field.name, types[field.name], inspect.Parameter.empty if needed else default


def _plain_type(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _metavar(kind: Any, marks: Iterable[Any] = ()) -> str:
    """Write what stands for a value of a type in help, such as {yes,no} or INT."""
    if shown := [mark.metavar for mark in marks if getattr(mark, "metavar", None)]:
        return shown[-1]
    if get_origin(kind) is Annotated:
        return _metavar(_plain_type(kind), kind.__metadata__)
    parts = [part for part in get_args(kind) if part not in (NoneType, Ellipsis)]
    if get_origin(kind) is Literal:
        return f"{{{','.join(map(str, parts))}}}"
    if get_origin(kind) is tuple:
        return f"{_metavar(parts[0])} ..."
    if get_origin(kind) in (Union, UnionType):
        return "|".join(dict.fromkeys(map(_metavar, parts)))
    return "{True,False}" if kind is bool else getattr(kind, "__name__", "VALUE").upper()


def _below(name: str, annotation: Any, default: Any, place: tuple[str, ...], text: str) -> Iterator[Option]:
    marks = getattr(annotation, "__metadata__", ())
    kind = _plain_type(annotation)
    if tyro.conf.Positional in marks:
        return
    place = (*place, name)
    names, aliases = [name], []
    for each in marks:
        if factory := getattr(each, "constructor_factory", None):
            for parameter in inspect.signature(factory()).parameters.values():
                yield from _below(parameter.name, parameter.annotation, parameter.default, place, "")
            return
        names += filter(None, [getattr(each, "name", None)])
        text = getattr(each, "help", None) or text
        aliases += [alias.lstrip("-") for alias in getattr(each, "aliases", None) or ()]
    if is_dataclass(kind) and isinstance(kind, type):
        for inner, type_, value in _fields(kind):
            yield from _below(inner, type_, value, place, docstrings(kind).get(inner, ""))
        return
    repeated = tyro.conf.UseAppendAction in marks
    yield Option(
        names=tuple(word.replace("_", "-") for word in (names[-1], *aliases)),
        place=place,
        default=inspect.Parameter.empty if default is tyro.MISSING else default,
        switch=kind is bool and tyro.conf.FlagConversionOff not in marks,
        repeated=repeated,
        type=kind,
        parsed=any(isinstance(mark, tyro.constructors.PrimitiveConstructorSpec) for mark in marks),
        help=" ".join(text.split()),
        metavar=_metavar(kind, marks).removesuffix(" ..." * repeated),
    )
