"""Process of one job: `python -m tapetum.app.web.job_process FOLDER/.tapetum-web/jobs/ID`."""

import sys
import traceback
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from tapetum.app.verb import Listener
from tapetum.app.web import job_files
from tapetum.app.web.job_files import FINAL, Progress
from tapetum.core.errors import TapetumError

_WORK = {"track": "track_job", "look": "look_job", "index": "index_job"}
"""Module of each kind of job, whose function `work` takes the job, the served folder and a listener."""


class ProgressListener(Listener):
    """Writes what a verb says of its progress into the folder of the job."""

    def __init__(self, progress: Progress):
        self.file = progress
        self.notes: list[str] = []
        """Remarks, which stay when the job is done."""

    def note(self, text: str) -> None:
        """Show a remark."""
        self.notes.append(text)
        self.file.say(message=text)

    def status(self, text: str) -> None:
        """Show what is being done."""
        self.file.say(message=text)

    def progress(self, task: str, done: int, total: int | None) -> None:
        """Show how far a task is."""
        self.file.say(done, total or 0, task)


def main(folder: Path) -> None:
    """Do the work of a job, unless another process does, or it is over."""
    with job_files.holding(folder) as locked:
        if not locked or job_files.read(folder / "progress.json", {}).get("state") in FINAL or (folder / "cancel").exists():
            return
        job: dict[str, Any] = job_files.read(folder / "job.json")
        progress = Progress(folder)
        try:
            warnings.simplefilter("ignore")
            module = import_module(f"tapetum.app.web.{_WORK[job['kind']]}")
            listener = ProgressListener(progress)
            result = module.work(job, folder.parents[2], listener)
            job_files.write(folder / "result.json", result)
        except TapetumError as error:
            progress.end("failed", " ".join(str(error).split()))
        except Exception as error:
            traceback.print_exc()
            text = " ".join(str(error).split())[:300]
            progress.end("failed", f"unforeseen {type(error).__name__}: {text}; {folder / 'log.txt'} shows more")
        else:
            progress.end("done", "; ".join(listener.notes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
