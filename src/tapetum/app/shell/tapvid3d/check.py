"""`tapetum tapvid3d check`: what is missing, damaged or inconsistent."""

from dataclasses import dataclass
from typing import Any

from tapetum.app.shell.output import print_json, terminal
from tapetum.app.tapvid3d import CheckOptions, check
from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Check(CheckOptions):
    """Find missing, damaged or inconsistent clips: can they be read, do tracks land in the image and on their queries?

    Exits with 0 where nothing was found and with 2 where something was.
    """

    json: bool = False
    """Print the counts and findings as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            report = check.run(self, listener).as_json()
        if self.json:
            print_json(report)
        else:
            print(_table(report))
        if report["findings"]:
            raise BadInput(f"findings: {len(report['findings'])}, in {report['files']} files; mend these, or fetch them again")


def _table(report: dict[str, Any]) -> str:
    lines = [f"{'source':11} {'clips':>13} {'with frames':>12} {'frames':>9} {'tracks':>9} {'visible':>8}"]
    for source, counts in report["sources"].items():
        clips = f"{counts['clips']} of {counts['wanted']}"
        visible = "-" if counts["visible"] is None else f"{counts['visible']:.3f}"
        numbers = f"{counts['with_frames']:12} {counts['frames']:9} {counts['tracks']:9} {visible:>8}"
        lines.append(f"{source:11} {clips:>13} {numbers}")
    width = max((len(finding["kind"]) for finding in report["findings"]), default=0)
    found = [f"{finding['kind']:{width}}  {finding['file']}: {finding['text']}" for finding in report["findings"]]
    return "\n".join([*lines, "", *(found or ["nothing wrong was found"])])
