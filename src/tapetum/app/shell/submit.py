"""`tapetum submit`: predictions written as a benchmark's server wants them, or checked."""

from dataclasses import dataclass
from typing import Literal

import tyro

from tapetum.app.shell.output import print_json, terminal
from tapetum.app.submit_perception_test import Submission, SubmissionOptions, submit_perception_test
from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Submit(SubmissionOptions):
    """Write predictions as a benchmark's server wants them, or check them: what it would refuse, by item."""

    benchmark: tyro.conf.Positional[Literal["perception-test"]]
    """Whose server."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend, and where a checked file has errors."""
        with terminal() as listener:
            found = submit_perception_test.run(self, listener)
        if self.json:
            print_json(found.as_json())
        else:
            print(_text(found))
        if self.check is not None and found.errors:
            raise BadInput(f"the server would refuse {self.check}: {found.errors} errors; mend the items above")


def _text(found: Submission) -> str:
    lines = [f"{'error ' if finding.error else 'remark'}  {finding}" for finding in found.findings]
    if found.out is not None:
        lines.append(f"written to {found.out}")
    return "\n".join(lines or ["nothing to remark on"])
