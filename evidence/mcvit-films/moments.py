"""Search by words in films of minutes: how often the first moment is right.

    tapetum scenes films held --n 30 --minutes 5 --stories 160 --size 112 --seed 931
    python evidence/mcvit-films/moments.py held --model RUN/longvideo.safetensors --beside mcvit-films --out moments.json

Of the three films of a group, which show the same shots, the first is taken. Each gets an index of its own with each model,
made and searched by the functions behind `tapetum index` and `tapetum search`. Queries are captions of what the hand does in it
(moments.jsonl), drawn by a seed, each text once a film. A query is right if the middle of the first moment in the results is at
most --near seconds from an event with these words. Printed, and written to --out as JSON, for each model:

    recall    share of the queries that are right, with an interval over films drawn anew
    chance    the same of a moment that is drawn evenly from the film, exactly
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tapetum
from tapetum.core.files import whole_file
from tapetum.data.entries import line_entries
from tapetum.desk.search.search import SearchModel, SearchOptions, find_moments, open_media_index
from tapetum.metrics.statistics import bootstrap_interval
from tapetum.video import open_video
from tapetum_world.words.films import FILMS

Span = tuple[float, float]


def read_events(folder: Path) -> dict[str, dict[str, list[Span]]]:
    """Read when each text happens, by film and text."""
    films: dict[str, dict[str, list[Span]]] = {}
    for entry in line_entries(folder / "moments.jsonl"):
        span = float(entry.fields["start_s"]), float(entry.fields["stop_s"])
        films.setdefault(entry.file_name("video"), {}).setdefault(entry.text("caption"), []).append(span)
    return films


def is_near(time_s: float, spans: Sequence[Span], near_s: float) -> bool:
    """Check whether a time is at most so many seconds from a span.

    >>> [is_near(time, [(4.0, 5.0)], 2.0) for time in (1.9, 2.0, 7.0, 7.1)]
    [False, True, True, False]
    """
    return any(start - near_s <= time_s <= stop + near_s for start, stop in spans)


def chance(spans: Sequence[Span], near_s: float, film_s: float) -> float:
    """Compute the share of a film that is near to spans.

    >>> chance([(0.0, 1.0), (2.0, 4.0), (90.0, 99.0)], 2.0, 100.0)
    0.18
    """
    total, last = 0.0, 0.0
    for start, stop in sorted((max(start - near_s, 0.0), min(stop + near_s, film_s)) for start, stop in spans):
        total += max(stop - max(start, last), 0.0)
        last = max(last, stop)
    return total / film_s


def search_film(model: str, film: Path, texts: Sequence[str]) -> list[float]:
    """Index a film and search it for texts: the middle of the first moment of each, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        tapetum.index((film,), out=folder, model=model)
        with open_media_index(folder) as index:
            models = SearchModel(index, model, folder)
            middles = []
            for text in texts:
                [moment] = find_moments(SearchOptions(folder, text, count=1), index, models).moments
                assert moment.start_s is not None
                assert moment.stop_s is not None
                middles.append((moment.start_s + moment.stop_s) / 2)
    return middles


def measure(folder: Path, model: str, captions: int, near_s: float, seed: int) -> dict[str, Any]:
    """Search all films of a folder with a model."""
    rows = []
    for number, (name, events) in enumerate(list(read_events(folder).items())[::FILMS]):
        texts = sorted(events)
        chosen = [texts[k] for k in np.random.default_rng((seed, number)).permutation(len(texts))[:captions]]
        film = folder / "videos" / f"{name}.mp4"
        with open_video(film) as video:
            film_s = float(video.timestamps[-1] - video.timestamps[0]) + 0.5
        for text, middle in zip(chosen, search_film(model, film, chosen), strict=True):
            spans = events[text]
            scores = {"right": is_near(middle, spans, near_s), "chance": chance(spans, near_s, film_s)}
            rows.append({"film": name, "text": text, "at_s": middle, **scores})
    names, right, by_chance = ([row[key] for row in rows] for key in ("film", "right", "chance"))
    return {
        "model": model,
        "films": len(set(names)),
        "queries": len(rows),
        "recall": float(np.mean(right)),
        "interval": bootstrap_interval(np.array(right, float), groups=names, seed=seed),
        "chance": float(np.mean(by_chance)),
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="films of tapetum scenes films")
    parser.add_argument("--model", required=True, metavar="NAME|FILE")
    parser.add_argument(
        "--beside", default="mcvit-films", metavar="NAME|FILE", help="another model on the same films and queries"
    )
    parser.add_argument("--captions", type=int, default=10, help="queries of a film (default 10)")
    parser.add_argument("--near", type=float, default=2.0, help="seconds from an event that are right (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the queries that are drawn")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    given = parser.parse_args()
    results = [measure(given.folder, model, given.captions, given.near, given.seed) for model in (given.model, given.beside)]
    if given.out is not None:
        with whole_file(given.out) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps([{name: value for name, value in result.items() if name != "rows"} for result in results]))


if __name__ == "__main__":
    main()
