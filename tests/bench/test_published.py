"""Benchmarks by name, from a server on this machine that gives small files in the official format."""

import base64
import hashlib
import io
import pickle
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from support.files import listed
from tapetum.bench import published
from tapetum.core.errors import BadInput

Run = Callable[..., tuple[int, str, str]]


def video(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "video": rng.integers(0, 255, (6, 16, 16, 3), dtype=np.uint8),
        "points": rng.random((3, 6, 2)).astype(np.float32),
        "occluded": np.zeros((3, 6), bool),
    }


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


class Store(SimpleHTTPRequestHandler):
    """Serves a folder with the sums that the official store tells; no byte ranges."""

    def end_headers(self) -> None:
        file = Path(self.translate_path(self.path))
        if file.is_file():
            md5 = hashlib.md5(file.read_bytes()).digest()
            self.send_header("x-goog-hash", "md5=" + base64.b64encode(md5).decode())
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "store"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Store, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name, entry in published.BENCHMARKS.items():
        url = f"http://127.0.0.1:{server.server_port}/{entry.url.rpartition('/')[2]}"
        monkeypatch.setitem(published.BENCHMARKS, name, replace(entry, url=url))
    monkeypatch.setenv("TAPETUM_BENCHMARKS", str(tmp_path / "here"))
    davis = {
        "tapvid_davis/README.md": b"read me",
        "tapvid_davis/tapvid_davis.pkl": pickle.dumps({"bear": video(0), "swan": video(1)}),
    }
    (folder / "tapvid_davis.zip").write_bytes(zipped(davis))
    (folder / "tapvid_rgb_stacking.zip").write_bytes(zipped({"tapvid_rgb_stacking.pkl": pickle.dumps([video(2)])}))
    robots = {f"robotap/robotap_split{k}.pkl": pickle.dumps({f"v{k}": video(k)}) for k in range(2)}
    (folder / "robotap.zip").write_bytes(zipped(robots))
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("name", "videos"), [("davis", 2), ("rgb-stacking", 1), ("robotap", 2)])
def test_a_benchmark_is_fetched_and_scored_by_name(run: Run, store: Path, tmp_path: Path, name: str, videos: int) -> None:
    score = ["eval", "tapvid", "--data", name, "--model", "static"]
    code, out, err = run(*score)
    assert (code, out) == (2, "")
    assert err == f"tapetum: the benchmark {name} is not on this machine; run: tapetum data tapvid-{name}\n"
    code, out, err = run("data", f"tapvid-{name}")
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'here' / name} ")
    assert f"{videos} videos" in run(*score)[1]
    assert {Path(file).suffix for file in listed(tmp_path / "here" / name)} == {".pkl", ".json"}
    assert [file.name for file in (tmp_path / "here").iterdir()] == [name]  # the archive is gone
    for file in store.iterdir():
        file.unlink()
    assert run("data", f"tapvid-{name}")[0] == 0  # it is here, and is not asked for again


def test_a_file_that_has_changed_is_refused(run: Run, store: Path, tmp_path: Path) -> None:
    assert run("data", "tapvid-davis")[0] == 0
    file = tmp_path / "here" / "davis" / "tapvid_davis.pkl"
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    file.write_bytes(content)
    code, _, err = run("eval", "tapvid", "--data", "davis", "--model", "static")
    assert code == 2
    assert "has changed since it was fetched" in err


def test_what_is_no_archive_of_pickles_leaves_nothing(store: Path, tmp_path: Path) -> None:
    for content in (b"<html>not found</html>", zipped({"readme": b"x"}), (store / "tapvid_davis.zip").read_bytes()[:-30]):
        (store / "tapvid_davis.zip").write_bytes(content)
        with pytest.raises(BadInput, match="no zip file of pickles"):
            published.fetch("davis")
        assert not [file for file in (tmp_path / "here").rglob("*") if file.suffix in (".zip", ".pkl")]


def test_names_of_an_archive_do_not_leave_the_folder(store: Path, tmp_path: Path) -> None:
    (store / "tapvid_davis.zip").write_bytes(zipped({"../../outside.pkl": pickle.dumps({"a": video(0)})}))
    with pytest.raises(BadInput, match=r"leads out of its folder.*\[escape\]"):
        published.fetch("davis")
    assert not list(tmp_path.rglob("outside.pkl"))


def test_unknown_names() -> None:
    with pytest.raises(BadInput, match="did you mean davis"):
        published.located("davsi")
    with pytest.raises(BadInput, match="known names are davis"):
        published.fetch("kinetics")
    assert published.located("kinetics/*.pkl") is None
