"""Runs the trainings of a list one after another, each on one thread at the lowest priority; safe to kill at any moment.

    python benchmarks/train_queue.py QUEUE.toml --out FOLDER --code CHECKOUT
    python benchmarks/train_queue.py QUEUE.toml --out FOLDER --status

The same command goes on where it stopped. Ctrl-C and SIGTERM are passed to the training, which saves before both end; where the
queue alone is killed, Linux sends the training SIGTERM, and the next start waits until it has saved. A training that fails is
logged, and tried again by the next start.

    [[training]]                               QUEUE.toml: an entry for each training
    name = "tapnext-nano"                      its run is the folder FOLDER/tapnext-nano
    command = "train tapnext --preset nano"    words of tapetum; --out, --threads 1, --workers 0 are added
    core_hours = 20.0                          the training is stopped after so much CPU time
    prepare = ["python make.py {folder}/data"] commands to run before, not counted in core_hours: tapetum or python
    score = ["tapetum ledger {out}"]     commands to run afterwards

In commands {out} is the folder of the run, {folder} that of the queue, {code} the checkout; other paths are as seen from the
current folder. CHECKOUT is a clone of its own that nobody edits while trainings run: they and the scoring run its code.

FOLDER gets queue.log; of each training NAME.json (state; of each session commit, start, end, CPU time) and NAME.log (what it
printed); of each finished one evidence/NAME, to be copied to evidence/: results.json (seed, cost, scores), ledgers.json, and
curves/*.csv.

A tool of the maintainers and no verb: users have a scheduler, or a line of shell, and `tapetum train` alone goes on exactly.
Needs Linux: CPU time is read from /proc every few seconds (--poll); a kill of the queue loses the count since the last time.
"""

import argparse
import ctypes
import fcntl
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from tapetum.account.machine import git_commit
from tapetum.core.errors import BadInput
from train_queue_files import Record, Training, printed_result, read_queue, status_table, tail, write_evidence

TAPETUM = "import sys; from tapetum.app.shell.main import main; sys.exit(main())"
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Lock the folder of a queue; yields the descriptor of a second lock, for trainings to inherit.

    Both locks go with the processes that hold them, also with killed ones. The second one is held as long as any process of a
    training lives: one that outlives its killed queue is waited for. Raises BadInput where a queue runs in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "queue.lock").open("a") as queue, (folder / "training.lock").open("a") as training:
        if not _lock(queue.fileno()):
            raise BadInput(f"another queue runs in {folder}; wait for it, or look at it with --status")
        while not _lock(training.fileno()):
            time.sleep(0.2)
        yield training.fileno()


def _lock(file: int, kind: int = fcntl.LOCK_EX) -> bool:
    for _ in range(5):  # --status may be looking at this moment
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.05)
    return False


def cpu_time(session: int) -> float:
    """Read the CPU seconds of all living processes of a session and of those that they have waited for."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == session:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


class Queue:
    """Runs trainings in the folder `folder` with the code of the checkout `code`.

    They inherit the descriptor `lock`; their CPU time is read every `poll` seconds.
    """

    def __init__(self, folder: Path, code: Path, lock: int, poll: float = 5.0):
        self.folder, self.code, self.lock, self.poll = folder, code, lock, poll
        self.signal = 0
        """Number of the signal that ends the queue; 0 as long as none came."""
        self._child: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        if self._child is not None:
            self._child.terminate()  # the training saves; a second signal ends it at once

    def say(self, text: str) -> None:
        """Print a line and append it to queue.log."""
        print(text, file=sys.stderr, flush=True)
        with (self.folder / "queue.log").open("a") as log:
            log.write(f"{_now()}  {text}\n")

    def run(self, trainings: Sequence[Training]) -> int:
        """Run all that is not finished; returns the exit code: 0 where all is, else 1, or 128 and the number of the signal."""
        records = [Record(self.folder, training) for training in trainings]
        for training, record in zip(trainings, records, strict=True):
            for step in (self.prepare, self.train, self.score):
                if not self.signal:
                    step(training, record)
        left = [t.name for t, record in zip(trainings, records, strict=True) if record.state != "finished"]
        if self.signal:
            self.say(f"stopped by {signal.Signals(self.signal).name}; the same command goes on")
            return 128 + self.signal
        self.say(f"not finished: {', '.join(left)}" if left else "all trainings are finished")
        return 1 if left else 0

    def prepare(self, training: Training, record: Record) -> None:
        """Run the commands of an entry that come before its training and have not succeeded yet."""
        if not record.content.get("trained"):
            self._run_commands(training, record, training.prepare, "prepared", stopped="waiting")

    def train(self, training: Training, record: Record) -> None:
        """Train until the end, the bound of core-hours, a failure or a signal; not before all is prepared."""
        if record.content.get("trained") or any(command not in record.content["prepared"] for command in training.prepare):
            return
        for session in record.content["sessions"]:
            if session["end"] == "running":
                session["end"] = "killed"
        left = 3600 * training.core_hours - record.cpu_seconds
        if left <= 0:
            return self._ended(training, record, "out of budget")
        session = {"commit": self._commit(), "started": _now(), "ended": None, "cpu_seconds": 0.0, "end": "running"}
        record.content["sessions"].append(session)
        record.save(state="training")
        self.say(f"{training.name}: training, commit {session['commit']}, {left / 3600:.3g} core-hours left")

        def note(seconds: float) -> None:
            session.update(cpu_seconds=seconds, ended=_now())
            record.save()

        words = ["tapetum", *shlex.split(training.command), "--out", str(self.folder / training.name), "--threads", "1"]
        words += [] if "--workers" in training.command else ["--workers", "0"]
        log = self.folder / f"{training.name}.log"
        with log.open("ab") as file:
            start = file.tell()
            exit_code, over = self._process(training, words, file, file, note, left)
        end = "finished" if exit_code == 0 else "stopped" if self.signal else "out of budget" if over else "failed"
        session["end"], session["exit"] = end, exit_code
        self._ended(training, record, "trained" if end == "finished" else end, tail(log, start) if end == "failed" else [])

    def _ended(self, training: Training, record: Record, state: str, last: Sequence[str] = ()) -> None:
        record.save(state=state, trained=state == "trained", last_lines=list(last))
        used = f"{record.cpu_seconds / 3600:.3g} of {training.core_hours:.3g} core-hours"
        self.say("\n    ".join([f"{training.name}: {state}, {used}", *last]))

    def score(self, training: Training, record: Record) -> None:
        """Run the commands of a trained entry that have not been, and write its evidence."""
        if not record.content.get("trained") or record.state == "finished":
            return
        if not self._run_commands(training, record, training.score, "scores", stopped="trained"):
            return
        write_evidence(self.folder, training, record)
        record.save(state="finished", last_lines=[])
        self.say(f"{training.name}: finished; see {self.folder / 'evidence' / training.name}")

    def _run_commands(self, training: Training, record: Record, commands: Sequence[str], done: str, stopped: str) -> bool:
        """Run commands, and record what each printed in the entry `done`; those that it has are passed over.

        Returns whether all succeeded; else the state is `stopped` where a signal came, or failed.
        """
        for command in commands:
            if command in record.content[done]:
                continue
            errors, printed = self.folder / f"{training.name}.log", self.folder / f"{training.name}.printed"
            with errors.open("ab") as file, printed.open("wb") as out:
                start = file.tell()
                exit_code, _ = self._process(training, shlex.split(command), out, file, lambda seconds: None)
            if exit_code:
                last = tail(errors, start)
                record.save(state=stopped if self.signal else "failed", last_lines=last)
                self.say("\n    ".join([f"{training.name}: {command!r} ended with {exit_code}", *last]))
                return False
            record.content[done][command] = printed_result(printed)
            record.save()
            printed.unlink()
        return True

    def _process(
        self,
        training: Training,
        words: Sequence[str],
        out: Any,
        errors: Any,
        note: Callable[[float], None],
        most_seconds: float = float("inf"),
    ) -> tuple[int, bool]:
        """Run a command to its end; returns its exit code and whether it was stopped since it had `most_seconds` of CPU."""
        places = {"{out}": self.folder / training.name, "{folder}": self.folder, "{code}": self.code}
        for name, place in places.items():
            words = [word.replace(name, str(place)) for word in words]
        start = [sys.executable] if words[0] == "python" else [sys.executable, "-c", TAPETUM]
        queue, over, used = os.getpid(), False, _children_time()

        def die_with_queue() -> None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != queue:
                os._exit(1)

        child = self._child = subprocess.Popen(
            [*start, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": str(self.code / "src"), "OMP_NUM_THREADS": "1"},
            pass_fds=[self.lock],
            start_new_session=True,  # Ctrl-C of the terminal reaches it once, from here
            preexec_fn=die_with_queue,
        )
        if self.signal:  # it came while the process began
            child.terminate()
        while True:
            try:
                exit_code = child.wait(self.poll)
                break
            except subprocess.TimeoutExpired:
                seconds = cpu_time(child.pid)
                note(seconds)
                if seconds >= most_seconds and not over:
                    over = True
                    child.terminate()
        self._child = None
        note(_children_time() - used)
        return exit_code, over

    def _commit(self) -> str | None:
        return git_commit(self.code / "src" / "tapetum" / "__init__.py")


def _children_time() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_running(folder: Path) -> bool:
    if not (folder / "queue.lock").exists():
        return False
    with (folder / "queue.lock").open() as file:
        return not _lock(file.fileno(), fcntl.LOCK_SH)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("queue", type=Path, metavar="QUEUE.toml")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--code", type=Path, metavar="CHECKOUT")
    parser.add_argument("--status", action="store_true", help="only say how far the trainings are")
    parser.add_argument("--nice", type=int, default=19, help="how far to lower the priority (default 19, as far as it goes)")
    parser.add_argument("--poll", type=float, default=5.0, help="seconds between two readings of the CPU time (default 5)")
    given = parser.parse_args(arguments)
    try:
        trainings, folder = read_queue(given.queue), given.out.absolute()
        if given.status:
            print(status_table(trainings, folder))
            print("a queue runs here" if _is_running(folder) else "no queue runs here")
            return 0
        if given.code is None or not (given.code / "src" / "tapetum" / "__init__.py").is_file():
            raise BadInput(f"--code is {given.code}, which is no checkout of tapetum; give a clone that nobody edits meanwhile")
        with locked(folder) as lock:
            os.nice(given.nice)
            return Queue(folder, given.code.absolute(), lock, given.poll).run(trainings)
    except BadInput as error:
        print(f"train_queue: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
