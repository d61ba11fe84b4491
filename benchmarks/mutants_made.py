"""Finds every small way to break the mathematics of a file (`candidates`), for `mutants.py`.

    operator   + for -, * for /, < for <=, and for or, a dropped minus or not
    constant   a number one larger (integers) or twice as large, a bool turned
    argument   two neighbouring positional arguments swapped
    line       a statement dropped whose names exist without it
    call       f(x) or x.f() without f
    name       student for teacher, rows for columns, sum for mean
    operand    a - b and a / b turned round
    axis       another dimension of a sum, a mean, a concatenation
    key        another string of the file between square brackets
    branch     a condition with an else, or of one process alone, that always holds

Left out, as not mathematics: errors and the branches that raise them, checks, what is printed or logged, strings, types, casts
and copies (`tuple`, `contiguous`, `to`), keywords that change no value (`strict`), and swaps within commutative functions.
"""

import ast
import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

KINDS = "operator", "constant", "argument", "line", "call", "name", "operand", "axis", "key", "branch"
_OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_NAMES = """
    student/teacher online/target source/target prediction/target predictions/targets query/key queries/keys key/value
    keys/values own/other left/right top/bottom first/second first/last one/other height/width rows/columns row/column
    low/high before/after start/end begin/end image/text images/texts video/text positive/negative mean/std up/down
    visible/hidden local/global sum/mean min/max amin/amax argmin/argmax minimum/maximum sin/cos floor/ceil any/all
    zeros/ones zeros_like/ones_like cumsum/cumprod gamma/beta scale/shift inner/outer small/large h/w x/y a/b i/j q/k
    k/v 1/2
"""
_PAIRS = [tuple(pair.split("/")) for pair in _NAMES.split()]
_METHODS = {name for pair in _PAIRS[_PAIRS.index(("sum", "mean")) : _PAIRS.index(("gamma", "beta"))] for name in pair}
"""Attributes that can stand for their partner though the file does not name it."""
_COMMUTE = {
    "minimum",
    "maximum",
    "min",
    "max",
    "gcd",
    "equal",
    "allclose",
    "logical_and",
    "logical_or",
    "transpose",
    "swapaxes",
}
_SAME = """
    tuple list set frozenset dict int float bool str iter contiguous to cpu numpy tolist item clone copy repr len type
    super asarray from_numpy as_tensor ascontiguousarray cast range enumerate zip items keys values modules parameters
    named_parameters children state_dict size numel dim get getattr hasattr setattr add_module register_buffer
    register_parameter no_grad autocast __init__
"""
_COPIES = set(_SAME.split())
"""Calls that change no value, or without which nothing runs."""
_NO_VALUE = {"strict", "persistent", "inplace", "non_blocking", "device", "stacklevel", "copy"}
_AXES = {"dim", "axis"}
_REDUCTIONS = "sum mean amax amin argmax argmin prod cumsum cumprod std var any all cat stack concatenate softmax flip"
_ALONG = set(_REDUCTIONS.split())
"""Calls whose last argument, a plain number, is a dimension."""
_ALONE = {"main", "is_main", "rank"}
"""What tells one process from the others."""
_TALK = "print", "warn", "info", "debug", "BadInput", "isinstance", "issubclass"
_SILENT = ("check", "_check", "__repr__", "__str__", "extra_repr", "__post_init__", "_require")


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    file: str
    """Path from the root of the repository."""
    kind: str
    function: str
    """Where: names of classes and functions, with dots; empty for the module."""
    line: int
    lines: tuple[int, ...]
    """Lines whose execution shows that a test could notice; empty for what runs when the module is imported."""
    span: tuple[int, int]
    """Bytes of the file that are replaced."""
    text: str
    """What they become."""
    before: str
    after: str
    """The statement's lines, before and after."""
    occurrence: int = 0
    """Number among equal ones of the function."""

    @property
    def id(self) -> str:
        """Name the mutant by what it changes, not by its line, so that edits elsewhere do not rename it."""
        parts = self.file, self.kind, self.function, self.before, self.after, str(self.occurrence)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]

    def apply(self, source: bytes) -> bytes:
        """Give the text of the broken file."""
        return source[: self.span[0]] + self.text.encode() + source[self.span[1] :]


def candidates(file: str, source: bytes) -> list[Mutant]:
    """Find all mutants of a file, in the order of its text."""
    known: dict[str, int] = {}
    found = []
    for mutant in _Finder(file, source).mutants():
        try:
            with warnings.catch_warnings(action="error"):
                compile(mutant.apply(source), file, "exec")
        except (
            SyntaxError,
            SyntaxWarning,
        ):  # also what Python warns of, such as a list in the place of a function that is called
            continue
        number = known[mutant.id] = known.get(mutant.id, -1) + 1
        found.append(replace(mutant, occurrence=number))
    return found


class _Finder:
    def __init__(self, file: str, source: bytes):
        self.file, self.source = file, source
        self.tree = ast.parse(source)
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.keys: dict[str, set[str]] = {}
        """Strings between square brackets, by what they are looked up in."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Subscript) and _text(node.slice) and isinstance(node.slice, ast.Constant):
                self.keys.setdefault(ast.unparse(node.value), set()).add(node.slice.value)  # type: ignore[arg-type]
        self.attributes = {ast.unparse(node) for node in ast.walk(self.tree) if isinstance(node, ast.Attribute)}

    def mutants(self) -> Iterator[Mutant]:
        for statement in self.tree.body:
            yield from self.statement(statement, "", set(), ())

    def statement(self, node: ast.stmt, scope: str, names: set[str], lines: tuple[int, ...]) -> Iterator[Mutant]:
        """Go through a statement; `lines` are those of the function whose head it is part of, or empty."""
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                yield from self.statement(inner, f"{scope}.{node.name}".lstrip("."), set(), ())
            return
        if isinstance(node, ast.FunctionDef):
            yield from self.function(node, scope)
            return
        if _not_mathematics(node):
            if isinstance(node, ast.If):
                for inner in node.orelse:
                    yield from self.statement(inner, scope, names, lines)
            return
        inside = bool(names)
        here = _head(node) if inside else ()
        if inside and isinstance(node, ast.If) and (node.orelse or _of_one_process(node.test)):
            yield self.make("branch", node.test, "True", node, scope, here)
        if inside and _can_go(node):
            yield self.make("line", node, "pass", node, scope, here)
        blocks = [field for field in ("body", "orelse", "finalbody") if isinstance(getattr(node, field, None), list)]
        for field, value in ast.iter_fields(node):
            if field in blocks or field == "annotation":
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.expr):
                    yield from self.expression(child, node, scope, names, here)
                elif isinstance(child, ast.withitem):
                    yield from self.expression(child.context_expr, node, scope, names, here)
                elif isinstance(child, ast.excepthandler | ast.match_case):
                    for inner in child.body:  # type: ignore[attr-defined]
                        yield from self.statement(inner, scope, names, lines)
        for field in blocks:
            for inner in getattr(node, field):
                yield from self.statement(inner, scope, names, lines)

    def function(self, node: ast.FunctionDef, scope: str) -> Iterator[Mutant]:
        if node.name.startswith(_SILENT) and node.name != "__post_init__":
            return
        own = f"{scope}.{node.name}".lstrip(".")
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = {each.arg for each in arguments} | {
            each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
        }
        body = tuple(range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1))
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                yield from self.expression(default, default, own, names, body)
        for inner in node.body:
            yield from self.statement(inner, own, names | {""}, body)

    def expression(
        self, node: ast.AST, statement: ast.AST, scope: str, names: set[str], lines: tuple[int, ...]
    ) -> Iterator[Mutant]:
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Call) and _name(node.func).startswith(_TALK)):
            return
        if isinstance(node, ast.keyword) and node.arg in _NO_VALUE:
            return
        for kind, text in self.changes(node, names):
            if kind == "call" and isinstance(statement, ast.Expr) and statement.value is node:
                continue  # the same as dropping the line
            yield self.make(kind, node, text, statement, scope, lines)
        for child in ast.iter_child_nodes(node):
            yield from self.expression(child, statement, scope, names, lines)

    def changes(self, node: ast.AST, names: set[str]) -> Iterator[tuple[str, str]]:
        """Give kind and new text of each change of one node."""
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS and not (_text(node.left) or _text(node.right)):
            yield "operator", self.parsed(ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            yield "operator", self.parsed(ast.BinOp(node.right, node.op, node.left))
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in _OPERATORS:
            yield (
                "operator",
                self.parsed(ast.Compare(node.left, [_OPERATORS[type(node.ops[0])](), *node.ops[1:]], node.comparators)),
            )
        elif isinstance(node, ast.BoolOp):
            yield "operator", self.parsed(ast.BoolOp(_OPERATORS[type(node.op)](), node.values))
        elif isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
            yield "operator", self.parsed(node.operand)
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            yield "constant", _number(node.value)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            for other in _partners(node.id):
                if other in names:
                    yield "name", other
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            for other in _partners(node.attr):
                if other in _METHODS or f"{ast.unparse(node.value)}.{other}" in self.attributes:
                    yield "name", f"{self.piece(node.value)}.{other}"
        elif isinstance(node, ast.IfExp):
            yield "branch", self.parsed(node.body)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and _text(node.slice):
            for other in sorted(self.keys[ast.unparse(node.value)] - {node.slice.value}):
                yield "key", f"{self.piece(node.value)}[{other!r}]"
        elif isinstance(node, ast.Call):
            yield from self.calls(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Div):
            yield "operand", self.parsed(ast.BinOp(node.right, node.op, node.left))
        if isinstance(node, ast.Call):
            yield from self.axes(node)

    def axes(self, node: ast.Call) -> Iterator[tuple[str, str]]:
        """Give a call along another dimension: the first for any other, the last for the first, the one before for the last."""
        for index, each in enumerate(node.keywords):
            if each.arg in _AXES and (number := _whole(each.value)) is not None:
                changed = ast.keyword(each.arg, ast.Constant(_other_axis(number)))
                keywords = [*node.keywords[:index], changed, *node.keywords[index + 1 :]]
                yield "axis", self.parsed(ast.Call(node.func, node.args, keywords))
        if _name(node.func) in _ALONG and node.args and (number := _whole(node.args[-1])) is not None:
            yield "axis", self.parsed(ast.Call(node.func, [*node.args[:-1], ast.Constant(_other_axis(number))], node.keywords))

    def calls(self, node: ast.Call) -> Iterator[tuple[str, str]]:
        name, arguments = _name(node.func), node.args
        if name[:1].isupper() or name in _COPIES or name.startswith((*_TALK, *_SILENT)):
            return
        if any(isinstance(each, ast.Starred) for each in arguments):
            return
        for index, (one, other) in enumerate(pairwise(arguments)):
            if (
                name in _COMMUTE
                or ast.dump(one) == ast.dump(other)
                or isinstance(one, ast.Constant) != isinstance(other, ast.Constant)
            ):
                continue
            swapped = [*arguments[:index], other, one, *arguments[index + 2 :]]
            yield "argument", self.parsed(ast.Call(node.func, swapped, node.keywords))
        if isinstance(node.func, ast.Name) or _is_function(node.func) or ast.unparse(node.func).startswith("self."):
            if len(arguments) == 1 or (arguments and _is_function(node.func)):
                yield "call", self.parsed(arguments[0])
        elif isinstance(node.func, ast.Attribute):
            yield "call", self.parsed(node.func.value)

    def parsed(self, node: ast.expr) -> str:
        text = ast.unparse(ast.fix_missing_locations(node))
        return text if isinstance(node, ast.Name | ast.Constant | ast.Call | ast.Attribute | ast.Subscript) else f"({text})"

    def piece(self, node: ast.expr) -> str:
        start, end = self.span(node)
        return self.source[start:end].decode()

    def span(self, node: ast.AST) -> tuple[int, int]:
        return (
            self.starts[node.lineno - 1] + node.col_offset,  # type: ignore[attr-defined]
            self.starts[node.end_lineno - 1] + node.end_col_offset,  # type: ignore[attr-defined]
        )

    def make(self, kind: str, node: ast.AST, text: str, statement: ast.AST, scope: str, lines: tuple[int, ...]) -> Mutant:
        start, end = self.span(node)
        first = self.starts[node.lineno - 1]  # type: ignore[attr-defined]
        last = self.starts[node.end_lineno]  # type: ignore[attr-defined]
        before = self.source[first:last].decode()
        after = self.source[first:start].decode() + text + self.source[end:last].decode()
        line = node.lineno  # type: ignore[attr-defined]
        return Mutant(self.file, kind, scope, line, lines, (start, end), text, _tidy(before), _tidy(after))


def _tidy(text: str) -> str:
    return " ".join(text.split())


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_function(node: ast.AST) -> bool:
    """Whether an attribute is of a module (torch.tanh, F.normalize), not of a value."""
    if not isinstance(node, ast.Attribute):
        return False
    root = node.value
    while isinstance(root, ast.Attribute):
        root = root.value
    return isinstance(root, ast.Name) and root.id in (
        "torch",
        "F",
        "np",
        "math",
        "nn",
        "numpy",
        "scipy",
        "special",
        "ndimage",
        "re",
    )


def _text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _whole(node: ast.AST) -> int | None:
    """Read a plain whole number, which may be negative."""
    sign, inner = (-1, node.operand) if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else (1, node)
    value = inner.value if isinstance(inner, ast.Constant) else None
    return sign * value if isinstance(value, int) and not isinstance(value, bool) else None


def _other_axis(number: int) -> int:
    return -2 if number == -1 else 0 if number else -1


def _of_one_process(node: ast.AST) -> bool:
    return any(_name(each) in _ALONE for each in ast.walk(node))


def _number(value: bool | int | float) -> str:
    if isinstance(value, bool):
        return str(not value)
    return repr(value + 1) if isinstance(value, int) or value == 0 else repr(2 * value)


def _partners(name: str) -> list[str]:
    """Give the names that a careless author could have written instead."""
    found = []
    parts = name.split("_")
    for one, other in _PAIRS:
        for a, b in ((one, other), (other, one)):
            if name == a:
                found.append(b)
            elif len(a) > 1 and a in parts:
                found.append("_".join(b if part == a else part for part in parts))
            elif a.isdigit() and len(name) > 1 and name.endswith(a) and not name[-2].isdigit():
                found.append(name[:-1] + b)
    return [each for each in dict.fromkeys(found) if each != name]


def _head(node: ast.stmt) -> tuple[int, ...]:
    """Give the lines of a statement without those of the blocks inside it."""
    body = getattr(node, "body", None)
    last = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno or node.lineno
    return tuple(range(node.lineno, max(last, node.lineno) + 1))


def _can_go(node: ast.stmt) -> bool:
    """Whether a statement can be dropped so that every name still exists."""
    if isinstance(node, ast.AugAssign):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call) and "super" not in ast.dump(node.value)
    if isinstance(node, ast.If):
        return not node.orelse
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = ast.unparse(node.targets[0])
        return isinstance(node.targets[0], ast.Subscript) or any(
            isinstance(each, ast.Name | ast.Attribute) and ast.unparse(each) == target for each in ast.walk(node.value)
        )
    return False


def _not_mathematics(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.Assert | ast.Global | ast.Delete):
        return True
    if isinstance(node, ast.Expr):
        call = node.value
        return isinstance(call, ast.Constant) or (
            isinstance(call, ast.Call) and _name(call.func).startswith((*_TALK, *_SILENT))
        )
    if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING":
        return True
    return isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise)
