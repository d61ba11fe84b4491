"""Scripts in processes of their own, forked from one that has imported torch and started no thread: each is there at once.

The process answers a line of JSON on its stdin with one on its stdout: ["start", {...}] with a process id, ["wait", id] with
the exit code or minus the signal, ["poll", id] with the same or null.
"""

import contextlib
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def free_port() -> int:
    """Find a port that nothing listens on, below those that Linux gives to connections in the time until it is used."""
    with socket.socket() as free, contextlib.suppress(OSError):
        free.bind(("127.0.0.1", random.SystemRandom().randrange(15000, 32000)))
        return free.getsockname()[1]
    return free_port()


@dataclass(frozen=True)
class Fork:
    forks: "Forks"
    pid: int
    errors: Path

    def poll(self) -> int | None:
        """Give the exit code, minus the signal that ended it, or None while it runs."""
        return self.forks.ask("poll", self.pid)

    def wait(self) -> int:
        """Wait for its end; give the exit code or minus the signal."""
        return self.forks.ask("wait", self.pid)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


class Forks:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, word: str, content: Any) -> Any:
        print(json.dumps([word, content]), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def start(self, script: Path | str, *arguments: object, errors: Path, **environment: str) -> Fork:
        """Run `script` with `arguments`; what it writes to stderr is added to the file `errors`."""
        content = {"line": [str(script), *map(str, arguments)], "errors": str(errors), "environment": environment}
        return Fork(self, self.ask("start", content), errors)

    def pair(self, script: Path | str, *arguments: object, errors: Path) -> list[int]:
        """Run two processes of one torch.distributed run, as torchrun would; give their exit codes."""
        return self.world(2, script, *arguments, errors=errors)

    def world(self, size: int, script: Path | str, *arguments: object, errors: Path) -> list[int]:
        """Run `size` processes of one run, as `pair` does two."""
        world = {"WORLD_SIZE": f"{size}", "LOCAL_WORLD_SIZE": f"{size}", "MASTER_ADDR": "127.0.0.1"}
        world |= {"MASTER_PORT": str(free_port())}
        ranks = [self.start(script, *arguments, errors=errors, **world, RANK=f"{r}", LOCAL_RANK=f"{r}") for r in range(size)]
        return [rank.wait() for rank in ranks]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def _fork(line: list[str], errors: str, environment: dict[str, str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        nothing, file = os.open(os.devnull, os.O_RDWR), os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream, target in ((0, nothing), (1, nothing), (2, file)):
            os.dup2(target, stream)
        os.environ.update(environment)
        sys.argv = line
        runpy.run_path(line[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _serve() -> None:

    import tapetum.train.loop  # noqa: F401

    ended: dict[int, int] = {}
    for request in sys.stdin:
        word, content = json.loads(request)
        if word == "start":
            answer = _fork(**content)
            ended.pop(answer, None)  # an earlier one of the same number
        else:
            if content not in ended:
                pid, status = os.waitpid(content, os.WNOHANG if word == "poll" else 0)
                if pid:
                    ended[pid] = os.waitstatus_to_exitcode(status)
            answer = ended.get(content)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
