"""Each command of the guides and of the README runs as it is written, with its defaults, on tiny data under the names it uses.

Only how much is made or learned is cut short (`LITTLE`), and small weights stand in for published ones (`STANDS_IN`). A page is
a story: what one command writes, those after it read. Where a page uses a run before it says how to train one, `run` is there
already. What cannot run on every machine is listed with its reason.
"""

import hashlib
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import encoder_folders
from support.docs_pages import DOCS, README, blocks, commands, name_of
from support.guide_inputs import write_inputs
from support.hub import serve
from support.scripts import script
from support.short_commands import STANDS_IN, shortened
from tapetum.app.shell.main import main

PAGES = [README, *sorted((DOCS / "guides").glob("*.md"))]
NOT_HERE = {
    r"^weights fetch (bootst|paligemma)": "over the network; tests/hub",
    r"^(data tapvid-davis|data perception-test|eval tapvid --data (davis|robotap))": "over the network; tests/hub",
    r"^(track|answer) (0|-|rtsp:\S*) ": "a camera, a stream or a pipe; tests/app/shell/test_track_live.py",
    r"^serve ": "a server that runs until it is ended; tests/desk/web",
    r"--depth depth-anything": "weights that come over the network; tests/systems/tapvid3d",
    r"--engine ray": "a cluster; tests/app",
    r"--log-to wandb": "packages that are not here; tests/train/test_loggers.py",
    r"drawer-open": "Meta-World, of the extra robot; tests/systems/adapters",
    r"--device cuda": "a GPU",
    r"^export ": "a minute each; tests/app/shell/test_export.py",
    r"weights:dinov2-small|own\.pth|timm:vit_small": "weights of other libraries; tests/encoders/test_references.py",
    r"^eval objects .*val2017 --model run$": "128 clusters, which take larger images than these; tests/app/shell/eval",
    r"my-robot": "a data set of LeRobot; tests/video/test_lerobot.py, tests/data",
    r"--protocol letters": "a run with a language model; tests/bench/test_longvideo.py",
    r"WORKSPACE": "a workspace of the VOT toolkit; tests/bench/test_votsp.py",
    r"tapvid3d_dataset|my-scenes --model|TextVQA|coco-detection|episodes/": "official files; tests/bench, tests/app/shell/eval",
    r"mine\.pt": "a checkpoint in the published layout; tests/systems/tap/test_convert.py",
    r"^(index|search) .*(s3|https)://": "object storage; tests/desk/search/test_media_files.py",
    r"^(pretrain|train) .*(s3|gs|https)://": "object storage; tests/systems/pretraining/test_data.py",
    r"^(eval|adapt) .*(s3|hf)://": "object storage; tests/app/test_remote_data.py",
    r"^(track|classify|embed) .*(s3|gs|https)://": "object storage; tests/app/test_remote_media.py",
    r"^probe .*hf://": "a repository of a hub; tests/data/test_gs_and_hf.py",
    r"--calibrate|my-tracker --doubt": "four clips and more, of which some places are wrong; tests/app/shell/test_bootstrap.py",
    r"my_net\.py:MyNet=mine|:MyNet=mine\.pth": "weights of the reader's own class; tests/encoders/test_library_net.py",
    r"--observe tracks": "a data set of LeRobot with tracks; tests/systems/adapters/test_policy.py",
    r"b\.wav": "a network that has learned from sound; tests/app/shell/test_embed.py",
}
"""Commands that are only parsed, and why; where something of the kind is tested."""


def commands_below(page: Path) -> list[list[str]]:
    """List the commands of a page that `test_docs_code.py` does not run; ```console own reads what the reader brings."""
    return [words for block in blocks(page) if block.words in (("console",), ("console", "own")) for words in commands(block)]


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("guides") / "inputs")


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A hub on this machine that has small networks under the names of the large ones."""
    folder = tmp_path_factory.mktemp("hub")
    with serve(encoder_folders.write_named(folder), about={"tags": ["license:apache-2.0"]}) as variables:
        yield variables


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what trainings on the inputs alone have written."""
    return tmp_path_factory.mktemp("trained")


def run_once(words: list[str], trained: Path) -> int:
    """Run a command; where an earlier page had the same training, take a copy of what that wrote."""
    line = shlex.join(words)
    if words[0] not in ("bootstrap", "pretrain") or "--report" in words or ".py:" in line:
        return main(words)
    out, kept = Path(words[words.index("--out") + 1]), trained / hashlib.sha1(line.encode()).hexdigest()
    if kept.exists() and not out.exists():  # a run that is there goes on, or has ended
        shutil.copytree(kept, out)
        return 0
    code = main(words)
    if code == 0 and not kept.exists():
        shutil.copytree(out, kept)
    return code


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if commands_below(page)], ids=name_of)
def test_commands_run(
    page: Path,
    inputs: Path,
    hub: dict[str, str],
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(inputs, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path / "weights"))
    for name, value in hub.items():
        monkeypatch.setenv(name, value)
    for block in blocks(page):
        if block.words == ("python",) and (file := re.match(r"# (\w+\.py)\n", block.text)):
            Path(file[1]).write_text(block.text)  # a file of the user's own
    failures = []
    for words in commands_below(page):
        line = shlex.join(words)
        if any(re.search(pattern, " ".join(words)) for pattern in NOT_HERE):
            continue
        if words[0] in ("train", "pretrain") and "--out" in words and "run" in words[words.index("--out") :]:
            shutil.rmtree("run", ignore_errors=True)
        capfd.readouterr()
        if run_once(shortened(words), trained):
            failures.append(f"tapetum {line}\n  {capfd.readouterr().err.strip()}")
    assert not failures, "\n".join(failures)


def test_reasons_are_needed() -> None:
    lines = [" ".join(words) for page in PAGES for words in commands_below(page)]
    for pattern in (*NOT_HERE, *STANDS_IN, *script("tests/docs/walk_guides.py").NOT_RUN):
        assert any(re.search(pattern, line) for line in lines), f"no guide has {pattern} any more"
    for reason in NOT_HERE.values():
        for place in re.findall(r"tests/[\w./-]+", reason):
            assert (README.parent / place).exists(), f"{place}, where such commands are tested, is not there"
