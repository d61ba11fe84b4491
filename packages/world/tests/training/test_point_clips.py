"""Clips of episodes: their tracks stay on one surface point in the very frames that are shown; folders of records serve too."""

import json
from dataclasses import replace

import numpy as np
import pytest

from support.networks import TAPIR_NANO
from tapetum.core.errors import BadInput
from tapetum.data.textures import procedural
from tapetum.systems.tap.recipes import TapirPhase, TapNano
from tapetum.systems.tap.run import TapSceneTask, train_tap_nano
from tapetum.tracks.training.clips import JoinedClips, open_clips
from tapetum.tracks.training.facet_clips import SceneClips
from tapetum.train.launch_config import Launch
from tapetum_world.bodies.files import load_episode, save_episode
from tapetum_world.files.items import first_valid_start
from tapetum_world.rendering import GroundTruth, random_render_config, render_episode
from tapetum_world.training.point_clips import EpisodeClips, records

PHASE = TapirPhase(name="a", size=64, steps=1, batch_size=2, micro_batch=1, lr=1e-3, clips=3, points=6, iterations=1, frames=4)
TINY = TapNano(model=TAPIR_NANO, phases=(PHASE,), checks=2, world="both")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three records as `tapetum scenes episodes` leaves them, of 10 frames."""
    from tapetum_world.physics import make_episode

    below = tmp_path_factory.mktemp("made") / "episodes"
    below.mkdir()
    for k, story in enumerate(("roll", "fall", "collide")):
        episode = make_episode(k, story, seconds=10 / 24, size=(32, 32))
        save_episode(episode, below / f"episode_{k:05d}.npz")
    return below.parent


@pytest.mark.slow
def test_tracks_stay_on_their_surface_points_in_the_frames_shown(folder):
    clips = EpisodeClips(4, seed=3, episodes=folder, frames=5)
    for k in range(2):
        clip = clips[k]
        assert clip.video.shape == (5, 32, 32, 3)
        assert clip.xy.shape[1:] == (5, 2)
        episode = load_episode(records(folder, "all")[k])
        [start] = [s for s in range(6) if np.array_equal(_filmed(episode, k, s), clip.video)]
        places: dict[int, set] = {}
        for f in range(5):
            rows = np.flatnonzero(clip.visible[:, f])[:20]
            picked, met = GroundTruth(episode).pick(np.full(len(rows), start + f), clip.xy[rows, f])
            assert met.all()
            for row, body, place in zip(rows.tolist(), picked.body, picked.place, strict=True):
                places.setdefault(row, set()).add((int(body), *np.round(place, 3).tolist()))
        assert sum(len(found) == 1 for found in places.values()) > 0.9 * len(places)  # a rounding may differ at an edge
        assert len(places) >= 20


def _filmed(episode, k, start):
    key, _ = first_valid_start((3, k), lambda key: key)
    config = random_render_config(np.random.default_rng((key, 6)))
    return np.stack([shot.rgb for shot in render_episode(episode, procedural, config, range(start, start + 5))])


def test_short_records_are_shown_whole_and_a_tenth_is_held_out(folder):
    assert EpisodeClips(1, episodes=folder)[0].video.shape[0] == 10
    train, held = records(folder, "train"), records(folder, "held-out")
    assert (len(train), len(held)) == (2, 1)
    assert not set(train) & set(held)
    assert set(train) | set(held) == set(records(folder / "episodes", "all"))


@pytest.mark.slow
def test_simulated_clips_are_a_function_of_seed_and_number_and_are_kept(tmp_path):
    plain = EpisodeClips(2, seed=5, size=32, frames=3)
    kept = EpisodeClips(2, seed=5, size=32, frames=3, cache=tmp_path / "clips")
    first = plain[1]
    for again in (kept[1], EpisodeClips(9, seed=5, size=32, frames=3, cache=tmp_path / "clips")[1]):
        assert np.array_equal(first.video[:], again.video[:])
        assert np.array_equal(first.xy, again.xy)
        assert np.array_equal(first.visible, again.visible)
    assert not np.array_equal(plain[0].video[:], first.video[:])
    with pytest.raises(BadInput, match="other settings"):
        EpisodeClips(2, seed=6, size=32, frames=3, cache=tmp_path / "clips")


def test_a_run_mixes_worlds(folder):
    def sizes(world, count, **changes):
        run = replace(TINY, **changes, world=world, episodes=None if world == "facets" else str(folder))
        return {type(part).__name__: len(part) for part in open_clips(run, count, part="train")}

    assert sizes("facets", 5) == {"SceneClips": 5}
    assert sizes("bodies", 5) == {"EpisodeClips": 5}
    assert sizes("both", 5) == {"SceneClips": 3, "EpisodeClips": 2}
    assert sizes("both", 10, bodies_share=0.2) == {"SceneClips": 8, "EpisodeClips": 2}
    task = TapSceneTask(replace(TINY, episodes=str(folder)), PHASE, None)
    assert isinstance(task.dataset().clips, JoinedClips)
    assert len(task.dataset().clips) == 3
    assert task.describe()["run"]["episodes"] == folder.name


def test_a_share_of_hard_scenes_reaches_both_worlds(folder, tmp_path):
    run = replace(TINY, episodes=str(folder), hard_share=0.5)
    scenes, bodies = open_clips(run, 4, part="train", cache=str(tmp_path / "hard"))
    assert isinstance(scenes, SceneClips)
    assert isinstance(bodies, EpisodeClips)
    assert (scenes.config.cover_share, scenes.config.turn_share, scenes.config.repeat_share) == (0.5, 0.5, 0.5)
    assert bodies.repeat_share == 0.5
    open_clips(replace(run, hard_share=0.0), 4, part="train", cache=str(tmp_path / "plain"))

    def shares(name):
        labels = [json.loads((tmp_path / name / part / "clips.json").read_text()) for part in (".", "bodies")]
        return [(label | label.get("scene", {})).get("repeat_share") for label in labels]

    assert shares("hard") == [0.5, 0.5]
    assert shares("plain") == [None, None]  # as caches were labelled before there were any


@pytest.mark.slow
def test_a_run_in_both_worlds_ends_in_weights(folder, tmp_path):
    made = train_tap_nano(replace(TINY, episodes=str(folder)), Launch(out=tmp_path / "run", workers=0))
    assert made is not None
    assert made.exists()


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path):
    launch = Launch(out=tmp_path / "run", workers=0)
    with pytest.raises(BadInput, match="holds 0 episodes"):
        train_tap_nano(replace(TINY, episodes=str(tmp_path)), launch)
    with pytest.raises(BadInput, match="add --world bodies or both"):
        train_tap_nano(replace(TINY, world="facets", episodes=str(tmp_path)), launch)
    assert not launch.out.exists()
