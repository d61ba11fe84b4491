"""Run seeded hostile commands over all verbs, and count tracebacks, hangs and losses.

    python evidence/hostile-cli/claims.py [--count 200] [--seed 0] [--only N|M-N] [--patience 20] [--keep DIR] [--rows FILE]
        [--forks] [--json FILE]

With --rows each command adds a line to FILE as it ends, and those that have one are not run again: a run that was stopped goes
on, and pieces (--only 0-99) may run one after the other; the table at the end is of all lines.
With --forks commands run in forks of this process, which has imported torch once: a fifth of the time. Those with an odd
stream or another encoding, at which Python looks when it starts and ends, are processes of their own all the same.

Command N depends on --seed and N alone, and on what there is to draw from: since odd files and servers (`bounds.py`)
and foreign files (`foreign.py`) came to it, a seed gives other commands than before. A command is a verb with files and
values that are odd as often as not, run in a process of its own in a folder of its own, and with up to one misfortune: a stream
that is closed, full or read by nobody; an encoding that knows few characters; a terminal of one column; a signal at a random
moment; a limit on the size of files, which stands for a full disk (with /dev/full for the streams).

    traceback   "Traceback" in what it says
    unforeseen  the guard at the door named an error that nobody thought of
    crash       an exit code other than 0, 2 and those of signals and of a reader that has gone; or 2 without a line
    hang        no end within --patience seconds, or within so many after the signal
    code        a file of Python, or a pickle, ran that the command does not name
    silent      it ended with 0, and what it wrote or printed is NaN, infinite, a formula, or of a run that learned nothing;
                or a password of an address is in what it printed or wrote, however it ended
    bloat       more than 4 GiB of memory, or 1 GiB written
    loss        a file that was given, or lay beside the results, is another or gone; the results of a run are half old and
                half new, or unreadable; a temporary file stays (after SIGKILL: stays after the next run)

`outcomes.py` is what looks.
"""

import argparse
import atexit
import io
import json
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import bounds
import foreign
from outcomes import RESULTS, Watch, digests, leaks, lies, losses
from tapetum.app.shell import main as shell
from tapetum.app.shell.main import VERBS
from tapetum.types import Tracks
from tapetum.video import write_video

CODES = {0, 2, 129, 130, 141, 143}
KINDS = "traceback", "unforeseen", "crash", "hang", "loss", "code", "silent", "bloat"
_SCRIPT = "import sys\nfrom tapetum.app.shell.main import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
"""What installers write as the command `tapetum`."""
OFTEN = "track", "track", "embed", "embed", "index", "search", "search", "classify", "convert", "pretrain", "adapt"
"""Verbs that read most kinds of files: drawn more often."""
ODD_NUMBERS = "0", "-1", "nan", "inf", "1e308", "999999999999999999999", "", "x", "1,2", "0x10", "１"
ODD_WORDS = "", " ", "-", "日本", "a" * 300, "../..", "\udcff", "nowhere/x", "--", "%s", "NUL"


def make_files(folder: Path) -> None:
    """Write what commands are given: sound files, and odd ones."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 120, (6, 48, 64, 3), dtype=np.uint8)
    for number, frame in enumerate(frames):
        frame[16:28, 10 + 4 * number : 22 + 4 * number] = (250, 200, 40)
    clip = write_video(folder / "clip.mp4", frames, 10).read_bytes()
    (folder / "half.mp4").write_bytes(clip[: len(clip) // 2])
    (folder / "日本 clip.mp4").write_bytes(clip)
    (folder / "line\nbreak.mp4").write_bytes(clip)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("hello\n")
    np.save(folder / "clip.npy", frames)
    np.save(folder / "wide.npy", np.zeros((2, 40, 20000, 3), np.uint8))
    np.save(folder / "nan.npy", np.full((2, 8, 8, 3), np.nan, np.float32))
    image = io.BytesIO()
    Image.fromarray(frames[0]).save(image, "PNG")
    (folder / "images").mkdir()
    for name in ("a.png", "b.png"):
        (folder / "images" / name).write_bytes(image.getvalue())
    (folder / "images" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(99))
    (folder / "image.png").write_bytes(image.getvalue())
    (folder / "nothing").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "astray").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    xy = np.repeat(np.array([[[10.0, 20.0]], [[30.0, 30.0]]], np.float32), 6, 1)
    seen = np.ones((2, 6), bool)
    tracks = Tracks(xy=xy, visible=seen, confidence=seen.astype(np.float32), queries=np.array([[0, 10, 20], [0, 30, 30]]))
    for ending in ("npz", "csv", "json"):
        tracks.save(folder / f"tracks.{ending}")
    table = (folder / "tracks.csv").read_text()
    (folder / "words.csv").write_text(table.replace(",20.0,", ",True,", 1))
    (folder / "points.csv").write_text("t,x,y\n0,10,10\n")
    (folder / "points-odd.csv").write_text("t,x,y\n0,ten,10\n")
    (folder / "noise.npz").write_bytes(rng.bytes(500))
    (folder / "noise.safetensors").write_bytes(rng.bytes(500))
    video = {"video": frames, "points": xy / np.array([64, 48], np.float32), "occluded": ~seen}
    (folder / "set.pkl").write_bytes(pickle.dumps({"one": video}))
    (folder / "bad.pkl").write_bytes(b"\x80\x04K\x01.")
    bounds.make_files(folder)


@dataclass
class Dice:
    """Draws the parts of one command."""

    rng: random.Random
    odd: float
    """Share of the parts that are odd."""

    def among(self, sound: list[str], odd: tuple[str, ...] | list[str]) -> str:
        return self.rng.choice(odd if self.rng.random() < self.odd else sound)

    def video(self) -> str:
        odd = [
            "half.mp4",
            "日本 clip.mp4",
            "line\nbreak.mp4",
            "empty.mp4",
            "text.mp4",
            "wide.npy",
            "nan.npy",
            "nothing",
            "loop",
        ]
        return self.among(["clip.mp4", "clip.npy", "images"], [*odd, "astray", "noise.npz", "tracks.npz", *ODD_WORDS])

    def number(self, *sound: str) -> str:
        return self.among(list(sound), ODD_NUMBERS)

    def file(self, *sound: str) -> str:
        odd = ("loop", "astray", "nothing", "pipe", "empty.mp4", "noise.npz", "noise.safetensors", "bad.pkl", *ODD_WORDS)
        return self.among(list(sound), odd)

    def out(self, name: str) -> str:
        return self.among([name], ("clip.mp4", "loop", "astray", "nowhere/out", "nothing", "pipe", "/dev/full", *ODD_WORDS))

    def options(self, **choices: Callable[[], str]) -> list[str]:
        """Some of the options, each with a value."""
        chosen = [name for name in choices if self.rng.random() < 0.35]
        return [word for name in chosen for word in (f"--{name.replace('_', '-')}", choices[name]())]


def command(verb: str, dice: Dice) -> list[str]:
    """Draw what follows `tapetum`."""
    share = dice.rng.random()
    if share < 0.25 and (drawn := bounds.command(verb, dice)):
        return drawn
    if share > 0.35 and (drawn := foreign.command(verb, dice)):
        return drawn
    d, n = dice, dice.number
    device = {"device": lambda: d.among(["cpu"], ["meta", "fpga", "mps", ""])}
    launch = {"seed": lambda: n("1"), "workers": lambda: n("0"), "threads": lambda: n("1"), **device}
    tracker = {"model": lambda: d.file("static"), **device}
    points = {"grid": lambda: n("2"), "frame": lambda: n("0"), "points": lambda: d.file("points.csv", "points-odd.csv")}
    points |= {"query": lambda: d.among(["0,9,9"], ("9,9", "0,nan,1", "0,99,1", ""))}
    match verb:
        case "track":
            more = d.options(view=lambda: d.among(["rainbow"], ODD_WORDS), dtype=lambda: d.among(["bfloat16"], ODD_WORDS))
            flags = [flag for flag in ("--online", "--3d", "--json", "--compile") if d.rng.random() < 0.15]
            model = ["--model", d.among(["static"], ["tapir-nano", "loop", "pipe", "hip-nano", ""])]
            return ["track", d.video(), *model, *d.options(**points), *more, *flags, "--out", d.out("out")]
        case "show":
            return ["show", d.file("tracks.npz", "tracks.csv", "words.csv"), d.video(), "--out", d.out("out.mp4")]
        case "convert":
            return [
                "convert",
                d.file("tracks.npz", "tracks.csv", "words.csv"),
                d.out("out.json"),
                *d.options(frame_rate=lambda: n("10")),
            ]
        case "classify":
            return ["classify", d.file("image.png", "images"), *d.options(top=lambda: n("2"), model=lambda: d.file("hip-nano"))]
        case "embed":
            return [
                "embed",
                d.file("image.png", "images", "clip.mp4"),
                "--out",
                d.out("out.npz"),
                *d.options(batch_size=lambda: n("2")),
            ]
        case "hip":
            return [
                "hip",
                d.among(["variants", "plan"], ODD_WORDS),
                *d.options(variant=lambda: d.among(["hip-nano"], ODD_WORDS)),
            ]
        case "train":
            recipe = d.among(["tap-nano"], ["tap-kubric", "hip", "causal-tap-nano", "x"])
            own = d.options(steps=lambda: n("0"), textures=lambda: d.file("nowhere"), batch_size=lambda: n("0"))
            data = ["--data", d.file("nowhere")] if recipe in ("hip", "tap-kubric") else ["--textures", d.file("images")]
            return ["train", recipe, "--out", d.out("out"), *data, *own, *d.options(**launch), "--minutes", d.number("0")]
        case "bootstrap":
            own = d.options(
                steps=lambda: n("0"), clips=lambda: n("0"), frames=lambda: n("0"), model=lambda: d.file("tapir-nano")
            )
            return ["bootstrap", d.video(), "--out", d.out("out"), *own, *d.options(**launch), "--minutes", d.number("0")]
        case "eval":
            kind = d.among(["tapvid"], ["tapvid3d", "x"])
            return ["eval", kind, "--data", d.file("set.pkl"), *(d.options(**tracker) or ["--model", "static"])]
        case "tapvid3d":
            return ["tapvid3d", d.among(["check"], ["make", "x"]), d.file("nothing"), *d.options(out=lambda: d.out("out"))]
        case "scenes":
            size = ["--size", n("32"), "--frames", n("2"), "--n", n("1")]
            return ["scenes", "make", d.out("out"), *size, *d.options(seed=lambda: n("1"), textures=lambda: d.file("images"))]
        case "data":
            return [
                "data",
                "shards",
                d.file("images"),
                "--out",
                d.out("out"),
                *d.options(layout=lambda: d.among(["stems"], ODD_WORDS)),
            ]
        case "weights":
            verb = d.among(["list", "show", "convert"], ODD_WORDS)
            return [
                "weights",
                verb,
                *([d.file("tapir-nano")] if verb != "list" else []),
                *d.options(out=lambda: d.out("out.safetensors")),
            ]
        case "ledger":
            return ["ledger", d.file("nothing"), *d.options(json=lambda: "")[:1]]
        case "doctor":
            return ["doctor", *d.options(json=lambda: "")[:1]]
        case _:
            return [verb, *d.options(out=lambda: d.out("out"), model=lambda: d.file("loop")), d.file("clip.mp4")]


@dataclass
class Misfortune:
    """What befalls a command beside its own oddity."""

    name: str = "none"
    environment: dict[str, str] = field(default_factory=dict)
    streams: dict[str, str] = field(default_factory=dict)
    """stdin, stdout, stderr: closed, full, or unread."""
    signal: int | None = None
    after: float = 0.0
    """Seconds."""
    file_bytes: int | None = None


def misfortune(rng: random.Random) -> Misfortune:
    """Draw one, or none."""
    kind = rng.choice(["none", "none", "stream", "stream", "words", "signal", "signal", "disk", "disk", "narrow"])
    match kind:
        case "stream":
            name, how = rng.choice(["stdin", "stdout", "stderr"]), rng.choice(["closed", "full", "unread"])
            how = "closed" if name == "stdin" else how
            return Misfortune(f"{name} {how}", streams={name: how})
        case "words":
            plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
            return Misfortune("encoding", rng.choice([{"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "ascii"}, plain]))
        case "signal":
            number = rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
            return Misfortune(signal.Signals(number).name, signal=number, after=rng.uniform(0.3, 6))
        case "disk":
            return Misfortune("disk", file_bytes=rng.choice([0, 100, 1000, 4000, 20000]))
        case "narrow":
            return Misfortune("narrow", {"COLUMNS": rng.choice(["1", "0", "-5", "x"])})
    return Misfortune()


@dataclass
class Outcome:
    """What became of one command."""

    number: int
    words: list[str]
    misfortune: str
    code: int | None
    """None: it did not end."""
    seconds: float
    said: str
    faults: list[str]


def run(number: int, seed: int, patience: float, base: Path, server: str, forks: bool) -> Outcome:
    """Run command `number` in a new folder of `base` and look at what it left."""
    rng = random.Random(f"{seed} {number}")
    folder, mark = base / str(number), base / f"{number}.ran"
    beside = [base / f"{number}.{name}" for name in ("tmp", "cache")]
    for each in (folder, *beside):
        shutil.rmtree(each, ignore_errors=True)  # of a run that was stopped
        each.mkdir()
    mark.unlink(missing_ok=True)
    make_files(folder)
    verbs = list(VERBS)
    words = command(
        rng.choice([*verbs, *OFTEN]) if number >= len(verbs) else verbs[number], Dice(rng, rng.choice([0.0, 0.1, 0.4]))
    )
    foreign.make_files(folder, words, base / "stock", mark)
    bad = misfortune(rng)
    old = rng.random() < 0.5
    if old:
        (folder / "out").mkdir()
        (folder / "out" / "mine.txt").write_text("mine")
        for name in RESULTS:
            (folder / "out" / name).write_text("old")
        if rng.random() < 0.3:
            (folder / "out" / "overlay.mp4").unlink()
            (folder / "out" / "overlay.mp4").mkdir()
    before = digests(folder)
    began = time.monotonic()
    patience = bounds.patience(words, patience)
    process, opened = start(words, bad, folder, server, forks)
    watch = Watch(process, [folder, *beside])
    faults: list[str] = []
    if bad.signal is not None and watch.wait(bad.after) is None:
        process.send_signal(bad.signal)
    code = watch.wait(patience)
    if code is None:
        watch.end()
        process.wait()
        faults.append("hang")
    elif watch.remaining() and bad.signal != signal.SIGKILL:
        faults.append("hang: a process that it started stays")
    seconds = time.monotonic() - began
    for file in opened:
        file.close()
    printed, errors = ((base / f"{number}.{name}").read_text("utf-8", "replace") for name in ("out", "err"))
    said = printed + errors
    signalled = bad.signal is not None and code in (-bad.signal, 128 + bad.signal)
    if "Traceback (most recent" in said:
        faults.append("traceback")
    if "tapetum: unforeseen" in said:
        faults.append("unforeseen")
    heard = "stderr" not in bad.streams and bad.file_bytes is None
    silent = code == 2 and not said.strip() and heard
    if code is not None and not watch.bloat and ((code not in CODES and not signalled) or silent):
        faults.append("crash")
    killed = bad.signal == signal.SIGKILL or bool(watch.bloat)
    own = tuple(word + "/" for word in words if word.startswith(("run~", "index~")) and "/" not in word)
    faults += [f"loss: {what}" for what in losses(folder, before, own, old, killed, code)]
    left = [path.name for path in beside[0].iterdir() if not path.name.startswith("torchinductor")]  # torch's own, for good
    if left and not killed and code is not None:
        faults.append(f"loss: left among temporary files: {left[0]}")
    faults += [f"code: {mark.read_text()}"] if mark.exists() else []
    faults += [f"silent: {what}" for what in leaks(foreign.SECRET, said, [folder, *beside])]
    faults += [f"silent: {what}" for what in (lies(folder, before, printed) if code == 0 else ())]
    faults += [f"bloat: {watch.bloat}"] if watch.bloat else []
    return Outcome(number, words, bad.name, code, seconds, said[-1000:], faults)


def start(words: list[str], bad: Misfortune, folder: Path, server: str, forks: bool) -> tuple[Any, list]:
    """Start a command with its misfortune; the files that are to be closed when it has ended come too."""
    given: dict = {"stdin": subprocess.DEVNULL}
    opened: list = []
    for name in ("stdout", "stderr"):
        how = bad.streams.get(name)
        place = "/dev/full" if how == "full" else folder.parent / f"{folder.name}.{name[3:]}"
        (folder.parent / f"{folder.name}.{name[3:]}").touch()
        if how == "unread":
            read, write = os.pipe()
            os.close(read)
            given[name] = os.fdopen(write, "wb")
        else:
            given[name] = open(place, "wb")  # noqa: SIM115
        opened.append(given[name])
    closed = [number for number, name in enumerate(("stdin", "stdout", "stderr")) if bad.streams.get(name) == "closed"]

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if bad.file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (bad.file_bytes, bad.file_bytes))
        for number in closed:
            os.close(number)

    words = [word.replace("\0", "").replace(bounds.SERVER, server) for word in words]
    environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TAPETUM_DEBUG": "", **bad.environment}
    environment |= {"TAPETUM_WEIGHTS": str(folder / "weights"), "MPLCONFIGDIR": str(folder.parent / "matplotlib")}
    environment |= {"TMPDIR": f"{folder}.tmp", "XDG_CACHE_HOME": f"{folder}.cache"}
    if words[:2] == ["weights", "fetch"]:
        environment |= {"HF_ENDPOINT": f"{server}/abc", "HF_HUB_OFFLINE": "0"}
    if forks and not bad.streams and bad.name != "encoding":
        streams = [open(os.devnull, "rb"), given["stdout"], given["stderr"]]  # noqa: SIM115
        return Fork(words, folder, environment, prepare, [stream.fileno() for stream in streams]), [*opened, streams[0]]
    line = [os.fsencode(word) for word in (sys.executable, folder.parent / "tapetum", *words)]
    environment = {**os.environ, **environment}
    return subprocess.Popen(line, cwd=folder, env=environment, preexec_fn=prepare, start_new_session=True, **given), opened


class Fork:
    """A command in a fork of this process, which has imported everything: what `Watch` asks of a `subprocess.Popen`."""

    def __init__(self, words: list[str], folder: Path, environment: dict[str, str], prepare: Callable, streams: list[int]):
        self.code: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            with suppress(BaseException):
                os.setsid()
                os.chdir(folder)
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                os.environ.update(environment)
                prepare()
                tempfile.tempdir = None
                sys.argv, sys.modules["__main__"] = ["tapetum", *words], shell
                code = shell.main()
                threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
                atexit._run_exitfuncs()
                os._exit(code)
            os._exit(70)

    def poll(self) -> int | None:
        """Give the exit code, as `subprocess.Popen` does."""
        if self.code is None and (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.code = os.waitstatus_to_exitcode(ended[1])
        return self.code

    def wait(self) -> int:
        """Wait until it has ended."""
        while (code := self.poll()) is None:
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)


def import_all() -> None:
    """Import what commands import, so that forks need not."""
    for verb in VERBS:
        shell.command(verb)
    for name in (
        "encoders.references",
        "encoders.embed",
        "systems.adapters",
        "desk.search.vector_index",
        "train.loop",
        "video",
    ):
        import_module(f"tapetum.{name}")
    for name in ("torch._dynamo", "torch._inductor.codecache", "pyarrow.parquet"):
        import_module(name)


def main() -> None:
    """Run all, print what went wrong, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only")
    parser.add_argument("--patience", type=float, default=20.0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--forks", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    base = given.keep or Path(tempfile.mkdtemp(prefix="hostile-"))
    base.mkdir(parents=True, exist_ok=True)
    numbers = [int(number) for number in (given.only or f"0-{given.count - 1}").split("-")]
    rows = [json.loads(line) for line in given.rows.read_text().splitlines()] if given.rows and given.rows.exists() else []
    done = {row["number"] for row in rows}
    if not (base / "stock").exists():
        foreign.run_make_stock(base / "stock")
    (base / "tapetum").write_text(_SCRIPT)
    if given.forks:
        import_all()
    servers = ExitStack()
    server = servers.enter_context(bounds.serving())
    for number in range(numbers[0], numbers[-1] + 1):
        if number in done:
            continue
        outcome = run(number, given.seed, given.patience, base, server, given.forks)
        rows.append(asdict(outcome))
        if given.rows:
            with given.rows.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
        if outcome.faults or given.only == str(number):
            print(as_text(outcome), flush=True)
        if given.keep is None:
            for path in (base / str(number), *base.glob(f"{number}.*")):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    servers.close()
    if given.keep is None:
        shutil.rmtree(base)
    faults = [(row["words"][0], kind) for row in rows for kind in sorted({fault.partition(":")[0] for fault in row["faults"]})]
    counts = {kind: sum(found == kind for _, found in faults) for kind in KINDS}
    codes, slowest = Counter(str(row["code"]) for row in rows), max(rows, key=lambda row: row["seconds"])
    for verb in sorted({row["words"][0] for row in rows}):
        own = Counter(kind for word, kind in faults if word == verb)
        print(
            f"{verb:12} {sum(row['words'][0] == verb for row in rows):4}  {', '.join(f'{n} {kind}' for kind, n in own.items())}"
        )
    print(f"{len(rows)} commands: {', '.join(f'{count} {kind}' for kind, count in counts.items())}")
    print(f"exit codes {dict(sorted(codes.items()))}, verbs {len({row['words'][0] for row in rows})} of {len(VERBS)}")
    print(f"slowest {slowest['seconds']:.1f} s (number {slowest['number']}, {slowest['words'][0]})")
    if given.json:
        about = {"commands": len(rows), "seed": given.seed, **counts, "codes": codes, "slowest_s": round(slowest["seconds"], 1)}
        given.json.write_text(json.dumps(about, indent=1) + "\n")
    sys.exit(any(counts.values()))


def as_text(outcome: Outcome) -> str:
    """Say on three lines what became of a command."""
    last = (outcome.said.strip().splitlines() or [""])[-1][:300]
    shown = " ".join(repr(w) if not w.isascii() or " " in w or not w else w for w in outcome.words)
    how = f"[{outcome.misfortune}, code {outcome.code}, {outcome.seconds:.1f} s]"
    return f"{outcome.number:4}  {'; '.join(outcome.faults) or 'ok'}  {how}\n      tapetum {shown[:300]}\n      {last}"


if __name__ == "__main__":
    main()
