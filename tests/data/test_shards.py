"""Shards: equal to the webdataset package both ways, every refusal, and runs over them that resume and divide exactly."""

import gzip
import io
import pickle
import tarfile
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
import webdataset
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.data import tar_index
from tapetum.data.shards import Shards, find_tars, write_shards


@pytest.fixture(scope="module", autouse=True)
def _same_threads_after() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def make_image(seed: int, kind: str = "png", mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).convert(mode).save(file, kind, **({"lossless": True} if kind == "webp" else {}))
    return file.getvalue()


def sound(count: int = 50, width: int = 2) -> tuple[bytes, np.ndarray]:
    """A wav of two channels, and its samples as integers."""
    half = 1 << (8 * width - 1)
    numbers = np.random.default_rng(0).integers(-half, half, (count, 2))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((2, width, 8000, 0, "NONE", ""))
        out.writeframes(b"".join(int(n).to_bytes(width, "little", signed=True) for n in numbers.flat))
    return file.getvalue(), numbers / half


def flac(wav: bytes) -> bytes:
    file = io.BytesIO()
    with av.open(io.BytesIO(wav)) as source, av.open(file, "w", format="flac") as out:
        stream = out.add_stream("flac", rate=8000, layout="stereo")
        for frame in source.decode(audio=0):
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def tar_of(path: Path, members: dict[str, bytes] | list[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in members.items() if isinstance(members, dict) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def many(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    wav, _ = sound()
    return [
        {
            "__key__": f"v1.0/folder.{k % 2}/{k:04d}" + "-long" * 40 * (k % 3 == 2),
            "jpg": make_image(k, "jpeg"),
            "png": make_image(k),
            "mask.png": make_image(k, mode="L"),
            "webp": make_image(k, "webp"),
            "cls": k,
            "txt": f"größe {k}",
            "json": {"k": k, "list": [1.5, None, "x"]},
            "npy": rng.standard_normal((3, k + 1)).astype(np.float32),
            "npz": {"a": rng.integers(9, size=4), "b": np.zeros((0, 2))},
            "wav": wav,
            "mp4": rng.bytes(3000),
            "pkl": pickle.dumps(k),
            "empty": b"",
        }
        for k in range(count)
    ]


def assert_equal(found: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for name in wanted:
            assert_equal(found[name], wanted[name])
    elif isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    else:
        assert found == wanted


def test_what_is_written_is_read_by_webdataset(tmp_path: Path) -> None:
    samples = many(7)
    paths = write_shards(samples, tmp_path / "out", "train", samples_per_shard=3)
    assert [path.name for path in paths] == ["train-000000.tar", "train-000001.tar", "train-000002.tar"]
    shards = Shards(tmp_path / "out")
    raw = list(webdataset.WebDataset([str(path) for path in paths], shardshuffle=False))
    decoded = list(webdataset.WebDataset([str(path) for path in paths], shardshuffle=False).decode("rgb8"))
    assert len(shards) == len(raw) == len(samples)
    for k in (5, 0, 6, 3, 1, 4, 2):  # at any place
        ours = shards[k]
        assert ours["__key__"] == raw[k]["__key__"] == samples[k]["__key__"]
        assert shards.read(k) == {name: raw[k][name] for name in shards.fields}
        for name in ("jpg", "png", "webp", "cls", "txt", "json", "npy", "npz", "empty"):
            assert_equal(ours[name], dict(decoded[k][name]) if name == "npz" else decoded[k][name])
        for name in ("cls", "txt", "json", "npy", "npz", "mp4", "pkl"):  # a pickle stays bytes
            assert_equal(ours[name], samples[k][name])
        np.testing.assert_array_equal(ours["mask.png"], np.asarray(Image.open(io.BytesIO(samples[k]["mask.png"]))))
    again = write_shards(many(7), tmp_path / "again", "train", samples_per_shard=3)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]
    with tarfile.open(paths[0]) as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in tar} == {(0, 0, 0, "", "")}


def test_what_webdataset_writes_is_read(tmp_path: Path) -> None:
    arrays = [np.random.default_rng(k).integers(0, 256, (6, 5, 3), dtype=np.uint8) for k in range(5)]
    with webdataset.ShardWriter(str(tmp_path / "x-%04d.tar"), maxcount=2, verbose=0) as writer:
        for k, array in enumerate(arrays):
            writer.write({"__key__": f"a/b{k}", "png": array, "cls": k, "json": {"k": k}, "npy": array[0], "txt": f"t{k}"})
    shards = Shards(f"{tmp_path}/x-*.tar")
    assert shards.fields == ("cls", "json", "npy", "png", "txt")
    for k, array in enumerate(arrays):
        wanted = {"__key__": f"a/b{k}", "png": array, "cls": k, "json": {"k": k}, "npy": array[0], "txt": f"t{k}"}
        assert_equal(shards[k], wanted)
    assert [sample["cls"] for sample in shards] == list(range(5))


def test_images_and_sounds(tmp_path: Path) -> None:
    palette = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4), "L").convert("P")
    deep = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4096
    files = {"p": palette, "deep": Image.fromarray(deep), "bit": palette.convert("1"), "rgba": palette.convert("RGBA")}
    wav, numbers = sound()
    wav24, numbers24 = sound(width=3)
    members: dict[str, bytes] = {"k.wav": wav, "k.24.wav": wav24, "k.flac": flac(wav), "k.grey.jpg": make_image(0, "jpeg", "L")}
    for name, image in files.items():
        image.save(tmp_path / "x.png")
        members[f"k.{name}.png"] = (tmp_path / "x.png").read_bytes()
    members["k.jpg"] = members["k.p.png"]  # the content says what it is
    sample = Shards(tar_of(tmp_path / "x.tar", members))[0]
    assert_equal(sample["p.png"], np.asarray(palette))
    assert_equal(sample["deep.png"], deep)
    assert_equal(sample["bit.png"], np.asarray(palette.convert("1")).astype(np.uint8))
    assert sample["rgba.png"].shape == sample["jpg"].shape == (4, 4, 3)
    assert sample["grey.jpg"].shape == (8, 8, 3)
    for name, wanted in (("wav", numbers), ("24.wav", numbers24), ("flac", numbers)):
        assert sample[name].sample_rate == 8000
        assert_equal(sample[name].samples, wanted.astype(np.float32))


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_names_and_what_is_no_sample(tmp_path: Path, form: int) -> None:
    long = "d.1/" * 20 + ("y" * 90 if form == tarfile.USTAR_FORMAT else "y" * 300)
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=form) as tar:
        for name, kind in [("folder.x", tarfile.DIRTYPE), ("a.txt", tarfile.REGTYPE), ("l.txt", tarfile.SYMTYPE)]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.txt" if kind == tarfile.SYMTYPE else ""
            tar.addfile(info)
        for name in ["__index__/x.txt", ".hidden.txt", "README", "./b.c/d.TXT", long + ".txt", "ö.txt"]:
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"1"))
    shards = Shards(path)
    assert [(s["__key__"], s["txt"]) for s in shards] == [("a", ""), ("./b.c/d", "1"), (long, "1"), ("ö", "1")]
    theirs = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [s["__key__"] for s in theirs] == [s["__key__"] for s in shards]


def test_sources(tmp_path: Path) -> None:
    paths = write_shards([{"__key__": str(k), "cls": k} for k in range(12)], tmp_path, "s", samples_per_shard=1)
    pattern = str(tmp_path / "s-00001*.tar")
    assert find_tars(pattern) == paths[10:]
    assert [s["cls"] for s in Shards([paths[3], pattern, str(paths[0])])] == [3, 10, 11, 0]
    assert len(Shards(str(tmp_path))) == 12
    odd = tar_of(tmp_path / "odd[0].tar", {"a.cls": b"7"})
    assert Shards(odd)[0]["cls"] == 7


def bad_tars(folder: Path) -> dict[str, tuple[Any, str]]:
    good = {"a.jpg": make_image(0, "jpeg"), "a.cls": b"0", "b.jpg": make_image(1, "jpeg"), "b.cls": b"1"}
    whole = tar_of(folder / "whole.tar", good).read_bytes()

    def file(name: str, data: bytes) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    with tarfile.open(folder / "last.tar", "w") as tar:  # its last member is cut off in the middle
        info = tarfile.TarInfo("a.bin")
        info.size = 5000
        tar.addfile(info, io.BytesIO(bytes(range(250)) * 20))
    header = bytearray(whole)
    header[len(whole) // 2 // 512 * 512 :] = b"\x07" * (len(whole) - len(whole) // 2 // 512 * 512)
    second = whole.index(b"a.cls")
    broken = whole[:second] + b"\x07" * 512 + whole[second + 512 :]
    (folder / "packed").mkdir()
    (folder / "packed" / "x.tar.gz").write_bytes(gzip.compress(whole))
    (folder / "none").mkdir()
    return {
        "missing": (folder / "gone.tar", r"cannot read .*gone\.tar \(No such file"),
        "missing of a pattern": (f"{folder}/gone-*.tar", r"cannot read .*gone-\*\.tar"),
        "folder of none": (folder / "none", "there is no .tar in"),
        "empty list": ([], "the list of shards is empty"),
        "no tar": (file("text.tar", b"hello\n" * 1000), "is no tar file, cut off or damaged"),
        "gzip": (folder / "packed" / "x.tar.gz", "is no tar file, cut off or damaged"),
        "cut off in a member": (file("cut.tar", (folder / "last.tar").read_bytes()[:3000]), "cut off or damaged"),
        "cut off in a header": (file("cut3.tar", whole[: second + 100]), "cut off or damaged"),
        "damaged header": (file("broken.tar", broken), "cut off or damaged"),
        "two in one": (file("two.tar", whole + whole), "is cut off or damaged"),
        "no samples": (tar_of(folder / "no.tar", {"README": b"x"}), "there is no sample"),
        "twice": (tar_of(folder / "dup.tar", [("a.txt", b""), ("a.TXT", b"")]), r"a\.txt is there twice"),
        "apart": (tar_of(folder / "apart.tar", [("a.txt", b""), ("b.txt", b""), ("a.cls", b"")]), "'a' lie apart"),
        "unequal": (tar_of(folder / "uneq.tar", {"a.jpg": b"", "a.cls": b"", "b.jpg": b""}), "sample b has no field 'cls'"),
        "many endings": (tar_of(folder / "dots.tar", {f"a.{k}": b"" for k in range(300)}), "more than 256 different endings"),
    }


def test_what_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    for name, (source, says) in bad_tars(tmp_path).items():
        with pytest.raises(BadInput, match=says) as error:
            Shards(source)
        assert "\n" not in str(error.value), name


def test_fields_can_be_chosen_and_must_be_there(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", {"a.jpg": b"no image", "a.cls": b"3", "b.txt": b"t", "b.cls": b"4"})
    shards = Shards(path, fields=["cls"])
    assert [s["cls"] for s in shards] == [3, 4]
    with pytest.raises(BadInput, match="there is no field 'png'"):
        Shards(path, fields=["png"])
    with pytest.raises(BadInput, match="sample b has no field 'jpg'"):
        Shards(path, fields=["jpg"])
    with pytest.raises(BadInput, match="there is no field 'jpg'"):
        shards.column("jpg")
    with pytest.raises(IndexError):
        shards[2]


@pytest.mark.parametrize(
    ("ending", "data"),
    [
        ("jpg", make_image(0, "jpeg", size=(64, 64))[:900]),
        ("jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        ("cls", b"cat"),
        ("txt", b"\xff\xfe"),
        ("json", b"[" * 100_000),
        ("npy", pickle.dumps([1])),
        ("npz", b"PK"),
        ("wav", sound()[0][:-2]),
        ("flac", b"fLaC\0"),
    ],
)
def test_a_damaged_member_is_named(tmp_path: Path, ending: str, data: bytes) -> None:
    path = tar_of(tmp_path / "x.tar", {f"n/a.{ending}": data})
    with pytest.raises(BadInput, match=rf"x\.tar: n/a\.{ending} cannot be decoded as {ending}") as error:
        Shards(path)[0]
    assert "\n" not in str(error.value)


def test_objects_in_arrays_are_not_loaded(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.array([{}]), allow_pickle=True)
    for ending in ("npy", "npz"):
        if ending == "npz":
            np.savez(file := io.BytesIO(), a=np.array([{}]))
        with pytest.raises(BadInput, match=r"allow_pickle|Object arrays"):
            Shards(tar_of(tmp_path / f"{ending}.tar", {f"a.{ending}": file.getvalue()}))[0]


def test_cuts_and_flips_are_found_or_harmless(tmp_path: Path) -> None:
    samples = [{"__key__": f"{k}" * 60, "cls": k, "txt": "x" * 600} for k in range(3)]
    whole = write_shards(samples, tmp_path / "w", "s")[0].read_bytes()
    end = max(k for k, byte in enumerate(whole) if byte) // 512 * 512 + 512
    path = tmp_path / "x.tar"
    for cut in range(0, end + 512, 256):
        path.write_bytes(whole[:cut])
        with pytest.raises(BadInput):
            Shards(path)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[int(rng.integers(end))] = int(rng.integers(256))
        path.write_bytes(damaged)
        try:
            list(Shards(path))
        except BadInput:
            refused += 1
    assert 50 < refused < 300


def test_an_index_is_kept_beside_the_tar_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar_of(tmp_path / "x.tar", {"a.cls": b"1", "b.cls": b"2"})
    index = tmp_path / "x.tar.index"
    scans: list[str] = []
    scan = tar_index._scan
    monkeypatch.setattr(tar_index, "_scan", lambda tar, *others: (scans.append(tar), scan(tar, *others))[1])
    assert [s["cls"] for s in Shards(path)] == [s["cls"] for s in Shards(path)] == [1, 2]
    assert len(scans) == 1
    for damage in (index.read_bytes()[:-40], b"", b"PK\3\4junk"):
        index.write_bytes(damage)
        assert len(Shards(path)) == 2
    assert len(scans) == 4
    tar_of(path, {"a.cls": b"1", "b.cls": b"2", "c.cls": b"3"})  # another tar in its place
    assert [s["cls"] for s in Shards(path)] == [1, 2, 3]
    assert len(scans) == 5
    index.unlink()
    index.mkdir()  # a place that cannot be written
    assert len(Shards(path)) == len(Shards(path)) == 3


def test_columns_have_one_shape(tmp_path: Path) -> None:
    wav, numbers = sound()
    samples = [
        {"__key__": str(k), "png": make_image(k), "cls": k, "wav": wav, "txt": "t", "npy": np.ones(k + 1)} for k in range(3)
    ]
    write_shards(samples, tmp_path, "s")
    shards = Shards(tmp_path)
    assert shards.column("png").shape == (3, 8, 8, 3)
    assert [int(value) for value in shards.column("cls")] == [0, 1, 2]
    assert shards.column("cls").shape == (3,)
    assert int(shards.column("cls")[2]) == 2
    assert_equal(shards.column("wav")[1], numbers.astype(np.float32))
    with pytest.raises(BadInput, match=r"1\.npy has shape \(2,\), the first \(1,\)"):
        shards.column("npy")[1]
    with pytest.raises(BadInput, match="is no array or number"):
        shards.column("txt")


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ([], "no sample to write"),
        ([{"__key__": "a", "cls": 1}, {"__key__": "a", "cls": 1}], "sample 1 has the __key__ 'a'"),
        ([{"__key__": "a"}], "has no fields"),
        ([{"__key__": "a.b", "cls": 1}], "is no name of a member"),
        ([{"__key__": "a", "cls": 1}, {"__key__": "b", "txt": ""}], "sample b lacks 'cls'"),
        ([{"__key__": "a", "jpg": np.zeros((2, 2, 3), np.uint8)}], "ndarray uint8 cannot be stored as jpg"),
        ([{"__key__": "a", "npy": np.array([{}])}], "cannot be stored as npy"),
    ],
)
def test_samples_that_could_not_be_read_back_are_not_written(tmp_path: Path, samples: list, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        write_shards(samples, tmp_path / "out", "s")
    assert not list((tmp_path / "out").iterdir())


def test_a_folder_with_anything_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(BadInput, match="is not empty"):
        write_shards(many(1), tmp_path, "s")
    with pytest.raises(BadInput, match="is a file"):
        write_shards(many(1), tmp_path / "mine", "s")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
