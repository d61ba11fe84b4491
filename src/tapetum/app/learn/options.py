"""Options from a config: fields give names, docstrings the help, presets the defaults; nothing is written twice."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

import tyro

from tapetum.core.errors import BadInput

Config = TypeVar("Config")
_PRESET = "Which numbers are the defaults."


def options(
    presets: Mapping[Any, Config],
    *,
    by: str | tuple[str, ...] | None = None,
    required: Collection[str] = (),
    hidden: Collection[str] = (),
    markers: Mapping[str, Any] | None = None,
    pick: Callable[[Any, Mapping[str, Any]], Config] | None = None,
    others: str = "",
) -> Any:
    """Annotate a field that is a frozen dataclass: its fields become options, its value is one of `presets` with changes.

    A field on which all presets agree has that value as its default. Otherwise it follows the preset unless given. Fields that
    are dataclasses themselves are expanded.

    Args:
        presets: whole configs of one class, by name; by several names where several options pick one.
        by: the option that picks one, or several, by default the first. None: there is one preset.
        required: fields that must be given.
        hidden: fields that are not options.
        markers: further tyro markers of a field, by name; one or a tuple.
        pick: returns the preset for the value of `by` (of several options, all values) and all other options; by default
            the one of that name.
        others: how help shows what `by`, or the first of several, may be besides a name, for which `pick` makes a preset;
            empty: nothing.

    >>> from typing import NamedTuple
    >>> from tapetum.systems.hip.config import Masked
    >>> class Command(NamedTuple):
    ...     masked: Annotated[Masked, options({"half": Masked(ratio=0.5), "most": Masked(ratio=0.9)}, by="kind")]
    >>> for words in "--masked.kind most", "--masked.ratio 0.2":
    ...     print(tyro.cli(Command, args=words.split()).masked.ratio)
    0.9
    0.2
    """
    kind = type(next(iter(presets.values())))
    pickers = (by,) if isinstance(by, str) else tuple(by or ())
    keys: dict[tuple[str, ...], Any] = {key if isinstance(key, tuple) else (key,): key for key in presets}
    marks = markers or {}
    change, parameters = _changes(list(presets.values()), pickers, required, {*hidden, *pickers}, marks)
    for place, picker in enumerate(pickers):
        names = list(dict.fromkeys(key[place] for key in keys))
        metavar = f"{{{','.join(names)}}}|{others}" if others and place == 0 else None
        words = Literal[tuple(names)] if metavar is None else str
        choice = Annotated[words, tyro.conf.arg(help=docstrings(kind).get(picker, _PRESET), metavar=metavar)]
        choice = _marked(choice, marks.get(picker, ()))
        parameters.insert(place, _parameter(picker, names[0], choice))

    def make(**given: Any) -> Config:
        name: Any = tuple(given.pop(picker) for picker in pickers) or next(iter(keys))
        if pick:
            return change(pick(name if len(name) > 1 else name[0], given), given)
        if name not in keys:
            words = " ".join(f"--{picker} {word}" for picker, word in zip(pickers, name, strict=True))
            known = ", ".join(sorted({last for *rest, last in keys if (*rest,) == name[:-1]}))
            raise BadInput(f"there are no numbers for {words}; --{pickers[-1]} may be {known} there")
        return change(presets[keys[name]], given)

    return tyro.conf.arg(constructor=_as_constructor(make, kind, parameters))


def _changes(
    presets: Sequence[Any], by: tuple[str, ...], required: Collection[str], hidden: Collection[str], markers: Mapping[str, Any]
) -> tuple[Callable[[Any, Mapping[str, Any]], Any], list[inspect.Parameter]]:
    """The function that builds a config from the preset and the given options, and these options."""
    kind = type(presets[0])
    types, docs = get_type_hints(kind, include_extras=True), docstrings(kind)
    parameters, inner, differ = [], {}, set()
    for field in fields(kind):
        name, values = field.name, [getattr(preset, field.name) for preset in presets]
        if name in hidden:
            continue
        if is_dataclass(values[0]):
            inner[name], below = _changes(values, by, required, hidden, markers)
            make = _as_constructor(lambda **given: given, type(values[0]), below)
            parameters.append(_parameter(name, inspect.Parameter.empty, Annotated[Any, tyro.conf.arg(constructor=make)]))
            continue
        help_, type_ = docs.get(name, ""), types[name]
        default = tyro.MISSING if name in required else values[0]
        if any(value != values[0] for value in values):
            differ.add(name)
            help_ = f"{help_} By default as the {' and the '.join(by)} {'has' if len(by) == 1 else 'have'} it.".strip()
            type_, default = type_ | None, None
        annotation = Annotated[type_, tyro.conf.arg(help=help_, metavar=_metavar(type_))]
        parameters.append(_parameter(name, default, _marked(annotation, markers.get(name, ()))))

    def change(preset: Any, given: Mapping[str, Any]) -> Any:
        plain = {k: v for k, v in given.items() if k not in inner and not (k in differ and v is None)}
        return replace(preset, **plain, **{k: inner[k](getattr(preset, k), given[k]) for k in inner})

    return change, parameters


def _marked(annotation: Any, marks: Any) -> Any:
    """Annotate with one mark or a tuple of them."""
    for mark in marks if isinstance(marks, tuple) else (marks,):
        annotation = Annotated[annotation, mark]
    return annotation


def _metavar(type_: Any) -> str | None:
    """How an optional number, word or path is shown: as if it were required."""
    [*plain] = (kind for kind in get_args(type_) if kind is not type(None))
    return plain[0].__name__.upper() if type(None) in get_args(type_) and plain[0] in (int, float, str, Path) else None


def _parameter(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _as_constructor(make: Callable[..., Any], kind: type, parameters: Sequence[inspect.Parameter]) -> Callable[..., Any]:
    """A function that tyro treats as having these parameters, documented as the class `kind`."""
    make.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    make.__annotations__ = {p.name: p.annotation for p in parameters}
    make.__name__, make.__doc__ = kind.__name__, kind.__doc__
    return make


@cache
def docstrings(kind: type) -> Mapping[str, str]:
    """Read the docstrings of the fields of a dataclass and of its bases, by name."""
    texts = {name: text for base in reversed(kind.__bases__) if is_dataclass(base) for name, text in docstrings(base).items()}
    try:
        [body] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, TypeError):  # a class that was made and not written
        return texts
    assert isinstance(body, ast.ClassDef)
    for field, text in pairwise(body.body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            texts[field.target.id] = " ".join(str(text.value.value).split())
    return texts
