"""Sound events: what is heard, its start and end, the bodies involved, its loudness, and whether it is visible in an image."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.types import Segments
from tapetum.world.bodies.episode import Episode
from tapetum.world.sound.contacts import (
    DIRECT,
    GAIN,
    POWER,
    Impacts,
    RubbingInterval,
    at_microphone,
    contact_s,
    excited,
    rub_amplitude,
)
from tapetum.world.sound.modes import Modes
from tapetum.world.types import F64, I64, Bool

FADE_DB = 40.0
"""An impact ends where it has fallen by so much."""
FAINT_DB = -70.0
"""Quieter events are no events."""
POUR_GAP_S, POUR_BODIES = 0.5, 3
"""Blows of this many bodies or more against one hollow body, each so soon after the last, are pouring."""


@dataclass(frozen=True, eq=False)
class SoundEvents(Segments):
    """n sounds sorted by start; labels are impact, sliding, rolling, pouring. Raises BadInput for wrong shapes."""

    bodies: I64 = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    """(n, 2) numbers of the bodies, the lower one first; of pouring: what was poured first, and what it fell into."""
    loudness_db: F64 = field(default_factory=lambda: np.zeros(0))
    """(n,) of the loudest moment at the microphone, about; 0 is full scale."""
    in_image: Bool = field(default_factory=lambda: np.zeros(0, bool))
    """(n,) whether the place where it starts lies within the image (it may still be hidden by something)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        n = len(self)
        if np.shape(self.bodies) != (n, 2) or np.shape(self.loudness_db) != (n,) or np.shape(self.in_image) != (n,):
            raise BadInput(f"sound events need bodies ({n}, 2), loudness_db ({n},) and in_image ({n},), one row for each")


def impact_rows(episode: Episode, impacts: Impacts, rings: list[Modes]) -> list[dict[str, Any]]:
    """List impacts, and pouring in place of the many impacts that it consists of."""
    if not len(impacts.time):
        return []
    gain, _, inside = at_microphone(episode, impacts.time, impacts.place)
    touch = contact_s(episode.bodies, impacts.bodies, impacts.speed)
    amplitude = GAIN * impacts.impulse**POWER * gain
    power, ends = np.full(len(touch), DIRECT**2), impacts.time + 2 * touch
    for side in (0, 1):
        for j in np.unique(impacts.bodies[:, side]):
            rows = np.flatnonzero(impacts.bodies[:, side] == j)
            strength = excited(rings[j], touch[rows])
            if strength.shape[1]:
                power[rows] += (strength**2).sum(1)
                ends[rows] = np.maximum(ends[rows], impacts.time[rows] + _fading(strength, rings[j].decay))
    loudness = 20 * np.log10(np.maximum(amplitude * np.sqrt(power), 1e-9))
    pours = _pours(episode, impacts)
    poured = {row for rows in pours for row in rows}
    rows = [
        _row("impact", impacts.time[i], ends[i], tuple(impacts.bodies[i]), loudness[i], inside[i])
        for i in range(len(touch))
        if i not in poured
    ]
    for part in pours:
        first = impacts.bodies[part[0]]
        into = first[0] if episode.bodies[first[0]].shape.opening else first[1]
        pair = (int(first.sum() - into), int(into))
        rows.append(_row("pouring", impacts.time[part[0]], ends[part].max(), pair, loudness[part].max(), inside[part[0]]))
    return rows


def rub_row(episode: Episode, rub: RubbingInterval) -> dict[str, Any]:
    """Describe a stretch of sliding or rolling."""
    gain, _, inside = at_microphone(episode, rub.time, rub.place)
    loudest = float((rub_amplitude(episode, rub) * gain).max())
    return _row(rub.kind, rub.time[0], rub.time[-1], rub.bodies, 20 * np.log10(max(loudest, 1e-9)), inside[0])


def collect(rows: list[dict[str, Any]], seconds: float) -> SoundEvents:
    """Collect audible rows in one table, cut at the end of the recording."""
    heard = [r for r in rows if r["loudness"] > FAINT_DB and r["start"] < seconds]
    heard.sort(key=lambda r: (r["start"], r["bodies"], r["label"]))
    return SoundEvents(
        start_s=np.array([r["start"] for r in heard]),
        end_s=np.array([min(r["end"], seconds) for r in heard]),
        labels=[r["label"] for r in heard],
        bodies=np.array([r["bodies"] for r in heard], np.int64).reshape(-1, 2),
        loudness_db=np.array([r["loudness"] for r in heard]),
        in_image=np.array([r["inside"] for r in heard], bool),
    )


def _row(label: str, start: float, end: float, bodies: tuple[int, ...], loudness: float, inside: bool) -> dict[str, Any]:
    pair = (int(bodies[0]), int(bodies[1]))
    return {
        "label": label,
        "start": float(start),
        "end": float(end),
        "bodies": pair,
        "loudness": float(loudness),
        "inside": bool(inside),
    }


def _fading(strength: F64, decay: F64) -> F64:
    """Compute the seconds (c,) until modes of strengths (c, m) have decayed by FADE_DB; 4 s at most."""
    time = np.linspace(0, 4, 801)
    level = (strength[:, None] ** 2 * np.exp(-2 * decay * time[:, None])).sum(-1)
    return time[np.argmax(level < level[:, :1] * 10 ** (-FADE_DB / 10), axis=1)]


def _pours(episode: Episode, impacts: Impacts) -> list[list[int]]:
    """Find rows of impacts that are pouring: bodies that end up inside a hollow one strike it soon after each other."""
    pours: list[list[int]] = []
    for j, body in enumerate(episode.bodies):
        if not body.shape.opening:
            continue
        other = np.where(
            impacts.bodies[:, 0] == j, impacts.bodies[:, 1], np.where(impacts.bodies[:, 1] == j, impacts.bodies[:, 0], -1)
        )
        entered = (episode.inside[0] != j) & (episode.inside == j).any(0)
        rows = np.flatnonzero((other >= 0) & entered[other])
        if len(rows):
            for part in np.split(rows, np.flatnonzero(np.diff(impacts.time[rows]) > POUR_GAP_S) + 1):
                if len(set(other[part].tolist())) >= POUR_BODIES:
                    pours.append(part.tolist())
    return pours
