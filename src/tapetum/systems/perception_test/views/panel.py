"""The panel beside the video: what is drawn on it, its tracks by name, scores, and findings about predictions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tapetum.core.pages import escaped
from tapetum.systems.perception_test.views.contents import Contents


def panel(contents: Contents, tracks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Write it, line by line."""
    yield "<aside aria-label='What is shown'><h2>Shown on the video</h2><fieldset>"
    kinds = [("true-object", "True boxes", False, "object"), ("predicted-object", "Predicted boxes", True, "object")]
    kinds += [("true-point", "True points", False, "point"), ("predicted-point", "Predicted points", True, "point")]
    for name, text, predicted, kind in kinds:
        number = sum(t["predicted"] == predicted and t["kind"] == kind and "question" not in t for t in tracks)
        if number:
            swatch = f"<span class='swatch {kind} {'predicted' if predicted else ''}' style='border-color:#55636f'></span>"
            yield f"<label class='layer'><input type='checkbox' id='layer-{name}' checked>{swatch}{text} ({number})</label>"
    if any(track["kind"] == "object" and not track["predicted"] for track in tracks):
        yield "<p class='keys'>True boxes are thin between annotated frames, and dotted where the object is hidden.</p>"
    if tracks:
        yield "<label class='layer'><input type='checkbox' id='layer-names' checked>Names of boxes</label>"
    else:
        yield "<p class='soft'>There are no tracks of this video.</p>"
    yield "</fieldset>"
    overlaps = {row["track"]: row["iou"] for row in contents.tables.get("object", ())}
    for kind, text in (("object", "Objects"), ("point", "Points")):
        rows = [(n, t) for n, t in enumerate(tracks) if t["kind"] == kind and not t["predicted"]]
        if rows:
            yield f"<details{' open' if kind == 'object' else ''}><summary>{text} ({len(rows)})</summary><ul class='tracks'>"
            for number, track in rows:
                score = overlaps.get(track["id"]) if kind == "object" else None
                score_text = "" if score is None else f"<span class='number'>IoU {score:.2f}</span>"
                swatch = f"<span class='swatch {kind}' style='border-color:{track['colour']}'></span>"
                label = escaped(f"{track['id']} {track['label']}")
                box = f"<input type='checkbox' data-track='{number}' checked>"
                yield f"<li><label>{box}{swatch}<span>{label}</span>{score_text}</label></li>"
            yield "</ul></details>"
    yield from _scores(contents)
    yield "</aside>"


_HEADLINES = {
    ("object", "average_iou"): "Objects: average IoU",
    ("point", "average_jaccard"): "Points: average Jaccard",
    ("action", "map"): "Actions: mAP",
    ("sound", "map"): "Sounds: mAP",
    ("mcqa", "top1"): "Questions: top-1",
    ("grounded", "hota"): "Grounded: HOTA",
}


def _scores(contents: Contents) -> Iterator[str]:
    rows = []
    for (task, key), text in _HEADLINES.items():
        value = contents.scores.get(task, {}).get(key)
        if isinstance(value, float) and np.isfinite(value):
            rows.append(f"<tr><th scope='row'>{text}</th><td class='value'>{value:.3f}</td></tr>")
    if rows:
        yield f"<details open><summary>Scores of this video</summary><table><tbody>{''.join(rows)}</tbody></table></details>"
    if contents.findings:
        yield f"<details open><summary>Remarks on predictions ({len(contents.findings)})</summary><ul class='findings'>"
        for finding in contents.findings[:20]:
            kind = "<span class='wrong'>error</span> " if finding.error else ""
            yield f"<li>{kind}{escaped(finding)}</li>"
        more = len(contents.findings) - 20
        yield (f"<li>and {more} more</li>" if more > 0 else "") + "</ul></details>"
