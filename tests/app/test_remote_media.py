"""Images and videos at addresses: the results of the disk, named by their addresses, and read once."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tapetum
from support.files import make_image
from support.scripts import GOLDEN, script
from support.storage import object_storage, read_files, web_server
from systems.perception_test.test_scores import GOLDEN as PERCEPTION_TEST
from systems.pretraining.study.sweep_script import TINY
from tapetum.core import remote_cache
from tapetum.data import remote_folder

Run = Callable[..., tuple[int, str, str]]
WORLD = script("tests/golden/make_paligemma_taught_golden.py")
TAUGHT = GOLDEN / "paligemma_taught.safetensors"
QUESTION = "what color is the square ?"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of copies; the working directory is an empty one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote_cache, "PAUSES_S", ())
    monkeypatch.setattr(remote_folder, "_used", {})
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "cache"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """A folder, the address at which a web server has it, and what was read there."""
    folder = tmp_path / "web"
    folder.mkdir()
    with web_server(folder, ranges=True) as (base, requests):
        yield folder, base, requests


def rounded(text: str) -> str:
    """Round numbers to four digits: two processes see other batches than one."""
    return re.sub(r"\d+\.\d{5,}", lambda number: f"{float(number[0]):.4f}", text)


@pytest.mark.slow
def test_images_of_several_commands(web: tuple[Path, str, list[str]], tmp_path: Path, cache: Path, run: Run) -> None:
    folder, base, requests = web
    (folder / "photos").mkdir()
    for name, colour in (("one", "red"), ("photos/a b", "blue"), ("photos/c", "red")):
        Image.fromarray(WORLD.make_image(colour)).save(folder / f"{name}.png")
    (folder / "photos" / "bad.png").write_bytes(b"no image")
    encoder = tapetum.encoders.build("resnet-18", stem_width=8, classes=7)
    tapetum.encoders.save(encoder, tmp_path / "few.safetensors")
    mine = tmp_path / "mine.png"
    Image.fromarray(WORLD.make_image("blue")).save(mine)
    few, taught = ("--model", tmp_path / "few.safetensors"), ("--model", TAUGHT, "--device", "cpu")

    def outcomes(where: str | Path, out: Path) -> list[tuple[int, str, str]]:
        images, workers = (f"{where}/one.png", mine, f"{where}/photos"), 1 if where == folder else 2
        out.mkdir()
        made = [
            run("classify", *images, *few, "--json", "--report", out / "classes.html"),
            run("classify", f"{where}/photos/bad.png", *few),
            run("ask", *images, QUESTION, "--raw", *taught, "--workers", workers, "--out", out / "asked", "--json"),
            run("ask", f"{where}/one.png", f"{where}/photos/c.png", QUESTION, "--together", "--raw", *taught),
            run("segment", *images, "square", *taught),
            run("discover", *images, "--out", out / "objects", "--report", out / "objects.html", "--json"),
            run("embed", *images, *few, "--out", out / "table.npz", "--neighbours", 1),
        ]
        made.append((0, "\n".join(np.load(out / "table.npz")["path"].tolist()), ""))
        made.append((0, (out / "asked" / "answers.json").read_text(), (out / "objects" / "instances.json").read_text()))
        return made

    here = outcomes(folder, tmp_path / "here")
    there = outcomes(base, tmp_path / "there")
    assert len({request.split()[1] for request in read_files(requests)}) == 4  # each file once, whatever asks for it
    assert [code for code, _, _ in there] == [2, 2, 2, 0, 2, 2, 2, 0, 0]
    for (_, *texts), (_, *others) in zip(here, there, strict=True):
        for text, other in zip(texts, others, strict=True):
            assert rounded(text.replace(f"{folder}", base).replace("/here/", "/there/")) == rounded(
                other.replace("a%20b", "a b")
            )
    assert f"{base}/photos/a%20b.png" in there[0][1]
    assert not Path("asked").exists()
    assert not list(Path().iterdir())
    for page in (tmp_path / "there").rglob("*.html"):
        assert str(cache) not in page.read_text()
        assert "gone</i>" not in page.read_text()
    from_python = tapetum.classify((f"{base}/one.png", WORLD.make_image("red")), model=str(tmp_path / "few.safetensors"))
    assert [image.path for image in from_python.images] == [f"{base}/one.png", "image-1"]
    assert read_files(requests) == []


@pytest.mark.slow
def test_videos_of_several_commands(clip: Path, tmp_path: Path, cache: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, mine = tmp_path / "disk", tmp_path / "mine.mp4"
    (disk / "clips").mkdir(parents=True)
    for name in ("clips/a.mp4", "clips/b.mp4", "alone.mp4"):
        shutil.copy(clip, disk / name)
    shutil.copy(clip, mine)
    (disk / "bad.mp4").write_bytes(b"no video")
    (disk / "points.csv").write_text("t,x,y\n0,10,12\n2,30,20\n")
    Image.fromarray(np.pad(np.full((10, 12), 255, np.uint8), ((8, 30), (20, 32)))).save(disk / "mask.png")
    still = "--model", "static", "--json"

    def outcomes(where: str | Path, folder: Path) -> list[Any]:
        folder.mkdir()
        monkeypatch.chdir(folder)
        one, workers = f"{where}/alone.mp4", 1 if where == disk else 2
        rows = [
            run("track", one, "--points", f"{where}/points.csv", *still, "--report", "one.html"),
            run("track", mine, "--region", f"{where}/mask.png", "--grid", 2, "--out", "mine.csv", *still),
            run("track", f"{where}/clips", mine, f"{where}/bad.mp4", "--grid", 2, "--workers", workers, *still),
            run("track", f"{where}/clips/a.mp4", f"{where}/clips", *still),
            run("show", "alone-tracks/tracks.npz", one, "--json"),
            run("show", f"{where}/points.csv", one),
            run("show", one, "--frame", 1, "--json"),
            run("detect", one, "cup", "--track", "--tracker", "static", "--device", "cpu", "--json"),
            run("answer", one, "What falls?", "--options", "a cup", "a ball", "--json"),
        ]
        made = {str(path): path.read_text() for path in sorted(Path().rglob("*.[cj]s[vo]*")) if ".tapetum" not in str(path)}
        return [*rows, made, sorted(str(path) for path in Path().rglob("*") if path.name != ".tapetum")]

    here = outcomes(disk, tmp_path / "here")
    with object_storage(monkeypatch) as client:
        for path in (path for path in disk.rglob("*") if path.is_file()):
            client.put_object(Bucket="bucket", Key=path.relative_to(disk).as_posix(), Body=path.read_bytes())
        there = outcomes("s3://bucket", tmp_path / "there")
    assert [each[0] for each in there[:-2]] == [0, 0, 2, 2, 0, 2, 0, 0, 0], there
    assert '"video": "s3://bucket/clips/b.mp4"' in there[2][1]
    assert "bad.mp4: s3://bucket/bad.mp4 is not a video that can be read" in there[2][2]
    assert {"alone-tracks/overlay.mp4", "alone-overlay.mp4", "alone-1.png", "alone-boxes/boxes.npz"} <= set(there[-1])
    assert str(cache) not in Path("one.html").read_text()
    assert without_times(here, disk) == without_times(there, "s3://bucket")


def test_what_goes_wrong_is_one_line(web: tuple[Path, str, list[str]], cache: Path, run: Run) -> None:
    folder, base, requests = web
    for name in ("a.png", "a.mp4", "a.json"):
        (folder / name).write_bytes(b"nothing")
    still = "--model", "static"
    for words, message in (
        (("classify", f"{base}/gone.png"), f"there is nothing at {base}/gone.png; check the address"),
        (("caption", "ftp://host/a.png"), "has the scheme ftp; give s3://"),
        (("ask", f"{base}/a.png", "what?", "--cache-gb", 0), "and --cache-gb allows 0; give more"),
        (("embed", "http://127.0.0.1:9/a.png", "--out", "a.npz"), "cannot read http://127.0.0.1:9/a.png: "),
        (("discover", f"{base}/a.png", "--out", "found"), f"{base}/a.png is not an image"),
        (("track", f"{base}/a.mp4", *still), f"{base}/a.mp4 is not a video"),
        (("track", "rtsp://host/front", *still), "has the scheme rtsp; give s3://"),
        (("show", f"{base}/a.json", f"{base}/a.mp4"), f"{base}/a.mp4 is not a video"),
        (("study", "run", "--plan", f"{base}/gone.toml", "--out", "study"), f"there is nothing at {base}/gone.toml"),
        (("scenes", "make", "made", "--n", 1, "--textures", f"{base}/a.png"), f"{base}/a.png is neither a folder of images"),
    ):
        code, out, err = run(*words)
        assert (code, out, err.strip().count("\n")) == (2, "", 0), err
        assert message in err
        assert str(cache) not in err
    requests.clear()
    code, _, err = run("answer", f"{base}/a.mp4", "What?", "--options", "one")
    assert (code, "give two or more different answers" in err, requests) == (2, True, [])  # said before anything is read


def without_times(outcomes: list[Any], where: str | Path) -> list[str]:
    """Write outcomes as texts, without seconds, in which the place of the videos is called PLACE."""
    text = json.dumps(outcomes, indent=1).replace(str(where), "PLACE")
    return re.sub(r'seconds\\*": [\d.]+', "", text).splitlines()


@pytest.mark.slow
def test_a_study_a_submission_and_textures(web: tuple[Path, str, list[str]], tmp_path: Path, cache: Path, run: Run) -> None:
    folder, base, requests = web
    for k in range(12):
        make_image(folder / "classes" / "ab"[k % 2] / f"{k}.png", (20 * k, 200 * (k % 2), 0), (12, 12))
        make_image(folder / "others" / f"{k}.png", (20 * k, 0, 90), (16, 12))
    (folder / "truth.json").write_text(json.dumps(PERCEPTION_TEST["object"]["truth"]))
    predictions = json.loads(json.dumps(PERCEPTION_TEST["object"]["said"]))
    predictions["video_0"][0]["id"] = "0"
    (folder / "predictions.json").write_text(json.dumps(predictions))
    few = TINY.format(minutes=2).replace("count = 60", "count = 6").replace("known = 30", "known = 4")
    few = few.replace("queries = 20", "queries = 2") + '[[grids]]\nsizes = ["s"]\nmethods = ["byol"]\nbudgets = [5e6]\n'

    def outcomes(where: str | Path, out: Path) -> list[Any]:
        source = f"variants = [\"other\"]\n[sources.other]\ndata = '{where}/others'\nlabelled = false\n"
        (folder / "plan.toml").write_text(few + source)
        study = "study", "run", "--plan", f"{where}/plan.toml", "--images", f"{where}/classes", "--out", out / "study"
        rows: list[Any] = [run(*study, "--json")[:2]]
        read_files(requests)
        rows.append(run(*study, "--dry")[:2])
        assert not [request for request in read_files(requests) if ".png" in request]
        rows.append(run("study", "report", out / "study", "--json")[:2])
        given = "--annotations", f"{where}/truth.json", "--check", f"{where}/predictions.json"
        rows.append(run("submit", "perception-test", "--task", "object", *given))
        small = "--n", 1, "--size", 32, "--frames", 2
        rows.append(run("scenes", "make", out / "scenes", *small, "--textures", f"{where}/classes")[:2])
        row = json.loads((out / "study" / "points.jsonl").read_text())
        rows.append({name: row[name] for name in ("knn", "linear", "miou", "steps")})
        return [*rows, (out / "study" / "study.json").read_text(), (out / "scenes" / "tapvid.pkl").read_bytes().hex()]

    here, there = outcomes(folder, tmp_path / "here"), outcomes(base, tmp_path / "there")
    assert [outcome[0] for outcome in there[:5]] == [0, 0, 0, 2, 0], there
    assert f"the server would refuse {base}/predictions.json" in there[3][2]
    assert without_times(here, folder) == [line.replace("/there/", "/here/") for line in without_times(there, base)]
    kept = [path for path in (tmp_path / "there").rglob("*") if path.is_file() and str(cache).encode() in path.read_bytes()]
    assert kept == []
