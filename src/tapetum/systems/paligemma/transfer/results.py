"""Published scores of the transfer tasks, for comparison; none of them was measured here.

Sources: PaliGemma, table 1 (arXiv 2407.07726; one run, answers of test servers), PaliGemma 2, table 13 and section 4
(2412.03555; means of five runs, often on validation splits, "val"), and at 896 pixels Gemma 3 (2503.19786, table 12).

A line of `results.txt` has a task, a model, and scores at 224, 448 and 896 pixels, in hundredths; parts and splits are in
order. Unusual: PaliGemma 2 compares its VizWiz score on val with the first model's on a server, which on val has the same 76.4.
"""

from collections.abc import Mapping
from pathlib import Path


def _read() -> dict[str, dict[str, str]]:
    results: dict[str, dict[str, str]] = {}
    for line in Path(__file__).with_name("results.txt").read_text(encoding="utf-8").splitlines()[1:]:
        task, model, text = line.split(" | ")
        results.setdefault(task, {})[model] = text
    return results


RESULTS: Mapping[str, Mapping[str, str]] = _read()
"""By task and model."""
