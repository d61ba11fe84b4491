"""A benchmark of the user's own, from a file outside of the project: scored, resumed, kept in a ledger and refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tapetum
from tapetum.bench.own import evaluate
from tapetum.core.errors import BadInput
from tapetum.encoders import build, save

Run = Callable[..., tuple[int, str, str]]
CODE = '''
from pathlib import Path

import numpy as np
from PIL import Image

from tapetum.bench.own import Benchmark


class Mirrored(Benchmark):
    """How alike are the features of an image and of its mirror image?"""

    def items(self, data):
        return {path.name: path for path in sorted(data.glob("*.png"))}

    def score(self, model, item):
        if item.name == "2.png" and Path("stop").exists():
            raise KeyboardInterrupt
        with open("calls.txt", "a") as file:
            file.write(item.name + "\\n")
        image = np.asarray(Image.open(item).convert("RGB"))
        one, other = model(model.prepare(np.stack([image, image[:, ::-1]]))).pooled
        return {"cosine": float((one @ other) / (one.norm() * other.norm())), "norm": one.norm()}


class Still(Benchmark):
    """How far do points wander?"""

    def items(self, data):
        return {"one": np.zeros((3, 8, 8, 3), np.uint8), "two": np.ones((2, 8, 8, 3), np.uint8)}

    def load(self, model, device):
        from tapetum.bench.baselines import load_tracker

        return load_tracker(model, device)

    def score(self, model, item):
        tracks = model.track(item, np.array([[0, 3.5, 4.5]], np.float32))
        row = {"moved": np.abs(tracks.xy[:, -1] - tracks.xy[:, 0]).max()}
        return row | ({"frames": len(item)} if len(item) > 2 else {})


class Words(Still):
    def score(self, model, item):
        return {"moved": "not at all"}


class Infinite(Still):
    def score(self, model, item):
        return {"moved": float("nan")}


class Nothing(Mirrored):
    def items(self, data):
        return {}


class Unfinished(Benchmark):
    def items(self, data):
        return {}


class NoBenchmark:
    pass
'''


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an encoder, images and the file of the benchmarks, which the test is in."""
    encoder = build("vit-nano", width=32, heads=2, mlp_width=64, depth=2, patch=4, image_size=(16, 16), pooling="mean")
    save(encoder, tmp_path / "encoder.safetensors")
    generator = np.random.default_rng(0)
    for k in range(4):
        Image.fromarray(generator.integers(0, 255, (20, 24, 3), np.uint8)).save(tmp_path / f"{k}.png")
    (tmp_path / f"bench_{tmp_path.name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named(place: Path, name: str) -> str:
    return f"{place}/bench_{place.name}.py:{name}"


def calls(place: Path) -> list[str]:
    text = (place / "calls.txt").read_text().split()
    (place / "calls.txt").unlink()
    return text


def test_it_is_scored_and_reported_under_its_name(place: Path, run: Run) -> None:
    words = "eval", named(place, "Mirrored"), "--data", place, "--model", place / "encoder.safetensors", "--out", "scores"
    code, out, _ = run(*words, "--json")
    assert code == 0
    found, label = json.loads(out), f"bench_{place.name}.py:Mirrored"
    assert (found["benchmark"], found["items"], list(found["per_item"])) == (label, 4, ["0.png", "1.png", "2.png", "3.png"])
    assert found["scores"]["cosine"] == pytest.approx(np.mean([row["cosine"] for row in found["per_item"].values()]))
    assert json.loads((place / "scores/scores.json").read_text())["scores"] == found["scores"]
    ledger = json.loads((place / "scores/ledger.json").read_text())
    assert (ledger["total"]["samples"], len(ledger["sessions"])) == (4, 1)
    tokens, width, depth = 17, 32, 2  # patches of 16 x 16 pixels and the class token
    block = 2 * tokens * (4 * width * width + 2 * width * 64) + 4 * tokens**2 * width
    assert ledger["total"]["flops_forward"] >= 4 * 2 * depth * block
    assert str(place) not in json.dumps(ledger["sessions"][0]["config"])
    assert run("ledger", "scores")[0] == 0
    assert len(calls(place)) == 4
    code, out, _ = run(*words, "--limit", "2")
    assert out.startswith(f"{label}, 2 items, ")
    assert not (place / "calls.txt").exists()


def test_it_goes_on_where_it_was_stopped_and_notices_what_has_changed(place: Path) -> None:
    def score(out: str = "scores") -> dict[str, float]:
        result = evaluate(named(place, "Mirrored"), place, "encoder.safetensors", out=place / out, note=notes.append)
        return dict(result.scores)

    notes: list[str] = []
    whole = score("whole")
    calls(place)
    (place / "stop").touch()
    with pytest.raises(KeyboardInterrupt):
        score()
    assert calls(place) == ["0.png", "1.png"]
    (place / "stop").unlink()
    assert score() == whole
    assert calls(place) == ["2.png", "3.png"]
    ledger = json.loads((place / "scores/ledger.json").read_text())
    assert [session["samples"] for session in ledger["sessions"]] == [2, 2]
    assert notes == []
    Image.fromarray(np.full((20, 24, 3), 7, np.uint8)).save(place / "1.png")
    score()
    assert calls(place) == ["1.png"]
    assert "1 result that was kept there differs in item" in notes[-1]
    save(build("vit-nano", seed=1, width=32, heads=2, mlp_width=64, patch=4, image_size=(16, 16)), "encoder.safetensors")
    score()
    assert len(calls(place)) == 4
    assert "4 results that were kept there differ in model" in notes[-1]


def test_trackers_and_scores_that_some_items_have(place: Path) -> None:
    scores = tapetum.evaluate_own(benchmark=named(place, "Still"), data=place, model="static")
    assert scores.as_json()["scores"] == {"moved": 0.0, "frames": 3.0}
    assert scores.as_json()["per_item"]["two"] == {"moved": 0.0}


def test_an_entry_point_is_found_by_its_name(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    about = place / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[tapetum.benchmarks]\nstill = bench_{place.name}:Still\n")
    monkeypatch.syspath_prepend(str(place))
    code, out, _ = run("eval", "still", "--data", place, "--model", "static", "--json")
    assert (code, json.loads(out)["benchmark"]) == (0, "still")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoBenchmark", r"NoBenchmark is no benchmark; derive it from tapetum\.bench\.own\.Benchmark"),
        ("Unfinished", r"Unfinished lacks score; write them"),
        ("Nothing", "Nothing lists nothing to be scored in"),
        ("Words", r"Words: one: moved is 'not at all'; give a finite number"),
    ],
)
def test_what_lacks_something_is_refused_in_one_line(place: Path, name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        tapetum.evaluate_own(benchmark=named(place, name), data=place, model="static")


def test_a_word_that_is_no_benchmark(place: Path, run: Run) -> None:
    code, _, err = run("eval", "still", "--data", place, "--model", "static")
    assert code == 2
    assert "tapetum eval has no 'still'" in err
    for given, message in (({"data": "nowhere"}, "there is no nowhere"), ({"limit": 0}, "--limit is 0")):
        with pytest.raises(BadInput, match=message):
            tapetum.evaluate_own(**{"benchmark": named(place, "Still"), "data": place, "model": "static", **given})
