"""The recording, and its events: what is heard, from when to when, from which bodies, how loud, and whether an image shows it.

Every body rings in its modes when struck, and rubbing is band noise that follows speed and force:

    blow ──► click ─────────────────────────────────┐
       └───► pulse ──► modes of both bodies (2 poles each) ──► + ──► limiter ──► samples
    rubbing ──► noise x envelope ──► the same modes ─┘
                        └───────────────────────────┘

Modal synthesis: van den Doel, Kry and Pai, "FoleyAutomatic" (2001). A mode is a two-pole filter, so any number of impacts costs
the same. Long episodes are synthesised piece by piece. The limiter leaves values below 0.6 unchanged and keeps all below 1.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

from tapetum.core.errors import BadInput
from tapetum.tracks.facets.types import F32, F64, I64, Bool
from tapetum.types import Segments
from tapetum_world.bodies.episode import Episode
from tapetum_world.sound.contacts import (
    DIRECT,
    GAIN,
    POWER,
    Impacts,
    Modes,
    RubbingInterval,
    at_microphone,
    contact_s,
    excited,
    find_impacts,
    find_rubbing,
    modes,
    rub_amplitude,
)

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
    gain, inside = at_microphone(episode, impacts.time, impacts.place)
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
    gain, inside = at_microphone(episode, rub.time, rub.place)
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


RATES = (8000, 96000)
CHUNK_S = 20.0
BANDS = ((80.0, 250.0), (250.0, 800.0), (800.0, 2500.0), (2500.0, 7000.0))
"""Hertz, of the noise of rubbing."""
RINGING = 0.3
"""Share of the noise of rubbing that sets the bodies ringing."""
KNEE = 0.6
"""The limiter bends what is above."""
SILENT = 1e-6
"""Samples below are written as 0: -120 dB."""


def record(episode: Episode, sample_rate: int = 16000) -> tuple[F32, SoundEvents]:
    """Synthesise the sound of an episode: samples (t,) in -1..1, and its sound events.

    t = round(seconds * rate). The same episode gives the same samples. Raises BadInput for rates outside 8000 to 96000.
    """
    if not RATES[0] <= sample_rate <= RATES[1]:
        raise BadInput(f"a recording at {sample_rate} samples per second; wanted {RATES[0]} to {RATES[1]}")
    struck, rubbed = find_impacts(episode), find_rubbing(episode)
    rings = [modes(body, sample_rate) for body in episode.bodies]
    rows = impact_rows(episode, struck, rings) + [rub_row(episode, rub) for rub in rubbed]
    total = round(episode.seconds * sample_rate)
    mixer = _Mixer(episode, sample_rate, struck, rubbed, rings)
    step = round(CHUNK_S * sample_rate)
    parts = [mixer.chunk(start, min(step, total - start)) for start in range(0, total, step)]
    return np.concatenate(parts or [np.zeros(0, np.float32)]), collect(rows, episode.seconds)


class _Mixer:
    """Produces one chunk after the other; filters keep their state."""

    def __init__(self, episode: Episode, sample_rate: int, struck: Impacts, rubbed: list[RubbingInterval], rings: list[Modes]):
        self.episode, self.sample_rate, self.struck, self.rings = episode, sample_rate, struck, rings
        self.loud = GAIN * struck.impulse**POWER * at_microphone(episode, struck.time, struck.place)[0]
        self.touch = contact_s(episode.bodies, struck.bodies, struck.speed)
        self.sample = np.round(struck.time * sample_rate).astype(np.int64)
        self.noises = [(rub, round(rub.time[0] * sample_rate)) for rub in rubbed]
        self.made: dict[int, F64] = {}
        self.state = {j: np.zeros((len(r.frequency), 2)) for j, r in enumerate(rings)}
        self.carried = np.zeros(0)

    def chunk(self, start: int, count: int) -> F32:
        """Compute samples (count,) from number `start` on."""
        direct = np.zeros(count + self.sample_rate // 20)
        direct[: len(self.carried)] += self.carried
        rows = np.flatnonzero((self.sample >= start) & (self.sample < start + count))
        for i in rows:
            click = _click(self.touch[i], self.sample_rate)
            at = self.sample[i] - start
            direct[at : at + len(click)] += DIRECT * self.loud[i] * click
        noise = self._noise(start, count)
        for sound in noise.values():
            direct[:count] += sound / 2
        total = direct[:count]
        self.carried = direct[count:].copy()
        for j in range(len(self.rings)):
            total += self._ring(j, rows, noise.get(j), start, count)
        total[np.abs(total) < SILENT] = 0.0
        return _limited(total).astype(np.float32)

    def _ring(self, j: int, rows: np.ndarray, noise: F64 | None, start: int, count: int) -> F64:
        modes, state = self.rings[j], self.state[j]
        mine = rows[(self.struck.bodies[rows] == j).any(1)]
        out = np.zeros(count)
        if not len(modes.frequency) or (not len(mine) and noise is None and np.abs(state).max() < SILENT):
            return out
        strength = excited(modes, self.touch[mine])
        theta = 2 * np.pi * modes.frequency / self.sample_rate
        radius = np.exp(-modes.decay / self.sample_rate)
        for k in range(len(modes.frequency)):
            pulses = np.zeros(count)
            np.add.at(pulses, self.sample[mine] - start, self.loud[mine] * strength[:, k])
            if noise is not None:
                pulses += RINGING * modes.strength[k] * np.sqrt(4 * modes.decay[k] / self.sample_rate) * noise
            poles = [1.0, -2 * radius[k] * np.cos(theta[k]), radius[k] ** 2]
            rung, state[k] = lfilter([0.0, radius[k] * np.sin(theta[k])], poles, pulses, zi=state[k])
            out += rung
        return out

    def _noise(self, start: int, count: int) -> dict[int, F64]:
        """Mix the rubbing noise (count,) by body."""
        mixed: dict[int, F64] = {}
        for i, (rub, first) in enumerate(self.noises):
            last = round(rub.time[-1] * self.sample_rate)
            if last <= start or first >= start + count:
                continue
            if i not in self.made:
                self.made[i] = _rubbing(self.episode, rub, self.sample_rate)
            a, b = max(first, start), min(first + len(self.made[i]), start + count)
            for j in rub.bodies:
                mixed.setdefault(j, np.zeros(count))[a - start : b - start] += self.made[i][a - first : b - first]
            if last <= start + count:
                del self.made[i]
        return mixed


def _click(touch_s: float, sample_rate: int) -> F64:
    """Compute one sine period under a window, twice as long as the touch: the sound of an impact before anything rings."""
    n = max(4, round(2 * touch_s * sample_rate))
    share = (np.arange(n) + 0.5) / n
    return np.sin(2 * np.pi * share) * np.sin(np.pi * share) ** 2 / 0.77


def _rubbing(episode: Episode, rub: RubbingInterval, sample_rate: int) -> F64:
    """Compute the noise (n,) of one stretch of rubbing, with the level of each band set by speed."""
    loud = rub_amplitude(episode, rub) * at_microphone(episode, rub.time, rub.place)[0]
    n = max(2, round(rub.time[-1] * sample_rate) - round(rub.time[0] * sample_rate))
    time = rub.time[0] + np.arange(n) / sample_rate
    rng = np.random.default_rng((episode.seed & 0xFFFFFFFF, *rub.bodies, round(rub.time[0] * 1e4), len(rub.kind)))
    white = rng.standard_normal(n)
    middle = (600 + 3000 * rub.speed) if rub.kind == "sliding" else (120 + 700 * rub.speed)
    total = np.zeros(n)
    for low, high in BANDS:
        if low >= 0.4 * sample_rate:
            continue
        high = min(high, 0.45 * sample_rate)
        share = np.exp(-0.5 * (np.log(np.sqrt(low * high) / middle) / 0.8) ** 2)
        band = sosfilt(butter(1, (low, high), "bandpass", fs=sample_rate, output="sos"), white) / np.sqrt(
            2 * (high - low) / sample_rate
        )
        total += band * np.interp(time, rub.time, loud * share)
    ramp = min(n // 2, sample_rate // 200)
    total[:ramp] *= np.linspace(0, 1, ramp)
    total[n - ramp :] *= np.linspace(1, 0, ramp)
    return total


def _limited(x: F64) -> F64:
    above = np.maximum(np.abs(x) - KNEE, 0)
    return np.where(above > 0, np.sign(x) * (KNEE + (0.999 - KNEE) * np.tanh(above / (0.999 - KNEE))), x)
