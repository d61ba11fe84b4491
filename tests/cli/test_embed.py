"""`tapetum train hip`, then `tapetum embed`, as a user runs them."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from support.files import picture, sound, stripes
from tapetum.cli.main import main


def trained(place: Path) -> Path:
    data = stripes(place / "stripes.parquet", 20)
    code = main(
        f"train hip --out {place / 'run'} --data {data} --picture 8 --mae-steps 2 --steps 0 --batch-size 4 --micro-batch 4 "
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
    picture(tmp_path / "a.png", (255, 0, 0))
    picture(tmp_path / "b.jpg", (0, 255, 0))
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
        picture(tmp_path / "folder" / name, (0, 0, 255))
    assert main(f"embed {tmp_path / 'folder'} --model {weights} --out {out}".split()) == 0
    assert [Path(path).name for path in pq.read_table(out).column("path").to_pylist()] == ["c.png", "d.png"]
    with np.load(tmp_path / "emb.npz") as stored:
        np.testing.assert_allclose(stored["embedding"][0], table.column("embedding")[0].as_py(), atol=1e-6)


def test_the_bundled_network_tells_pictures_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, colour in (("red", (220, 30, 30)), ("other red", (200, 40, 30)), ("green", (20, 160, 40))):
        picture(tmp_path / f"{name}.png", colour)
    files = [str(tmp_path / f"{name}.png") for name in ("red", "other red", "green")]
    assert main(["embed", *files, "--out", str(tmp_path / "emb.npz")]) == 0
    assert "3 vectors of 128 numbers, of 3 files" in capsys.readouterr().out
    with np.load(tmp_path / "emb.npz") as stored:
        red, other, green = stored["embedding"]
    assert np.linalg.norm(red - other) < np.linalg.norm(red - green)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a.png --model hip-16 --out x.parquet", "no weights of hip-16 were ever released"),
        ("a.png --model tapir-nano --out x.parquet", "tapir-nano is for tapetum track, not for embed"),
        ("a.png --model none.safetensors --out x.parquet", "no weights named 'none.safetensors' and no such file"),
        ("a.png --model hip-16 --out x.txt", "the ending must be .parquet or .npz"),
        ("--model hip-16 --out x.npz", "there are no FILES"),
        ("a.png --model hip-16 --out none/x.npz", "there is no folder none"),
    ],
)
def test_refusals(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", *words.split()]) == 2
    assert message in capsys.readouterr().err
