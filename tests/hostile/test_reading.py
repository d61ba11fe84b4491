"""What is read from outside goes through one door, `core.reading`, which waits for nothing and reads nothing without end."""

import ast
import os
import re
import socket
import threading
from pathlib import Path

import pytest

import tapetum
from tapetum.core import reading

"""Under which configs stand in the headers of files of weights."""
SOURCE = Path(tapetum.__file__).parent
OWN = {
    "core/reading.py",
    "core/provenance.py",
    "core/files.py",
    "core/devices.py",
    "core/threads.py",
    "account/machine.py",
    "app/shell/doctor.py",
}
"""The door itself, what lies below it, and readers of /proc and /sys."""
BY_NAME = {"np.load", "np.fromfile", "np.loadtxt", "np.memmap", "safe_open", "load_file", "safetensors.torch.load_file"}
BY_NAME |= {"torch.load", "zipfile.ZipFile", "Image.open", "av.open", "parquet.read_table", "parquet.read_schema"}
BY_NAME |= {"parquet.ParquetFile", "self._parquet.ParquetFile"}
"""What opens a file by its name, which must be asked about first: np.load(no_pipe(path))."""
ASKED = "no_pipe(", "parquet_file(", "BytesIO("
OPEN = {"data", "file", "raw", "frame", "temporary"}
"""Variables that hold what is open, or is written."""
WRITES = re.compile(r"'(w|wb|ab|a\+|xb|rb\+)'")
OURS = "files(", "__file__", "here."
"""Where the files of this package are."""


def goes_another_way(call: ast.Call) -> bool:
    """Whether a call reads a file in another way than by the door, or writes text that names may be in in another way."""
    name, text = ast.unparse(call.func), ast.unparse(call)
    first = ast.unparse(call.args[0]) if call.args else ""
    if name == "open" or (name.endswith(".open") and first.strip("'") in ("r", "rb")):
        return not WRITES.search(text) or ("'w'" in text and "errors=" not in text and "'w' if" not in text)
    if name.endswith((".read_text", ".read_bytes")):
        return not any(own in name for own in OURS)
    if name in ("json.load", "tomllib.load", "tomllib.loads", "json.loads"):
        return "dumps(" not in first
    return name.endswith(".write_text") or (name in BY_NAME and first not in OPEN and not any(a in first for a in ASKED))


def others(tree: ast.AST) -> list[str]:
    return [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call) and goes_another_way(node)]


@pytest.mark.slow
def test_whoever_reads_goes_through_the_door() -> None:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name not in OWN and (calls := others(ast.parse(path.read_text("utf-8")))):
            found[name] = calls
    assert not found


def test_the_search_for_those_who_do_not() -> None:
    bad = 'open(p); p.read_text(); json.loads(t); np.load(p); Image.open(self.p); json.load(open_file(p)); open(p, "rb")'
    good = 'open(p, "wb"); read_text(p); json.loads(json.dumps(x)); np.load(no_pipe(p)); Image.open(io.BytesIO(b))'
    bad += '; p.write_text("name"); open(p, "w")'
    good += '; write_text(p, "name"); open(p, "w", errors="backslashreplace")'
    assert len(others(ast.parse(bad))) == 9
    assert others(ast.parse(good)) == []


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_what_may_never_begin_or_end_is_refused_at_once(pipe: Path, tmp_path: Path, monkeypatch) -> None:
    for read in [reading.open_file, reading.read_bytes, reading.read_text, reading.read_json, reading.no_pipe]:
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
            for path, kind in ((pipe, "a pipe"), ("/dev/zero", "a device")):
                with pytest.raises(OSError, match=f"it is {kind}, not a file"):
                    read(path)
            with pytest.raises(OSError):  # noqa: PT011  # a socket cannot even be opened
                read("socket")
        Path("socket").unlink()
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "nothing")
        with pytest.raises(OSError, match="a pipe"):
            read("/dev/fd/" + str(os.open(pipe, os.O_RDWR)))


def test_a_pipe_of_the_shell_is_read_where_it_is_meant(tmp_path: Path) -> None:
    read, write = os.pipe()
    thread = threading.Thread(target=lambda: (os.write(write, b"x" * 100), os.close(write)))
    thread.start()
    assert reading.read_bytes(f"/dev/fd/{read}", pipes=True) == b"x" * 100
    thread.join()
    os.close(read)


def test_no_more_is_read_than_may_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345\r\n6\r")
    assert reading.read_text(tmp_path / "file") == (tmp_path / "file").read_text() == "12345\n6\n"
    assert reading.read_bytes(tmp_path / "file", 9) == b"12345\r\n6\r"
    with pytest.raises(OSError, match="it has more than 8 bytes"):
        reading.read_bytes(tmp_path / "file", 8)
    (tmp_path / "file").write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        reading.read_text(tmp_path / "file")


DEEP = "[" * 5000


def test_what_is_nested_too_deeply_is_damaged() -> None:
    for parse in [reading.parse_json, lambda text: reading.parse_toml(f"a = {text}")]:
        with pytest.raises(ValueError, match="nested too deeply"):
            parse(DEEP + "]" * 5000)
        assert parse("[[1]]") in ([[1]], {"a": [[1]]})
