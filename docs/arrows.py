"""Draws docs/images/arrows.svg: the rooms of the house, floor by floor as the import contract has them, and who imports whom.

    python docs/arrows.py

An arrow that two others already imply is left out, so that what remains can be followed by eye.
"""

import tomllib
from itertools import product
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).parent / "images" / "arrows.svg"
WIDTH, FLOOR, HEIGHT, LETTER = 1080, 66, 30, 7.6
TINTS = ("#f4e3d7", "#f7efd2", "#e3efdc", "#dcecef", "#e4e1f2", "#f2dfe9")


def floors() -> list[list[str]]:
    """Read the rooms of each floor from the layers of the import contract, the top one first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["type"] == "layers")["layers"]
    return [[name.strip(" ()").removeprefix("tapetum.") for name in layer.replace(":", "|").split("|")] for layer in layers]


def arrows(rooms: list[str]) -> list[tuple[str, str]]:
    """Find which room imports which, without the arrows that a longer way already implies."""
    graph = grimp.build_graph("tapetum")
    room = {module: next((r for r in rooms if f"{module}.".startswith(f"tapetum.{r}.")), None) for module in graph.modules}
    pairs = {
        (room[importer], room[imported])
        for importer in room
        for imported in graph.find_modules_directly_imported_by(importer)
        if room[importer] and room.get(imported) and room[importer] != room[imported]
    }
    reaches = set(pairs)
    for middle, a, b in product(rooms, repeat=3):  # Floyd and Warshall: the way through `middle`
        if (a, middle) in reaches and (middle, b) in reaches:
            reaches.add((a, b))
    return sorted((a, b) for a, b in pairs if not any((a, c) in reaches and (c, b) in reaches for c in rooms))


def draw() -> str:
    """Draw floors, rooms and arrows as SVG."""
    house = floors()
    at: dict[str, tuple[float, float]] = {}
    boxes = []
    for number, names in enumerate(house):
        y = 20 + number * FLOOR
        tint = TINTS[number % len(TINTS)]
        for k, name in enumerate(names):
            x = WIDTH * (k + 1) / (len(names) + 1)
            at[name] = x, y
            label = name.removeprefix("systems.")
            w = len(label) * LETTER + 22
            size = f'width="{w:.0f}" height="{HEIGHT}" rx="7"'
            boxes.append(f'<rect x="{x - w / 2:.0f}" y="{y}" {size} fill="{tint}" stroke="#667"/>')
            boxes.append(f'<text x="{x:.0f}" y="{y + 20}" text-anchor="middle">{label}</text>')
    lines = []
    for a, b in arrows(list(at)):
        (x1, y1), (x2, y2) = at[a], at[b]
        y1, y2 = y1 + HEIGHT, y2 - 3
        bend = (y2 - y1) / 2
        lines.append(f'<path d="M{x1:.0f} {y1} C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2}"/>')
    height = 20 + len(house) * FLOOR
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="13">',
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
            '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0 8 4 0 8z" fill="#456"/></marker>',
            '<g fill="none" stroke="#456" stroke-opacity="0.55" marker-end="url(#head)">',
            *lines,
            "</g>",
            *boxes,
            "</svg>\n",
        )
    )


if __name__ == "__main__":
    OUT.write_text(draw())
    print(OUT.relative_to(ROOT))
