"""`tapetum index`: made, renewed, gone on with, whole whatever happens."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tapetum
from support.colour_words import ColourWords, install
from support.files import make_image
from tapetum.core.errors import BadInput
from tapetum.desk.search import index as module
from tapetum.desk.search import index_database, media_files
from tapetum.desk.search.index_database import DATABASE, VECTORS
from tapetum.desk.search.media_model import MediaModel
from tapetum.desk.search.vector_index import IndexedPiece, VectorIndex
from tapetum.video import write_video

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images in two folders, a film of three seconds, and a text."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    make_image(folder / "red.png", (240, 10, 10))
    make_image(folder / "blue.png", (10, 10, 240))
    make_image(folder / "below" / "green.png", (10, 240, 10))
    shades = np.repeat(np.array([[240, 10, 10], [10, 240, 10], [10, 10, 240]], np.uint8), 5, axis=0)
    write_video(folder / "film.mp4", np.broadcast_to(shades[:, None, None], (15, 32, 48, 3)), 5)
    (folder / "notes.txt").write_text("nothing")
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "many.safetensors"
    tapetum.encoders.save(tapetum.encoders.build("resnet-18", stem_width=8), path)
    return path


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that a model looks at from here on."""
    names, parts = list[str](), MediaModel.parts

    def noted(self: MediaModel, path: Path) -> object:
        names.append(path.name)
        return parts(self, path)

    monkeypatch.setattr(MediaModel, "parts", noted)
    return names


def contents(index: Path) -> dict[str, list[float]]:
    """Vectors of the pieces of an index, by file and second."""
    with VectorIndex.open(index) as opened:
        pieces = opened.pieces(opened.rows())
        return {
            f"{Path(p.path).name} {p.start_s}": row for p, row in zip(pieces, opened.vectors().round(2).tolist(), strict=True)
        }


def test_images_and_seconds_of_films_have_vectors_and_thumbnails(photos: Path, encoder: Path, run: Run) -> None:
    code, out, err = run("index", photos, "--model", encoder, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["pieces"], told["files"], told["looked_at"], told["removed"]) == (6, 4, 4, 0)
    assert told["model"] == str(encoder)
    made = tapetum.embed([photos / "film.mp4", photos / "red.png"], model=str(encoder), dtype="float32")
    unit = made.vectors / np.linalg.norm(made.vectors, axis=1, keepdims=True)
    with VectorIndex.open(photos / module.HIDDEN) as index:
        film = index.rows_of(str(photos / "film.mp4"))
        rows = [*film, *index.rows_of(str(photos / "red.png"))]
        np.testing.assert_allclose(index.vectors(np.array(rows)), unit, atol=4e-3)
        pieces = index.pieces(rows)
        assert [piece.start_s for piece in pieces] == [0.0, 1.0, 2.0, None]
        for piece, colour in zip(pieces, (0, 1, 2, 0), strict=True):
            assert piece.thumbnail is not None
            shown = np.asarray(Image.open(BytesIO(piece.thumbnail))).mean((0, 1))
            assert shown.argmax() == colour


def test_a_renewal_looks_at_what_is_new_by_content(
    photos: Path, encoder: Path, run: Run, looked_at: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("index", photos, "--model", encoder)[0] == 0
    assert sorted(looked_at) == ["blue.png", "film.mp4", "green.png", "red.png"]
    before = contents(photos / module.HIDDEN)
    looked_at.clear()
    make_image(photos / "blue.png", (240, 240, 10))
    (photos / "red.png").rename(photos / "below" / "moved.png")
    shutil.copy(photos / "film.mp4", photos / "same.mp4")
    os.utime(photos / "film.mp4", (1, 1))
    (photos / "below" / "green.png").unlink()
    monkeypatch.chdir(photos)
    code, out, _ = run("index", ".", "--json")
    assert code == 0
    told = json.loads(out)
    assert looked_at == ["blue.png"]
    assert [told[name] for name in ("pieces", "files", "looked_at", "copied", "removed")] == [8, 4, 1, 2, 2]
    after = contents(photos / module.HIDDEN)
    assert after["moved.png None"] == before["red.png None"]
    assert after["same.mp4 1.0"] == after["film.mp4 1.0"] == before["film.mp4 1.0"]
    assert after["blue.png None"] != before["blue.png None"]
    looked_at.clear()
    assert run("index", photos)[0] == 0
    assert looked_at == []


def test_a_renewal_opens_what_has_another_size_or_time(
    photos: Path, encoder: Path, run: Run, looked_at: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    true, opened = media_files.fingerprint, list[str]()
    monkeypatch.setattr(media_files, "fingerprint", lambda path: opened.append(Path(path).name) or true(path))
    assert run("index", photos, "--model", encoder)[0] == 0
    assert sorted(opened) == ["blue.png", "film.mp4", "green.png", "red.png"]
    looked_at.clear()
    for changed in ([], ["red.png"], [], ["blue.png", "film.mp4"], []):
        opened.clear()
        for name in changed:
            os.utime(photos / name, (1, len(changed)))
        assert run("index", photos)[0] == 0
        assert sorted(opened) == changed
    shutil.copy(photos / "red.png", photos / "same.png")
    for expected in (["same.png"], []):
        opened.clear()
        assert run("index", photos)[0] == 0
        assert opened == expected
    assert looked_at == []


def test_an_index_without_sizes_and_times_gets_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(index_database, "_STATES", "")
        VectorIndex.create(tmp_path / "old", "m", 2, reference="r").close()
    with VectorIndex.open(tmp_path / "old") as old:  # a reader leaves it as it is
        assert old.fingerprints() == {}
    with VectorIndex.open(tmp_path / "old", writes=True) as old:
        old.put("a.png", "f", [IndexedPiece(path="a.png")], np.ones((1, 2)), (3, 4))
        assert old.states() == {"a.png": ("f", (3, 4))}


def test_what_cannot_be_read_is_named_and_the_rest_is_done(photos: Path, encoder: Path, run: Run) -> None:
    (photos / "bad.png").write_bytes(b"x")
    (photos / "cut.mp4").write_bytes((photos / "film.mp4").read_bytes()[:300])
    code, out, err = run("index", photos, "--model", encoder)
    assert code == 2
    assert "6 images and seconds of 4 files" in out
    assert "bad.png" in err
    assert "cut.mp4" in err
    assert err.splitlines()[-1] == "tapetum: 2 files could not be read; the index has the others"
    (photos / "blue.png").write_bytes(b"y")  # what it shows now nobody can see, and it is no longer what it was
    assert run("index", photos)[0] == 2
    assert "blue.png None" not in contents(photos / module.HIDDEN)


def test_what_cannot_be_opened_for_now_stays(photos: Path, encoder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("index", photos, "--model", encoder)[0] == 0
    true = media_files.fingerprint

    def failing(path: Path) -> str:
        if Path(path).name == "red.png":
            raise PermissionError(13, "Permission denied", str(path))
        return true(path)

    monkeypatch.setattr(media_files, "fingerprint", failing)
    os.utime(photos / "red.png", (1, 1))
    code, _, err = run("index", photos)
    assert code == 2
    assert "red.png: Permission denied" in err
    assert "red.png None" in contents(photos / module.HIDDEN)


def test_an_interrupted_run_goes_on(photos: Path, encoder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TOGETHER", 1)
    parts, seen = MediaModel.index_parts, list[str]()

    def twice(self: MediaModel, batch: Sequence[Any]) -> object:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(Path(batch[0][0].file).name)
        return parts(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(MediaModel, "index_parts", twice)
        code, _, _ = run("index", photos, "--model", encoder)
    assert code == 130
    assert {name.split()[0] for name in contents(photos / module.HIDDEN)} == set(seen)
    with monkeypatch.context() as patch:
        read = MediaModel.parts
        patch.setattr(MediaModel, "parts", lambda self, path: read(self, path) if path.name not in seen else 1 / 0)
        assert run("index", photos)[0] == 0
    assert len(contents(photos / module.HIDDEN)) == 6


@pytest.mark.slow
def test_a_killed_run_goes_on(photos: Path, encoder: Path, run: Run) -> None:
    for number in range(400):
        make_image(photos / f"{number}.png", (number % 250, number // 250, 100))
    program = (
        "import sys; from tapetum.desk.search import index; from tapetum.app.shell.main import main; "
        "index._SECONDS = 0.02; sys.exit(main())"
    )
    line = [sys.executable, "-c", program, "index", str(photos), "--model", str(encoder)]
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL)
    index, sizes = photos / module.HIDDEN / VECTORS, {0}
    while process.poll() is None and len(sizes) < 4:  # once more is written, the database has what was before
        time.sleep(0.001)
        sizes.add(index.stat().st_size if index.is_file() else 0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    some = len(contents(photos / module.HIDDEN))
    assert 0 < some < 406
    code, out, _ = run("index", photos, "--json")
    assert code == 0
    assert json.loads(out)["pieces"] == 406
    assert json.loads(out)["looked_at"] < 404


@pytest.mark.slow
def test_two_processes_make_what_one_makes(photos: Path, encoder: Path, tmp_path: Path, run: Run) -> None:
    for number in range(40):
        make_image(photos / f"{number}.png", (number, 0, 100))
    (photos / "bad.png").write_bytes(b"x")
    for workers in (1, 2):
        code, _, err = run("index", photos, "--model", encoder, "--workers", workers, "--out", tmp_path / str(workers))
        assert code == 2
        assert "bad.png" in err
    one, two = contents(tmp_path / "1"), contents(tmp_path / "2")
    assert one.keys() == two.keys()
    np.testing.assert_allclose([one[name] for name in one], [two[name] for name in one], atol=0.011)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_ray_makes_what_one_process_makes(photos: Path, encoder: Path, tmp_path: Path, run: Run) -> None:
    assert run("index", photos, "--model", encoder, "--out", tmp_path / "1")[0] == 0
    code, _, err = run("index", photos, "--model", encoder, "--out", tmp_path / "2", "--engine", "ray")
    assert code == 0, err
    one, two = contents(tmp_path / "1"), contents(tmp_path / "2")
    np.testing.assert_allclose([one[name] for name in sorted(one)], [two[name] for name in sorted(two)], atol=0.011)


def test_another_process_is_told_in_a_line(photos: Path, encoder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_database, "_WAIT_S", 0.05)
    assert run("index", photos, "--model", encoder)[0] == 0
    before = contents(photos / module.HIDDEN)
    (photos / "red.png").unlink()
    with VectorIndex.open(photos / module.HIDDEN, writes=True):
        for words in (["index", photos], ["search", photos, "cat"]):
            code, _, err = run(*words)
            assert code == 2
            assert err.count("\n") == 1
            assert "another process is changing the index" in err
    assert contents(photos / module.HIDDEN) == before


def test_an_index_of_other_weights_is_refused(
    photos: Path, encoder: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, one=ColourWords(), other=ColourWords(turned=True))
    assert run("index", photos, "--model", "one")[0] == 0
    before = contents(photos / module.HIDDEN)
    (photos / "red.png").unlink()
    code, _, err = run("index", photos, "--model", "other")
    assert code == 2
    assert "is an index of one as it was, and other makes other vectors" in err
    assert contents(photos / module.HIDDEN) == before
    install(monkeypatch, one=ColourWords(turned=True))  # other weights under the same name
    make_image(photos / "new.png", (1, 2, 3))
    code, _, err = run("index", photos)
    assert code == 2
    assert "and one makes other vectors" in err
    assert contents(photos / module.HIDDEN) == before


def test_what_is_no_index_is_said_in_a_line(photos: Path, encoder: Path, run: Run) -> None:
    assert run("index", photos, "--model", encoder)[0] == 0
    database = photos / module.HIDDEN / DATABASE
    whole = database.read_bytes()
    scrambled = [whole[:keep] + b"\xff" * (len(whole) - keep) for keep in (4096, len(whole) - 16384)]
    for broken in (b"", whole[:1000], b"nonsense" * 2000, *scrambled):
        database.write_bytes(broken)
        for words in (["index", photos], ["search", photos, "cat"]):
            code, out, err = run(*words)
            assert (code, out) == (2, "")
            assert err.count("\n") == 1
            assert "index" in err
            assert "unforeseen" not in err
        assert database.read_bytes() == broken
    database.write_bytes(whole)
    (photos / module.HIDDEN / VECTORS).write_bytes(b"")
    code, _, err = run("index", photos)
    assert code == 2
    assert "is shorter than its 6 rows" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "there are no FOLDERS"),
        ("empty", "empty has no image and no film in it"),
        ("photos empty", "needs a place of its own; give --out INDEX"),
        ("photos --workers 0", "--workers is 0"),
        ("photos --out photos/red.png", "red.png"),
    ],
)
def test_refusals(photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch, words: str, message: str) -> None:
    monkeypatch.chdir(photos.parent)
    Path("empty").mkdir()
    code, out, err = run("index", *words.split())
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert not (photos / module.HIDDEN).exists()


def test_nothing_is_looked_at_with_code_that_an_index_names(photos: Path, tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    code.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    VectorIndex.create(photos / module.HIDDEN, "x", 8, reference=f"{code}:Net=w.safetensors", words="yes").close()
    with pytest.raises(BadInput, match="was made by code"):
        tapetum.index(photos)
    assert not (tmp_path / "ran").exists()
