"""Builds a verb from its options dataclass and the function that does the work; see `tapetum.app`."""

import inspect
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, ParamSpec, Protocol, TypeVar, cast, get_args, get_origin

from tapetum.app.values import check_values, several_fields
from tapetum.core.addresses import has_address
from tapetum.core.devices import full_precision
from tapetum.core.errors import Listener as Listener
from tapetum.core.fields import check_sizes
from tapetum.core.plugins import naming_own_code
from tapetum.core.provenance import guarded

if TYPE_CHECKING:
    from tapetum.video import DecodeReport, Video

P = ParamSpec("P")
Options = TypeVar("Options")
OptionsIn = TypeVar("OptionsIn", contravariant=True)
Outcome = TypeVar("Outcome")
OutcomeOut = TypeVar("OutcomeOut", covariant=True)

File = str | Path
"""A place on the disk."""


def one_text(metavar: str) -> Any:
    """Annotate a field, or each value of a field, that is exactly one word on the command line; Python may pass anything.

    A repeatable option then does not consume the words after it, such as the name of a video.
    """
    import tyro

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: words[0],
        is_instance=lambda _: True,
        str_from_instance=lambda value: [str(value)],
    )


class Result:
    """Result of a verb; a command prints it as text, or as JSON with --json."""

    came_in_parts: ClassVar[bool] = False
    """It sums up what the listener has had in parts."""

    @property
    def goes_on_from(self) -> Path | None:
        """Get the folder from which the same command resumes, if the work stopped early."""
        return None

    def as_json(self) -> dict[str, Any]:
        """Convert to JSON values for other programs: the fields, unless a subclass defines others."""
        return _json_values(self)

    def as_text(self) -> str:
        """Format as text for people."""
        raise NotImplementedError

    def failure(self) -> str | None:
        """Describe a partial failure: the result is still printed, and the command exits with 2."""
        return None


@dataclass(frozen=True)
class Stopped(Result):
    """A run that was stopped before its end."""

    out: Path
    product: str
    """What its result would have been called."""

    @property
    def goes_on_from(self) -> Path:
        return self.out

    def as_json(self) -> dict[str, Any]:
        return {self.product: None, "out": str(self.out)}

    def as_text(self) -> str:
        return f"stopped; the same command goes on from {self.out}"


def _json_values(value: Any) -> Any:
    """Convert dataclasses, mappings and sequences to their JSON equivalents, and paths to strings."""
    if is_dataclass(value):
        return {field.name: _json_values(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: _json_values(each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_json_values(each) for each in value]
    return str(value) if isinstance(value, Path) else value


class Warner(Listener):
    """Turns remarks into Python warnings: the listener of a plain call."""

    def note(self, text: str) -> None:
        """Warn."""
        warnings.warn(text, stacklevel=2)


class Verb(Protocol[P, OptionsIn, OutcomeOut]):
    """A function that takes the fields of a dataclass of options."""

    options: type
    """The dataclass; its docstring is the help of the command that `tapetum.app.commands` makes of the verb."""
    counts: Literal["items", "bytes"]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> OutcomeOut:
        """Do the work; remarks become Python warnings."""
        ...

    def run(self, options: OptionsIn, listener: Listener, /) -> OutcomeOut:
        """Run the verb with an existing options object; remarks and progress go to `listener`."""
        ...


def verb(
    options: Callable[P, Options],
    apart: Collection[str] = (),
    counts: Literal["items", "bytes"] = "items",
    data: Collection[str] = (),
) -> Callable[[Callable[[Options, Listener], Outcome]], Verb[P, Options, Outcome]]:
    """Convert a function of options and a listener to one that takes the fields of the dataclass `options`.

    While it runs, the files named by its options are guarded; see `tapetum.core.provenance.guarded`, which also takes `apart`.
    `counts` is the unit of its progress. `data` names options that may be addresses, or lists containing addresses; the
    function receives the paths of copies (`on_this_machine`).

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

    def decorate(work: Callable[[Options, Listener], Outcome]) -> Verb[P, Options, Outcome]:
        parameters, computed = inspect.signature(options), full_precision()(work)

        @wraps(work)
        def run(options: Options, listener: Listener, /) -> Outcome:
            with guarded(options, apart), on_this_machine(options, data, listener) as local:
                return computed(local, listener)

        @wraps(work)
        def function(*args: P.args, **kwargs: P.kwargs) -> Outcome:
            given = parameters.bind(*args, **kwargs)
            for name in several_fields(options) & given.arguments.keys():
                if isinstance(value := given.arguments[name], str | Path):
                    given.arguments[name] = (value,)
            made = options(*given.args, **given.kwargs)
            check_values(made)
            check_sizes(made)
            with naming_own_code():
                return run(made, Warner())

        plain = [each.replace(annotation=_plain(each.annotation)) for each in parameters.parameters.values()]
        result = inspect.signature(work).return_annotation
        function.__signature__ = inspect.Signature(plain, return_annotation=result)  # pyright: ignore[reportAttributeAccessIssue]
        function.options = options  # pyright: ignore[reportAttributeAccessIssue]
        function.run = run  # pyright: ignore[reportAttributeAccessIssue]
        function.counts = counts  # pyright: ignore[reportAttributeAccessIssue]
        return cast("Verb[P, Options, Outcome]", function)

    return decorate


def _plain(annotation: Any) -> Any:
    """Strip a type of annotations that only the command line reads, so that help() shows what a caller passes."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) is tuple:
        return tuple[tuple(_plain(each) for each in get_args(annotation))]
    return annotation


@contextmanager
def on_this_machine(options: Options, data: Collection[str], listener: Listener) -> "Iterator[Options]":
    """Copy data at the addresses in the options `data` (`tapetum.data.remote_folder`), once `check` has checked all of them.

    If an option `online` is set, nothing is copied: an address is then a stream. Yields options with the paths of the copies.
    """
    if getattr(options, "online", False) or not any(has_address(getattr(options, name)) for name in data):
        yield options
        return
    from tapetum.data.remote_folder import local_data

    if callable(check := getattr(options, "check", None)):
        check()
    listener.status("copying data to this machine")
    with local_data(options, data) as local:
        listener.status("")
        yield local


def narrowed(options: Callable[..., Options], given: Any, /, **others: Any) -> Options:
    """Build `options` from the matching fields of `given`, a dataclass with more fields; `others` are set directly.

    >>> from dataclasses import make_dataclass
    >>> few, many = make_dataclass("Few", ["a", "b"]), make_dataclass("Many", ["a", "b", "c"])
    >>> narrowed(few, many(1, 2, 3), b=5)
    Few(a=1, b=5)
    """
    names = [field.name for field in fields(cast(Any, options)) if field.name not in others]
    return options(**{name: getattr(given, name) for name in names if hasattr(given, name)}, **others)


def count_frames(video: "Video", name: Any, listener: Listener) -> "DecodeReport":
    """Decode a video once to find its true number of frames; damaged frames are reported to the listener.

    Frames that fit in `video.types.FRAME_CACHE_BYTES` are cached for later passes. Raises BadInput if nothing can be decoded.
    """
    video.cache_frames()
    report = video.check()
    if report.damaged:
        shown = name if isinstance(name, str | Path) else video.name
        listener.note(f"{shown}: {report.damaged} of {report.promised} frames are damaged or missing")
    return report
