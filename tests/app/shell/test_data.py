"""`tapetum data`: shards from folders, byte for byte."""

import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.data.shards import Shards

Run = Callable[..., tuple[int, str, str]]


def make_image(seed: int, kind: str = "png") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 4, 3), dtype=np.uint8)).save(file, kind)
    return file.getvalue()


def files_in(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def all_of(out: Path) -> dict[str, dict[str, bytes]]:
    shards = Shards(out)
    return {shards.locate(k)[1]: shards.read(k) for k in range(len(shards))}


def test_a_folder_of_classes(run: Run, tmp_path: Path) -> None:
    files = {f"{name}/{k}.v1.PNG": make_image(k) for name in ("dog", "cat") for k in range(3)} | {
        ".DS_Store": b"",
        "cat/.x": b"",
    }
    source, out = files_in(tmp_path / "in", files), tmp_path / "out"
    code, said, err = run("data", "shards", source, "--out", out, "--samples-per-shard", 4)
    assert (code, err) == (0, "")
    assert said.startswith("wrote 6 samples in 2 shards, 20.5 kB, into ")
    wanted = {f"{c}/{k}_v1": {"png": make_image(k), "cls": b"%d" % (c == "dog")} for c in ("cat", "dog") for k in range(3)}
    assert all_of(out) == wanted
    assert list(all_of(out)) == list(wanted)  # in their order
    assert json.loads((out / "classes.json").read_text()) == ["cat", "dog"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


def test_shuffling_is_by_the_seed(run: Run, tmp_path: Path) -> None:
    source = files_in(tmp_path / "in", {f"a/{k:02d}.wav": b"RIFF%d" % k for k in range(20)})
    for name, more in {"plain": [], "a": ["--shuffle", 1], "again": ["--shuffle", 1], "b": ["--shuffle", 2]}.items():
        assert run("data", "shards", source, "--out", tmp_path / name, *more)[0] == 0
    orders = {name: list(all_of(tmp_path / name)) for name in ("plain", "a", "again", "b")}
    assert orders["a"] == orders["again"] != orders["b"]
    assert orders["plain"] == sorted(orders["a"]) == sorted(orders["b"])
    assert all_of(tmp_path / "a") == all_of(tmp_path / "b") == all_of(tmp_path / "plain")
    assert (tmp_path / "a" / "shard-000000.tar").read_bytes() == (tmp_path / "again" / "shard-000000.tar").read_bytes()


def test_images_of_several_formats_become_one_field(run: Run, tmp_path: Path) -> None:
    source = files_in(
        tmp_path / "in", {"x/1.jpeg": make_image(1, "jpeg"), "x/2.JPG": make_image(2, "jpeg"), "x/3.png": make_image(3)}
    )
    assert run("data", "shards", source, "--out", tmp_path / "out")[0] == 0
    assert [sample["jpg"].shape for sample in Shards(tmp_path / "out")] == [(6, 4, 3)] * 3
    assert all_of(tmp_path / "out")["x/3"]["jpg"] == make_image(3)


def test_a_folder_of_stems(run: Run, tmp_path: Path) -> None:
    files = {f"{k}.{end}": b"%d%s" % (k, end.encode()) for k in range(3) for end in ("txt", "left.mp4", "JSON")}
    source, out = files_in(tmp_path / "in", files), tmp_path / "out"
    assert run("data", "shards", source, "--out", out, "--name", "train", "--json")[0] == 0
    assert all_of(out) == {
        str(k): {"txt": b"%dtxt" % k, "left.mp4": b"%dleft.mp4" % k, "json": b"%dJSON" % k} for k in range(3)
    }
    assert (out / "train-000000.tar").exists()
    deep = files_in(tmp_path / "deep", {f"0{k}/{k}.txt": b"%d" % k for k in range(2)})
    assert run("data", "shards", deep, "--out", tmp_path / "out2", "--layout", "stems")[0] == 0
    assert all_of(tmp_path / "out2") == {"00/0": {"txt": b"0"}, "01/1": {"txt": b"1"}}


def test_what_cannot_be_made_is_one_line(run: Run, tmp_path: Path) -> None:
    png = make_image(0)
    (tmp_path / "empty").mkdir()
    sources = {
        tmp_path / "gone": "there is no ",
        tmp_path / "empty": "there are no files",
        files_in(tmp_path / "kinds", {"a/1.png": png, "a/2.png": png, "b/3.txt": b""}): "several kinds, png (2), txt (1)",
        files_in(tmp_path / "uneven", {"1.png": png, "1.txt": b"", "2.png": png}): "different endings",
        files_in(tmp_path / "bare", {"1.png": png, "README": b""}): "has no ending",
        files_in(tmp_path / "same", {"a/1.png": png, "a/1.PNG": png}): "would both be",
        files_in(tmp_path / "hollow", {"a/1.png": png}): "the class b has no files",
    }
    (tmp_path / "hollow" / "b").mkdir()
    for source, says in sources.items():
        code, out, err = run("data", "shards", source, "--out", tmp_path / "out")
        assert (code, out, err.count("\n")) == (2, "", 1), source
        assert says in err, (source, err)
        assert not (tmp_path / "out").exists(), source
    full = files_in(tmp_path / "full", {"x": b""})
    code, _, err = run("data", "shards", tmp_path / "kinds", "--out", full)
    assert code == 2
    assert "is not empty" in err


@pytest.mark.parametrize("there", [False, True])
def test_ctrl_c_leaves_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    source, out = files_in(tmp_path / "in", {f"a/{k:02d}.bin": b"x" for k in range(20)}), tmp_path / "out"
    if there:
        out.mkdir()
    seen: list[str] = []

    def read(path: Path) -> bytes:
        if path.name == "15.bin":
            seen.extend(p.name for p in tmp_path.rglob("shard-*.tar"))
            os.kill(os.getpid(), signal.SIGINT)
        return path.read_bytes()

    monkeypatch.setattr("tapetum.data.shard_sources._read", read)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs lack
    try:
        code, said, err = run("data", "shards", source, "--out", out, "--samples-per-shard", 6)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (code, said, err) == (130, "", "tapetum: interrupted\n")
    assert sorted(seen) == ["shard-000000.tar", "shard-000001.tar"]
    assert [p.name for p in tmp_path.iterdir() if p != out] == ["in"]
    assert out.exists() == there
    assert not there or not list(out.iterdir())
