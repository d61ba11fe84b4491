"""How well a tracker knows where it is wrong: its predicted errors beside its confidence, on clips that it did not learn from.

    python evidence/tap-doubt/clips.py photos.parquet FOLDER --part plain --last 16   # and crowded, made, cutouts
    python evidence/tap-doubt/clips.py photos.parquet FOLDER --part marks --more FOLDER_OF_VIDEOS ...
    python benchmarks/tap_doubt.py FOLDER [--model tapir-nano] [--live] [--out results.json] [--reliability reliability.svg]
    python benchmarks/tap_doubt.py --videos FOLDER_OF_VIDEOS ... --clicks clicks.json
    python benchmarks/tap_doubt.py --videos FOLDER_OF_VIDEOS ... --picture flagged.jpg --of bear camel
    python evidence/tap-doubt/teach.py photos.parquet FOLDER --out evidence/tap-doubt/teach.json   # clicks until AJ is 0.9

Counted are the places that the tracker calls visible, but for queries; wrong is one more than 8 pixels of 256 away. `caught` is
the share of the wrong places among the tenth of all places that a score doubts most; `aurc` the area under the risk-coverage
curve: the mean share of wrong places among those trusted most, over all shares that are kept (an oracle's is the least);
`ece` the calibration error of the chance in ten equal bins. `above` is the share of errors above their predicted median. The
clips of evidence/real-marks are scored at their visible marks. Intervals of 95 %: the bootstrap over clips.

--clicks counts the clicks that a person makes on the real clips, besides the first on each point, until 95 % of its visible
marks are right: the person looks at the marked frames of a point, the most doubted first, and clicks the first that is wrong;
then the point is tracked again. --picture shows where tracks of two clips are doubted most, beside what was asked for.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

import tapetum
from plus_minus import widened
from tapetum.metrics.statistics import join_verdicts, judge_interval
from tapetum.systems.tap.bootstrap.config import Ingredients
from tapetum.systems.tap.tracking.calibration import calibrated_confidence
from tapetum.systems.tap.tracking.error_model import WRONG
from tapetum.tracks.doubtful import find_doubtful_places
from tapetum.tracks.metrics import THRESHOLDS, tapvid_metrics
from tapetum.types import Tracks

EVIDENCE = Path(__file__).parents[1] / "evidence"
PARTS = "plain", "crowded", "made", "cutouts", "marks"
DOUBTED = 0.1
DRAWS = 400
ENOUGH, MOST_CLICKS = 0.95, 6
"""Share of a point's marks that is to be right, and clicks after which nobody goes on."""
GOAL, ROUND, CLICKS_A_POINT = 0.9, 0.25, 2
"""Average Jaccard at which nobody goes on, points that are clicked in a round as a share of all, and clicks a point at most."""
CLICKS_SHOWN = 0, 0.5, 1, CLICKS_A_POINT
FLAGGED, CROP = 6, 48
"""Points of a clip in the picture, and half the side of their crops in pixels of 256."""
SCORES = "chance", "confidence", "oracle"
"""What places are ranked by: the predicted chance of being wrong, today's confidence, the true error."""


METRICS = (
    "caught by chance",
    "caught by confidence",
    "caught by oracle",
    "aurc of chance",
    "aurc of confidence",
    "aurc of oracle",
)
CLAIMS = {
    "the area is less than half of the confidence's": ("aurc ratio", 0.5, True),
    "the calibration error is less than 0.03": ("ece of chance", 0.03, True),
    "the tenth that is doubted most has more than 85 % of the wrong places": ("caught by chance", 0.85, False),
}
"""The metric and its bound, and whether it is to lie below."""
METRICS += "aurc ratio", "ece of chance", "ece of calibrated confidence", "ece of confidence", "above"


def caught(doubt, wrong):
    """Share of the wrong places among the tenth that is doubted most."""
    worst = np.argsort(-doubt, kind="stable")[: round(DOUBTED * len(doubt))]
    return wrong[worst].sum() / max(wrong.sum(), 1)


def risks(doubt, wrong):
    """Share of wrong places among the k trusted most, for each k."""
    return np.cumsum(wrong[np.argsort(doubt, kind="stable")]) / np.arange(1, len(wrong) + 1)


def reliability(chance, wrong, bins=10):
    """Number of places, mean chance and share of wrong places of each of ten equal bins that has any."""
    bin_of = np.minimum((chance * bins).astype(int), bins - 1)
    each = ((chance[bin_of == k], wrong[bin_of == k]) for k in np.unique(bin_of))
    return [[len(here), float(here.mean()), float(true.mean())] for here, true in each]


def calibration_error(chance, wrong):
    """Expected calibration error, bins weighed by their places."""
    return sum(count * abs(mean - share) for count, mean, share in reliability(chance, wrong)) / len(wrong)


def metrics(table):
    """Metrics of rows (error, predicted error, chance, confidence, calibrated confidence or NaN)."""
    error, predicted, chance, confidence, calibrated = table.T
    wrong = error > WRONG
    calibration = (
        {"ece of confidence": confidence} if np.isnan(calibrated).any() else {"ece of calibrated confidence": calibrated}
    )
    doubts = {"chance": chance, "confidence": -confidence, "oracle": error}
    return {
        **{f"caught by {name}": caught(doubts[name], wrong) for name in SCORES},
        **{f"aurc of {name}": risks(doubts[name], wrong).mean() for name in SCORES},
        "aurc ratio": risks(chance, wrong).mean() / max(risks(-confidence, wrong).mean(), 1e-12),
        "ece of chance": calibration_error(chance, wrong),
        **{name: calibration_error(1 - sure, wrong) for name, sure in calibration.items()},
        "above": (error > predicted).mean(),
    }


def summary(clips):
    """Metrics of all clips with their intervals."""
    rng, names, tables = np.random.default_rng(0), list(clips), list(clips.values())
    drawn = [metrics(np.concatenate([tables[k] for k in rng.integers(len(tables), size=len(tables))])) for _ in range(DRAWS)]
    whole = np.concatenate(tables)
    scores = {
        name: {"value": float(value), "interval": np.quantile([each[name] for each in drawn], (0.025, 0.975)).tolist()}
        for name, value in metrics(whole).items()
    }
    counts = {name: [len(table), int((table[:, 0] > WRONG).sum())] for name, table in zip(names, tables, strict=True)}
    wrong = whole[:, 0] > WRONG
    bins = {"chance": reliability(whole[:, 2], wrong), "confidence": reliability(1 - whole[:, 3], wrong)}
    return {
        "clips": len(names),
        "places": len(whole),
        "wrong": int(wrong.sum()),
        **scores,
        "reliability": bins,
        "of clips": counts,
    }


def stored_clips(folder, part, name, live):
    """Rows of the clips that clips.py stored of a tracker; with `live`, of points asked for in the first frame."""
    from train import read_clip

    tracker = tapetum.load(name)
    model, clips = tracker.live_error_model if live else tracker.error_model, {}
    for path in sorted(folder.glob(f"{part}-*.npz")):
        cues, error, seen = read_clip(path, live)
        with torch.inference_mode():
            length, odds = model(cues).unbind(-1)
        file = np.load(path)
        tracks = Tracks(file["xy"], file["confidence"] > 0.5, file["confidence"], file["queries"])
        right = calibrated_confidence(tracks, name)
        right = np.full(error.shape, np.nan) if right is None else right
        columns = error, length.expm1(), odds.sigmoid(), tracks.confidence, right
        counted = seen.numpy() & (tracks.queries[:, :1] <= (0 if live else np.inf))
        clips[path.stem] = np.stack([np.asarray(each)[counted] for each in columns], -1)
    return {stem: rows for stem, rows in clips.items() if len(rows)}


def table(results):
    """Write results in Markdown."""
    lines = [["", *(f"{part}, {each['clips']} clips" for part, each in results.items())], ["---"] * (len(results) + 1)]
    wrong = (f"{each['wrong']:,} of {each['places']:,} ({each['wrong'] / each['places']:.1%})" for each in results.values())
    lines.append(["wrong", *wrong])
    for name in (name for name in METRICS if name in next(iter(results.values()))):
        cells = [each[name] for each in results.values()]
        spans = ("{:.4f} to {:.4f}".format(*cell["interval"]) for cell in cells)
        lines.append([name, *(f"{cell['value']:.4f} ({span})" for cell, span in zip(cells, spans, strict=True))])
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def claims_table(results):
    """Write which claims hold on which parts, by intervals that are wider the fewer clips they were drawn from."""
    lines = [["claim", *results, "on every part"], ["---"] * (len(results) + 2)]
    for says, (name, bound, below) in CLAIMS.items():
        ends = [widened(each[name]["value"], each[name]["interval"], each["clips"]) for each in results.values()]
        said = [judge_interval((-high, -low), -bound) if below else judge_interval((low, high), bound) for low, high in ends]
        cells = (f"**{each}** ({max(low, 0):.3f} to {high:.3f})" for each, (low, high) in zip(said, ends, strict=True))
        lines.append([says, *cells, f"**{join_verdicts(said)}**"])
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def label_errors(parts):
    """Shares of wrong labels of a teacher: those of bootstrap's least confidence, and as many of the lowest chances."""
    counts = {}
    for part, clips in parts.items():
        wrong, chance, confidence = np.concatenate(list(clips.values()))[:, [0, 2, 3]].T
        wrong, sure = wrong > WRONG, confidence >= Ingredients().confident
        trusted = np.argsort(chance, kind="stable")[: sure.sum()]
        shares = {"by confidence": float(wrong[sure].mean()), "by chance": float(wrong[trusted].mean())}
        counts[part] = {"places": len(wrong), "labels": int(sure.sum()), **shares}
    return counts


def label_table(counts):
    """Write what `label_errors` counted in Markdown."""
    rows = [
        f"| {part} | {each['places']:,} | {each['labels']:,} | {each['by confidence']:.2%} | {each['by chance']:.2%} |\n"
        for part, each in counts.items()
    ]
    head = "| part | places | labels | wrong by confidence | wrong by chance |\n| --- | --- | --- | --- | --- |\n"
    return head + "".join(rows)


def draw(parts, path):
    """Draw the risk-coverage curves."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(parts), figsize=(4 * len(parts), 3.2), squeeze=False)
    for axis, (title, clips) in zip(axes[0], parts.items(), strict=True):
        table = np.concatenate(list(clips.values()))
        for name, doubt in zip(SCORES, (table[:, 2], -table[:, 3], table[:, 0]), strict=True):
            axis.plot(np.arange(1, len(table) + 1) / len(table), risks(doubt, table[:, 0] > WRONG), label=name)
        axis.set(title=f"{title}: {len(clips)} clips", xlabel="share that is kept", ylabel="wrong among them", ylim=(0, None))
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def draw_reliability(results, path):
    """Draw how often places are wrong over the chance of it that was predicted, and over 1 - confidence."""
    import matplotlib.pyplot as plt

    plt.rcParams |= {"svg.hashsalt": "tapetum", "svg.fonttype": "none"}
    figure, axes = plt.subplots(1, len(results), figsize=(2.4 * len(results), 2.7), sharey=True, squeeze=False)
    for axis, (part, each) in zip(axes[0], results.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for name, bins in each["reliability"].items():
            counts, means, shares = zip(*bins, strict=True)
            axis.plot(means, shares, linewidth=1, label="chance_wrong" if name == "chance" else "1 - confidence")
            axis.scatter(means, shares, s=60 * np.sqrt(np.array(counts) / sum(counts)))
        axis.set(title=f"{part}, {each['clips']} clips", xlabel="predicted", xlim=(0, 1), ylim=(0, 1))
    axes[0, 0].set_ylabel("share wrong")
    axes[0, 0].legend(loc="upper left", fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def clicks_needed(tracker, clip, rows, at):
    """Clicks on each point besides the first, places looked at for them, and whether enough of its marks are right then."""
    truth, shown = clip.xy[rows], clip.visible[rows]
    tracks = tracker.track(clip.video, np.column_stack([at, truth[np.arange(len(rows)), at]]).astype(np.float32))
    clicks, looks = np.zeros(len(rows), int), np.zeros(len(rows), int)
    while True:
        wrong = shown & ~(np.linalg.norm(tracks.xy - truth, axis=-1) <= WRONG)
        needed = np.flatnonzero((wrong.sum(1) > (1 - ENOUGH) * shown.sum(1)) & (clicks < MOST_CLICKS))
        if not len(needed):
            return clicks, looks, wrong.sum(1) <= (1 - ENOUGH) * shown.sum(1)
        corrections = []
        for row in needed:
            order = np.argsort(np.where(shown[row], -tracks.chance_wrong[row], np.inf), kind="stable")
            rank = int(wrong[row, order].argmax())
            corrections.append((row, order[rank], *truth[row, order[rank]]))
            looks[row] += rank + 1
        clicks[needed] += 1
        tracks = tracker.correct(clip.video, tracks, corrections)


def count_clicks(tracker, clips):
    """Clicks on the points of all clips that have two visible marks or more."""
    table = {}
    for name, clip_of in clips:
        clip, rows, at = clip_of()
        some = clip.visible[rows].sum(1) > 1
        each = clicks_needed(tracker, clip, rows[some], at[some])
        table[name] = dict(zip(("clicks", "looks", "right"), (values.tolist() for values in each), strict=True))
        print(name, table[name], flush=True)
    return clicks_summary(table)


def clicks_summary(table):
    """Counts over the points of all clips."""
    clicks, looks, right = (np.concatenate([each[key] for each in table.values()]) for key in ("clicks", "looks", "right"))
    return {
        "points": len(clicks),
        "need none": float((right & (clicks == 0)).mean()),
        "need at most two": float((right & (clicks <= 2)).mean()),
        "not right after the last click": int((~right).sum()),
        "mean clicks": float(clicks.mean()),
        "median over clips of the mean": float(np.median([np.mean(each["clicks"]) for each in table.values()])),
        "places looked at for a click": float(looks.sum() / max(clicks.sum(), 1)),
        "of clips": table,
    }


def clicks_table(counts, used=()):
    """Write counts of clicks in Markdown, of all clips and of those of which nothing was used."""
    both = {"all clips": counts}
    if used:
        both["the clean ones"] = clicks_summary({name: each for name, each in counts["of clips"].items() if name not in used})
    rows = {
        "clips, points": [f"{len(each['of clips'])}, {each['points']}" for each in both.values()],
        "points that need none": [f"{each['need none']:.1%}" for each in both.values()],
        "points that need at most two": [f"{each['need at most two']:.1%}" for each in both.values()],
        "clicks a point, mean over points": [f"{each['mean clicks']:.2f}" for each in both.values()],
        "clicks a point, median over clips": [f"{each['median over clips of the mean']:.2f}" for each in both.values()],
        "marked frames looked at for a click": [f"{each['places looked at for a click']:.2f}" for each in both.values()],
        f"points not right after {MOST_CLICKS} clicks": [f"{each['not right after the last click']}" for each in both.values()],
    }
    lines = [["", *both], ["---"] * (1 + len(both)), *([name, *cells] for name, cells in rows.items())]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def average_jaccard(tracks, clip):
    """Average Jaccard of tracks in all frames where a point is known to be visible, but for their queries'."""
    counted = clip.visible.any(0)
    queries = np.column_stack([np.cumsum(counted)[tracks.queries[:, 0].astype(int)] - 1, tracks.queries[:, 1:]])
    truth, visible, xy, shown = (each[:, counted] for each in (clip.xy, clip.visible, tracks.xy, tracks.visible))
    return tapvid_metrics(queries, ~visible, np.nan_to_num(truth), ~shown, xy, "strided")["average_jaccard"]


def next_clicks(tracks, clip, clicked, most):
    """Clicks on at most `most` points, each on its most doubted wrong mark that was not clicked: the coarsest errors first."""
    error = np.linalg.norm(tracks.xy - clip.xy, axis=-1)
    for limit in (WRONG, *(step for step in reversed(THRESHOLDS) if step < WRONG)):
        wrong = clip.visible & ~clicked & ~(tracks.visible & (error <= limit))
        if wrong.any():
            break
    doubt = np.where(wrong, tracks.chance_wrong, -1)
    rows = [row for row in np.argsort(-doubt.max(1), kind="stable")[:most] if wrong[row].any()]
    frames = doubt.argmax(1)
    return [(int(row), int(frames[row]), *clip.xy[row, frames[row]].tolist()) for row in rows]


def clicks_until(clip, at, track, correct, goal=GOAL):
    """Clicks so far and average Jaccard, before the first round of clicks on a clip and after each."""
    points = len(clip.xy)
    tracks = track(clip.video, np.column_stack([at, clip.xy[np.arange(points), at]]).astype(np.float32))
    clicked = np.arange(clip.xy.shape[1]) == np.asarray(at)[:, None]
    rounds = [(0, average_jaccard(tracks, clip))]
    while (left := CLICKS_A_POINT * points - rounds[-1][0]) and rounds[-1][1] < goal:
        corrections = next_clicks(tracks, clip, clicked, min(left, max(1, round(ROUND * points))))
        if not corrections:
            break
        clicked[[row for row, *_ in corrections], [frame for _, frame, *_ in corrections]] = True
        tracks = correct(clip.video, tracks, corrections)
        rounds.append((rounds[-1][0] + len(corrections), average_jaccard(tracks, clip)))
    return rounds


def to_goal(rounds, points):
    """Clicks a point until the goal, or the most if never; mean Jaccard over the clicks; whether the goal was reached."""
    clicks, jaccard = np.array(rounds).T
    reached = bool(jaccard[-1] >= GOAL)
    mean = np.interp(np.arange(1, CLICKS_A_POINT * points + 1), clicks, jaccard).mean()
    return (clicks[-1] / points if reached else CLICKS_A_POINT), mean, reached


def teach_summary(clips):
    """Clicks to the goal and mean Jaccard of each way of correcting; both beyond the first way's, with intervals over clips."""
    ways = list(next(iter(clips.values()))["ways"])
    drawn = np.random.default_rng(0).integers(len(clips), size=(10 * DRAWS, len(clips)))
    each = {way: np.array([to_goal(clip["ways"][way], clip["points"]) for clip in clips.values()]) for way in ways}
    summary = {}
    for way, (clicks, jaccard, reached) in ((way, values.T) for way, values in each.items()):
        summary[way] = {f"share with at most {k}": float(((reached > 0) & (clicks <= k)).mean()) for k in CLICKS_SHOWN}
        for name, values, first in zip(("clicks a point", "jaccard"), (clicks, jaccard), each[ways[0]].T, strict=False):
            beyond = values - first
            span = np.quantile(beyond[drawn].mean(1), (0.025, 0.975)).tolist()
            signs = [int((np.sign(beyond) == sign).sum()) for sign in (-1, 0, 1)]
            summary[way][name] = {
                "mean": float(values.mean()),
                "beyond": float(beyond.mean()),
                "interval": span,
                "signs": signs,
            }
    return summary


def teach_table(results):
    """Write clicks to the goal in Markdown."""
    ways, clips = results["ways"], results["of clips"].values()
    shares = {k: [f"{each[f'share with at most {k}']:.0%}" for each in ways.values()] for k in CLICKS_SHOWN}
    rows = {f"clips at {GOAL} with at most {k:g} clicks a point": cells for k, cells in shares.items()}
    titles = {"clicks a point": f"clicks a point, {CLICKS_A_POINT} where never", "jaccard": "average Jaccard, mean over clicks"}
    for name, title in titles.items():
        cells = [each[name] for each in ways.values()]
        rows[title] = [f"{cell['mean']:.3f}" for cell in cells]
        spans = ("{:+.3f} ({:+.3f} to {:+.3f})".format(cell["beyond"], *cell["interval"]) for cell in cells[1:])
        rows[f"{name}, beyond untaught"] = ["", *spans]
        rows[f"{name}, clips with less, as much, more"] = ["", *("{}, {}, {}".format(*cell["signs"]) for cell in cells[1:])]
    head = [f"{len(clips)} clips, {sum(clip['points'] for clip in clips)} points", *ways]
    lines = [head, ["---"] * len(head), *([name, *cells] for name, cells in rows.items())]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def draw_flagged(tracker, clips, path):
    """Draw the most doubted place of the most doubted points of clips, beside the place that was asked for."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2 * len(clips), FLAGGED, figsize=(2 * FLAGGED, 4.6 * len(clips)))
    for pair, (name, clip_of) in zip(axes.reshape(-1, 2, FLAGGED), clips, strict=True):
        clip, rows, at = clip_of()
        tracks = tracker.track(clip.video, np.column_stack([at, clip.xy[rows, at]]).astype(np.float32))
        places = [place for place in find_doubtful_places(tracks) if place.reason == "likely wrong"]
        worst = list({place.point: place for place in reversed(places)}.values())[::-1][:FLAGGED]
        for column in range(FLAGGED):
            for axis in pair[:, column]:
                axis.axis("off")
            if column >= len(worst):
                continue
            point, frame = worst[column].point, worst[column].frame
            about = f"chance {tracks.chance_wrong[point, frame]:.2f}, {tracks.error_px[point, frame]:.0f} px"
            first = f"{name}: asked, frame {int(at[point])}"
            for axis, t, title in zip(
                pair[:, column], (int(at[point]), frame), (first, f"frame {frame}: {about}"), strict=True
            ):
                x, y = tracks.xy[point, t]
                axis.imshow(clip.video[t])
                axis.scatter(x - 0.5, y - 0.5, s=90, facecolors="none", edgecolors="yellow", linewidths=1.5)
                axis.set(xlim=(x - CROP, x + CROP), ylim=(y + CROP, y - CROP))
                axis.set_title(title, fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--model", default="tapir-nano", help="the tracker whose tracks clips.py stored")
    parser.add_argument("--live", action="store_true", help="its chances in live frames")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--curves", type=Path)
    parser.add_argument("--labels", type=Path, help="what of a teacher's labels is wrong, chosen by confidence and by chance")
    parser.add_argument("--reliability", type=Path, help="draw it from --out, or from a folder")
    parser.add_argument("--videos", type=Path, nargs="*", default=[])
    parser.add_argument("--clicks", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--of", nargs="*", default=[], help="names of clips with marks; all without")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.append(str(EVIDENCE / "tap-doubt"))
    if given.videos:
        from clips import marked

        clips = [(Path(name).stem.removeprefix("marks-"), clip_of) for name, clip_of in marked(given.videos)]
        clips = [clip for clip in clips if not given.of or clip[0] in given.of]
        if given.clicks:
            counts = count_clicks(tapetum.load("tapir-nano"), clips)
            print(clicks_table(counts))
            given.clicks.write_text(json.dumps(counts, indent=1) + "\n")
        if given.picture:
            draw_flagged(tapetum.load("tapir-nano"), clips, given.picture)
        return
    if given.folder is None:
        draw_reliability(json.loads(given.out.read_text()), given.reliability)
        return
    parts = {part: stored_clips(given.folder, part, given.model, given.live) for part in PARTS}
    for part in [part for part in PARTS if not parts[part]]:
        print(f"{given.folder} has no clip of the part {part}: left out")
        del parts[part]
    results = {part: summary(clips) for part, clips in parts.items()}
    print(table(results))
    if given.out:
        given.out.write_text(json.dumps(results, indent=1) + "\n")
    if given.labels:
        counts = label_errors(parts)
        print(label_table(counts))
        given.labels.write_text(json.dumps(counts, indent=1) + "\n")
    if given.curves:
        draw(parts, given.curves)
    if given.reliability:
        draw_reliability(results, given.reliability)


if __name__ == "__main__":
    main()
