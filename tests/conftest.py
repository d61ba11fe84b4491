"""A small real video, the command line in this process, and no way out to the network."""

import atexit
import io
import os
import pickle
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from support.durations import LONG, read_durations
from support.forks import Forks
from tapetum.video import write_video

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # how long an example takes says how busy the machine is
_LOOPBACK = re.compile(r"|localhost|127\.\d+\.\d+\.\d+|::1")


def _stay_inside(event: str, arguments: tuple) -> None:
    """Raise where Python is about to look up, or send to, another machine; Python calls this for all that it does (PEP 578)."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else ""  # other sockets, such as those of Unix, have paths
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else str(host or "")
    if not _LOOPBACK.fullmatch(host):
        raise RuntimeError(f"a test wanted to reach {host}; tests stay on this machine")


sys.addaudithook(_stay_inside)
for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]  # a proxy on this machine would be a way out
os.environ["HF_ASSETS_CACHE"] = tempfile.mkdtemp(prefix="tapetum-tests-")  # nothing that was fetched here, nothing left behind
atexit.register(shutil.rmtree, os.environ["HF_ASSETS_CACHE"], ignore_errors=True)
os.environ["LIGHTLY_DID_VERSION_CHECK"] = "True"  # lightly asks its server for news when it is imported


os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
"""Processes that tests start find `support` as the tests do."""


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Starts training scripts that need not import torch."""
    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Ray with two processors of this machine, which starts once for all tests; commands in this process work on it."""
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=2, log_to_driver=False, include_dashboard=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mp4 of 6 frames of 64x48 pixels: a bright square that moves right over noise."""
    noise = np.random.default_rng(0).integers(0, 120, (48, 64, 3), dtype=np.uint8)
    frames = np.repeat(noise[None], 6, axis=0)
    for index, frame in enumerate(frames):
        frame[16:28, 10 + 4 * index : 22 + 4 * index] = (250, 200, 40)
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", frames, 10)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Run a command line; gives exit code, stdout and stderr, without the lines that a slow machine has time for."""
    from tapetum.app.shell import output
    from tapetum.app.shell.main import main

    monkeypatch.setattr(output, "EVERY", 600.0)

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return call


class _Nowhere(io.RawIOBase):
    def write(self, data: Any) -> int:
        return memoryview(data).nbytes


class _Checking(pickle.Pickler):
    """Pickles to nowhere; functions and local classes of a test are let pass, those of the package are not."""

    def __init__(self) -> None:
        super().__init__(_Nowhere(), pickle.HIGHEST_PROTOCOL)

    def reducer_override(self, obj: Any) -> Any:
        own = isinstance(obj, FunctionType | type) and not (obj.__module__ or "").startswith("tapetum")
        return (str, ()) if own and "<l" in obj.__qualname__ else NotImplemented  # <lambda>, <locals>


@pytest.fixture(autouse=True)
def pickled_for_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever task of the package a test trains, with workers or without: what workers would get can be pickled."""
    if "torch" not in sys.modules:
        return  # importing it for tests of the command line alone would cost more than they do
    from tapetum.train import stream

    begin = stream.Stream.__init__

    def checked(self: Any, task: Any, config: Any, start: int, world: Any) -> None:
        begin(self, task, config, start, world)
        if type(task).__module__.startswith("tapetum"):
            loader = self._loader
            _Checking().dump((loader.dataset, loader.collate_fn))

    monkeypatch.setattr(stream.Stream, "__init__", checked)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--at-most", type=float, metavar="SECONDS", help="leave out tests that took longer (tests/durations.txt)")


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that take long, and leave out those that take longer than wanted."""
    durations = read_durations()

    def seconds(item: pytest.Item) -> float:
        module = ".".join(item.path.relative_to(config.rootpath).with_suffix("").parts)
        return durations.get(f"{module}::{item.name.partition('[')[0]}", 0.0)

    for item in items:
        if seconds(item) >= LONG:
            item.add_marker("long")
    if (most := config.getoption("at_most")) is None:
        return
    left_out = [item for item in items if seconds(item) > most]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if seconds(item) <= most]


def pytest_collection_finish() -> None:
    """Hear signals, and let children hear them, even where a shell started this process in the background, deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def interrupts_as_before() -> Iterator[None]:
    """A test leaves Ctrl-C as it was: a later one that presses it would end the whole process, and be blamed.

    `main()` without arguments leaves it to the system, as it is the last that a process does.
    """
    yield
    handler, status = signal.getsignal(signal.SIGINT), Path("/proc/self/status")
    caught = not status.exists() or int(re.findall(r"SigCgt:\s*(\w+)", status.read_text())[0], 16) >> (signal.SIGINT - 1) & 1
    if handler is not signal.default_int_handler or not caught:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        pytest.fail(f"the test leaves Ctrl-C to {handler if caught else 'the system'}")
