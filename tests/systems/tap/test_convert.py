"""Published weights by name, from a real server to a tracker: fetched, converted, checked at every use."""

import re
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

import tapetum
from support.networks import TAPIR, tapir, to_official
from tapetum.core.errors import BadInput
from tapetum.hub import registry
from tapetum.hub.fetch import fetch
from tapetum.systems.tap.weights import convert

SMALL = replace(TAPIR, initial_resolution=(256, 256))
"""With the resolution that a file without a config is taken to have."""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A folder whose files are the official ones; the addresses of the registry lead to it."""
    folder = tmp_path / "store"
    (folder / "bootstap").mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name, entry in registry.known().items():
        if entry.url is not None:
            path = entry.url.removeprefix("https://storage.googleapis.com/dm-tapnet/")
            moved = replace(entry, url=f"http://127.0.0.1:{server.server_port}/{path}")
            monkeypatch.setitem(registry.known(), name, moved)
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path / "weights"))
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def model():
    return tapir(SMALL)


@pytest.mark.slow
def test_fetched_once_then_loaded_by_name_without_the_server(store, tmp_path, model, run):
    torch.save(to_official(model.state_dict()), store / "bootstap" / "causal_bootstapir_checkpoint.pt")
    code, out, err = run("weights", "fetch", "causal-bootstapir")
    assert code == 0
    assert err.startswith("tapetum: causal-bootstapir: http://127.0.0.1")
    assert err.endswith(", licence Apache-2.0\n")
    here = tmp_path / "weights"
    assert str(here / "causal-bootstapir.safetensors") in out
    (store / "bootstap" / "causal_bootstapir_checkpoint.pt").unlink()
    assert fetch("causal-bootstapir") == here / "causal-bootstapir.safetensors"
    for path in here.iterdir():  # a cache that may only be read
        path.chmod(0o444)
    here.chmod(0o555)
    try:
        tracker = tapetum.load("causal-bootstapir")
    finally:
        here.chmod(0o755)
    assert tracker.model.config == replace(SMALL, causal=True)
    ours, theirs = tracker.model.state_dict(), model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    code, out, _ = run("weights", "list")
    assert re.search(r"\n  causal-bootstapir +here ", out)


@pytest.mark.slow
def test_a_file_is_converted_with_the_settings_asked_for(tmp_path, model, run):
    torch.save(to_official(model.state_dict()), tmp_path / "mine.pt")
    code, _, err = run("weights", "convert", tmp_path / "mine.pt", "--causal", "True", "--softmax-temperature", "10")
    assert (code, err) == (0, "")
    loaded = tapetum.load(tmp_path / "mine.safetensors").model
    assert loaded.config == replace(SMALL, causal=True, softmax_temperature=10.0)
    with pytest.raises(BadInput, match=r"must be named \.safetensors"):
        convert(tmp_path / "mine.pt", tmp_path / "mine.bin")
    before = (tmp_path / "mine.safetensors").read_bytes()
    code, out, err = run("weights", "convert", tmp_path / "mine.safetensors")
    assert (code, out) == (2, "")
    assert "would be overwritten" in err
    assert (tmp_path / "mine.safetensors").read_bytes() == before
    code, out, err = run("weights", "convert", tmp_path / "nothing.pt")
    assert (code, out) == (2, "")
    assert "and no such file" in err
