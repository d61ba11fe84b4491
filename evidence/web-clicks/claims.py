"""Clicks until tracks are good: "look here next" of the page of `tapetum serve` against clicks at random places and none.

    python evidence/web-clicks/claims.py --data FOLDER [--clips 20] [--seeds 3] [--out results.json]

Clips are synthetic episodes with exact truth (`tapetum scenes episodes`; no tracker was trained on any), of points that move;
each seed chooses other points. A simulated person, who knows the truth, clicks each point where it is first seen. While the
average Jaccard is below 0.9 (of all frames but those of the first clicks, in pixels of 256x256 images), the person goes from
place to place. There (a point, a frame) the point is dragged to where it truly is; where it is hidden, it is marked hidden, and
clicked where it is seen next, for on the page a mark holds until the next one (two clicks). After each place the points are
tracked again. Two ways to choose the next place:

    look    the first one of the page's list "look here next"; where that is empty, as below
    random  a point and a frame without a mark, drawn evenly

Points are edited, tracked and checked by the functions of the page (`app.web`: projects, track_job, check), without HTTP. Clips
and results lie in FOLDER, so that a run that was interrupted goes on.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.app.verb import Listener
from tapetum.bench import baselines
from tapetum.desk.web import track_job
from tapetum.desk.web.database import FILE, Database
from tapetum.desk.web.edits import Projects
from tapetum.desk.web.hidden import HIDDEN
from tapetum.desk.web.items import Items
from tapetum.desk.web.tracks import TrackedItem, TrackStore, find_places
from tapetum.metrics.statistics import bootstrap_interval
from tapetum.tracks.metrics import tapvid_metrics
from tapetum.tracks.tapvid import read_entries
from tapetum_world.commands import scenes

GOAL = 0.9
SIDE = 256
"""Of the images that TAP-Vid's thresholds are for."""
MOVED = 0.1
"""Share of the image's width that a chosen point covers at least."""
LEAST_SEEN = 4
"""Frames in which a chosen point is seen."""

WAYS = ("look", "random")
RATE = 8.0
"""Frames per second of the episodes."""
CANDIDATES, FIRST_SEED = 96, 7100
"""Points of an episode to choose from, and the seed of the first."""

Place = tuple[int, int]
"""Row of a point, and a frame."""


@dataclass(frozen=True)
class Truth:
    """Points of a clip (n, t): where they are, in raster pixels of the clip, and where they are seen."""

    xy: np.ndarray
    visible: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """The first frame in which each is seen (n,)."""
        return self.visible.argmax(1)


@dataclass
class Course:
    """What became of the points of one clip."""

    clip: str
    seed: int
    way: str
    points: int
    most: int
    """Clicks after which the person gives up; those that place the points do not count."""
    clicks: list[int] = field(default_factory=list)
    """Before the first place, and after each."""
    scores: list[float] = field(default_factory=list)
    """After so many clicks."""
    listed: int = 0
    """Places that were the list's."""

    @property
    def reached(self) -> bool:
        """Whether the score was that of the goal within `most` clicks."""
        return self.scores[-1] >= GOAL and self.clicks[-1] <= self.most

    @property
    def needed(self) -> int:
        """Clicks until then; `most` where it never was."""
        return self.clicks[-1] if self.reached else self.most

    def score_after(self, clicks: int) -> float:
        """The score after so many clicks; once the goal is reached it stays."""
        return [score for count, score in zip(self.clicks, self.scores, strict=True) if count <= clicks][-1]


class Session:
    """The page with one clip in its folder, as a person uses it."""

    def __init__(self, folder: Path, model: str, truth: Truth):
        self.folder, self.model, self.truth = folder, model, truth
        (folder / HIDDEN).mkdir(exist_ok=True)
        self.database = Database(folder / HIDDEN / FILE)
        self.items, self.store = Items(self.database, folder), TrackStore(self.database)
        self.projects = Projects(self.database)
        self.items.look(None)
        (about,) = self.items.page()["items"]
        self.item = self.items.get(about["id"])
        if not self.projects.points(self.item):
            for row, frame in enumerate(truth.first.tolist()):
                self._edit(type="add_point", frame=frame, **self._place(row, frame))
        self.ids = list(self.projects.points(self.item))

    def _edit(self, **content: Any) -> None:
        self.projects.edit(self.item, content)

    def _place(self, row: int, frame: int) -> dict[str, float]:
        x, y = self.truth.xy[row, frame].tolist()
        return {"x": min(max(x, 0.0), self.item.width), "y": min(max(y, 0.0), self.item.height)}

    def track(self) -> TrackedItem:
        """Track what is not tracked yet, as the job of the page does."""
        points = self.projects.points(self.item)
        settings = {"model": self.model, "device": None, "clicks": [point.clicks for point in points.values()]}
        track_job.work({"item": self.item.id, "settings": settings}, self.folder, Listener())
        self.item = self.items.get(self.item.id)
        return TrackedItem(self.item, points, self.model, self.store)

    def put_right(self, row: int, frame: int) -> int:
        """Mark a point at a frame as the truth says; returns the number of clicks."""
        visible, point = self.truth.visible[row], self.ids[row]
        if visible[frame]:
            self._edit(type="move_point", point=point, frame=frame, **self._place(row, frame))
            return 1
        marks = [at for at in self.projects.points(self.item)[point].marks if at > frame]
        until = min(marks, default=len(visible))
        self._edit(type="hide_point", point=point, frame=frame)
        if not visible[frame:until].any():
            return 1
        back = frame + int(visible[frame:until].argmax())
        self._edit(type="move_point", point=point, frame=back, **self._place(row, back))
        return 2

    def unmarked(self) -> list[Place]:
        """List all places without a mark."""
        points = self.projects.points(self.item).values()
        return [(row, t) for row, point in enumerate(points) for t in range(self.item.frames) if t not in point.marks]

    def listed(self, tracked: TrackedItem) -> list[Place]:
        """List the places of "look here next"."""
        return [(self.ids.index(place["point"]), place["frame"]) for place in find_places(tracked)["places"]]

    def score(self, tracked: TrackedItem) -> float:
        """Compute the average Jaccard."""
        scale, truth = SIDE / np.array([self.item.width, self.item.height]), self.truth
        whole = tracked.array()
        queries = np.pad(truth.first[:, None], ((0, 0), (0, 2)))
        visible = whole[..., 2] > 0.5
        return tapvid_metrics(queries, ~truth.visible, truth.xy * scale, ~visible, whole[..., :2] * scale, "strided")[
            "average_jaccard"
        ]


def choose_points(xy: np.ndarray, visible: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Choose rows of points (n, t) that move and are seen for a while, in any order; xy in shares of the image."""
    low, high = (np.where(visible[..., None], xy, end) for end in (np.inf, -np.inf))
    extent = (high.max(1) - low.min(1)).max(1)
    return rng.permutation(np.flatnonzero((extent >= MOVED) & (visible.sum(1) >= LEAST_SEEN)))[:most]


def read_truth(path: Path, most: int, rng: np.random.Generator) -> Truth:
    """Read the truth of an episode's points, some of those that move."""
    (entry,) = read_entries(path)
    xy, visible = np.asarray(entry.points, np.float64), ~np.asarray(entry.occluded)
    rows = choose_points(xy, visible, most, rng)
    return Truth(xy[rows] * np.array(entry.video.shape[2:0:-1]), visible[rows])


def follow(session: Session, course: Course, rng: np.random.Generator) -> None:
    """Go from place to place until the goal is reached, or too many clicks are made."""
    clicks, tracked = 0, session.track()
    while True:
        course.clicks.append(clicks)
        course.scores.append(session.score(tracked))
        places = session.unmarked()
        if course.scores[-1] >= GOAL or clicks >= course.most or not places:
            return
        listed = session.listed(tracked) if course.way == "look" else []
        course.listed += bool(listed)
        clicks += session.put_right(*(listed[0] if listed else places[rng.integers(len(places))]))
        tracked = session.track()


def follow_both(folder: Path, clip: str, seed: int, given: argparse.Namespace) -> list[Course]:
    """Go through a clip both ways, from the same tracks on."""
    number = int(clip.rsplit("_", 1)[1])
    truth = read_truth(folder / "tapvid" / f"{clip}.pkl", given.points, np.random.default_rng((seed, number)))
    courses = []
    if len(truth.xy):
        with tempfile.TemporaryDirectory() as place:
            start = Path(place) / "start"
            start.mkdir()
            shutil.copy(folder / "videos" / f"{clip}.mp4", start)
            session = Session(start, given.model, truth)
            session.track()
            session.database.close()
            for way in WAYS:
                shutil.copytree(start, Path(place) / way)
                session = Session(Path(place) / way, given.model, truth)
                courses.append(Course(clip, seed, way, len(truth.xy), given.clicks * len(truth.xy)))
                follow(session, courses[-1], np.random.default_rng((seed, number, 1)))
                session.database.close()
    return courses


def run(given: argparse.Namespace) -> list[Course]:
    """Make the clips, and go through them with each seed; what is in the folder already is not done again."""
    folder = given.data / "episodes"
    scenes.episodes(
        folder, n=given.clips, size=given.size, seconds=given.frames / RATE, frame_rate=RATE, points=CANDIDATES, split="valid",
        seed=FIRST_SEED,
    )  # fmt: skip
    done = given.data / "courses.jsonl"
    courses = [Course(**json.loads(line)) for line in done.read_text().splitlines()] if done.exists() else []
    there = {(course.clip, course.seed) for course in courses}
    for seed in range(given.seeds):
        for clip in sorted(path.stem for path in (folder / "tapvid").glob("*.pkl")):
            if (clip, seed) not in there:
                new = follow_both(folder, clip, seed, given)
                with open(done, "a") as file:
                    file.writelines(json.dumps(asdict(course)) + "\n" for course in new)
                print(seed, clip, *(f"{course.way} {course.scores[0]:.3f} {course.needed}" for course in new), flush=True)
                courses += new
    return courses


def summarise(courses: Sequence[Course]) -> dict[str, Any]:
    """Compute means and 95 % intervals (bootstrap over clips): clicks for each point until the goal, the share of clips that
    reach it, and the average Jaccard after so many clicks for each point."""

    def mean(values: Sequence[float], clips: Sequence[str]) -> dict[str, Any]:
        interval = bootstrap_interval(np.array(values, float), groups=clips)
        return {"mean": round(float(np.mean(values)), 4), "interval": [round(end, 4) for end in interval]}

    ways = {way: [course for course in courses if course.way == way] for way in WAYS}
    clips = [course.clip for course in ways["look"]]
    result: dict[str, Any] = {
        "clips": len(set(clips)),
        "seeds": len({course.seed for course in courses}),
        "points": sum(course.points for course in ways["look"]),
        "none": {
            "average_jaccard": mean([course.scores[0] for course in ways["look"]], clips),
            "reached": mean([course.scores[0] >= GOAL for course in ways["look"]], clips),
        },
    }
    for way, each in ways.items():
        result[way] = {
            "clicks_a_point": mean([course.needed / course.points for course in each], clips),
            "reached": mean([course.reached for course in each], clips),
            "listed": round(sum(course.listed for course in each) / max(sum(len(course.clicks) - 1 for course in each), 1), 4),
        }
    pairs = list(zip(ways["look"], ways["random"], strict=True))
    each_point = range(1, max(course.most // course.points for course in courses) + 1)
    for way, each in ways.items():
        result[way]["average_jaccard"] = {
            count: mean([course.score_after(count * course.points) for course in each], clips) for count in each_point
        }
    result["higher_average_jaccard_by_look"] = {
        count: mean(
            [look.score_after(count * look.points) - random.score_after(count * look.points) for look, random in pairs], clips
        )
        for count in each_point
    }
    fewer = [(random.needed - look.needed) / look.points for look, random in pairs]
    result["fewer_clicks_a_point_by_look"] = mean(fewer, clips)
    result["better_same_worse"] = [sum(int(np.sign(value)) == sign for value in fewer) for sign in (1, 0, -1)]
    return result


def main() -> None:
    """Print what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--clicks", type=int, default=4, help="the most for each point")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--model", default="tapir-nano")
    parser.add_argument("--tiny", action="store_true", help="one clip of 8 small frames")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.tiny:
        given.clips, given.seeds, given.size, given.frames, given.points, given.clicks = 1, 1, 48, 8, 2, 2
    baselines.load_tracker = cache(baselines.load_tracker)  # once, not for each job
    text = json.dumps(summarise(run(given)), indent=1)
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
