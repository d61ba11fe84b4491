"""Process of jobs: `python -m tapetum.desk.web.job_process FOLDER/.tapetum-web/jobs`; each line of its standard input is a job.

It ends with its input, and if a job could not be run or its end not be written.
"""

import os
import sys
import traceback
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from tapetum.app.verb import Listener
from tapetum.core.errors import TapetumError
from tapetum.core.plugins import naming_own_code
from tapetum.core.reading import parse_json
from tapetum.desk.web import job_files
from tapetum.desk.web.answers import hide_paths
from tapetum.desk.web.items import check_same
from tapetum.desk.web.job_files import FINAL, KINDS, NO_ITEM, WAITING, Progress
from tapetum.hub.loading import keep_loaded


class ProgressListener(Listener):
    """Writes a verb's progress into the folder of the job."""

    def __init__(self, progress: Progress, folder: Path):
        self.file, self.folder = progress, folder
        self.notes: list[str] = []
        """Remarks, which stay when the job is done."""

    def note(self, text: str) -> None:
        self.notes.append(hide_paths(text, self.folder))
        self.file.say(message=self.notes[-1])

    def status(self, text: str) -> None:
        self.file.say(message=hide_paths(text, self.folder))

    def progress(self, task: str, done: int, total: int | None) -> None:
        self.file.say(done, total or 0, task)


def serve(jobs: Path) -> None:
    """Run jobs of a folder as they come."""
    keep_loaded()
    requests = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a job hears nothing of the others
    for line in requests:
        content = parse_json(line)
        os.environ["OMP_NUM_THREADS"] = str(content["threads"])
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(content["threads"])
        if "load" in content:
            with suppress(Exception, SystemExit):  # the job will say why
                _module_of(content["kind"]).load(**content["load"])
            continue
        log = os.open(jobs / content["id"] / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.close(log)
        was_run = main(jobs / content["id"], content)
        sys.stdout.flush()
        if not was_run:
            return


def _module_of(kind: str) -> Any:
    return import_module(f"tapetum.desk.web.{KINDS[kind]}")


def main(folder: Path, job: dict[str, Any]) -> bool:
    """Run a job, unless another process runs it or it is over; tells whether it was run."""
    with job_files.holding(folder) as locked:
        over = (job_files.read_progress(folder) or WAITING)["state"] in FINAL
        if not locked or over or (folder / "cancel").exists():
            return False
        progress, served = Progress(folder), folder.parents[2]
        try:
            warnings.simplefilter("ignore")
            module = _module_of(job["kind"])
            listener = ProgressListener(progress, served)
            try:
                with naming_own_code():
                    result = module.work(job, served, listener)
            finally:
                if job["item"] != NO_ITEM:
                    check_same(served, job["item"])  # a result of another file means nothing
            job_files.write(folder / "result.json", result)
        except TapetumError as error:
            progress.end("failed", " ".join(hide_paths(str(error), served).split()))
        except Exception as error:
            traceback.print_exc()
            text = " ".join(hide_paths(str(error), served).split())[:300]
            log = (folder / "log.txt").relative_to(served)
            progress.end("failed", f"unforeseen {type(error).__name__}: {text}; {log} in the folder shows more")
        else:
            progress.end("done", "; ".join(listener.notes))
    return True


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
