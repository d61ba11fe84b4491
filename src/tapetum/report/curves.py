"""Curves of a run's log as one SVG image for any browser."""

import html
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import write_text
from tapetum.core.reading import parse_json, read_text

_WIDTH, _HEIGHT, _MARGIN = 460, 170, 46
_POINTS = 400
"""Maximum number of points of a curve; longer ones are averaged in so many parts."""


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
    """Draw every curve of a log into one SVG file."""
    curves = read_curves(log)
    if not curves:
        raise BadInput(f"{log} has no steps yet; train first")
    width, height = min(len(curves), 2) * _WIDTH, -(-len(curves) // 2) * _HEIGHT
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}' "
        "font-family='sans-serif' font-size='11'><rect width='100%' height='100%' fill='white'/>"
    ]
    for number, (name, points) in enumerate(curves.items()):
        lines.append(f"<g transform='translate({number % 2 * _WIDTH},{number // 2 * _HEIGHT})'>")
        lines += [*_panel(name, np.array(points)), "</g>"]
    write_text(path, "\n".join([*lines, "</svg>"]))
    return path


def _panel(name: str, points: np.ndarray) -> Iterator[str]:
    left, right, top, bottom = _MARGIN, _WIDTH - 14, 24, _HEIGHT - 24
    points = np.stack([part.mean(axis=0) for part in np.array_split(points, min(len(points), _POINTS))])
    (first, last), (low, high) = points[[0, -1], 0], (points[:, 1].min(), points[:, 1].max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    x = left + (points[:, 0] - first) / max(last - first, 1) * (right - left)
    y = bottom - (points[:, 1] - low) / (high - low) * (bottom - top)
    places = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    yield f"<text x='{left}' y='15' font-weight='bold'>{html.escape(name)}</text>"
    yield f"<path d='M{left} {top}V{bottom}H{right}' fill='none' stroke='#999'/>"
    for value, at in ((high, top + 4), (low, bottom)):
        yield f"<text x='{left - 4}' y='{at}' text-anchor='end' fill='#444'>{value:.3g}</text>"
    for value, anchor, at in ((first, "start", left), (last, "end", right)):
        yield f"<text x='{at}' y='{bottom + 15}' text-anchor='{anchor}' fill='#444'>step {value:,.0f}</text>"
    yield f"<polyline points='{places}' fill='none' stroke='#1f4e8c' stroke-width='1.6'/>"
