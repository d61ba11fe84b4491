"""A repository of several files comes as a folder; one behind a licence says what to accept. Against a server of our own."""

import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tapetum.core.errors import BadInput
from tapetum.hub.connection import Limits
from tapetum.hub.fetch import fetch_folder
from tapetum.hub.registry import find

FILES = {"config.json": b'{"model_type": "paligemma"}', "model.safetensors": b"x" * 5000, "README.md": b"no"}
FILES |= {"tokenizer.model": b"pieces", "pytorch_model.bin": b"no"}
NAME = "paligemma-3b-pt-224"


class Hub(BaseHTTPRequestHandler):
    """As much of Hugging Face as fetching takes."""

    gated = False

    def _answer(self, body=True):
        path = self.path.split("?")[0]
        code, content, more = 404, b"{}", {}
        if self.gated is True or (self.gated == "files" and "/resolve/" in path):
            code, more = 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model is restricted"}
        elif path == f"/api/models/google/{NAME}":
            files = [{"rfilename": name, "size": len(data)} for name, data in FILES.items()]
            code, content = 200, json.dumps({"id": f"google/{NAME}", "sha": "a" * 40, "siblings": files}).encode()
        elif path.rsplit("/", 1)[-1] in FILES and "/resolve/" in path:
            code, content = 200, FILES[path.rsplit("/", 1)[-1]]
            more = {"ETag": f'"{len(content)}"', "X-Repo-Commit": "a" * 40}
        self.send_response(code)
        for key, value in more.items() | {"Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def do_GET(self):
        self._answer()

    def do_HEAD(self):
        self._answer(body=False)

    def log_message(self, *_):
        pass


@pytest.fixture
def fetched(tmp_path):
    """Fetches by name from a server in a process of its own; gives exit code, what it printed, and the folder of weights."""

    def run(gated):
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Hub,), {"gated": gated}))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = os.environ | {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_DISABLE_XET": "1"}
        environment |= {"TAPETUM_WEIGHTS": str(tmp_path), "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        code = f"from tapetum.hub.fetch import fetch\nprint(fetch('{NAME}', lambda *told: print(told)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        server.shutdown()
        return done

    return run, tmp_path


@pytest.mark.slow
def test_all_that_is_wanted_comes_as_a_folder(fetched):
    run, weights = fetched
    done = run(gated=False)
    assert done.returncode == 0, done.stderr
    folder = weights / NAME
    assert done.stdout.splitlines()[-1] == str(folder)
    total = sum(len(data) for name, data in FILES.items() if name not in ("README.md", "pytorch_model.bin"))
    assert done.stdout.splitlines()[0] == f"(0, {total})"
    assert done.stdout.splitlines()[-2] == f"({total}, {total})"
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "tokenizer.model"}
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert run(gated=True).returncode == 0  # it is here: nobody is asked


@pytest.mark.slow
@pytest.mark.parametrize("what", [True, "files"])
def test_a_closed_repository_says_what_to_accept(fetched, what):
    run, weights = fetched
    done = run(gated=what)
    assert done.returncode == 1
    assert "BadInput: google/paligemma-3b-pt-224 is not open to this account; accept the Gemma licence at" in done.stderr
    assert "then: hf auth login" in done.stderr
    assert not (weights / NAME).exists()


def test_a_hub_out_of_reach_is_one_line(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    for address in ("http://127.0.0.1:9", "https://127.0.0.1:9", "http://[::1", ""):
        monkeypatch.setenv("HF_ENDPOINT", address or "x")
        code, _, err = run("weights", "fetch", "paligemma2-3b-mix-224")
        assert (code, err.count("\n")) == (2, 1), err
        assert "unforeseen" not in err


def test_a_hub_that_never_answers_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        with pytest.raises(BadInput, match=r"cannot be (reached|had) \("):
            fetch_folder(find(NAME), limits=Limits(answer=0.2))
