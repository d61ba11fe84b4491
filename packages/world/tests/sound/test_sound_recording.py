"""Sound: where a contact is, there is its sound; louder, longer and higher as materials and sizes say."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from support.scripts import script
from tapetum.core.errors import BadInput
from tapetum_world.bodies.episode import Body, Contacts
from tapetum_world.bodies.shapes import Bowl, Cup, Ground, RoundedBox, Sphere
from tapetum_world.sound import SoundEvents, record
from tapetum_world.sound.contacts import frequencies, modes

episode = script("packages/world/tests/world_support/still_life.py").episode
RATE, PER_FRAME, FRAMES = 24.0, 10, 48
STEP = 1 / (RATE * PER_FRAME)


def contacts(rows):
    """Contacts of rows (moment, (a, b), impulse, approach, sliding, rolling) at the origin."""
    rows = sorted(rows)
    column = {"moment": 0, "bodies": 1, "impulse": 2, "approach": 3, "sliding": 4, "rolling": 5}
    made = {name: np.array([r[k] for r in rows], np.int64 if k < 2 else float) for name, k in column.items()}
    made["bodies"] = made["bodies"].reshape(-1, 2)
    n = len(rows)
    return Contacts(**made, place=np.zeros((n, 3)), normal=np.tile([0.0, 0.0, 1.0], (n, 1)))


def scene(shape, rows, material="wood", mass=0.1, others=()):
    """A floor (body 0), a thing (body 1) and others, all still, seen by a still camera for two seconds."""
    floor = Body(name="floor", noun="floor", shape=Ground(), material="stone", fixed=True)
    thing = Body(name="thing", noun="thing", shape=shape, material=material, mass=mass)  # pyright: ignore[reportArgumentType]
    here = (np.zeros(3), np.array([1.0, 0, 0, 0]))
    made = episode((floor, thing, *others), lambda i, s: here, frames=FRAMES + 1, per_frame=PER_FRAME)
    return replace(made, frames=FRAMES, contacts=contacts(rows))


def blow(moment=120, impulse=0.05, speed=1.0, pair=(0, 1)):
    return (moment, pair, impulse, speed, 0.0, 0.0)


def half_life(samples, sample_rate):
    """Seconds from the loudest moment until the envelope has fallen by 40 dB for good."""
    envelope = sosfilt(butter(2, 200, fs=sample_rate, output="sos"), np.abs(samples))
    peak = int(np.argmax(envelope))
    loud = np.flatnonzero(envelope > envelope[peak] * 0.01)
    return (loud[-1] - peak) / sample_rate


CUP = Cup(radius_bottom=0.03, radius_top=0.04, height=0.09, wall=0.004)
BLOCK = RoundedBox(size=(0.04, 0.04, 0.04))


@pytest.mark.parametrize("sample_rate", [16000, 48000])
def test_an_impact_is_where_the_contact_is(sample_rate):
    samples, events = record(scene(BLOCK, [blow(120)]), sample_rate)
    onset = np.flatnonzero(np.abs(samples) > 1e-4)[0] / sample_rate
    assert abs(onset - 120 * STEP) < 0.005
    assert events.labels == ("impact",)
    assert abs(events.start_s[0] - 120 * STEP) < 0.005
    assert events.bodies.tolist() == [[0, 1]]
    assert samples.shape == (2 * sample_rate,)
    assert samples.dtype == np.float32


def test_harder_blows_and_heavier_things_are_louder():
    def peak(mass, impulse, speed):
        samples, events = record(scene(BLOCK, [blow(impulse=impulse, speed=speed)], mass=mass))
        return float(np.abs(samples).max()), float(events.loudness_db[0])

    soft, hard, heavy = peak(0.1, 0.02, 0.2), peak(0.1, 0.1, 1.0), peak(0.3, 0.06, 0.2)
    assert hard[0] > 1.5 * soft[0]
    assert heavy[0] > 1.5 * soft[0]
    assert hard[1] > soft[1] + 3
    # ReplyRow loudness is the samples' peak, to a few dB: modes and click do not all peak together.
    for found, said in (soft, hard, heavy):
        assert abs(20 * np.log10(found) - said) < 4


def test_metal_rings_longer_than_wood_and_as_long_as_its_loss_says():
    found = {m: half_life(record(scene(CUP, [blow()], material=m))[0], 16000) for m in ("metal", "wood", "rubber")}
    assert found["metal"] > 3 * found["wood"]
    assert found["wood"] > found["rubber"]
    # The lowest mode of the metal cup lasts longest: amplitude falls by 40 dB in ln(100) / decay.
    lowest = modes(scene(CUP, [], material="metal").bodies[1], 16000).decay.min()
    assert found["metal"] == pytest.approx(np.log(100) / lowest, rel=0.35)


def test_a_mode_is_where_it_was_derived_by_hand():
    # Ring of radius 0.1, wall 0.005, n = 2: 2 * 3 / sqrt(5) * 0.005 * 5000 / (2 pi sqrt(12) * 0.01) = 308.2 Hz.
    cup = Cup(radius_bottom=0.1, radius_top=0.1, height=0.1, wall=0.005)
    assert frequencies(cup, 5000.0)[0] == pytest.approx(308.2, abs=0.1)
    body = Body(name="pot", noun="pot", shape=cup, material="metal")
    samples, _ = record(replace(scene(cup, [blow()], material="metal"), bodies=(scene(cup, []).bodies[0], body)), 16000)
    spectrum = np.abs(np.fft.rfft(samples[8000:]))
    lowest = modes(body, 16000).frequency[0]
    near = np.argmax(spectrum[: int(1.5 * lowest * 1.5)]) / 1.5
    assert near == pytest.approx(lowest, abs=2)
    assert (
        frequencies(RoundedBox(size=(0.1, 0.02, 0.02)), 4000.0)[0] > frequencies(RoundedBox(size=(0.2, 0.02, 0.02)), 4000.0)[0]
    )


def test_nothing_moves_and_nothing_sounds():
    resting = [(m, (0, 1), 0.1 * 9.81 * STEP, 0.0, 1e-5, 1e-4) for m in range(FRAMES * PER_FRAME)]
    samples, events = record(scene(BLOCK, resting))
    assert not samples.any()
    assert len(events) == 0
    samples, _ = record(scene(BLOCK, [blow(240)]))
    assert not samples[: 16000 - 80].any()


def test_it_never_clips():
    rows = [blow(m, impulse=20.0, speed=9.0) for m in range(20, 400, 7)]
    samples, _ = record(scene(BLOCK, rows, mass=5.0))
    assert 0.9 < np.abs(samples).max() < 1
    assert np.isfinite(samples).all()


def test_the_same_episode_sounds_the_same():
    rows = [blow(50), *((m, (0, 1), 0.004, 0.0, 0.3, 0.0) for m in range(100, 300))]
    made = scene(BLOCK, rows)
    (a, first), (b, second) = record(made), record(made)
    assert np.array_equal(a, b)
    assert np.array_equal(first.start_s, second.start_s)
    assert first.labels == second.labels == ("impact", "sliding")
    other, _ = record(replace(made, seed=made.seed + 1))
    assert not np.array_equal(a, other)


@pytest.mark.parametrize("kind", ["sliding", "rolling"])
def test_rubbing_follows_speed_and_force(kind):
    def loud(force, speed):
        sliding, rolling = (speed, 0.0) if kind == "sliding" else (0.0, speed / 0.02)
        rows = [(m, (0, 1), force * STEP, 0.0, sliding, rolling) for m in range(100, 300)]
        samples, events = record(scene(Sphere(radius=0.02), rows))
        assert events.labels == (kind,)
        assert events.start_s[0] == pytest.approx(100 * STEP, abs=STEP)
        assert events.end_s[0] == pytest.approx(300 * STEP, abs=STEP)
        part = samples[int(100 * STEP * 16000) : int(300 * STEP * 16000)]
        assert not samples[: int(99 * STEP * 16000)].any()
        return float(part.std())

    assert loud(1.0, 0.5) > 1.3 * loud(1.0, 0.2)
    assert loud(4.0, 0.5) > 1.3 * loud(1.0, 0.5)


def test_many_small_things_that_fall_into_a_bowl_are_pouring():
    marbles = [
        Body(name=f"marble-{i}", noun="marble", shape=Sphere(radius=0.01), material="glass", mass=0.01) for i in range(4)
    ]
    rows = [blow(100 + 20 * i, impulse=0.005, pair=(1, 2 + i)) for i in range(4)]
    made = scene(Bowl(radius=0.08, wall=0.005), rows, others=marbles)
    inside = made.inside.copy()
    for i in range(4):
        inside[100 + 20 * i :, 2 + i] = 1
    _, events = record(replace(made, inside=inside))
    assert events.labels == ("pouring",)
    assert events.bodies[0, 1] == 1
    assert events.start_s[0] < 0.43 < 0.65 < events.end_s[0]
    _, apart = record(made)
    assert apart.labels == ("impact",) * 4


def test_sounds_from_beside_the_image_are_heard_and_said_to_be_outside():
    made = scene(BLOCK, [blow(100), blow(300)])
    place = made.contacts.place.copy()
    right = made.camera.world_to_camera[0, 0, :3]
    place[1] = 30 * right
    made = replace(made, contacts=replace(made.contacts, place=place))
    _, events = record(made)
    assert events.in_image.tolist() == [True, False]
    assert events.loudness_db[1] < events.loudness_db[0]


def test_pieces_of_a_long_recording_fit_together(monkeypatch):
    rows = [blow(50), blow(119), *((m, (0, 1), 0.004, 0.0, 0.3, 0.0) for m in range(150, 300))]
    made = scene(CUP, rows, material="metal")
    whole, _ = record(made)
    monkeypatch.setattr("tapetum_world.sound.recording.CHUNK_S", 0.25)
    pieces, _ = record(made)
    assert np.abs(whole - pieces).max() < 1e-5


def test_bad_input():
    made = scene(BLOCK, [])
    with pytest.raises(BadInput, match="8000"):
        record(made, 100)
    with pytest.raises(BadInput, match="one row for each"):
        SoundEvents(start_s=np.zeros(1), end_s=np.ones(1))
