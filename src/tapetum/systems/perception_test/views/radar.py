"""Scores of groups as a radar (SVG): an axis for each group, 0 in the middle and 1 at the rim; as bars where there are few."""

import math
from collections.abc import Iterator, Mapping, Sequence

from tapetum.core.pages import escaped

FEWEST = 3
"""Axes of a radar at least."""
_CROWD = 10
"""Axes from which labels turn with theirs, so that none covers another."""
_RINGS = (0.25, 0.5, 0.75, 1.0)
_LETTER = 0.54
"""Width of a letter, as a share of the size of the font, on average."""


def draw_values(title: str, values: Mapping[str, float], order: Sequence[str] = (), radar: bool = True) -> str:
    """Draw scores 0..1 of groups, those named in `order` first and so; as bars where these are no `radar`'s."""
    places = {name: place for place, name in enumerate(order)}
    rows = sorted(values.items(), key=lambda row: (places.get(row[0], len(places)), row[0]))
    radar &= len(rows) >= FEWEST
    drawn = _radar(rows) if radar else _bars(rows)
    text = ", ".join(f"{name} {value:.3f}" for name, value in rows)
    return (
        f"<figure{' class=crowd' if radar and len(rows) > _CROWD else ''}><figcaption>{escaped(title)}</figcaption>"
        f"<svg viewBox='{next(drawn)}' role='img' aria-label='{escaped(f'{title}: {text}')}'>{''.join(drawn)}</svg></figure>"
    )


def _radar(rows: Sequence[tuple[str, float]]) -> Iterator[str]:
    crowd, font = len(rows) > _CROWD, 15 if len(rows) > _CROWD else 14
    longest = max(14, *(len(name) for name, _ in rows)) + (5 if crowd else 0)
    radius = 170 if crowd else 95
    room = longest * _LETTER * font + 18
    across, high = radius + room, radius + (room if crowd else 44)
    yield f"{-across:.0f} {-high:.0f} {2 * across:.0f} {2 * high:.0f}"
    angles = [2 * math.pi * k / len(rows) - math.pi / 2 for k in range(len(rows))]

    def at(angle: float, share: float) -> str:
        return f"{radius * share * math.cos(angle):.1f},{radius * share * math.sin(angle):.1f}"

    for ring in _RINGS:
        yield f"<polygon class='ring' points='{' '.join(at(angle, ring) for angle in angles)}'/>"
    for angle in angles:
        yield f"<line class='ring' x1='0' y1='0' x2='{radius * math.cos(angle):.1f}' y2='{radius * math.sin(angle):.1f}'/>"
    shares = [min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0 for _, value in rows]
    yield f"<polygon class='area' points='{' '.join(at(a, s) for a, s in zip(angles, shares, strict=True))}'/>"
    for (name, value), angle, share in zip(rows, angles, shares, strict=True):
        x, y = at(angle, share).split(",")
        yield f"<circle class='dot' cx='{x}' cy='{y}' r='3.5'/>"
        yield _label(name, value, angle, radius + 10, font, crowd)
    for ring in _RINGS[1::2]:  # between two axes, where no line is
        middle = angles[0] + math.pi / len(rows)
        height = radius * ring * math.cos(math.pi / len(rows))
        yield (
            f"<text class='scale' font-size='11' text-anchor='middle' x='{height * math.cos(middle):.1f}' "
            f"y='{height * math.sin(middle) + 4:.1f}'>{ring:g}</text>"
        )


def _label(name: str, value: float, angle: float, radius: float, font: int, crowd: bool) -> str:
    x, y = radius * math.cos(angle), radius * math.sin(angle)
    value_text = f"<tspan class='value'>{value:.2f}</tspan>"
    if crowd:
        left = math.cos(angle) < -1e-9
        turn = math.degrees(angle) + (180 if left else 0)
        text = f"{value_text} {escaped(name)}" if not left else f"{escaped(name)} {value_text}"
        anchor = "end" if left else "start"
        return (
            f"<text font-size='{font}' text-anchor='{anchor}' dominant-baseline='central' "
            f"transform='translate({x:.1f} {y:.1f}) rotate({turn:.1f})'>{text}</text>"
        )
    side = math.cos(angle)
    anchor = "middle" if abs(side) < 0.2 else "start" if side > 0 else "end"
    drop = y + (12 if math.sin(angle) > 0.9 else -22 if math.sin(angle) < -0.9 else -4)
    value_text = f"<tspan class='value' x='{x:.1f}' dy='{1.2 * font:.1f}'>{value:.2f}</tspan>"
    return f"<text font-size='{font}' text-anchor='{anchor}' x='{x:.1f}' y='{drop:.1f}'>{escaped(name)}{value_text}</text>"


def _bars(rows: Sequence[tuple[str, float]]) -> Iterator[str]:
    yield f"0 0 400 {34 * len(rows) + 8}"
    for k, (name, value) in enumerate(rows):
        share = min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0
        yield f"<rect class='ground' x='150' y='{34 * k + 8}' width='190' height='20' rx='3'/>"
        yield f"<rect class='bar' x='150' y='{34 * k + 8}' width='{190 * share:.1f}' height='20' rx='3'/>"
        yield f"<text font-size='14' text-anchor='end' x='140' y='{34 * k + 23}'>{escaped(name)}</text>"
        yield f"<text font-size='14' class='value' x='350' y='{34 * k + 23}'>{value:.3f}</text>"
