"""An image of a run of `claims.py`: accuracies as bars.

    python evidence/hip-claims/images.py OUT evidence/hip-claims/digits

writes digits-claims.svg there (each dot a seed).
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np

ARMS = (
    ("learned", "learned-none", "learned-mae"),
    ("Fourier", "fourier-none", "fourier-mae"),
    ("random", "random-none", "random-mae"),
    ("permuted", "permuted-none", "permuted-mae"),
)
COLOURS = "#b0b0b0", "#2f6db3"


def chosen(results, arm):
    """Accuracies of an arm by seed, at the learning rate that its first seed chose."""
    rows = {}
    for name, row in results.items():
        found = re.fullmatch(re.escape(arm) + r"-(\d+)@.*", name)
        if found:
            rows.setdefault(int(found[1]), []).append(row)
    if not rows:
        return []
    rate = max(rows[min(rows)], key=lambda row: row["validation"])["lr"]
    return [row["accuracy"] for seed in sorted(rows) for row in rows[seed] if row["lr"] == rate]


def svg(results):
    shown = [row for row in ARMS if any(chosen(results, arm) for arm in row[1:])]
    width, height, base = 70 + 140 * max(3, len(shown)), 320, 270
    top = max(a for _, *arms in shown for arm in arms for a in chosen(results, arm)) * 1.15
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for share in np.arange(0, top, 0.1):
        y = base - 240 * share / top
        parts.append(f'<line x1="50" x2="{width - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="44" y="{y + 4:.1f}" text-anchor="end">{100 * share:.0f} %</text>')
    for k, (name, *arms) in enumerate(shown):
        left = 70 + 140 * k
        for j, (arm, colour) in enumerate(zip(arms, COLOURS, strict=True)):
            values = chosen(results, arm)
            if not values:
                continue
            tall, x = 240 * float(np.mean(values)) / top, left + 46 * j
            parts.append(f'<rect x="{x}" y="{base - tall:.1f}" width="40" height="{tall:.1f}" fill="{colour}"/>')
            for value in values:
                parts.append(f'<circle cx="{x + 20}" cy="{base - 240 * value / top:.1f}" r="3" fill="black"/>')
        parts.append(f'<text x="{left + 43}" y="{base + 18}" text-anchor="middle">{name}</text>')
    for j, (what, colour) in enumerate(zip(("from nothing", "after masked auto-encoding"), COLOURS, strict=True)):
        parts.append(f'<rect x="{70 + 120 * j}" y="{base + 30}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{88 + 120 * j}" y="{base + 41}">{what}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("target")
    args = parser.parse_args()
    results = json.loads((args.out / "results.json").read_text())
    Path(args.target + "-claims.svg").write_text(svg(results))
