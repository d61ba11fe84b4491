"""Policies from data sets of LeRobot, and in a loop in the shape of its."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.ndimage import gaussian_filter

import tapetum
from tapetum.core.errors import BadInput
from tapetum.data.lerobot import FrameFeature, copy_with_features
from tapetum.encoders import build, save
from tapetum.encoders.config import Preprocessing
from tapetum.encoders.features import prepare
from tapetum.systems.adapters.demos import hold_out, make_demos, read_lerobot_demos
from tapetum.systems.adapters.recipes import recipe
from tapetum.systems.adapters.run import RobotPolicy, adapt
from tapetum.systems.adapters.worlds.world import Observation, ReachWorld, roll
from tapetum.train.launch_config import Launch
from tapetum.video import write_video
from tapetum.video.lerobot import open_lerobot

GOLDEN = Path(__file__).parents[2] / "golden" / "lerobot"


@pytest.fixture(scope="module")
def trunk_file(tmp_path_factory) -> Path:
    """A file with a small trunk."""
    file = tmp_path_factory.mktemp("trunk") / "trunk.safetensors"
    save(build("vit-nano", width=32, heads=2, mlp_width=64, patch=4, image_size=(16, 16), pooling="mean"), file)
    return file


def test_demonstrations_are_the_rows_and_frames_that_the_package_reads() -> None:
    how = Preprocessing(size=(12, 12), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    demos = read_lerobot_demos(f"{GOLDEN / 'set'}#episode=1-2,camera=wrist", how)
    with np.load(GOLDEN / "expected.npz") as expected:
        rows = expected["episode"] >= 1
        assert np.array_equal(demos.own, expected["state"][rows])
        assert np.array_equal(demos.actions, expected["action"][rows])
        frames = expected["frames"][rows, 1].transpose(0, 2, 3, 1)
    assert demos.seeds == (1, 2)
    assert demos.episode.tolist() == [0] * 5 + [1] * 9
    squashed = Preprocessing(size=(12, 12), mean=how.mean, std=how.std, crop_fraction=1.0, resize="squash")
    assert torch.equal(prepare(demos.frames, squashed), prepare(frames, squashed))  # as the policy will see a whole frame
    learn, checks = hold_out(demos)
    assert checks is not None
    assert (learn.seeds, checks.seeds) == ((1,), (2,))


@pytest.mark.slow
def test_a_policy_learns_from_a_data_set_and_is_scored_on_what_is_held_out(trunk_file: Path, tmp_path: Path) -> None:
    source = str(GOLDEN / "set")
    run = recipe("clone", source, trunk=str(trunk_file), steps=4, batch_size=4, evaluations=1, pixels=16, own="concat")
    said: list[str] = []
    finished = adapt(run, Launch(out=tmp_path / "run"), said.append)
    assert finished is not None
    assert said == ["2 demonstrations of set by camera observation.images.top, 12 frames; 1 more to check on"]
    policy = RobotPolicy.load(finished.weights)
    with np.load(GOLDEN / "expected.npz") as expected:
        learned, rows = expected["episode"] < 2, expected["episode"] == 2
        batch = {
            "observation.images.top": torch.from_numpy(expected["frames"][rows, 0]).float() / 255,
            "observation.state": torch.from_numpy(expected["state"][rows]),
        }
        actions = policy.select_action(batch).numpy()
        deviation = expected["action"][learned].std(0, ddof=1)
        error = (((actions - expected["action"][rows]) / deviation) ** 2).mean()
    assert finished.scores["error"] == pytest.approx(float(error), rel=1e-4)


@pytest.mark.slow
def pan_set(folder: Path, blurred: bool) -> None:
    """A data set of a camera that pans over a texture, sharp or as a grey blur; the action is by how much it has moved."""
    rng, length, side = np.random.default_rng(0), 8, 64
    texture = gaussian_filter(rng.random((3, 256, 256)), (0, 3, 3)).transpose(1, 2, 0)
    texture = np.uint8(255 * (texture - texture.min()) / np.ptp(texture))
    frames, actions = [], []
    for _ in range(PANS):
        start, speed = rng.integers(60, 130, 2), rng.uniform(-3, 3, 2)
        for t in range(length):
            moved = np.rint(t * speed).astype(int)
            y, x = start + moved[::-1]
            frames.append(np.full((side, side, 3), 128, np.uint8) if blurred else texture[y : y + side, x : x + side])
            actions.append(-moved)
    about = json.loads((GOLDEN / "set/meta/info.json").read_text())
    kept = ("observation.images.top", "action", "timestamp", "frame_index", "episode_index", "index", "task_index")
    about["features"] = {name: about["features"][name] for name in kept}
    about["features"][kept[0]]["shape"] = [side, side, 3]
    rows, episodes = np.arange(PANS * length), np.arange(PANS)
    columns = {"action": [row.astype(np.float32) for row in actions], "timestamp": np.float32(rows % length / 10)}
    columns |= {"frame_index": rows % length, "episode_index": rows // length, "index": rows, "task_index": 0 * rows}
    parts = {"episode_index": episodes, "length": length + 0 * episodes, "tasks": [["pan"]] * PANS}
    for place in ("data", f"videos/{kept[0]}"):
        parts |= {f"{place}/chunk_index": 0 * episodes, f"{place}/file_index": 0 * episodes}
    seconds = episodes * length / 10
    parts |= {f"videos/{kept[0]}/from_timestamp": seconds, f"videos/{kept[0]}/to_timestamp": seconds + length / 10}
    for name, table in (("data", columns), ("meta/episodes", parts)):
        (folder / name / "chunk-000").mkdir(parents=True)
        pq.write_table(pa.table(table), folder / name / "chunk-000/file-000.parquet")
    (folder / "meta/info.json").write_text(json.dumps({**about, "total_episodes": PANS, "total_frames": len(frames)}))
    (folder / f"videos/{kept[0]}/chunk-000").mkdir(parents=True)
    write_video(folder / f"videos/{kept[0]}/chunk-000/file-000.mp4", np.stack(frames), 10)


PANS = 14


@pytest.mark.slow
def test_a_policy_that_is_told_tracks_needs_no_sharp_image(trunk_file: Path, tmp_path: Path) -> None:
    pan_set(tmp_path / "sharp", blurred=False)
    pan_set(tmp_path / "blurred", blurred=True)
    sharp = open_lerobot(tmp_path / "sharp")
    features = [
        FrameFeature(name="tracks.top.xy", dtype="float32", size=18),
        FrameFeature(name="tracks.top.visible", dtype="bool", size=9),
    ]

    def columns(number: int) -> dict[str, np.ndarray]:
        tracks = tapetum.track(f"{sharp.folder}#episode={number}", grid=3).tracks
        xy = tracks.xy.transpose(1, 0, 2).reshape(tracks.frames, -1)
        return {"tracks.top.xy": xy, "tracks.top.visible": tracks.visible.T}

    copy_with_features(sharp, tmp_path / "tracked", features, columns)
    video = "videos/observation.images.top/chunk-000/file-000.mp4"
    shutil.copy(tmp_path / "blurred" / video, tmp_path / "tracked" / video)
    run = recipe("clone", str(tmp_path / "tracked"), trunk=str(trunk_file), pixels=16, steps=150, evaluations=1, preset="top")
    errors = {}
    for observe in ("image", "tracks"):
        finished = adapt(replace(run, observe=observe), Launch(out=tmp_path / observe))
        assert finished is not None
        errors[observe] = finished.scores["error"]
    assert errors["image"] > 0.6
    assert errors["tracks"] < 0.1
    policy, data = RobotPolicy.load(tmp_path / "tracks/adapter.safetensors"), open_lerobot(tmp_path / "tracked")
    names = "tracks.top.xy", "tracks.top.visible"
    rows = data.rows(PANS - 1, ("action", *names))
    batch = {name: torch.from_numpy(np.array(rows[name])) for name in names}
    batch["observation.images.top"] = torch.full((8, 3, 64, 64), 0.5)
    assert np.abs(policy.select_action(batch).numpy() - rows["action"]).mean() < 2
    with pytest.raises(BadInput, match=r"the observation has no tracks\.top\.visible"):
        policy.select_action({name: batch[name] for name in batch if name != names[1]})
    with pytest.raises(BadInput, match=r"has no tracks\.top\.xy; tapetum.data.lerobot.copy_with_features writes"):
        adapt(replace(run, observe="tracks", data=str(tmp_path / "sharp")), Launch(out=tmp_path / "none"))


def test_a_policy_acts_in_a_loop_in_the_shape_of_lerobot(trunk_file: Path, tmp_path: Path) -> None:
    """The actions in a world are those that the rollouts of `adapt` do, bit for bit."""
    make_demos(ReachWorld(pixels=16, horizon=20), tmp_path / "demos", n=3)
    run = recipe("clone", str(tmp_path / "demos"), trunk=str(trunk_file), steps=4, batch_size=4, rollouts=0, own="concat")
    finished = adapt(run, Launch(out=tmp_path / "run"))
    assert finished is not None
    policy = RobotPolicy.load(finished.weights)
    assert policy.camera == "observation.images.top"

    def actor(observation: Observation) -> np.ndarray:
        image = torch.from_numpy(observation.frame).movedim(-1, 0)[None].float() / 255
        batch = {policy.camera: image, "observation.state": torch.from_numpy(observation.own)[None]}
        return policy.select_action(batch)[0].double().numpy()

    world = ReachWorld(pixels=16, horizon=6)
    policy.reset()
    assert np.array_equal(roll(world, actor, 7).actions, roll(world, policy.headed.act, 7).actions)
    whole = torch.rand(2, 3, 16, 16)
    for batch, message in (
        ({}, "has no observation.images.top"),
        ({policy.camera: whole}, "has no observation.state"),
        ({policy.camera: whole, "observation.state": torch.zeros(2, 3)}, "wanted \\(2, 2\\)"),
        ({policy.camera: 255 * whole}, "wanted floats 0..1"),
        ({policy.camera: whole[0]}, "wanted \\(batch, 3"),
    ):
        with pytest.raises(BadInput, match=message):
            policy.select_action(batch)
