"""Writes tests/durations.txt: functions of tests that take a tenth of a second or more, each with the mean of its cases.

    python -m pytest --junitxml build/tests.xml && python tests/support/durations.py build/tests.xml

`pytest --at-most SECONDS` leaves out those that take longer, as `make test-fast` does; `LONG` and more is marked `long`, which
`make test` leaves out. What is not in the list counts as quick.
"""

import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

FILE = Path(__file__).parents[1] / "durations.txt"
LEAST = 0.1
LONG = 2.0
"""Seconds."""


def read_durations() -> dict[str, float]:
    """Read the seconds of each function, by module and name."""
    lines = (line.split() for line in FILE.read_text(encoding="utf-8").splitlines())
    return {name: float(seconds) for seconds, name in lines}


def main() -> None:
    cases = defaultdict[str, list[float]](list)
    for case in ElementTree.parse(sys.argv[1]).iter("testcase"):
        cases[f"{case.get('classname')}::{str(case.get('name')).partition('[')[0]}"].append(float(str(case.get("time"))))
    means = {name: sum(seconds) / len(seconds) for name, seconds in cases.items()}
    lines = [f"{mean:.2f} {name}\n" for name, mean in sorted(means.items()) if mean >= LEAST]
    FILE.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
