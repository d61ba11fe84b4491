"""The Perception Test's six scores once more, in plain Python: loops over what its files hold, as published, frame by frame.

Perception Test: arXiv 2305.13786, section 4. Points: TAP-Vid, 2211.03726, section 3. Actions and sounds: mean average precision
of ActivityNet, where each segment takes the free true one that it overlaps most. Grounded questions: HOTA, 2009.07736, section
3, with the pairs of each frame tried one by one. All in the default reading; `truth` and `predicted` are the files by video.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations
from math import hypot, nan, sqrt
from typing import Any

Files = Mapping[str, Mapping[str, Any]]
Box = Sequence[float]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else nan


def overlap(a: Box, b: Box) -> float:
    """Compute the intersection over union of x1, y1, x2, y2, of what is in the image."""
    a, b = ([min(max(x, 0.0), 1.0) for x in box] for box in (a, b))
    common = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    whole = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - common
    return common / whole if whole > 0 else 0.0


def boxes_of(track: Mapping[str, Any], after: int = 0) -> dict[int, Box]:
    """List the boxes by frame, of a true track from its first box on, `after` entries later."""
    start = track["initial_tracking_box"].index(1) + after if "initial_tracking_box" in track else 0
    return dict(list(zip(track["frame_ids"], track["bounding_boxes"], strict=True))[start:])


def objects(truth: Files, predicted: Files) -> dict[str, float]:
    """Compute the mean overlap of each video with something to score: mean of its tracks of the mean over later frames."""
    scores = {}
    for video, content in truth.items():
        own = {track["id"]: boxes_of(track) for track in predicted.get(video, {}).get("object_tracking", ())}
        rows = []
        for track in content["object_tracking"]:
            later, found = boxes_of(track, 1), own.get(track["id"], {})
            if later:
                rows.append(mean([overlap(box, found[frame]) if frame in found else 0.0 for frame, box in later.items()]))
        if rows:
            scores[video] = mean(rows)
    return scores


def points(truth: Files, predicted: Files) -> dict[str, float]:
    """Compute the average Jaccard of each video, over the frames after a point's first."""
    scores = {}
    for video, content in truth.items():
        every = {track["id"]: track for track in predicted.get(video, {}).get("point_tracking", ())}
        ratios = []
        for threshold in (1, 2, 4, 8, 16):
            hits = visible = false = 0
            for track in content["point_tracking"]:
                real, first = places_of(track), min(track["frame_ids"])
                own = places_of(every[track["id"]]) if track["id"] in every else {}
                for frame in range(first + 1, content["metadata"]["num_frames"]):
                    near = frame in real and frame in own and distance(real[frame], own[frame]) < threshold
                    hits, visible = hits + near, visible + (frame in real)
                    false += frame in own and not near
            ratios.append(hits / (visible + false) if visible + false else nan)
        scores[video] = mean(ratios)
    return scores


def places_of(track: Mapping[str, Any]) -> dict[int, tuple[float, float]]:
    rows, columns = track["points"]
    return dict(zip(track["frame_ids"], zip(rows, columns, strict=True), strict=True))


def distance(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Measure on a raster of 256 x 256."""
    return 256 * hypot(a[0] - b[0], a[1] - b[1])


def segments(truth: Files, predicted: Files, key: str) -> dict[str, float]:
    """Compute the mean average precision at each overlap, over the classes that the truth has."""
    real = [(video, *each["timestamps"], each["label_id"]) for video, content in truth.items() for each in content[key]]
    own = [
        (-float(each["score"]), video, each["timestamps"], int(each["label"]))
        for video, content in predicted.items()
        for each in content[key]
    ]
    own.sort(key=lambda row: row[0])  # of equal scores the earlier one is first
    scores = {}
    for least in (0.1, 0.2, 0.3, 0.4, 0.5):
        averages = []
        for label in sorted({row[3] for row in real}):
            free, hits = [row for row in real if row[3] == label], list[bool]()
            count = len(free)
            for _, video, (start, end), each in own:
                if each == label:
                    near = [(shared(start, end, row), row) for row in free if row[0] == video]
                    best = max(near, key=lambda pair: pair[0], default=(0.0, None))
                    hits.append(best[0] >= least)
                    if hits[-1]:
                        free.remove(best[1])  # pyright: ignore[reportArgumentType]
            precision = [sum(hits[: k + 1]) / (k + 1) for k in range(len(hits))]
            averages.append(sum(max(precision[k:]) for k, hit in enumerate(hits) if hit) / count)
        scores[str(least)] = mean(averages)
    return scores


def shared(start: float, end: float, row: tuple[Any, ...]) -> float:
    """Compute the overlap of a predicted segment, in seconds, and a true one, in microseconds."""
    first, last = row[1] / 1e6, row[2] / 1e6
    common = max(min(end, last) - max(start, first), 0.0)
    return common / (end - start + last - first - common)


def questions(truth: Files, predicted: Files) -> float:
    """Compute the share of questions with the right answer; one without an answer has none."""
    right = []
    for video, content in truth.items():
        own = {each["id"]: each["answer_id"] for each in predicted.get(video, {}).get("mc_question", ())}
        right += [own.get(each["id"]) == each["answer_id"] for each in content["mc_question"]]
    return mean(right)


def grounded(truth: Files, predicted: Files) -> list[dict[str, float]]:
    """Compute HOTA and its parts of each question."""
    rows = []
    for video, content in truth.items():
        every = {track["id"]: track for track in content["object_tracking"]}
        for question in content["grounded_question"]:
            answers = predicted.get(video, {}).get("grounded_question", {}).get(str(question["id"]), [])
            best = sorted(answers, key=lambda track: -track["score"])[:10]
            rows.append(hota([boxes_of(every[k]) for k in question["answers"]], [boxes_of(track) for track in best]))
    return rows


def hota(real: list[dict[int, Box]], own: list[dict[int, Box]]) -> dict[str, float]:
    """Compute the means over alpha, in the frames in which a true track has a box."""
    frames = sorted({frame for track in real for frame in track})
    own = [{frame: box for frame, box in track.items() if frame in frames} for track in own]
    similar = {
        (f, i, j): overlap(real[i][f], own[j][f])
        for f in frames for i in range(len(real)) for j in range(len(own)) if f in real[i] and f in own[j]
    }  # fmt: skip
    common = {(i, j): 0.0 for i in range(len(real)) for j in range(len(own))}
    for (f, i, j), value in similar.items():
        whole = sum(v for (g, a, b), v in similar.items() if g == f and (a == i or b == j))
        common[i, j] += value / whole if value > 0 else 0.0
    together = {(i, j): value / (len(real[i]) + len(own[j]) - value) for (i, j), value in common.items()}
    matched = []
    for f in frames:
        rows, columns = [i for i, t in enumerate(real) if f in t], [j for j, t in enumerate(own) if f in t]
        few, many = sorted((rows, columns), key=len)
        ways = [[*zip(few, way, strict=True)] for way in permutations(many, len(few))]
        ways = ways if few is rows else [[(i, j) for j, i in way] for way in ways]
        gains = [sum(together[pair] * similar[f, *pair] for pair in way) for way in ways]
        matched += [(f, *pair) for pair in ways[gains.index(max(gains))]]
    parts = {"hota": list[float](), "det_a": list[float](), "ass_a": list[float](), "loc_a": list[float]()}
    for k in range(1, 20):
        hits = [key for key in matched if similar[key] >= k / 20 - 1e-12]
        missed, false = sum(map(len, real)) - len(hits), sum(map(len, own)) - len(hits)
        pairs = [key[1:] for key in hits]
        jaccards = [pairs.count(p) / (len(real[p[0]]) + len(own[p[1]]) - pairs.count(p)) for p in pairs]
        det, ass = len(hits) / (len(hits) + missed + false), mean(jaccards) if hits else 0.0
        loc = mean([similar[key] for key in hits]) if hits else 1.0
        for name, value in zip(parts, (sqrt(det * ass), det, ass, loc), strict=True):
            parts[name].append(value)
    return {name: mean(values) for name, values in parts.items()}
