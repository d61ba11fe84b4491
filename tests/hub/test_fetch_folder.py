"""A repository of several files comes as a folder; one behind a licence says what to accept. Against a server of our own."""

import hashlib
import json
import os
import subprocess
import sys
import threading

import pytest

from support.hub import serve
from tapetum.core.errors import BadInput
from tapetum.hub.fetch import fetch_folder
from tapetum.hub.registry import find
from tapetum.hub.repositories import RECORD_FILE, files_to_fetch, parse_repository, read_record

FILES = {"config.json": b'{"model_type": "paligemma"}', "model.safetensors": b"x" * 5000, "README.md": b"no"}
FILES |= {"tokenizer.model": b"pieces", "pytorch_model.bin": b"no"}
NAME = "paligemma-3b-pt-224"


@pytest.fixture
def fetched(tmp_path):
    """Fetches by name from a server in a process of its own; gives exit code, what it printed, and the folder of weights."""
    repository = tmp_path / "repository"
    repository.mkdir()
    for name, content in FILES.items():
        (repository / name).write_bytes(content)

    def run(gated=False, name=NAME, about=None, files=None):
        for own, content in (files or {}).items():
            (repository / own).write_bytes(content)
        with serve({f"google/{NAME}": repository, "own/model": repository}, gated, about) as environment:
            environment |= {"TAPETUM_WEIGHTS": str(tmp_path / "weights"), "HF_HOME": str(tmp_path / "home")}
            code = f"from tapetum.hub.fetch import fetch\nprint(fetch('{name}', lambda *told: print(told), print))"
            return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment)

    return run, tmp_path / "weights"


@pytest.mark.slow
def test_all_that_is_wanted_comes_as_a_folder(fetched):
    run, weights = fetched
    done = run(gated=False)
    assert done.returncode == 0, done.stderr
    folder = weights / NAME
    assert done.stdout.splitlines()[-1] == str(folder)
    total = sum(len(data) for name, data in FILES.items() if name not in ("README.md", "pytorch_model.bin"))
    lines = done.stdout.splitlines()
    assert lines[0] == f"google/{NAME}, revision {'a' * 12}: 0 MB, licence LicenseRef-Gemma"
    assert lines[1] == f"(0, {total})"
    assert done.stdout.splitlines()[-2] == f"({total}, {total})"
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "tokenizer.model", RECORD_FILE}
    assert read_record(folder) == {"repository": f"google/{NAME}", "revision": "a" * 40, "licence": "LicenseRef-Gemma"}
    sums = json.loads((folder / RECORD_FILE).read_text())["files"]
    assert sums["config.json"] == {"sha256": hashlib.sha256(FILES["config.json"]).hexdigest(), "size": 27}
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


@pytest.mark.slow
def test_a_repository_that_no_name_stands_for_comes_by_its_own(fetched):
    run, weights = fetched
    gate = {"gated": "manual", "cardData": {"license": "other", "license_name": "dinov3"}}
    done = run(name="own/model", about=gate, files={"open_clip_config.json": b"{}", "open_clip_model.safetensors": b"y"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == (
        f"own/model, revision {'a' * 12}: 0 MB, licence dinov3; gated: ask for access on its page"
    )
    assert not (weights / "own--model" / "model.safetensors").exists()  # the layout with both towers is enough
    assert (weights / "own--model" / "open_clip_model.safetensors").read_bytes() == b"y"
    done = run(name="own/model@v2")
    assert "BadInput: own/model has no revision 'v2'; give a branch, a tag or a hash" in done.stderr
    done = run(name="nobody/model")
    assert "BadInput: nobody/model is not open to this account, or not there; check the name, or ask for access" in done.stderr


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """Fetches a repository whose hub lists sizes, or names, of its own; gives the folder of weights."""
    repository, weights = tmp_path / "repository", tmp_path / "weights"
    repository.mkdir()
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(weights))

    def fetch(files, listing, progress=lambda have, total: None):
        for name, content in files.items():
            (repository / name).write_bytes(content)
        siblings = [{"rfilename": name, "size": size} for name, size in listing.items()]
        with serve({"own/model": repository}, about={"siblings": siblings}) as environment:
            monkeypatch.setenv("HF_ENDPOINT", environment["HF_ENDPOINT"])
            return fetch_folder(find("own/model"), progress)

    return fetch, weights


def test_a_file_of_another_size_than_announced_is_refused(listed):
    fetch, weights = listed
    files = {"config.json": b"{}", "model.safetensors": b"x" * 5000}
    page = b"<html>busy</html>\n"
    for size in (5000, 17):
        with pytest.raises(BadInput, match=rf"model.safetensors has 18 bytes, and {size} were announced"):
            fetch(files | {"model.safetensors": page}, {"config.json": 2, "model.safetensors": size})
        assert not {path.name for path in weights.rglob("*")} & {"model.safetensors", "tapetum.json"}
    (weights / "own--model.part" / "model.safetensors").write_bytes(page)  # what an earlier release took
    with pytest.raises(BadInput, match=r"model.safetensors has 18 bytes, and 5000 were announced"):
        fetch(files, {"config.json": 2, "model.safetensors": 5000})
    assert (fetch(files, {"config.json": 2, "model.safetensors": 5000}) / "model.safetensors").stat().st_size == 5000


def test_two_that_fetch_at_once_do_not_disturb_each_other(listed):
    fetch, _ = listed
    files = {"config.json": b"{}", "model.safetensors": b"x" * 5000}
    reports = []

    def begin_another(have, total):
        if have == total and not reports:
            reports.append(0)
            other.start()
            other.join(1)  # in which it would have brought all

    others = []
    other = threading.Thread(target=lambda: others.append(fetch_folder(find("own/model"))))
    target = fetch(files, {name: len(content) for name, content in files.items()}, begin_another)
    other.join()
    assert others == [target]
    assert {name: (target / name).read_bytes() for name in files} == files


def test_names_that_are_no_files_are_refused(listed):
    fetch, weights = listed
    for name in ("a\0.json", "a\nb.json", "\ud800.json"):
        with pytest.raises(BadInput, match="no name of a file"):
            fetch({"config.json": b"{}"}, {"config.json": 2, "model.safetensors": 5, name: 3})
        assert not weights.exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["model.safetensors"], "neither config.json nor open_clip_config.json"),
        (["config.json", "pytorch_model.bin"], "only pickles .pytorch_model.bin."),
        (["config.json", "sub/model.safetensors"], "no weights"),
    ],
)
def test_repositories_without_what_is_needed_are_refused(files, message):
    with pytest.raises(BadInput, match=message):
        files_to_fetch(files, None, "a/b")


def test_paths_are_no_repositories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_repository("runs/last").name == "runs/last"
    (tmp_path / "runs").mkdir()
    assert parse_repository("runs/last") is None
    assert parse_repository("hf:runs/last@v1.0").folder == "runs--last@v1.0"
    for text in ("a", "a/b/c", "../b", "a/..", "a/b.pth", "/a/b", "a b/c", "a/b@", "-a/b", "a/b\n"):
        assert parse_repository(text) is None, text


@pytest.mark.slow
def test_offline_is_said(tmp_path):
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TAPETUM_WEIGHTS": str(tmp_path)}
    code = "from tapetum.app.shell.main import main; raise SystemExit(main(['weights', 'fetch', 'siglip2-base-32']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "HF_HUB_OFFLINE is set; unset it, or put its files into" in done.stderr
