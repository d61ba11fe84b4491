"""Charts of accuracy against cost, written directly as SVG: any browser shows them, and no plotting library is needed."""

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 460, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, WIDTH - 12, 26, HEIGHT - 42
COLOURS = {
    "supervised": "#000000",
    "clip": "#e69f00",
    "siglip": "#cc79a7",
    "simclr": "#0072b2",
    "byol": "#56b4e9",
    "dino": "#009e73",
    "mae": "#d55e00",
    "untrained": "#999999",
}
"""Of the methods: those of Okabe and Ito, which colour-blind people can tell apart."""
OTHER = "#555"
"""Of a method that has none."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point with its interval."""

    x: float
    y: float
    low: float
    high: float
    words: str
    """What is said where the mouse rests."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points of one method and one size, from cheap to dear."""

    method: str
    large: bool
    """The larger network: filled marks and a solid line."""
    marks: tuple[Mark, ...]


@dataclass(frozen=True, kw_only=True)
class BarValue:
    """A bar of a group."""

    group: str
    method: str
    value: float
    low: float
    high: float


def scatter(
    title: str,
    x_axis: str,
    y_axis: str,
    lines: Sequence[Line],
    stairs: Sequence[tuple[float, float]] = (),
    level: float | None = None,
) -> str:
    """Draw lines over a logarithmic axis, the steps of a Pareto front, and the level of settings without cost."""
    marks = [mark for line in lines for mark in line.marks]
    if not marks:
        return ""
    ends = [v for mark in marks for v in (mark.low, mark.high)] + ([] if level is None else [level])
    x0, x1 = (math.log10(f(mark.x for mark in marks)) for f in (min, max))
    pad = max(0.06 * (x1 - x0), 0.05)
    across = _Scale(x0 - pad, x1 + pad, _LEFT, _RIGHT)
    up = _Scale(*_widened(min(ends), max(ends)), _BOTTOM, _TOP)

    def parts() -> Iterator[str]:
        yield _opened(title)
        for value in round_values(10**across.first, 10**across.last):
            yield _tick_below(across(math.log10(value)), f"{value:.0e}".replace("e+0", "e+").replace("e-0", "e-"))
        yield from _ticks_left(up)
        yield _axes(x_axis, y_axis)
        if level is not None:
            yield f"<path d='M{_LEFT} {up(level):.1f}H{_RIGHT}' stroke='#999' stroke-dasharray='2 3'/>"
            yield f"<text x='{_LEFT + 4}' y='{up(level) - 4:.1f}' fill='#666'>untrained</text>"
        if stairs:
            steps = f"M{across(math.log10(stairs[0][0])):.1f} {up(stairs[0][1]):.1f}"
            for x, y in stairs[1:]:
                steps += f"H{across(math.log10(x)):.1f}V{up(y):.1f}"
            yield f"<path d='{steps}H{_RIGHT}' fill='none' stroke='#c9a0dc' stroke-width='7' opacity='.55'/>"
        for line in lines:
            colour = COLOURS.get(line.method, OTHER)
            places = [(across(math.log10(mark.x)), up(mark.y), mark) for mark in line.marks]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
            dashes = "" if line.large else " stroke-dasharray='5 3'"
            yield f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='1.5'{dashes}/>"
            for x, y, mark in places:
                yield f"<path d='M{x:.1f} {up(mark.low):.1f}V{up(mark.high):.1f}' stroke='{colour}' opacity='.35'/>"
                yield (
                    f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{4.6 if line.large else 3.8}' stroke='{colour}' stroke-width='1.6' "
                    f"fill='{colour if line.large else 'white'}'><title>{html.escape(mark.words)}</title></circle>"
                )
        yield "</svg>"

    return "".join(parts())


def bars(title: str, y_axis: str, values: Sequence[BarValue]) -> str:
    """Draw grouped bars with intervals, up and down from 0."""
    if not values:
        return ""

    def parts() -> Iterator[str]:
        groups = list(dict.fromkeys(bar.group for bar in values))
        up = _Scale(*_widened(min(0.0, *(bar.low for bar in values)), max(0.0, *(bar.high for bar in values))), _BOTTOM, _TOP)
        yield _opened(title)
        yield from _ticks_left(up)
        room = (_RIGHT - _LEFT) / len(groups)
        for k, group in enumerate(groups):
            own = [bar for bar in values if bar.group == group]
            width = min(22.0, 0.8 * room / len(own))
            start = _LEFT + (k + 0.5) * room - width * len(own) / 2
            for n, bar in enumerate(own):
                colour, x = COLOURS.get(bar.method, OTHER), start + n * width
                top, bottom = sorted((up(bar.value), up(0.0)))
                words = f"{bar.method}, {bar.group}: {bar.value:+.1f} ({bar.low:+.1f} to {bar.high:+.1f})"
                yield (
                    f"<rect x='{x + 1:.1f}' y='{top:.1f}' width='{width - 2:.1f}' height='{max(bottom - top, 0.5):.1f}' "
                    f"fill='{colour}' opacity='.85'><title>{html.escape(words)}</title></rect>"
                )
                middle = x + width / 2
                yield f"<path d='M{middle:.1f} {up(bar.low):.1f}V{up(bar.high):.1f}' stroke='#777' stroke-width='1.4'/>"
            middle = _LEFT + (k + 0.5) * room
            yield f"<text x='{middle:.1f}' y='{_BOTTOM + 16}' text-anchor='middle' fill='#444'>{html.escape(group)}</text>"
        yield f"<path d='M{_LEFT} {up(0.0):.1f}H{_RIGHT}' stroke='#333'/>"
        yield _axes("", y_axis)
        yield "</svg>"

    return "".join(parts())


@dataclass(frozen=True)
class _Scale:
    """From values to places."""

    first: float
    last: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.first) / (self.last - self.first) * (self.stop - self.start)


def _widened(low: float, high: float) -> tuple[float, float]:
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    return low - pad, high + pad


def nice_step(span: float) -> float:
    """Choose the step of an axis: 1, 2 or 5 times a power of ten, for about six steps.

    >>> nice_step(0.13), nice_step(40)
    (0.02, 5.0)
    """
    raw = span / 6
    power = 10.0 ** math.floor(math.log10(raw))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= 0.7 * raw)


def round_values(low: float, high: float) -> list[float]:
    """List round numbers of a logarithmic axis: the sparsest series with at least two in range.

    >>> round_values(1.2e11, 2e12), round_values(150, 250), round_values(9, 2000)
    ([200000000000.0, 500000000000.0, 1000000000000.0, 2000000000000.0], [200.0], [10.0, 100.0, 1000.0])
    """
    values: list[float] = []
    for kinds in ((1,), (1, 2, 5), tuple(range(1, 10))):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        values = [float(f"{times}e{power}") for power in powers for times in kinds if low <= float(f"{times}e{power}") <= high]
        if len(values) > 1:
            break
    return values


def _ticks_left(up: _Scale) -> Iterator[str]:
    step = nice_step(up.last - up.first)
    for k in range(math.ceil(up.first / step), math.floor(up.last / step) + 1):
        y = up(k * step)
        digits = max(0, -math.floor(math.log10(step)))
        yield f"<path d='M{_LEFT} {y:.1f}H{_RIGHT}' stroke='#eee'/>"
        yield f"<text x='{_LEFT - 5}' y='{y + 4:.1f}' text-anchor='end' fill='#444'>{k * step:.{digits}f}</text>"


def _tick_below(x: float, text: str) -> str:
    return (
        f"<path d='M{x:.1f} {_TOP}V{_BOTTOM}' stroke='#eee'/>"
        f"<text x='{x:.1f}' y='{_BOTTOM + 15}' text-anchor='middle' fill='#444'>{text}</text>"
    )


def _opened(title: str) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' font-family='sans-serif' font-size='12' "
        f"role='img' aria-label='{html.escape(title, quote=True)}'><rect width='100%' height='100%' fill='white'/>"
        f"<text x='{_LEFT}' y='16' font-weight='bold' font-size='13'>{html.escape(title)}</text>"
    )


def _axes(x_axis: str, y_axis: str) -> str:
    middle = (_TOP + _BOTTOM) / 2
    return (
        f"<path d='M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}' fill='none' stroke='#888'/>"
        f"<text x='{(_LEFT + _RIGHT) / 2}' y='{HEIGHT - 8}' text-anchor='middle' fill='#222'>{html.escape(x_axis)}</text>"
        f"<text x='12' y='{middle}' text-anchor='middle' fill='#222' transform='rotate(-90 12 {middle})'>"
        f"{html.escape(y_axis)}</text>"
    )
