"""Scores real captions with tapetum and with pycocoevalcap in one run: how far they differ, and how long each takes.

    python benchmarks/caption_metrics.py CAPTIONS.txt

A line of the file is the name of an image, three spaces or a tab, and a caption, as in Flickr8k's list. The first caption of a
image is scored against its others. Needs pycocoevalcap and Java. Time is CPU time of this process and of Java's.
"""

import argparse
import contextlib
import io
import os
import re
from pathlib import Path

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from tapetum.metrics.captions import caption_scores


def images(file: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        parts = re.split(r"\t|   ", line, maxsplit=1)
        if len(parts) == 2 and parts[1].strip():
            found.setdefault(parts[0], []).append(parts[1].strip())
    return {name: captions for name, captions in found.items() if len(captions) > 1}


def seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def public(said: dict[str, str], references: dict[str, list[str]]) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        gts = PTBTokenizer().tokenize({k: [{"caption": c} for c in several] for k, several in references.items()})
        res = PTBTokenizer().tokenize({k: [{"caption": c}] for k, c in said.items()})
        bleu = Bleu(4).compute_score(gts, res, verbose=0)[0]
        found = {"cider": Cider().compute_score(gts, res)[0], "rouge_l": Rouge().compute_score(gts, res)[0]}
    return {**found, **{f"bleu{n}": b for n, b in enumerate(bleu, 1)}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("captions", type=Path)
    captions = images(parser.parse_args().captions)
    said, references = {k: c[0] for k, c in captions.items()}, {k: c[1:] for k, c in captions.items()}
    start = seconds()
    own = caption_scores(said, references)
    middle = seconds()
    theirs = public(said, references)
    end = seconds()
    mine = {"cider": own.cider, "rouge_l": own.rouge_l, **{f"bleu{n}": b for n, b in enumerate(own.bleu, 1)}}
    print(f"{len(said)} images, {sum(map(len, captions.values()))} captions")
    for name, value in theirs.items():
        print(f"{name:8} tapetum {mine[name]:.12f}  pycocoevalcap {value:.12f}  difference {abs(value - mine[name]):.1e}")
    ours, others = middle - start, end - middle
    print(f"CPU seconds: tapetum {ours:.2f}, pycocoevalcap {others:.2f}, ratio {ours / others:.2f}")


if __name__ == "__main__":
    main()
