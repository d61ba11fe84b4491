"""What the docs show is true: python blocks run, commands are understood, files and pages that they name are there.

Blocks of one page share a namespace and a folder, with small real inputs under the names that the docs use. A block whose
first line says ```python no-run is left out: it needs a download, or another program. Commands in ```console are parsed by the
real parser; those in ```console run are run as well. (Those in ```console own read what the reader brings.)
"""

import pkgutil
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support import encoder_folders
from support.docs_pages import DOCS, README, ROOT, Block, blocks, commands, name_of
from support.scripts import GOLDEN
from tapetum.app.shell.main import main, parse
from tapetum.core.errors import BadInput
from tapetum.tracks.facets import make_clip
from tapetum.tracks.facets.world import SceneConfig
from tapetum.video import write_video

PAGES = [README, *(p for p in sorted(DOCS.rglob("*.md")) if "reference" not in p.relative_to(DOCS).parts)]
MOST_NOT_RUN = 2
"""Blocks of python that may stay out of this test: of napari, and of published weights."""


def runs(block: Block) -> bool:
    return block.words == ("python",) or block.words == ("console", "run")


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the docs' examples read, small: six frames, four photographs, one clip of TAPVid-3D."""
    folder = tmp_path_factory.mktemp("inputs")
    scene = make_clip(3, SceneConfig(size=(64, 64), frames=6), points=8)
    frames = np.stack([np.asarray(Image.fromarray(frame).resize((640, 360))) for frame in scene.video])
    (folder / "my-videos").mkdir()
    for name in ("clip.mp4", "video.mp4", "my-videos/bicycle.mp4"):
        write_video(folder / name, frames, 10)
    (folder / "points.csv").write_text("t,x,y\n0,320,180\n4,40.5,100\n")
    np.savez(folder / "depth.npz", depth=np.full((6, 360, 640), 2.0, np.float32))
    for kind in ("car", "bicycle"):  # as `tapetum sample` calls them
        (folder / "photos" / kind).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(frames[number, :64, :64]).save(folder / "photos" / kind / f"{number}.jpg")
    shutil.copy(folder / "photos" / "car" / "0.jpg", folder / "photo.jpg")
    for ending in ("safetensors", "model"):
        shutil.copy(GOLDEN / f"paligemma_taught.{ending}", folder / f"my-model.{ending}")
    assert main(["tapvid3d", "scenes", str(folder / "made"), "--n", "1", "--size", "64", "--frames", "6", "--points", "8"]) == 0
    made = next((folder / "made").rglob("*.npz"))
    official = folder / "tapvid3d_dataset" / "pstudio" / "basketball_5.npz"
    official.parent.mkdir(parents=True)
    shutil.copy(made, official)
    for name in ("clip", "prediction"):
        shutil.copy(made, folder / f"{name}.npz")
    shutil.rmtree(folder / "made")
    argv = ["track", str(folder / "clip.mp4"), "--3d", "--depth", str(folder / "depth.npz"), "--intrinsics", "500,500,320,180"]
    assert main([*argv, "--model", "static", "--grid", "3", "--out", str(folder / "space")]) == 0
    shutil.copy(folder / "space" / "tracks3d.npz", folder)
    run = folder / "runs" / "add"
    run.mkdir(parents=True)
    shutil.copy(ROOT / "evidence" / "hip-nano" / "ledger.json", run)
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights with small networks under the names of the large ones."""
    folder = tmp_path_factory.mktemp("weights")
    encoder_folders.write_named(folder)
    return folder


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if any(map(runs, blocks(p)))], ids=name_of)
def test_blocks_of_a_page_run(
    page: Path, inputs: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(weights))
    folder = tmp_path / "work"
    shutil.copytree(inputs, folder)
    if page.parent.name == "guides":
        shutil.rmtree(folder / "space")  # guides make what they read
        shutil.rmtree(folder / "runs")
    monkeypatch.chdir(folder)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in filter(runs, blocks(page)):
        if block.words[0] == "python":
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), namespace)
        else:
            for arguments in commands(block):
                assert main(arguments) == 0, f"{name_of(page)}: tapetum {shlex.join(arguments)}: {capsys.readouterr().err}"


def test_commands_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for page, arguments in ((p, each) for p in PAGES for b in blocks(p) if b.words[0] == "console" for each in commands(b)):
        if "--config" in arguments:  # a file that an earlier command makes
            file = Path(arguments[arguments.index("--config") + 1])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text('data = "photos"' if "hip" in arguments else "")
        try:
            parse(arguments)
        except (SystemExit, BadInput) as error:
            pytest.fail(f"{name_of(page)}: tapetum {shlex.join(arguments)}\n{error}{capsys.readouterr().err}")


def test_few_blocks_are_left_out() -> None:
    left_out = [(name_of(p), b.line) for p in PAGES for b in blocks(p) if b.words[0] == "python" and not runs(b)]
    assert len(left_out) <= MOST_NOT_RUN, left_out


def test_guides_are_short() -> None:
    for page in (DOCS / "guides").glob("*.md"):
        assert page.stem == "index" or len(page.read_text().splitlines()) < 120, page


def test_links_lead_somewhere() -> None:
    """Also on GitHub, where nothing builds the pages; the site's own check is `make docs`."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"


def test_scripts_and_folders_named_in_prose_are_there() -> None:
    for page in PAGES:
        if page.parent.name == "log":
            continue  # entries use the names of their time
        for target in re.findall(r"(?<![/\w(])(?:benchmarks|tests|evidence)/[\w./-]*\w", page.read_text()):
            found = [*ROOT.glob(target + "*"), *page.parent.glob(target + "*")]
            assert found, f"{name_of(page)} names {target}"


def test_names_of_the_package_exist() -> None:
    """`tapetum.a.b.C` in prose is a module, or something in one."""
    for page in PAGES:
        if page.parent.name == "log" or page.name == "design.md":
            continue  # names of their time, and of what is to come
        for dotted in re.findall(r"`(tapetum(?:\.\w+)+)", page.read_text()):
            try:
                pkgutil.resolve_name(dotted)
            except (AttributeError, ImportError, ValueError) as error:
                pytest.fail(f"{name_of(page)} names {dotted}: {error}")
