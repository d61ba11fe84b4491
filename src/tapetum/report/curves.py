"""Curves of a run's log as one SVG image for any browser."""

import html
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text
from tapetum.core.reading import parse_json, read_text

_WIDTH, _HEIGHT, _MARGIN = 460, 170, 46
_DARK = "#1f4e8c"
_POINTS = 400
_SMOOTHED = 40
"""Points of the running mean."""


def read_curves(log: Path) -> dict[str, list[tuple[float, float]]]:
    """Read the curves of a log.jsonl, by name: loss, metrics and scores, gradients, rate; each as (step, value).

    Raises BadInput for a file that is not such a log.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    try:
        records = [parse_json(line) for line in read_text(log).splitlines()]
        for record in records:
            measured = {"loss": record["loss"], **record["metrics"], **record.get("eval", {})}
            measured |= {"length of the gradient": record["grad_norm"], "learning rate": record["lr"]}
            for name, value in measured.items():
                if isinstance(value, int | float) and math.isfinite(value):
                    curves.setdefault(name, []).append((float(record["step"]), float(value)))
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise BadInput(f"{log} is no log of a run ({type(error).__name__}); give the log.jsonl in its folder") from error
    return curves


def write_curves(log: Path, path: Path) -> Path:
    """Draw every curve of a log into one SVG file; for long runs, measured values are pale and their running mean dark."""
    curves = read_curves(log)
    if not curves:
        raise BadInput(f"{log} has no steps yet; train first")
    with whole_file(path) as temporary:
        write_text(temporary, curves_svg(curves))
    return path


def curves_svg(curves: dict[str, list[tuple[float, float]]]) -> str:
    """Draw curves of (step, value) by name as one SVG; for long ones, measured values are pale and their running mean dark."""
    return "\n".join(_drawing(curves))


def _drawing(curves: dict[str, list[tuple[float, float]]]) -> Iterator[str]:
    width, height = min(len(curves), 2) * _WIDTH, -(-len(curves) // 2) * _HEIGHT
    yield (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}' "
        "font-family='sans-serif' font-size='11'><rect width='100%' height='100%' fill='white'/>"
    )
    for number, (name, points) in enumerate(curves.items()):
        yield f"<g transform='translate({number % 2 * _WIDTH},{number // 2 * _HEIGHT})'>"
        yield from _panel(name, points)
        yield "</g>"
    yield "</svg>"


def _panel(name: str, points: Sequence[tuple[float, float]]) -> Iterator[str]:
    left, right, top, bottom = _MARGIN, _WIDTH - 14, 24, _HEIGHT - 24
    first, last = points[0][0], points[-1][0]
    low, high = min(y for _, y in points), max(y for _, y in points)
    if low == high:
        low, high = low - 0.5, high + 0.5

    def line(shown: Sequence[tuple[float, float]], colour: str, width: float) -> str:
        places = " ".join(
            f"{left + (x - first) / max(last - first, 1) * (right - left):.1f},"
            f"{bottom - (y - low) / (high - low) * (bottom - top):.1f}"
            for x, y in shown
        )
        return f"<polyline points='{places}' fill='none' stroke='{colour}' stroke-width='{width}'/>"

    yield f"<text x='{left}' y='15' font-weight='bold'>{html.escape(name)}</text>"
    yield f"<path d='M{left} {top}V{bottom}H{right}' fill='none' stroke='#999'/>"
    for value, y in ((high, top + 4), (low, bottom)):
        yield f"<text x='{left - 4}' y='{y}' text-anchor='end' fill='#444'>{value:.3g}</text>"
    for value, anchor, x in ((first, "start", left), (last, "end", right)):
        yield f"<text x='{x}' y='{bottom + 15}' text-anchor='{anchor}' fill='#444'>step {value:,.0f}</text>"
    every = max(1, len(points) // _POINTS)
    if len(points) < 2 * _SMOOTHED:
        yield line(points, _DARK, 1.6)
        return
    yield line(points[::every], "#b9cbe4", 1.0)
    yield line(list(_means(points)), _DARK, 1.6)


def _means(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    size = len(points) / _SMOOTHED
    for part in range(_SMOOTHED):
        own = points[round(part * size) : round((part + 1) * size)]
        yield sum(x for x, _ in own) / len(own), sum(y for _, y in own) / len(own)
