"""How `ask`, `caption`, `detect` and `segment` print what a model said."""

from collections.abc import Callable

from tapetum.app.seen import Seeing, Seen
from tapetum.app.shell.output import print_json
from tapetum.core.errors import BadInput


def print_words(seeing: Seeing, json: bool) -> None:
    """Print the answers, each after its image where there are several."""
    _print(seeing, json, lambda each: [each.answer.text or "(nothing)"])


def print_regions(seeing: Seeing, json: bool) -> None:
    """Print a line for each box: corners, score, label."""
    _print(seeing, json, _regions)


def _regions(seen: Seen) -> list[str]:
    pixels = [int(mask.sum()) for mask in seen.masks.masks]
    lines = []
    for k, (corners, label) in enumerate(zip(seen.boxes.xyxy.tolist(), seen.boxes.labels, strict=True)):
        assert seen.boxes.scores is not None
        box = " ".join(f"{v:7.1f}" for v in corners)
        area = f"  {pixels[k]:7d} pixels" if len(pixels) == len(seen.boxes) else ""
        lines.append(f"{box}  {seen.boxes.scores[k]:5.2f}{area}  {label}")
    return lines or ["(nothing)"]


def _print(seeing: Seeing, json: bool, lines: Callable[[Seen], list[str]]) -> None:
    if json:
        print_json(seeing.as_json())
    else:
        several = len(seeing.seen) + len(seeing.failed) > 1
        for each in seeing.seen:
            if several:
                print(each.path if each.frame is None else f"{each.path}  frame {each.frame}")
            for line in lines(each):
                print(f"  {line}" if several else line)
        for drawn in dict.fromkeys(each.drawn for each in seeing.seen if each.drawn):
            print(f"drawn    {drawn}")
    if seeing.failed:
        count = len(seeing.failed) + len(seeing.seen)
        raise BadInput(f"{len(seeing.failed)} of {count} images could not be read; see above")
