"""Runs tests against a broken copy of the package, quickly, for `mutants.py`.

A process that has torch and the other libraries imported, but not tapetum, forks a child for each run of pytest. What the child
imports as tapetum is a folder of links to the package in which one file is another (`broken`); the checkout is never written.

`record` runs the fast tests file by file, and says which test executes which line. Lines that are executed while a file is
imported, or by a fixture that several tests share, count for all tests of the file.
"""

import contextlib
import gc
import hashlib
import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from coverage import Coverage

LIBRARIES = """
    numpy scipy.optimize scipy.ndimage scipy.spatial scipy.special scipy.signal scipy.stats scipy.sparse.linalg torch
    torch.utils.data torch.utils.checkpoint torch.export torch._dynamo torch.utils.flop_counter
    torch.distributed.checkpoint torch.distributed.fsdp PIL.Image av safetensors.torch huggingface_hub einops jaxtyping
    hypothesis hypothesis.extra.numpy sentencepiece rich tyro pandas pyarrow.parquet h5py sklearn.cluster
    sklearn.metrics sklearn.linear_model skimage.transform skimage.metrics cv2 pycocotools.cocoeval timm torchvision
    transformers transformers.models.paligemma.modeling_paligemma transformers.models.siglip.modeling_siglip
    transformers.models.gemma.modeling_gemma
"""
KILLER = "killed by: "
FAULT = 70
"""Exit code of a child that died before pytest could say anything."""
_MEMORY = 12 << 30  # bytes of addresses: some mutants ask for very large arrays


_PLAIN = "-p", "no:cacheprovider", "--assert=plain"


@dataclass
class Tests:
    """What a file's tests are, and which lines of which files they execute."""

    seconds: dict[str, float] = field(default_factory=dict)
    """By the test's id; those that fail, or are skipped, are left out."""
    lines: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    """By path from the root, by line: ids."""


def warm_up() -> None:
    """Import the libraries once, for all children."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # plugins that other packages brought take a second of each run
    for name in LIBRARIES.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    assert not any(name.split(".")[0] == "tapetum" for name in sys.modules)
    gc.collect()
    gc.freeze()  # so that no child looks through the libraries for garbage


@contextlib.contextmanager
def broken(source: Path, file: str | None, text: bytes, into: Path) -> Iterator[Path]:
    """Give a folder for sys.path that holds the packages of `source`, by links, but for `file`, which holds `text`."""
    into.mkdir(parents=True)
    here, origin = into, source
    for part in Path(file).parts if file else ():
        _link(origin, here, leave_out=part)
        here, origin = here / part, origin / part
        if origin.is_dir():
            here.mkdir()
    if file:
        here.write_bytes(text)
    else:
        _link(source, into, leave_out="")
    yield into


def _link(origin: Path, here: Path, leave_out: str) -> None:
    """Fill a folder with links, also to compiled files, but for one file; what is compiled here stays here."""
    for each in origin.iterdir():
        if each.name == "__pycache__":
            (here / each.name).mkdir()
            for compiled in each.iterdir():
                if compiled.name.split(".")[0] != Path(leave_out).stem:
                    (here / each.name / compiled.name).symlink_to(compiled)
        elif each.name != leave_out:
            (here / each.name).symlink_to(each)


def fork(work: Callable[[], int], limit: float, output: Path) -> int | None:
    """Run a function in a child; gives its exit code, or none where it had to be ended after `limit` seconds."""
    child = os.fork()
    if child == 0:
        code = FAULT
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            null, out = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(null, 0)
            os.dup2(out, 1)
            os.dup2(out, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")  # not those of a pytest that this may run in
            code = int(work())
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(ValueError):
                sys.stdout.flush()
            os._exit(code)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # what its tests have started
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


class _Chosen:
    """Runs some of the collected tests, in a given order."""

    def __init__(self, tests: list[str], package: Path):
        self.order, self.package = {test: number for number, test in enumerate(tests)}, package

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        number = {item: self.order.get(self.name(item), -1) for item in items}
        items[:] = sorted((item for item in items if number[item] >= 0), key=number.__getitem__)

    def name(self, item: pytest.Item) -> str:
        """Give the id that a test has in the checkout."""
        if not item.path.is_relative_to(self.package):
            return item.nodeid
        return f"src/{item.path.relative_to(self.package)}::{item.nodeid.split('::', 1)[1]}"

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo) -> None:
        if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
            print(f"\n{KILLER}{self.name(item)}", file=sys.__stdout__)


def run_tests(root: Path, package: Path, tests: list[str], temporary: Path) -> int:
    """Run tests, by id, until one fails, in this process, a child; `package` is the folder that holds tapetum."""
    os.chdir(root)
    sys.path.insert(0, str(package))
    os.environ["PYTHONPATH"] = str(package)
    files = dict.fromkeys(test.split("::")[0] for test in tests)
    places = [str(package / Path(file).relative_to("src")) if file.startswith("src/") else file for file in files]
    fixed = ["-x", "-c", str(root / "pyproject.toml"), "--rootdir", str(root), *_PLAIN, f"--basetemp={temporary}"]
    return pytest.main([*fixed, *places], plugins=[_Chosen(tests, package)])


class _Recorder:
    """Tells coverage which test runs, and keeps how long each took."""

    def __init__(self, coverage: Coverage):
        self.coverage, self.current, self.seconds = coverage, "*", dict[str, float]()
        self.failed = set[str]()

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Lines count for all tests of the file."""
        self.coverage.switch_context("*")
        yield
        self.coverage.switch_context(self.current)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        if fixturedef.scope == "function":
            return (yield)
        with self.shared():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.current = item.nodeid
        self.coverage.switch_context(item.nodeid)
        result = yield
        self.current = "*"
        self.coverage.switch_context("*")
        return result

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if not report.passed:
            self.failed.add(report.nodeid)


def record(root: Path, tests: list[str], cache: Path, temporary: Path) -> dict[str, Tests]:
    """Give what the fast tests of each file execute; a file is not run again while it, and the package, are the same."""
    shared = _digest(root, ["src/**/*.py", "tests/conftest.py", "tests/support/*.py"])
    found = {}
    for file in tests:
        kept = cache / f"{hashlib.sha256((shared + file + _digest(root, [file])).encode()).hexdigest()[:24]}.json"
        if not kept.exists():
            began = time.monotonic()
            cache.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(".part")
            fork(lambda file=file, part=part: _record(root, file, part, temporary), 900, temporary.with_suffix(".txt"))
            if not part.exists():
                part.write_text(json.dumps({"seconds": {}, "lines": {}}))
                print(f"cannot record {file}: {temporary.with_suffix('.txt').read_text()[-300:]}", file=sys.stderr)
            part.rename(kept)
            print(f"recorded {file} in {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
        values = json.loads(kept.read_text())
        lines = {path: {int(line): ids for line, ids in each.items()} for path, each in values["lines"].items()}
        found[file] = Tests(values["seconds"], lines)
    return found


def _record(root: Path, file: str, out: Path, temporary: Path) -> int:
    coverage = Coverage(data_file=None, source=[str(root / "src")], config_file=False, messages=False)
    coverage.start()
    coverage.switch_context("*")
    recorder = _Recorder(coverage)
    os.chdir(root)
    sys.path.insert(0, str(root / "src"))
    os.environ["PYTHONPATH"] = str(root / "src")
    pytest.main([*_PLAIN, "-m", "not slow", f"--basetemp={temporary}", file], plugins=[recorder])
    coverage.stop()
    good = {test: seconds for test, seconds in recorder.seconds.items() if test not in recorder.failed}
    data = coverage.get_data()
    lines: dict[str, dict[int, list[str]]] = {}
    for path in data.measured_files():
        name = str(Path(path).relative_to(root))
        for line, contexts in data.contexts_by_lineno(path).items():
            known = ["*"] if "*" in contexts else [each for each in contexts if each in good]
            if known:
                lines.setdefault(name, {})[line] = known
    out.write_text(json.dumps({"seconds": good, "lines": lines}))
    return 0


def _digest(root: Path, patterns: list[str]) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
