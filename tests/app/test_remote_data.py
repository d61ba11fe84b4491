"""Data at addresses of commands that train and score: the outcome of the disk, read once, and one line for what goes wrong."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

import tapetum
from support.networks import TAPIR_NANO, save_tapir
from support.storage import object_storage, read_files, web_server
from tapetum.data import remote_folder
from tapetum.systems.adapters import files as adapter_files
from tapetum.tracks.facets import SceneConfig, make_clip
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.kubric import write_sequence

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tapetum" / "addresses"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """A folder, the address at which a web server has it, and what was read there but pages of links."""
    folder = tmp_path / "web"
    folder.mkdir()
    with web_server(folder, ranges=True) as (base, requests):
        yield folder, base, requests


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of JSON lines with questions about four images, which lie in a folder beside it."""
    folder = tmp_path_factory.mktemp("lines")
    (folder / "images").mkdir()
    rows = []
    for number, colour in enumerate(("red", "blue", "red", "blue")):
        name = f"images/{colour} {number}.png"
        Image.new("RGB", (40, 40), colour).save(folder / name)
        rows.append({"image": name, "prefix": "answer en colour", "suffix": colour})
    (folder / "task.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Image.new("RGB", (40, 40)).save(folder / "images" / "of another task.png")
    return folder


@pytest.mark.slow
def test_a_score_of_videos(web: tuple[Path, str, list[str]], tmp_path: Path, run: Run) -> None:
    folder, base, requests = web
    made = tapetum.app.make.scenes.make(tmp_path / "scenes", n=2, size=64, frames=3)
    shutil.copy(made.tapvid, folder / "some clips.pkl")
    scores = []
    for data in (folder / "some clips.pkl", f"{base}/some%20clips.pkl", f"{base}/some%20clips.pkl"):
        code, out, err = run("eval", "tapvid", "--data", data, "--model", "static", "--json")
        assert code == 0, err
        scores.append({name: value for name, value in json.loads(out).items() if name != "seconds"})
        assert len(read_files(requests)) == (len(scores) == 2)
    assert scores[0] == scores[1] == scores[2]


@pytest.mark.slow
def test_a_score_of_questions_and_a_transfer_to_them(
    web: tuple[Path, str, list[str]], lines: Path, tmp_path: Path, cache: Path, run: Run
) -> None:
    folder, base, requests = web
    shutil.copytree(lines, folder / "lines")
    address = f"{base}/lines/task.jsonl"
    assert tapetum.evaluate_paligemma(data=address, limit=2, device="cpu").table["exact"] in (0, 0.5, 1)
    assert len({request.split()[1] for request in read_files(requests)}) == 5  # the image of no line stays there
    copies = {path.name: path.read_bytes() for path in cache.glob("*/images/*")}
    assert copies == {path.name: path.read_bytes() for path in lines.glob("images/* ?.png")}
    small = ("--steps", 1, "--batch-size", 2, "--micro-batch", 2, "--device", "cpu", "--checks", address)
    code, out, err = run("train", "paligemma-transfer", "--data", address, "--out", tmp_path / "run", *small)
    assert code == 0, err
    assert "4 examples" in out
    assert read_files(requests) == []


@pytest.mark.slow
def test_a_training_on_kubric_in_object_storage(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = save_tapir(tmp_path / "tiny.safetensors", TAPIR_NANO)
    for k in range(2):
        clip = make_clip(k, SceneConfig(size=(48, 48), frames=6), points=40)
        write_sequence(tmp_path / "kubric" / f"{k:04d}", TrackedClip(clip.video, clip.truth.xy, clip.truth.visible))
    files = [path for path in (tmp_path / "kubric").rglob("*") if path.is_file()]
    words = ["--weights", tiny, "--steps", 1, "--batch-size", 1, "--micro-batch", 1, "--size", 32, "--frames", 5]
    words += ["--points", 8, "--checks", 0, "--workers", 0, "--device", "cpu"]
    ends = []
    with object_storage(monkeypatch) as client:
        for path in files:
            client.put_object(Bucket="bucket", Key=f"data/{path.relative_to(tmp_path).as_posix()}", Body=path.read_bytes())
        for data, out in (
            (tmp_path / "kubric", "here"),
            ("s3://bucket/data/kubric", "run"),
            ("s3://bucket/data/kubric", "run"),
        ):
            code, _, err = run("train", "tap-kubric", "--data", data, "--out", tmp_path / out, *words)
            assert code == 0, err
            ends.append((tmp_path / out / "tiny.safetensors").read_bytes())
            if out == "run":
                monkeypatch.setattr(remote_folder, "copy_files", None)  # all is there
    assert ends[0] == ends[1] == ends[2]


@pytest.mark.slow
def test_adaptation_to_episodes_of_lerobot(web: tuple[Path, str, list[str]], tmp_path: Path, run: Run) -> None:
    folder, base, requests = web
    shutil.copytree(ROOT / "tests" / "golden" / "lerobot" / "set", folder / "set")
    data = f"{base}/set#episode=1-2,camera=wrist"
    words = ("--task", "clone", "--trunk", "random:vit-nano", "--steps", 1, "--batch-size", 2, "--rollouts", 0)
    for first in (True, False):
        code, _, err = run("adapt", data, *words, "--device", "cpu", "--out", tmp_path / "run")
        assert code == 0, err
        assert "by camera observation.images.wrist" in err
        assert any(request.endswith((".mp4", ".parquet")) for request in read_files(requests)) == first
    trained_on = adapter_files.read(tmp_path / "run" / "adapter.safetensors").trained_on
    assert json.loads(trained_on or "")["data"] == data


def test_what_goes_wrong_is_one_line(web: tuple[Path, str, list[str]], tmp_path: Path, run: Run) -> None:
    folder, base, requests = web
    (folder / "clips.pkl").write_bytes(b"no pickle")
    static = ("--model", "static")
    for words, message in (
        (("eval", "tapvid", "--data", f"{base}/gone.pkl", *static), f"there is nothing at {base}/gone.pkl; check the address"),
        (("eval", "tapvid", "--data", f"{base}/clips.pkl", *static), f"{base}/clips.pkl"),
        (("eval", "votsp", "--data", "ftp://host/data", *static), "has the scheme ftp; give s3://"),
        (("train", "tap-kubric", "--data", f"{base}/gone", "--out", tmp_path / "run"), f"there is nothing at {base}/gone"),
    ):
        code, out, err = run(*words)
        assert (code, out, err.strip().count("\n")) == (2, "", 0), err
        assert message in err
        assert str(tmp_path / "cache") not in err
    requests.clear()
    code, _, err = run("eval", "tapvid", "--data", f"{base}/clips.pkl", *static, "--predictions", "some.npz")
    assert (code, "--model is for a tracker" in err, requests) == (2, True, [])  # said before anything is read
