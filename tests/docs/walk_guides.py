"""Follows guides as a stranger does: for each an empty folder, its `tapetum sample`, then its commands and Python, in order.

    python tests/docs/walk_guides.py FOLDER [GUIDE ...]

The environment is this one: run by the Python of one that the guide's first line made, it needs nothing else. Only how much is
made or learned is cut short, as in `support/short_commands.py`, and the videos, to `FRAMES`. What is left out: blocks marked
```console own, whose files, networks or machines the page says are the reader's own, and lines of `NOT_RUN`. Ends with 1 if a
line fails or takes longer than `LONGEST`.
"""

import contextlib
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.docs_pages import DOCS, blocks, commands
from support.short_commands import shortened
from tapetum.app.make.sample import CLIPS
from tapetum.app.shell.main import main
from tapetum.video import open_video, write_video

FRAMES, LONGEST = 16, 150
"""Frames of each video of the sample that are kept, and seconds that a line may take."""
NOT_RUN = {
    r"^serve ": "runs until it is ended",
    r"^(track|answer) (0|-|rtsp:\S*) ": "a camera, a stream or a pipe",
    r"--engine ray": "a cluster",
    r"--device cuda": "a GPU",
    r"^export ": "minutes each on one core; tests/app/shell/test_export.py",
    r"drawer-open": "Meta-World, whose extra does not go with that of development",
    r"--log-to": "packages that development does not have",
    r"^weights fetch|^data (tapvid-davis|perception-test)|--data (davis|robotap)\b": "fetches files over the network",
    r"(s3|gs|https|hf)://": "addresses that stand for the reader's own",
    r"(--\S+|^probe) (\S*(siglip2|dinov2)|paligemma2-|bootstapir|depth-anything)": "weights that come over the network",
}
"""Lines that are left out, and why."""
NETWORK = r'load\("(siglip2|dinov2)'
"""Blocks of Python that need weights from the network."""


def run_line(words: list[str]) -> str:
    """Run a command in the working directory; returns what went wrong."""
    said = io.StringIO()
    signal.alarm(LONGEST)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main(words)
    except (SystemExit, TimeoutError) as end:
        code = end
    finally:
        signal.alarm(0)
    return f"{said.getvalue()[-1000:]}\n{code!r}" if code else ""


def end_line(*_: object) -> NoReturn:
    raise TimeoutError(f"took longer than {LONGEST} s")


def run_python(text: str, namespace: dict[str, object]) -> str:
    """Run a block of Python, or save it where its first line names a file; returns what went wrong."""
    if file := re.match(r"# (\w+\.py)\n", text):
        Path(file[1]).write_text(text)
        return ""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(text, namespace)
    except Exception as error:
        return repr(error)
    return ""


def walk(page: Path) -> int:
    """Follow a guide in the working directory, which is empty, printing a line for each step; returns how many fail."""
    failed = 0
    namespace: dict[str, object] = {"__name__": "__main__"}

    def report(step: str, wrong: str | None, since: float) -> None:
        nonlocal failed
        failed += bool(wrong)
        state = "left out" if wrong is None else "FAILED  " if wrong else "works   "
        print(f"{state} {time.monotonic() - since:6.1f} s  {page.stem}: {step}", flush=True)
        print(f"{wrong}\n" if wrong else "", end="", flush=True)

    if "tapetum sample" in page.read_text(encoding="utf-8"):
        run_line(["sample"])
        for clip in CLIPS:
            write_video(clip, open_video(clip)[:FRAMES], 10)
    for block in blocks(page):
        since = time.monotonic()
        if block.words[0] == "python":
            left_out = block.words != ("python",) or re.search(NETWORK, block.text)
            report(f"python of line {block.line}", None if left_out else run_python(block.text, namespace), since)
        for line in re.findall(r"^\$ ((?:printf|mkdir) .*)", block.text, re.MULTILINE):
            subprocess.run(line, shell=True, check=True)
        for words in commands(block) if block.words[0] == "console" else ():
            since, line = time.monotonic(), " ".join(words)
            left_out = "own" in block.words or any(re.search(pattern, line) for pattern in NOT_RUN)
            report(shlex.join(words), None if left_out else run_line(shortened(words)), since)
    return failed


def walk_all() -> int:
    """Follow the guides named, or all; returns the exit code."""
    folder, failed = Path(sys.argv[1]).resolve(), 0
    signal.signal(signal.SIGALRM, end_line)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    for name in sys.argv[2:] or sorted(page.stem for page in (DOCS / "guides").glob("*.md")):
        (folder / name).mkdir(parents=True)
        os.chdir(folder / name)
        failed += walk(DOCS / "guides" / f"{name}.md")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(walk_all())
