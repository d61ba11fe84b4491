"""Files that name other files or addresses: refused under any name, not followed, and nobody is called.

FFmpeg opens sockets of its own, which Python does not see. So a server listens here and counts who comes; that it would notice
is shown first, with FFmpeg as it is without the reader's white lists.
"""

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import av.error
import pytest
from PIL import Image

from support.storage import web_server
from tapetum.core.errors import BadInput
from tapetum.video import LiveVideo, open_video

Run = Callable[..., tuple[int, str, str]]


class Server:
    """Answers each connection to a port of this machine with `text` over HTTP, and counts them; hears UDP on the same port."""

    def __init__(self, text: str = "") -> None:
        self.calls = 0
        self._answer = f"HTTP/1.0 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
        self._tcp, self._udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        self._tcp.bind(("127.0.0.1", 0))
        self.port = self._tcp.getsockname()[1]
        self._udp.bind(("127.0.0.1", self.port))
        self._udp.setblocking(False)
        self._tcp.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._tcp.accept()
            with connection:
                if connection.recv(4096) == b"end":
                    return
                self.calls += 1
                connection.sendall(self._answer)

    def close(self) -> int:
        """Number of connections and datagrams that came. All that came before this are seen, as they are taken in turn."""
        with socket.create_connection(("127.0.0.1", self.port)) as end:
            end.sendall(b"end")
            self._thread.join(timeout=300)
        assert not self._thread.is_alive()
        try:
            self._udp.recv(1)
            self.calls += 1
        except BlockingIOError:
            pass
        self._tcp.close()
        self._udp.close()
        return self.calls


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    assert server.close() == 0


def _hls(address: object) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{address}\n#EXT-X-ENDLIST\n"


SCRIPTS: dict[str, Callable[[str, int, str], str]] = {
    "ffconcat": lambda address, port, file: f"ffconcat version 1.0\nfile '{file}'\n",
    "ffconcat of an address": lambda address, port, file: f"ffconcat version 1.0\nfile '{address}'\n",
    "HLS": lambda address, port, file: _hls(file),
    "HLS of a file address": lambda address, port, file: _hls(f"file:{file}"),
    "HLS of an address": lambda address, port, file: _hls(address),
    "HLS with a key": lambda address, port, file: _hls(f'#EXT-X-KEY:METHOD=AES-128,URI="{address}"\n{file}'),
    "HLS variants": lambda address, port, file: f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{address}\n",
    "SDP": lambda address, port, file: (
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 26\n"
    ),
    "DASH": lambda address, port, file: (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S">'
        f'<Period><AdaptationSet mimeType="video/mp4"><Representation id="1"><BaseURL>{address}</BaseURL>'
        '<SegmentList duration="1"><SegmentURL media="x"/></SegmentList></Representation></AdaptationSet></Period></MPD>'
    ),
    "ASX": lambda address, port, file: f'<asx version="3.0"><entry><ref href="{address}"/></entry></asx>',
    "RTSP redirect": lambda address, port, file: f"rtsp://127.0.0.1:{port}/a\n",
    "PLS": lambda address, port, file: f"[playlist]\nNumberOfEntries=1\nFile1={address}\n",
    "a filter graph": lambda address, port, file: f"movie={file}",
}
"""Text of each kind of script, from an address, its port, and the path of a whole video."""

NAMES = (
    "clip.mp4",
    "clip.avi",
    "clip.mkv",
    "clip.webm",
    "clip.ts",
    "list.m3u8",
    "list.ffconcat",
    "session.sdp",
    "list.mpd",
    "clip",
)


def _refused(source: object, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        open_video(source)
    assert "\n" not in str(caught.value)


def test_the_server_notices_a_reader_that_follows(tmp_path: Path) -> None:
    server = Server()
    (tmp_path / "list.m3u8").write_text(_hls(f"http://127.0.0.1:{server.port}/a.ts"))
    with pytest.raises(av.error.FFmpegError):
        av.open(str(tmp_path / "list.m3u8"), options={"protocol_whitelist": "file,http,tcp"}).close()
    assert server.close() >= 1


@pytest.mark.parametrize("kind", SCRIPTS)
def test_scripts_are_refused_under_any_name(tmp_path: Path, clip: Path, server: Server, kind: str) -> None:
    (tmp_path / "whole.mp4").write_bytes(clip.read_bytes())
    for name in NAMES:
        for file in ("whole.mp4", str(tmp_path / "whole.mp4")):
            text = SCRIPTS[kind](f"http://127.0.0.1:{server.port}/a.ts", server.port, file)
            (tmp_path / name).write_text(text)
            _refused(tmp_path / name, "not a video that can be read")
            with pytest.raises(BadInput, match="not a video that can be read"):
                LiveVideo(str(tmp_path / name))


def test_patterns_are_only_names(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ["frame%03d.png", "frame*.png", "frame%d.jpg", "frame[0-9]*.png", "clip%02d.mp4"]:
        for number in range(3):
            Image.new("RGB", (8, 8)).save(tmp_path / f"frame{number:03d}.png")
            (tmp_path / f"clip{number:02d}.mp4").write_bytes(clip.read_bytes())
        _refused(tmp_path / name, "there is no file")
        monkeypatch.chdir(tmp_path)
        _refused(name, "there is no file")
        Path(name).write_text("frame001.png")
        _refused(name, "not a video that can be read|not an image that can be read")


def test_protocols_are_only_names(tmp_path: Path, clip: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.mp4").write_bytes(clip.read_bytes())
    inside = base64.b64encode(clip.read_bytes()).decode()
    names = ["concat:a.mp4|a.mp4", "subfile,,start,0,end,0,,:a.mp4", "file:a.mp4", "cache:a.mp4", "async:a.mp4"]
    for name in [*names, f"data:video/mp4;base64,{inside}", "pipe:0", "lavfi:testsrc", "testsrc", "-", "/dev/stdin"]:
        _refused(name, "there is no file|cannot read|not a regular file")
        code, stdout, stderr = run("track", "--model", "static", "--out", "out", "--", name)
        assert (code, stdout, stderr.count("\n")) == (2, "", 1), stderr
    assert not Path("out").exists()


@pytest.mark.parametrize("kind", ["tcp", "rtsp", "rtmp", "ftp", "udp", "hls+http", "HTTP"])
def test_addresses_are_refused(tmp_path: Path, run: Run, server: Server, kind: str) -> None:
    address = f"{kind}://127.0.0.1:{server.port}/a.mp4"
    for known in (address, f"http://127.0.0.1:{server.port}/a.mp4", f"https://127.0.0.1:{server.port}/a.mp4"):
        _refused(known, "only local files are opened")
    code, stdout, stderr = run("track", address, "--model", "static", "--out", tmp_path / "out")
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)
    assert f"{address!r} has the scheme {kind}; give s3://" in stderr
    _refused(f"file://{tmp_path}/a.mp4", "only local files")


@pytest.mark.parametrize("kind", ["HLS of an address", "ffconcat of an address"])
def test_a_copy_of_what_lies_at_an_address_is_read_as_a_file_is(
    tmp_path: Path, run: Run, server: Server, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.mp4").write_text(SCRIPTS[kind](f"http://127.0.0.1:{server.port}/a.ts", server.port, "a.mp4"))
    with web_server(tmp_path / "web", ranges=True) as (base, _):
        code, stdout, stderr = run("track", f"{base}/a.mp4", "--model", "static", "--out", tmp_path / "out")
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)
    assert f"{base}/a.mp4 is not a video that can be read" in stderr


@pytest.mark.parametrize("kind", ["HLS of an address", "ffconcat of an address", "SDP", "DASH"])
def test_an_address_that_answers_with_a_script_is_not_followed(server: Server, kind: str) -> None:
    """Live video may open an address, but not what that sends it to."""
    between = Server(SCRIPTS[kind](f"http://127.0.0.1:{server.port}/a.ts", server.port, "a.mp4"))
    with pytest.raises(BadInput, match="not a video that can be read"):
        LiveVideo(f"http://127.0.0.1:{between.port}/list.m3u8")
    assert between.close() >= 1
