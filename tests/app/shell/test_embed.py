"""`tapetum train hip`, then `tapetum embed`, as a user runs them."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from support.files import make_image, sound, stripes
from support.traced import memory_below
from tapetum.app.see import embed
from tapetum.app.shell.main import main
from tapetum.core.errors import Listener
from tapetum.encoders.embed import EmbeddedPiece


def trained(place: Path) -> Path:
    data = stripes(place / "stripes.parquet", 20)
    code = main(
        f"train hip --out {place / 'run'} --data {data} --image 8 --mae-steps 2 --steps 0 --batch-size 4 --micro-batch 4 "
        "--workers 0 --threads 1".split()
    )
    assert code == 0
    return place / "run" / "hip-nano.safetensors"


@pytest.mark.slow
def test_train_and_embed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = trained(tmp_path)
    told = capsys.readouterr().out
    assert "train: 18 examples of image 8x8x3" in told
    assert "masked_image" in told
    make_image(tmp_path / "a.png", (255, 0, 0))
    make_image(tmp_path / "b.jpg", (0, 255, 0))
    (tmp_path / "bad.png").write_bytes(b"x")
    sound(tmp_path / "a.wav", 100)
    files = " ".join(str(tmp_path / name) for name in ("a.png", "bad.png", "b.jpg", "a.wav"))
    out = tmp_path / "emb.parquet"
    assert main(f"embed {files} --model {weights} --out {out}".split()) == 2
    told = capsys.readouterr()
    assert "2 vectors of 128 numbers, of 2 files" in told.out
    assert "2 of 4 files could not be read" in told.err
    table = pq.read_table(out)
    assert table.column("path").to_pylist() == [str(tmp_path / "a.png"), str(tmp_path / "b.jpg")]
    assert table.column("modalities").to_pylist() == [["image"], ["image"]]
    assert main(f"embed {tmp_path / 'a.png'} --model {weights} --out {tmp_path / 'emb.npz'}".split()) == 0
    (tmp_path / "folder").mkdir()
    for name in ("c.png", "d.png"):
        make_image(tmp_path / "folder" / name, (0, 0, 255))
    assert main(f"embed {tmp_path / 'folder'} --model {weights} --out {out}".split()) == 0
    assert [Path(path).name for path in pq.read_table(out).column("path").to_pylist()] == ["c.png", "d.png"]
    with np.load(tmp_path / "emb.npz") as stored:
        np.testing.assert_allclose(stored["embedding"][0], table.column("embedding")[0].as_py(), atol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a.png --model hip-16 --out x.txt", "the ending must be .parquet or .npz"),
        ("--model hip-16 --out x.npz", "there are no FILES"),
        ("a.png --model hip-16 --out none/x.npz", "there is no folder none"),
    ],
)
def test_refusals(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", *words.split()]) == 2
    assert message in capsys.readouterr().err


def test_neighbours_in_the_table_and_on_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, colour in (
        ("a/red", (220, 30, 30)),
        ("b/rot", (200, 40, 30)),
        ("a/green", (20, 160, 40)),
        ("b/vert", (30, 150, 30)),
    ):
        make_image(tmp_path / f"{name}.png", colour)
    for ending in ("npz", "parquet"):
        out = tmp_path / f"emb.{ending}"
        assert main(["embed", str(tmp_path / "a"), str(tmp_path / "b"), "--neighbours", "5", "--out", str(out)]) == 0
        told = capsys.readouterr().out
        assert f"{tmp_path / 'emb.neighbours.html'}: the 5 nearest neighbours of each" in told
    with np.load(tmp_path / "emb.npz") as stored:
        names = [Path(path).stem for path in stored["path"]]
        first = {name: names[k] for name, k in zip(names, stored["neighbours"][:, 0], strict=True)}
        assert first == {"green": "vert", "vert": "green", "red": "rot", "rot": "red"}
        assert stored["neighbours"][:, 3:].tolist() == [[-1, -1]] * 4
        unit = stored["embedding"] / np.linalg.norm(stored["embedding"], axis=1, keepdims=True)
        np.testing.assert_allclose(stored["cosines"][0, 0], unit[0] @ unit[stored["neighbours"][0, 0]], rtol=1e-5)
        table = pq.read_table(tmp_path / "emb.parquet")
        assert table.column("neighbours").to_pylist() == stored["neighbours"].tolist()
    page = (tmp_path / "emb.neighbours.html").read_text()
    [data] = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page)
    table = json.loads(data)["table"]
    cells = dict(row["cells"] for row in table["rows"])
    assert cells["a/red.png"].split()[1] == "b/rot.png;"
    assert cells["a/green.png"].split()[1] == "b/vert.png;"
    assert [image is not None for image in table["images"]] == [True] * 4


def test_pieces_of_one_file_are_not_neighbours() -> None:
    from tapetum.app.see.neighbours import nearest

    found, cosines = nearest(np.array([[1, 0], [1, 0], [0, 1]], np.float32), ["a", "a", "b"], 2)
    assert found.tolist() == [[2, -1], [2, -1], [0, 1]]
    assert np.isnan(cosines[0, 1])


def test_a_folder_is_walked_deeply_and_links_are_not_followed(tmp_path: Path) -> None:
    for name in ("top", "cat/one", "cat/deep/two", ".hidden/three"):
        make_image(tmp_path / f"{name}.png", (9, 9, 9))
    (tmp_path / "cat" / "loop").symlink_to(tmp_path)
    assert main(["embed", str(tmp_path), "--out", str(tmp_path / "cat.npz")]) == 0
    with np.load(tmp_path / "cat.npz") as stored:
        assert [Path(path).stem for path in stored["path"]] == ["two", "one", "top"]


@pytest.mark.parametrize("model", ["resnet-nano", "hip-nano", "efficientnet-lite0"])
def test_sound_is_told_that_the_network_knows_images_only(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound(tmp_path / "a.wav", 100)
    assert main(["embed", str(tmp_path / "a.wav"), "--model", model, "--out", str(tmp_path / "x.npz")]) == 2
    assert "is a recording, and the network knows only images, as hip-nano does" in capsys.readouterr().err


def test_what_lies_beside_images_in_a_folder_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_image(tmp_path / "a.png", (220, 30, 30))
    (tmp_path / "notes.TXT").write_text("red")
    (tmp_path / "films.npz.unfinished").write_text("of another run")
    out = tmp_path / "table.npz"
    for _ in range(2):  # the second time the table lies there too
        assert main(["embed", str(tmp_path), "--out", str(out)]) == 0
        told = capsys.readouterr()
        assert "1 vectors of 256 numbers, of 1 files" in told.out
    assert "what is no image, recording or video is left out: 3 (.npz, .txt, .unfinished)" in told.err
    assert main(["embed", str(tmp_path / "notes.TXT"), "--out", str(out)]) == 2  # asked for by name
    assert "notes.TXT is not a video that can be read" in capsys.readouterr().err
    (tmp_path / "a.png").unlink()
    assert main(["embed", str(tmp_path), "--out", str(out)]) == 2
    assert "holds no image, recording or video" in capsys.readouterr().err


def test_many_vectors_are_on_disk_until_the_table_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        make_image(tmp_path / f"{number:03}.png", (number, 0, 0))

    def vectors(_: object, items: Sequence[Path], *__: object, **___: object) -> Iterator[tuple[int, list[Any]]]:
        for number in reversed(range(len(items))):
            piece = EmbeddedPiece(file=items[number].name, start=None, stop=None, inputs={})
            yield number, [(piece, np.full(150_000, number, np.float32))]

    monkeypatch.setattr(embed, "run_jobs", vectors)
    monkeypatch.setattr(embed, "_embedder", lambda *_: (SimpleNamespace(takes_videos=False), "a"))
    with memory_below(1 << 25):  # of 60 MB of vectors; numpy writes 16 MiB at a time
        made = embed.embed.run(embed.EmbedOptions((str(tmp_path),), out=tmp_path / "made.npz"), Listener())
    assert made.vectors[:, -1].tolist() == list(range(100))
    with np.load(tmp_path / "made.npz") as table:
        np.testing.assert_array_equal(table["embedding"], made.vectors)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("words", [["--workers", "2"], ["--engine", "ray"]])
def test_other_processes_make_the_same_table(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, colour in (("red", (220, 30, 30)), ("green", (20, 160, 40))):
        make_image(tmp_path / f"{name}.png", colour)
    (tmp_path / "bad.png").write_bytes(b"x")
    files = ["red.png", "bad.png", "green.png"]
    assert main(["embed", *files, "--out", "one.npz"]) == 2
    assert main(["embed", *files, "--out", "two.npz", *words]) == 2
    assert capsys.readouterr().err.count("bad.png") == 2
    with np.load("one.npz") as one, np.load("two.npz") as two:
        assert one["path"].tolist() == two["path"].tolist() == ["red.png", "green.png"]
        np.testing.assert_allclose(one["embedding"], two["embedding"], atol=1e-5)
