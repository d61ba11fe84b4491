"""Runs the Perception Test whole on episodes of the world, with every baseline, and says which claims hold.

    python evidence/perception-test/claims.py FOLDER [--tracked 16] [--only STEP ...] [--features NAMES] [--out DIR]

Makes the episodes (`HELD_OUT`, `LEARNED_FROM`), teaches localisers on those to learn from, has every baseline answer the
held-out ones by `tapetum.evaluate_perception_test`, and writes results.json and tables.md after every step. What follows things
(objects, points, grounded) answers the first `--tracked` of them, since that takes most of the time. All of it is found again
in FOLDER when the command is stopped and started again. `--only` does these steps alone; `--features` are those of the
localiser of actions, such as mcvit-films,motion:tapir-nano,log-mel.

Claims, each a difference on the held-out episodes with a bootstrap interval over whole videos (95 %, 2,000 draws; 500 of mAP),
made wider for their small number (`plus_minus.widened`): held where all of it is above 0, falsified where all is below, else
undecided. That the blind guesser is at chance is falsified where the interval of its accuracy excludes chance, else undecided:
no margin was set within which it would be held.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tapetum
from tapetum.app.score.evaluate.perception_test import PerceptionTestScores
from tapetum.bench.baselines import load_tracker
from tapetum.bench.perception_test import PromptedBoxes
from tapetum.metrics.localisation import localisation_scores
from tapetum.metrics.statistics import bootstrap_interval, judge_interval
from tapetum.systems.paligemma.answers import Answerer
from tapetum.systems.perception_test.annotations import read_annotations, read_json
from tapetum.systems.perception_test.evaluate import score
from tapetum.systems.perception_test.footage import VideoContent
from tapetum.systems.perception_test.grounded_baseline import GroundedWords
from tapetum.systems.perception_test.localiser.config import LocaliserConfig, LocaliserRun
from tapetum.systems.perception_test.predicting import predict_videos
from tapetum.systems.perception_test.predictions import read_predictions
from tapetum.systems.perception_test.scores import TaskScores
from tapetum.systems.perception_test.types import AnnotatedVideo
from tapetum.tracks.boxes import BoxTracks
from tapetum.train.launch_config import Launch
from tapetum.types import Segments
from tapetum_world.commands import scenes

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from plus_minus import widened

HELD_OUT = {"n": 56, "seed": 71, "size": 128, "seconds": 6.0, "frame_rate": 12.0, "points": 16}
LEARNED_FROM = (
    {"n": 17, "seed": 11, "size": 96, "seconds": 8.0, "frame_rate": 4.0, "points": 4},
    {"n": 20, "seed": 12, "size": 96, "seconds": 8.0, "frame_rate": 4.0, "points": 4},
    {"n": 17, "seed": 13, "size": 96, "seconds": 8.0, "frame_rate": 4.0, "points": 4},
    {"n": 14, "seed": 72, "size": 128, "seconds": 6.0, "frame_rate": 6.0, "points": 16},
)
"""Episodes, by the options of `tapetum scenes episodes`; half of what a second has to show is enough to learn from."""
RUNS = 5
"""Seeds of what is drawn by lot."""
LOCALISERS = {"sound": "log-mel", "action": "efficientnet-lite0,log-mel"}
NETWORK = LocaliserConfig(length=96, width=48, levels=4)
HEADLINE = {
    "object": "average_iou",
    "point": "average_jaccard",
    "action": "map",
    "sound": "map",
    "mcqa": "top1",
    "grounded": "hota",
}
Row = Mapping[str, Any]


class Study:
    """What is in the folder, and what is done with it."""

    def __init__(self, folder: Path, tracked: int):
        self.folder, self.tracked = folder, tracked
        self.rows: dict[str, dict[str, Any]] = {}
        self.tables: dict[str, Sequence[Row]] = {}
        self.notes = folder / "cost.json"
        self.cost: dict[str, float] = json.loads(self.notes.read_text()) if self.notes.exists() else {}
        """CPU seconds of this process in all calls, by what they went into."""

    def truth(self, split: str) -> Path:
        """Annotations of a split; of the split `tracked`, those of the first held-out videos."""
        return self.folder / ("valid" if split == "tracked" else split) / f"all_{split}.json"

    def take_some(self) -> None:
        """Write the annotations of the first held-out videos."""
        some = dict(list(read_json(self.truth("valid")).items())[: self.tracked])
        if not self.truth("tracked").exists() or read_json(self.truth("tracked")).keys() != some.keys():
            self.truth("tracked").write_text(json.dumps(some))

    def make(self) -> None:
        """Make the episodes, unless they are there; what is learned from is put into one folder."""
        episodes = scenes.episodes
        if not self.truth("valid").exists():
            self.timed("episodes held out", lambda: episodes(self.folder / "valid", split="valid", **HELD_OUT))
        truth: dict[str, Any] = {}
        for options in LEARNED_FROM:
            part = self.folder / f"train-{options['seed']}"
            if not (part / "all_train.json").exists():
                self.timed("episodes to learn from", lambda p=part, o=options: episodes(p, **o))
            for name, item in read_json(part / "all_train.json").items():
                other = f"{options['seed']}_{name}"
                truth[other] = {**item, "metadata": {**item["metadata"], "video_id": other}}
                for kind, ending in (("videos", "mp4"), ("audios", "wav")):
                    (self.folder / "train" / kind).mkdir(parents=True, exist_ok=True)
                    link = self.folder / "train" / kind / f"{other}.{ending}"
                    if not link.is_symlink():
                        link.symlink_to((part / kind / f"{name}.{ending}").absolute())
        if not self.truth("train").exists():
            self.truth("train").write_text(json.dumps(truth))

    def timed(self, what: str, work: Callable[[], Any]) -> Any:
        """Do it, and add up the CPU seconds of this process."""
        began = time.process_time()
        try:
            done = work()
        finally:
            self.cost[what] = round(self.cost.get(what, 0.0) + time.process_time() - began, 1)
            self.folder.mkdir(parents=True, exist_ok=True)
            self.notes.write_text(json.dumps(self.cost, indent=1))
        print(f"{what}: {self.cost[what]} CPU s", flush=True)
        return done

    def answer(self, name: str, tasks: Sequence[Any], model: str, seed: int = 0, of: str = "valid", **options: Any) -> None:
        """Have a baseline answer, and keep its scores."""
        given = {
            "videos": self.folder / "valid",
            "train": self.truth("train") if self.truth("train").exists() else None,
            **options,
        }
        found: PerceptionTestScores = self.timed(name, lambda: tapetum.evaluate_perception_test(
            task=tuple(tasks), annotations=self.truth(of), model=(model,),
            out=self.folder / "answers" / f"{name.replace(' ', '-')}-{seed}", seed=seed, **given,
        ))  # fmt: skip
        for each in (found, *found.others):
            self.keep(each.task, name, seed, each.scores, each.as_json() | {"predictions": str(each.predictions)})

    def answer_grounded(self) -> None:
        """Have words, and the lot, choose among the same things, which are found and followed once."""
        truth, train = read_annotations(self.truth("tracked")), read_annotations(self.truth("train"))
        detector, tracker = PromptedBoxes(Answerer.load("paligemma-nano-2")), load_tracker("tapir-nano")
        followed: dict[tuple[str, tuple[str, ...]], BoxTracks] = {}

        class Remembering(GroundedWords):
            def follow(self, words: tuple[str, ...], video: AnnotatedVideo, seen: VideoContent) -> BoxTracks:
                key = video.metadata.video_id, words
                if key not in followed:
                    followed[key] = super().follow(words, video, seen)
                return followed[key]

        for name, seeds in (("paligemma-nano-2", 1), ("random-object", RUNS)):
            for seed in range(seeds):
                chosen = "random" if name == "random-object" else "words"
                predictor = Remembering(detector, tracker, train, chosen=chosen, seed=seed)
                out = self.folder / "answers" / f"grounded-{name}-{seed}"
                files = self.timed(f"grounded {name}", lambda p=predictor, o=out, s=seed: predict_videos(
                    truth, lambda: [(("grounded",), p)], {"grounded": [p.chosen, s]}, o, videos=self.folder / "valid",
                ))  # fmt: skip
                scores = score("grounded", truth, files["grounded"])
                self.keep("grounded", name, seed, scores, {**scores.as_json(), "predictions": str(files["grounded"])})

    def keep(self, task: str, name: str, seed: int, scores: TaskScores, numbers: Mapping[str, Any]) -> None:
        """Note the scores of a baseline."""
        key = f"{task}: {name}" + (f" #{seed}" if seed else "")
        self.rows[key] = {"task": task, "model": name, "score": scores.numbers[HEADLINE[task]], "numbers": numbers}
        self.tables[key] = scores.table
        print(f"{key}: {self.rows[key]['score']:.4f}", flush=True)

    def teach(self, task: str, features: str) -> Path:
        """Teach a localiser; features other than the usual ones have a folder of their own."""
        run = LocaliserRun(
            data=str(self.truth("train")),
            videos=str(self.folder / "train"),
            task=task,  # pyright: ignore[reportArgumentType]
            features=features,
            frame_rate=1.5 if features == LOCALISERS[task] else 4.0,
            network=NETWORK,
            steps=250,
            batch_size=8,
            micro_batch=8,
        )
        own = "" if features == LOCALISERS[task] else "-" + features.replace(",", "-").replace(":", "-")
        out = self.folder / f"localiser-{task}{own}"
        self.timed(
            f"localiser {task}", lambda: tapetum.app.learn.train.train(run, Launch(out=out, threads=1, device="cpu"), print)
        )
        return out


def paired(one: Sequence[Row], other: Sequence[Row], value: str, item: str) -> tuple[np.ndarray, list[str]]:
    """Differences of two baselines item by item, and the video of each."""
    before = {(row["video"], row[item]): float(row[value]) for row in other}
    return np.array([float(row[value]) - before[row["video"], row[item]] for row in one]), [row["video"] for row in one]


def verdict(
    difference: float, interval: tuple[float, float], of: Mapping[str, float], drawn: int, chance: float | None = None
) -> dict[str, Any]:
    """Say whether a claim holds, by the interval of which so many videos were drawn."""
    low, high = widened(difference, interval, drawn)
    said = judge_interval((low, high)) if chance is None else "undecided" if low <= chance <= high else "falsified"
    ends = {"low": interval[0], "high": interval[1]}
    return {"claim": said, "value": difference, **ends, "wide": [low, high], "drawn": drawn, **of}


def video_mean(table: Sequence[Row], value: str) -> dict[str, float]:
    """The mean of each video's items."""
    found: dict[str, list[float]] = {}
    for row in table:
        found.setdefault(row["video"], []).append(float(row[value]))
    return {name: float(np.mean(values)) for name, values in found.items()}


def of_videos(study: Study, task: str, value: str, better: str, worse: str) -> dict[str, Any]:
    """Compare two baselines of objects or points: means of videos."""
    one, other = (video_mean(study.tables[f"{task}: {name}"], value) for name in (better, worse))
    gaps = np.array([one[name] - other[name] for name in one])
    scores = {better: float(np.mean([*one.values()])), worse: float(np.mean([*other.values()]))}
    return verdict(float(gaps.mean()), bootstrap_interval(gaps), {**scores, "videos": len(gaps)}, len(gaps))


def as_segments(rows: Sequence[Any]) -> Segments:
    """Give segments of the truth, or predicted ones, as `metrics.localisation` wants them."""
    return Segments(
        start_s=np.array([row.start_s for row in rows]),
        end_s=np.array([row.end_s for row in rows]),
        labels=[str(row.label_id) for row in rows],
        scores=np.array([getattr(row, "score", 1.0) for row in rows]),
    )


def of_segments(study: Study, truth: Mapping[str, AnnotatedVideo], task: str) -> dict[str, Any]:
    """Compare localiser and prior by mAP, over videos drawn anew."""
    names = [name for name, video in truth.items() if video.of(task)]
    said = {}
    for model in ("localiser", "prior"):
        file = Path(study.rows[f"{task}: {model}"]["numbers"]["predictions"])
        said[model] = read_predictions(task, read_json(file), truth).videos
    true = [as_segments(truth[name].of(task)) for name in names]
    told = {model: [as_segments(videos.get(name, [])) for name in names] for model, videos in said.items()}

    def gap(numbers: np.ndarray) -> float:
        drawn = numbers.astype(int).tolist()
        scores = {
            model: localisation_scores(
                {i: rows[k] for i, k in enumerate(drawn)}, {i: true[k] for i, k in enumerate(drawn)}, recalls=()
            ).map
            for model, rows in told.items()
        }
        return scores["localiser"] - scores["prior"]

    every = np.arange(len(names), dtype=float)
    scores = {model: study.rows[f"{task}: {model}"]["score"] for model in ("localiser", "prior")}
    interval = bootstrap_interval(every, groups=names, statistic=gap, draws=500)
    return verdict(gap(every), interval, {**scores, "videos": len(names), "segments": sum(map(len, true))}, len(names))


def of_answers(study: Study) -> dict[str, Any]:
    """Compare grounded answers with a random thing, the mean over draws."""
    wanted = study.tables["grounded: paligemma-nano-2"]
    gaps, videos = paired(wanted, study.tables["grounded: random-object"], "hota", "question")
    for seed in range(1, RUNS):
        gaps = gaps + paired(wanted, study.tables[f"grounded: random-object #{seed}"], "hota", "question")[0]
    gaps = gaps / RUNS
    score = float(np.mean([row["hota"] for row in wanted]))
    of = {"paligemma-nano-2": score, "random-object": score - float(gaps.mean()), "questions": len(gaps), "draws": RUNS}
    return verdict(float(gaps.mean()), bootstrap_interval(gaps, groups=videos), of, len(set(videos)))


def at_chance(study: Study, model: str, runs: int, truth: Mapping[str, AnnotatedVideo]) -> dict[str, Any]:
    """Compare the accuracy of a guesser with chance."""
    tables = [study.tables[f"mcqa: {model}" + (f" #{seed}" if seed else "")] for seed in range(runs)]
    right = np.mean([[float(row["right"]) for row in table] for table in tables], axis=0)
    chance = float(np.mean([1 / len(q.options) for video in truth.values() for q in video.questions]))
    videos = [row["video"] for row in tables[0]]
    of = {"chance": chance, "questions": len(right), "draws": runs}
    return verdict(float(right.mean()), bootstrap_interval(right, groups=videos), of, len(set(videos)), chance)


def above_chance(study: Study, model: str, truth: Mapping[str, AnnotatedVideo]) -> dict[str, Any]:
    """Compare the accuracy of a model with chance, question by question."""
    chances = {(name, question.id): 1 / len(question.options) for name, video in truth.items() for question in video.questions}
    table = study.tables[f"mcqa: {model}"]
    gaps = np.array([float(row["right"]) - chances[row["video"], row["question"]] for row in table])
    of = {model: float(np.mean([float(row["right"]) for row in table])), "questions": len(gaps)}
    videos = [row["video"] for row in table]
    return verdict(float(gaps.mean()), bootstrap_interval(gaps, groups=videos), of, len(set(videos)))


def claims_of(study: Study, truth: Mapping[str, AnnotatedVideo]) -> dict[str, Any]:
    """Judge the claims of which all baselines have answered."""
    wanted: dict[str, tuple[tuple[str, ...], Callable[[], dict[str, Any]]]] = {
        "the tracker carries boxes better than they stay": (
            ("object: static", "object: tapir-nano"), lambda: of_videos(study, "object", "iou", "tapir-nano", "static"),
        ),
        "the tracker follows points better than they stay": (
            ("point: static", "point: tapir-nano"), lambda: of_videos(study, "point", "average_jaccard", "tapir-nano",
            "static"),
        ),
        "the localiser of actions beats prior windows": (
            ("action: prior", "action: localiser"), lambda: of_segments(study, truth, "action"),
        ),
        "the localiser of sounds beats prior windows": (
            ("sound: prior", "sound: localiser"), lambda: of_segments(study, truth, "sound"),
        ),
        "grounded answers beat boxes of a random object": (
            ("grounded: paligemma-nano-2", f"grounded: random-object #{RUNS - 1}"), lambda: of_answers(study),
        ),
        "the model of video answers above chance": (
            ("mcqa: mcvit-films",), lambda: above_chance(study, "mcvit-films", truth),
        ),
        "the blind guesser is at chance": (
            (f"mcqa: frequency all-shot #{RUNS - 1}",), lambda: at_chance(study, "frequency all-shot", RUNS, truth),
        ),
    }  # fmt: skip
    return {claim: judge() for claim, (needs, judge) in wanted.items() if all(need in study.tables for need in needs)}


def judged_again(results: Mapping[str, Any]) -> dict[str, Any]:
    """Judge the claims of a results.json by the ends that it has, which were drawn from all videos or from those followed."""
    episodes, claims = results["episodes"], {}
    for name, found in results["claims"].items():
        drawn = found.get("drawn", found.get("videos", episodes["tracked" if "grounded" in name else "held_out"]))
        drawn = drawn["n"] if isinstance(drawn, Mapping) else drawn
        of = {key: value for key, value in found.items() if key not in ("claim", "value", "low", "high", "wide", "drawn")}
        claims[name] = verdict(found["value"], (found["low"], found["high"]), of, drawn, found.get("chance"))
    return {**results, "claims": claims}


def claims_table(claims: Mapping[str, Any]) -> str:
    """Write in Markdown which claims hold."""
    lines = ["| claim | | difference (95 %) | of what |", "|---|---|---|---|"]
    for name, found in claims.items():
        known = {"claim", "value", "low", "high", "wide", "drawn"}
        of = ", ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{v} {k}" for k, v in found.items() if k not in known)
        low, high = found["wide"]
        lines.append(f"| {name} | **{found['claim']}** | {found['value']:.3f} ({low:.3f} to {high:.3f}) | {of} |")
    return "\n".join(lines)


def tables(results: Mapping[str, Any]) -> str:
    """Say in Markdown which claims hold, and what every baseline scores."""
    lines = [claims_table(results["claims"])]
    lines += ["", "| task | baseline | score |", "|---|---|---|"]
    drawn: dict[tuple[str, str], list[float]] = {}
    for row in results["scores"].values():
        drawn.setdefault((row["task"], row["model"]), []).append(row["score"])
    lines += [f"| {task} | {model} | {float(np.mean(scores)):.3f} |" for (task, model), scores in sorted(drawn.items())]
    return "\n".join(lines)


def write(study: Study, truth: Mapping[str, AnnotatedVideo], out: Path) -> None:
    """Write what is known so far."""
    claims = claims_of(study, truth)
    for name, found in claims.items():
        print(f"{found['claim']:10} {name}: {found['value']:.4f} ({found['low']:.4f} to {found['high']:.4f})", flush=True)
    results = {
        "episodes": {"held_out": HELD_OUT, "learned_from": LEARNED_FROM, "tracked": study.tracked},
        "claims": {name: {key: value for key, value in found.items() if key != "claim"} for name, found in claims.items()},
        "scores": {key: {name: value for name, value in row.items() if name != "numbers"} for key, row in study.rows.items()},
        "numbers": {
            key: {k: v for k, v in row["numbers"].items() if k != "predictions"}
            for key, row in study.rows.items()
            if "#" not in key
        },
        "cpu_seconds": study.cost,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "tables.md").write_text(tables(results | {"claims": claims}) + "\n")


def main() -> None:
    """Make, teach, answer, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tracked", type=int, default=16)
    parser.add_argument("--only", nargs="+", default=[], metavar="STEP")
    parser.add_argument("--features", default=LOCALISERS["action"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    study = Study(given.folder, given.tracked)
    study.make()
    study.take_some()
    truth = read_annotations(study.truth("valid"))

    def guess() -> None:
        for shots, name in ((0, "frequency 0-shot"), (8, "frequency 8-shot"), (-1, "frequency all-shot")):
            for seed in range(RUNS):
                study.answer(name, ["mcqa"], "frequency", seed, shots=shots)

    def localise(task: str) -> None:
        study.answer("localiser", [task], str(study.teach(task, LOCALISERS["sound"] if task == "sound" else given.features)))

    steps: dict[str, Callable[[], None]] = {
        "static": lambda: study.answer("static", ["object", "point"], "static", of="tracked"),
        "prior": lambda: study.answer("prior", ["action", "sound"], "prior"),
        "frequency": guess,
        "sound": lambda: localise("sound"),
        "paligemma-nano-2": lambda: study.answer("paligemma-nano-2", ["mcqa"], "paligemma-nano-2", frames=1),
        "mcvit-films": lambda: study.answer("mcvit-films", ["mcqa"], "mcvit-films"),
        "tapir-nano": lambda: study.answer("tapir-nano", ["object", "point"], "tapir-nano", of="tracked"),
        "grounded": study.answer_grounded,
        "action": lambda: localise("action"),
    }
    if unknown := set(given.only) - steps.keys():
        parser.error(f"--only {' '.join(unknown)}: there are {', '.join(steps)}")
    for step in given.only or steps:
        steps[step]()
        write(study, truth, given.out or given.folder / "out")


if __name__ == "__main__":
    main()
