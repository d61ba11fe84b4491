"""How a verb is made of the dataclass of its options and the function that does the work; see `tapetum.verbs`."""

import inspect
import numbers
import os
import warnings
from collections.abc import Callable, Collection
from dataclasses import fields, is_dataclass
from functools import cache, wraps
from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

from tapetum.devices import full_precision
from tapetum.errors import BadInput
from tapetum.provenance import guarded

if TYPE_CHECKING:
    from tapetum.video import Report, Video

P = ParamSpec("P")
Options = TypeVar("Options")
OptionsIn = TypeVar("OptionsIn", contravariant=True)
Result = TypeVar("Result")
ResultOut = TypeVar("ResultOut", covariant=True)

File = str | Path
"""A place on the disk."""


def one_text(metavar: str) -> Any:
    """Annotate a field, or each value of one, that the command line gives as exactly one word; Python may give anything else.

    So an option that may be repeated leaves alone what stands behind it, such as the name of a video.
    """
    import tyro

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: words[0],
        is_instance=lambda _: True,
        str_from_instance=lambda value: [str(value)],
    )


class Listener:
    """Hears what a verb says while it works. This one hears nothing; subclasses do what they like with it."""

    def note(self, text: str) -> None:
        """Take a remark that is not a result, such as that frames are damaged."""

    def progress(self, task: str, done: int, total: int | None) -> None:
        """Take how far a task is: `total` is None while that is not known, and a task ends with `done` equal to `total`."""

    def status(self, text: str) -> None:
        """Take a line about this moment, in place of the one before; an empty one takes it away."""

    def counting(self, task: str) -> Callable[[int, int | None], None]:
        """Give `progress` of one task, to be called with what is done and how much there is."""
        return lambda done, total: self.progress(task, done, total)


class Warner(Listener):
    """Turns remarks into Python warnings: the listener of a plain call."""

    def note(self, text: str) -> None:
        """Warn."""
        warnings.warn(text, stacklevel=6)


class Verb(Protocol[P, OptionsIn, ResultOut]):
    """A function that takes the fields of a dataclass of options."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> ResultOut:
        """Do the work; remarks become Python warnings."""
        ...

    def run(self, options: OptionsIn, listener: Listener, /) -> ResultOut:
        """Do the work for options that are made already; remarks and progress go to `listener`."""
        ...


def verb(
    options: Callable[P, Options], apart: Collection[str] = ()
) -> Callable[[Callable[[Options, Listener], Result]], Verb[P, Options, Result]]:
    """Make a function of options and a listener one that takes the fields of the dataclass `options`.

    While it runs, the files that its options name are guarded, see `tapetum.provenance.guarded`, which takes `apart` too.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class AddOptions:
    ...     left: int
    ...     right: int = 1
    >>> @verb(AddOptions)
    ... def add(options, listener):
    ...     listener.progress("adding", 1, 1)
    ...     return options.left + options.right
    >>> add(2, right=3), add.run(AddOptions(2), Listener())
    (5, 3)
    """

    def decorate(work: Callable[[Options, Listener], Result]) -> Verb[P, Options, Result]:
        parameters, computed = inspect.signature(options), full_precision()(work)

        def run(options: Options, listener: Listener, /) -> Result:
            with guarded(options, apart):
                return computed(options, listener)

        @wraps(work)
        def function(*args: P.args, **kwargs: P.kwargs) -> Result:
            given = parameters.bind(*args, **kwargs)
            for name in several_fields(options) & given.arguments.keys():
                if isinstance(value := given.arguments[name], str | Path):
                    given.arguments[name] = (value,)
            made = options(*given.args, **given.kwargs)
            if is_dataclass(made):
                check_types(made)
            return run(made, Warner())

        function.__signature__ = parameters.replace(return_annotation=inspect.signature(work).return_annotation)  # pyright: ignore[reportAttributeAccessIssue]
        function.options = options  # pyright: ignore[reportAttributeAccessIssue]
        function.run = run  # pyright: ignore[reportAttributeAccessIssue]
        return cast("Verb[P, Options, Result]", function)

    return decorate


@cache
def several_fields(options: Callable[..., Any]) -> frozenset[str]:
    """Name the fields of a dataclass of options that take any number of values; one text or path given there is one value."""
    return frozenset(field.name for field in fields(cast(Any, options)) if _is_several(field.type))


def _is_several(hint: Any) -> bool:
    """Whether a type is `tuple[X, ...]`, annotated or not."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return get_origin(hint) is tuple and get_args(hint)[1:] == (...,)


def check_types(options: Any) -> None:
    """Raise BadInput for a value of a dataclass of options that is of no type its field takes.

    Paths pass for text, whole numbers of any kind for int, and one value alone for a tuple of them. What a field of another
    type takes (`Any`, a function, a config) is not looked at.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Few:
    ...     count: int
    >>> check_types(Few("three"))
    Traceback (most recent call last):
    tapetum.errors.BadInput: count is the str 'three'; give a whole number
    """
    for field in fields(options):
        name, hint, value = field.name, field.type, getattr(options, field.name)
        if isinstance(value, str) and "\0" in value:
            raise BadInput(f"{name} has a character in it that no text and no path has (0); leave it out")
        if not _fits(value, hint):
            shown = f" {value!r}" if isinstance(value, str | int | float) else ""
            raise BadInput(
                f"{name} is {'None' if value is None else f'the {type(value).__name__}{shown[:80]}'}; give {_told(hint)}"
            )


_TEXT, _WHOLE, _NUMBER = (str, os.PathLike), numbers.Integral, numbers.Real
_SIMPLE: dict[Any, tuple[Any, str]] = {
    str: (_TEXT, "a text or a path"),
    Path: (_TEXT, "a path"),
    int: (_WHOLE, "a whole number"),
    float: (_NUMBER, "a number"),
    bool: ((bool, _WHOLE), "True or False"),
    type(None): (type(None), "None"),
}


def _fits(value: Any, hint: Any) -> bool:
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Annotated:
        return _fits(value, parts[0])
    if isinstance(hint, type) and hint in _SIMPLE:
        return isinstance(value, _SIMPLE[hint][0])
    if kind is Literal:
        return isinstance(value, str | int | float | bool | None) and value in parts
    if kind in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if kind is tuple and len(parts) == 2 and parts[1] is Ellipsis:
        return all(_fits(each, parts[0]) for each in value) if isinstance(value, list | tuple) else _fits(value, parts[0])
    return True


def _told(hint: Any) -> str:
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Annotated:
        return _told(parts[0])
    if isinstance(hint, type) and hint in _SIMPLE:
        return _SIMPLE[hint][1]
    if kind is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if kind in (Union, UnionType):
        return " or ".join(dict.fromkeys(_told(part) for part in parts if part is not Path or str not in parts))
    return f"several: each {_told(parts[0])}" if kind is tuple else "another value"


def narrowed(options: Callable[..., Options], given: Any, /, **others: Any) -> Options:
    """Make options of the values that `given`, a dataclass with more fields, has for them; `others` are taken as they are.

    >>> from dataclasses import make_dataclass
    >>> few, many = make_dataclass("Few", ["a", "b"]), make_dataclass("Many", ["a", "b", "c"])
    >>> narrowed(few, many(1, 2, 3), b=5)
    Few(a=1, b=5)
    """
    names = [field.name for field in fields(cast(Any, options)) if field.name not in others]
    return options(**{name: getattr(given, name) for name in names if hasattr(given, name)}, **others)


def count_frames(video: "Video", name: Any, listener: Listener) -> "Report":
    """Decode a video once, so that its true number of frames is known; the listener hears of damaged ones.

    What fits in `video.held.HELD_BYTES` is kept, so that the passes to come need not decode it again. Raises BadInput where
    nothing can be decoded.
    """
    video.hold()
    report = video.check()
    if report.damaged:
        shown = name if isinstance(name, str | Path) else video.name
        listener.note(f"{shown}: {report.damaged} of {report.promised} frames are damaged or missing")
    return report
