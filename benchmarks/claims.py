"""Verdicts in the pages of evidence, computed from what the runs left in evidence/.

    python benchmarks/claims.py            # writes the tables anew, between <!-- table NAME --> and <!-- end of table -->
    python benchmarks/claims.py --check    # exits with 1 where a page has another

What a claim rests on stands in the script of its study (`parts_of`), how a mean is judged in `plus_minus.py`. The evidence
lacks the scores of single images and videos behind the bootstraps of PaliGemma's transfer and of the Perception Test, of which
it has the ends alone, and what the study of FLOPs counted on each image.
"""

import csv
import importlib.util
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import Any

import tap_doubt
from plus_minus import (
    SEEDS,
    Part,
    as_many,
    detectable_difference,
    difference,
    run_of,
    seeds_of,
    verdict,
    widened,
    with_deviation,
    with_interval,
)
from tapetum.metrics.statistics import judge_interval
from tapetum.systems.pretraining import study as pretraining_study
from tapetum.systems.pretraining.study.fronts import group_rows
from tapetum.systems.pretraining.study.plan import PlanSource

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs" / "tools"))

import page_tables
from page_tables import write_table

EVIDENCE = ROOT / "evidence"


def study_script(study: str, name: str = "claims") -> ModuleType:
    """Load the script `evidence/STUDY/NAME.py` as a module of its own: most studies call theirs `claims.py`."""
    folder, unique = str(EVIDENCE / study), f"{study}/{name}"
    spec = importlib.util.spec_from_file_location(unique, f"{folder}/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[unique] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, folder)  # a script imports the others of its folder
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


adapter_renderings = study_script("adapters", "renderings")
adapter_tables = study_script("adapters")
live_browser = study_script("live", "browser")
live_cpp = study_script("live", "cpp")
live_recent = study_script("live", "recent")
flops_claims = study_script("flops-study")
hip_claims = study_script("hip-claims")
hip_power = study_script("hip-claims", "power")
longvideo_claims = study_script("longvideo")
longvideo_cost = study_script("longvideo", "cost")
longvideo_recall = study_script("longvideo", "recall")
odin_claims = study_script("odin")
paligemma_transfer_report = study_script("paligemma-transfer", "transfer_report")
perception_baselines = study_script("perception-test")
pretraining_compare = study_script("pretraining-comparison", "compare")
pretraining_dry = study_script("pretraining-speed", "dry")
pretraining_losses = study_script("pretraining-losses", "public_code")
pretraining_onward = study_script("pretraining-comparison", "onward")
pretraining_seeds = study_script("pretraining-small-batch", "seeds")
real_marks = study_script("real-marks", "real_marks")
tap3d_evidence = study_script("tapvid3d")

STUDIES = {
    "small": ("flops-study", Path(pretraining_study.__file__).with_name("plans") / "small.toml"),
    "longer transfer": ("flops-study/streets", EVIDENCE / "flops-study" / "streets" / "streets.toml"),
    "four sources": ("flops-study/sources", EVIDENCE / "flops-study" / "sources" / "sources.toml"),
    "dense probe": ("flops-study/probe", EVIDENCE / "flops-study" / "probe" / "probe.toml"),
}
RECALL = {
    "C1": "k-means and coreset beat random memories of the same number by 10 points",
    "C2": "a memory is needed: k-means, coreset and joint 30 points above streaming",
    "C4": "of twice the length 90 % is kept",
    "cost": "at equal cost k-means is 10 points above random memories, 30 above streaming",
}
EVENTS = {
    "L1": "dropping 75 % of the tokens stores a third or less for backward",
    "L2": "joint attention loses at most 3 points by it, factorised twice as much",
    "L3": "the last four layers store 3 times less, and cost at most 1 point",
    "L4": "longer videos want a tuning, worth 10 points of order",
    "L5": "dropping at random beats coarse tubelets",
    "M": "on ordered events k-means memories are 10 points above random ones, 30 above none",
}
ODIN = {
    "T1": "best overlap rises by 0.10",
    "T2": "as good as squares and Felzenszwalb's segments, 0.03 from the true masks",
    **{f"T3 by {name}": "more than a discovery network that stays" for name in odin_claims.NAMES.values()},
    "T4": "it minds K little",
    "T5": "more than k-means of colours, positions, both",
    "T6": "J of masks carried 0.10 above the untrained network",
    "start": "best overlap above the encoder's own",
    "real": "on streets, more than k-means of colours, positions, both",
}
ODIN_RUNS = {
    "apart": "apart",
    "apart, 3,000 steps": "apart-3000",
    "shared": "shared",
    "shared, 12,000 steps": "shared-12000",
    "apart, from resnet-nano": "trained-apart",
    "shared, from resnet-nano": "trained-shared",
}
HIP = {
    "C1": "as accurate as a flat Perceiver of its parameters, within a point, for a third of its multiplications",
    "C2": "auto-encoding makes learned codes work and gives Fourier codes nothing",
    "C3 in order": "codes become spatial, in the order of the image",
    "C3 permuted": "codes become spatial, pixels permuted",
    "C4": "the order of the pixels helps, by less than 10 points",
}


def read(name: str) -> Any:
    """Read a file of the evidence."""
    return json.loads((EVIDENCE / name).read_text(encoding="utf-8"))


def rows_of(claims: Mapping[str, Sequence[Part]], says: Mapping[str, str], *more: str) -> list[tuple[str, ...]]:
    """Make a row of each claim: name and text, verdict, what it rests on."""
    return [
        (f"{name} {says[name]}", *more, f"**{verdict(parts)}**", "; ".join(map(str, parts))) for name, parts in claims.items()
    ]


def longvideo() -> str:
    """Write the claims of LongViViT and MC-ViT."""
    cost = read("longvideo/cost.json")
    found = longvideo_cost.claim(cost["forms"], cost["streams"], Namespace(**cost["settings"]))
    rows = rows_of(longvideo_recall.parts_of(read("longvideo/recall.json")["scores"]), RECALL)
    wants = ", ".join(name for name, holds in found["holds"].items() if holds)
    rows += [
        ("C3 cost grows as the equations say; with a cap a stream stays flat", f"**{found['C3']}**", f"{wants}: as wanted")
    ]
    for name in ("claims", "claims-tuning", "claims-memories", "claims-images"):
        results = read(f"longvideo/{name}.json")
        parts = longvideo_claims.parts_of(results["scores"], results["stored"])
        start = ", from an image encoder" if results["settings"].get("image_steps") else ""
        says = {claim: text + start for claim, text in EVENTS.items()}
        rows += rows_of({claim: parts[claim] for claim in results["settings"]["claims"]}, says)
    return write_table(("claim", "verdict", "mean of the seeds (95 %)"), sorted(rows))


def odin() -> str:
    """Write Odin's claims, from random weights."""
    found = {name: odin_claims.parts_of(read(f"odin/claims-{file}.json"), 3) for name, file in ODIN_RUNS.items()}
    rows = [
        row
        for claim in ODIN
        for name, parts in found.items()
        if claim in parts
        for row in rows_of({claim: parts[claim]}, ODIN, name)
    ]
    return write_table(("claim", "colours, runs", "verdict", "mean of the seeds (95 %)"), rows)


def odin_scores() -> str:
    """Write the mean scores of the arms of Odin's study, in both kinds of scene."""
    cells: dict[str, dict[str, str]] = {}
    for name, file in ODIN_RUNS.items():
        colours, _, run = name.partition(", ")
        for arm, scores in odin_claims.mean_scores(read(f"odin/claims-{file}.json")).items():
            learns = arm not in odin_claims.PLAIN and (arm, run[-5:]) != ("untrained", "steps")
            cells.setdefault(f"{arm}, {run}" if run and learns else arm, {})[colours] = scores
    kinds = "apart", "shared"
    header = "arm", *(f"{kind}: ABO, OR, linear mean IoU, J" for kind in kinds)
    return write_table(header, [(arm, *(each.get(kind, "") for kind in kinds)) for arm, each in cells.items()])


def hip() -> str:
    """Write HiP's claims."""
    studies = read("hip-claims/results.json")
    found = {name: hip_claims.parts_of(studies[name]) for name in ("digits", "cifar10")}
    rows = [
        row
        for claim in HIP
        for name, parts in found.items()
        if claim in parts
        for row in rows_of({claim: parts[claim]}, HIP, name)
    ]
    return write_table(("claim", "data", "verdict", "mean of the seeds (95 %)"), rows)


def adapters() -> str:
    """Write what is claimed of adapters beside frozen trunks."""
    parts = adapter_tables.parts_of(adapter_tables.chosen(read("adapters/metaworld.json")))
    rows = [(trunk, says, f"**{verdict(each)}**", "; ".join(map(str, each))) for (trunk, says), each in parts.items()]
    return write_table(("trunk", "claim", "verdict", "mean of the groups (95 %)"), rows)


def adapters_renderings() -> str:
    """Write what ten episodes in another rendering are worth, and T-E's rule by task."""
    rows = read("adapters/renderings.json")["rows"]
    header = "task", "trunk", "seeds", "success there", "held-out error there", "error in the usual rendering"
    judged = [
        (f"T-E on {task}", f"**{verdict(parts)}**", "; ".join(map(str, parts)))
        for task, parts in adapter_renderings.parts_of(rows).items()
    ]
    scores = write_table(header, adapter_renderings.table_rows(rows))
    return scores + "\n" + write_table(("claim", "verdict", "mean of the seeds (95 %)"), judged)


def adapters_painted() -> str:
    """Write T-E's rule on the painted task, after 200 steps and after 1,000; full fine-tuning learned for 200 alone."""
    runs, rates = read("adapters/reach-disc.json"), ("adapters=0.01", "full=0.001")
    short, long = (adapter_tables.chosen(runs, steps, rates) for steps in (200, 1000))
    full = [row for row in short if row["regime"] == "full"]
    rows = [
        (f"T-E, {steps} steps", f"**{verdict(parts)}**", "; ".join(map(str, parts)))
        for steps, of in (("200", short), ("1,000", long + full))
        for parts in adapter_renderings.parts_of(of).values()
    ]
    return write_table(("claim", "verdict", "mean of the seeds (95 %)"), rows)


def adapter_runs(robots: bool = True, painted: bool = True) -> list[Any]:
    """Choose the runs of both studies that their tables are of: Meta-World's, and those of the painted task at its own rate."""
    runs = adapter_tables.chosen(read("adapters/metaworld.json")) if robots else []
    rates = "adapters=0.01", "full=0.001"
    return runs + (adapter_tables.chosen(read("adapters/reach-disc.json"), rates=rates) if painted else [])


def transfer() -> str:
    """Write the table of PaliGemma's transfer."""
    results = read("paligemma-transfer/results.json")
    return paligemma_transfer_report.table(results["claims"], results["runs"]) + "\n"


def perception(name: str) -> str:
    """Write the claims of one run of the Perception Test's baselines."""
    results = perception_baselines.judged_again(read(f"perception-test/{name}.json"))
    return perception_baselines.claims_table(results["claims"]) + "\n"


@cache
def study_claims(folder: str, plan: Path) -> Mapping[str, Any]:
    """Judge the claims of a study by its table of points; the part of the test images is left out, for want of counts."""
    rows = [json.loads(line) for line in (EVIDENCE / folder / "points.jsonl").read_text(encoding="utf-8").splitlines()]
    claims = flops_claims.judge_measured(PlanSource(plan=plan.read_text()).read(), group_rows(rows))
    return {claim.name: claim for claim in claims}


def study() -> str:
    """Write the claims of the study of FLOPs, in its four runs."""
    found = {name: study_claims(folder, plan) for name, (folder, plan) in STUDIES.items()}
    rows = [
        (f"{name}: {claim.says}", *(f"**{claims[name].verdict}**" for claims in found.values()))
        for name, claim in found["small"].items()
    ]
    return write_table(("claim", *found), rows)


def study_findings() -> str:
    """Write what those rest on that compare a few settings, each with 95 % for all of a claim together."""
    rows = [
        (name, run, claim.finding)
        for run, claims in (({name: study_claims(*STUDIES[name]) for name in STUDIES}).items())
        for name, claim in claims.items()
        if claim.finding != flops_claims.NONE and len(claim.finding) < 800
    ]
    return write_table(("claim", "run", "finding"), sorted(rows, key=lambda row: int(row[0][1:])))


def power() -> str:
    """Write what so many seeds tell apart, in deviations of the seeds, by how many comparisons a claim has."""
    counts, questions = (2, 3, 4, 6, 10, 20), (1, 3, 14)
    rows = [(str(q), *(f"{detectable_difference(1.0, 0.0, n, q):.2f}" for n in counts)) for q in questions]
    return write_table(("comparisons", *(f"{n} seeds" for n in counts)), rows)


def hip_power_table() -> str:
    """Write what HiP's runs tell apart."""
    return hip_power.table(read("hip-claims/results.json"))


def bootstrapping() -> str:
    """Write what bootstrapping brings the bundled tracker, with footage and without."""
    runs = read("bootstrap/results.json")
    keys = {
        "average_jaccard": "AJ",
        "best_average_jaccard": "AJ, best threshold",
        "followed_jaccard": "AJ where Lucas-Kanade follows",
    }
    arms = {
        "bootstrapped": ("", None),
        "bootstrapped without footage": (" without footage", None),
        "footage": ("", " without footage"),
    }
    rows = []
    for polished in ("", " polished"):
        for told, (arm, other) in arms.items():
            for key, name in keys.items():
                one = [runs[f"seed {seed}{arm}{polished}"][key] for seed in SEEDS]
                base = [runs[f"seed {seed}{other}{polished}" if other else f"start{polished}"][key] for seed in SEEDS]
                part = Part(name, [a - b for a, b in zip(one, base, strict=True)], digits=4)
                rows.append((f"{told} gains{',' * bool(polished)}{polished}", f"**{part.verdict}**", str(part)))
    return write_table(("claim", "verdict", "mean of the seeds (95 %)"), rows)


BOOTSTRAP_SCORES = {
    "average Jaccard": "average_jaccard",
    "best threshold": "best_average_jaccard",
    "position": "average_pts_within_thresh",
    "occlusion": "occlusion_accuracy",
    "back within 4 px": "cycle_back_within_4px",
    "followed: position": "followed_position",
    "average Jaccard there": "followed_jaccard",
}


BOOTSTRAP_ARMS = {
    "start": ["start"],
    "without footage": [f"seed {seed} without footage" for seed in SEEDS],
    "with footage": [f"seed {seed}" for seed in SEEDS],
}
NINE_VIDEOS = BOOTSTRAP_ARMS | {"without footage": ["seed 1 without footage"], "with footage": ["seed 1", "seed 2"]}
CUT_OUTS = "cut-outs as footage, seed 1"


def bootstrap_scores(runs: Mapping[str, Any], arms: Mapping[str, Sequence[str]] = BOOTSTRAP_ARMS) -> str:
    """Write the scores before and after bootstrapping, with footage and without: means and deviations of the seeds."""
    columns = {name: key for name, key in BOOTSTRAP_SCORES.items() if key in runs["start"]}
    rows = []
    for polished in ("", " polished"):
        for name, names in arms.items():
            seeds = [runs[f"{each}{polished}"] for each in names]
            scores = (with_deviation([run[key] for run in seeds], 3) for key in columns.values())
            cycle = with_deviation([as_many(runs[f"start{polished}"], run)[0] for run in seeds], 2)
            rows.append((f"{name}{polished and ','}{polished}", *scores, f"{cycle} px"))
    return write_table(("", *columns, "cycle error, as many as the start"), rows)


def bootstrap_ablations() -> str:
    """Write what each ingredient of bootstrapping is worth: the change without it, video by video, by the seed."""
    runs, rows = read("bootstrap-ablations/results.json"), []
    columns = {name: key for name, key in BOOTSTRAP_SCORES.items() if not key.startswith(("cycle", "followed_position"))}
    for name, run in runs.items():
        whole = runs.get(name[:6], run)
        change = "" if run is whole else with_interval(difference(whole, run), 4)
        rows.append((name, *(f"{run[key]:.4f}" for key in columns.values()), change))
    changes = [difference(runs[f"seed {seed}"], runs[f"seed {seed} without confident"]).mean() for seed in SEEDS[1:]]
    part = Part("mean of the seeds", changes, below=True, digits=4)
    rows.append(("seeds 2 and 3 without confident", *[""] * len(columns), f"**{part.verdict}**: {part}"))
    return write_table(("", *columns, "change of average Jaccard"), rows)


def marks(*names: str) -> str:
    """Write what trackers score on real marks, on all clips and on the clean ones."""
    return real_marks.table(read("real-marks/results.json"), names)


def clicks_for_marks() -> str:
    """Write how many clicks the marked clips take, all of them and the clean ones."""
    return tap_doubt.clicks_table(read("tap-doubt/clicks.json"), {Path(clip).stem for clip in real_marks.USED})


def study_points(folder: str, column: str, *scores: str) -> str:
    """Write the scores of a study's points in %, means over seeds; a column by budget, or by source at the budget of all."""
    lines = (EVIDENCE / folder / "points.jsonl").read_text(encoding="utf-8").splitlines()
    points = [json.loads(line) for line in lines]
    others = [row for row in points if row["variant"] != "curated"]
    if column == "budget":
        points = [row for row in points if row["variant"] == "curated"]
    else:
        of_all = {key: {row[key] for row in others} | {0.0} for key in ("size", "budget", "seed")}  # 0: untrained
        points = [row for row in points if all(row[key] in values for key, values in of_all.items())]
    groups: dict[tuple[str, str], dict[float | str, list[Any]]] = {}
    for row in sorted(points, key=lambda row: row["size"]):
        groups.setdefault((row["size"], row["method"]), {}).setdefault(row[column], []).append(row)
    columns = list(dict.fromkeys(row[column] for row in sorted(points, key=lambda row: row["budget"])))

    def cell(runs: Sequence[Any]) -> str:
        means = ", ".join(f"{100 * fmean(run[key] for run in runs):.1f}" for key in scores if runs)
        return f"{means} ({len(runs)})" if runs else ""

    header = f"{', '.join(scores)}, % (seeds)", *(f"{each:.3g} FLOP" if column == "budget" else str(each) for each in columns)
    return write_table(header, [(", ".join(name), *(cell(by.get(c, ())) for c in columns)) for name, by in groups.items()])


def hip_scores() -> str:
    """Write accuracies of HiP's arms in %, the error of masked pixels, and cosines of neighbouring codes, over the seeds."""
    studies, rows = read("hip-claims/results.json"), []
    for data in ("digits", "cifar10"):
        for arm in ("learned", "fourier", "random", "permuted"):
            arms = f"{arm}-none", f"{arm}-mae", "mae-learned-permuted" if arm == "permuted" else f"mae-{arm}"
            seeds = seeds_of(studies[data], *arms)
            none, mae, codes = ([run_of(studies[data], each, seed) for seed in seeds] for each in arms)
            accuracies = [[100 * run["accuracy"] for run in runs] for runs in (none, mae)]
            gains = [b - a for a, b in zip(*accuracies, strict=True)]
            cosines = (fmean(run[f"cosine_{way}"] for run in codes) for way in ("horizontal", "vertical"))
            masked = fmean(run["masked_mse"] for run in codes)
            rows.append(
                (
                    data,
                    arm,
                    str(len(seeds)),
                    *(with_deviation(v, 1) for v in (*accuracies, gains)),
                    f"{masked:.3f}",
                    ", ".join(f"{c:.2f}" for c in cosines),
                )
            )
    header = "data", "codes", "seeds", "no MAE", "MAE", "gain", "masked MSE", "cosine, horizontal and vertical"
    return write_table(header, rows)


def hip_cost() -> str:
    """Write FLOPs, CPU time and memory of a forward pass of HiP and of the flat Perceiver IO, by the side of the image."""
    rows = [
        (
            *key.split(),
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['flops'] / 1e9:.2f}",
            f"{row['cpu']:.2f}",
            f"{row['peak'] / 2**20:.0f}",
        )
        for key, row in read("hip-speed/results.json").items()
    ]
    return write_table(("network", "side", "parameters", "GFLOPs", "CPU s", "peak MiB"), rows)


def recalled() -> str:
    """Write what each form of memory recalls, over the seeds."""
    forms = read("longvideo/recall.json")["scores"] | read("longvideo/recall-late.json")["scores"]
    rows = [
        (
            form,
            f"{runs[0]['multiply_adds'] / 1e6:.2f}",
            *(with_deviation([100 * run["accuracy"][length] for run in runs], 1) for length in ("5", "10")),
            ", ".join(f"{100 * run['accuracy']['5']:.1f}" for run in runs),
            f"{fmean(run['cpu_s'] for run in runs):.0f}",
        )
        for form, runs in forms.items()
    ]
    return write_table(("form", "M multiply-adds", "right, %", "of twice the length", "by seed", "CPU s to train"), rows)


def long_cost() -> str:
    """Write the cost of the forms of long video by length, at its least of three calls."""
    forms = read("longvideo/cost.json")["forms"]
    rows = [
        (str(each[0]["frames"]), *(f"{e['flops'] / 1e9:.2f}, {e['cpu_s']:.3f}, {e['grown_mib']:.1f}" for e in each))
        for each in zip(*forms.values(), strict=True)
    ]
    return write_table(("frames; GFLOPs, CPU s, peak in MiB", *forms), rows)


def events() -> str:
    """Write what networks find of ordered events, over the seeds."""
    rows = [
        (name.replace("claims-", "").replace("claims", "short runs"), network, *scores)
        for name in ("claims", "claims-images", "claims-tuning", "claims-memories")
        for network, runs in read(f"longvideo/{name}.json")["scores"].items()
        for scores in [[with_deviation([100 * run[key] for run in runs], 1) for key in ("order", "found", "words")]]
    ]
    return write_table(("runs", "network", "right order, %", "caption found, %", "words, %"), rows)


def without_looking() -> str:
    """Write how well guessers that see no image answer the questions about scenes."""
    found = read("scenes-blind/results.json")
    first = next(iter(found.values()))
    cell = "{accuracy:.3f} ({z:+.1f})".format
    rows = [
        (name, f"{part['n']:,}", f"{part['chance']:.3f}", *(cell(**each[name]) for each in found.values()))
        for name, part in first.items()
    ]
    return write_table(("template", "questions", "chance", *found), rows)


def look_here_next() -> str:
    """Write what clicks on the page bring at the places of its list and at random ones: all sessions, and those with rows."""
    found, kept = read("web-clicks/results.json"), dict[tuple[str, ...], list[tuple[int, float]]]()
    with (EVIDENCE / "web-clicks" / "courses.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            course = kept.setdefault((row["way"], row["clip"], row["seed"], row["points"]), [])
            course.append((int(row["clicks"]), float(row["average_jaccard"])))

    def kept_after(way: str, clicks: int) -> list[float]:
        courses = [(int(name[3]), course) for name, course in sorted(kept.items()) if name[0] == way]
        return [[score for at, score in course if at <= clicks * points][-1] for points, course in courses]

    cell, rows = "{:.3f} ({:.3f} to {:.3f})".format, []
    for clicks, more in found["higher_average_jaccard_by_look"].items():
        said = judge_interval(widened(more["mean"], more["interval"], found["clips"]))
        scores = (found[way]["average_jaccard"][clicks] for way in ("look", "random"))
        gains = [one - other for one, other in zip(*(kept_after(way, int(clicks)) for way in ("look", "random")), strict=True)]
        part = Part(f"{len(gains)} clips", gains, digits=3)
        cells = (cell(each["mean"], *each["interval"]) for each in (*scores, more))
        rows.append((clicks, *cells, f"**{said}**", f"**{part.verdict}**: {part}"))
    ways = '"look here next"', "random places"
    return write_table(("clicks a point", *ways, "difference", "verdict", "difference by the rows that were kept"), rows)


def encoder_loops() -> str:
    """Write how many images a second users' loops embed, and the network alone by the size of the batch."""
    rows = []
    for row in read("encoder-speed/loops.json"):
        rates = row["vectors_a_second"]
        own, plain = rates["tapetum"], rates["timm"]
        onnx = max((rate for name, rate in rates.items() if name.startswith("onnxruntime")), default=None)
        beside = ("", "") if onnx is None else (f"{onnx:.1f}", f"{own / onnx:.2f}")
        alone = ", ".join(f"{rate:.1f}" for rate in row["batches"].values())
        rows.append((row["model"], row["dtype"], f"{own:.1f}", f"{plain:.1f}", f"{own / plain:.1f}", *beside, alone))
    peers = "timm", "beside timm", "onnxruntime", "beside onnxruntime"
    return write_table(("network", "numbers", "`tapetum embed`", *peers, "alone, by batches of 1 to 32"), rows)


def precision() -> str:
    """Write what fewer bits change on photographs, and what one thread gains."""
    rows = [
        (row["precision"], f"{row['top1']:.3f}", f"{row['alike']:.3f}", f"{row['images_a_second']:.1f}")
        for row in read("encoders/precision.json")
    ]
    return write_table(("EfficientNet-Lite2", "top-1", "class as in float32", "images a second"), rows)


def pretraining(script: ModuleType, file: str, *header: str) -> Callable[[], str]:
    """Make what writes a table of the evidence on pre-training."""
    return lambda: write_table(header, script.table(read(file)))


_SCORED = "seeds", "images", "TFLOP", "CPU minutes", "kNN before", "after", "linear before", "after"
_FORECAST = "CPU s predicted", "true", "ratio", "s by the clock predicted", "true", "ratio"

TABLES: Mapping[str, tuple[str, Callable[[], str]]] = {
    "methods at equal FLOPs": (
        "evidence/pretraining.md",
        pretraining(pretraining_compare, "pretraining-comparison/results.json", "learned from", "method", *_SCORED),
    ),
    "going on to streets": (
        "evidence/pretraining.md",
        pretraining(
            pretraining_onward,
            "pretraining-comparison/onward.json",
            "began with",
            "steps",
            "20 neighbours",
            "linear",
            "verdict",
        ),
    ),
    "losses of DINOv2": (
        "evidence/pretraining.md",
        pretraining(
            pretraining_losses,
            "pretraining-losses/results.json",
            *("loss", "largest value", "ours - theirs", "ours, relative to float64", "theirs"),
        ),
    ),
    "small batches": (
        "evidence/pretraining.md",
        pretraining(
            pretraining_seeds,
            "pretraining-small-batch/results.json",
            *("images", "passed", "least RankMe", "least deviation of features", "loss, first and last step"),
        ),
    ),
    "dry runs": (
        "evidence/pretraining.md",
        pretraining(pretraining_dry, "pretraining-speed/dry.json", "run", "steps", *_FORECAST),
    ),
    "loops of encoders": ("evidence/named-encoders.md", encoder_loops),
    "claims of long video": ("evidence/longvideo.md", longvideo),
    "claims of Odin": ("evidence/odin.md", odin),
    "scores of Odin": ("evidence/odin.md", odin_scores),
    "claims of HiP": ("evidence/hip.md", hip),
    "claims of adapters": ("evidence/adapters.md", adapters),
    "two renderings": ("evidence/adapters.md", adapters_renderings),
    "T-E on the painted task": ("evidence/adapters.md", adapters_painted),
    "look here next": ("evidence/serve.md", look_here_next),
    "other trunks": ("evidence/adapters.md", lambda: adapter_tables.by_task(read("adapters/trunks.json"))),
    "adapters over all tasks": ("evidence/adapters.md", lambda: adapter_tables.together(adapter_runs(painted=False))),
    "robots": ("evidence/adapters.md", lambda: adapter_tables.by_task(adapter_runs(painted=False))),
    "painted task": ("evidence/adapters.md", lambda: adapter_tables.by_task(adapter_runs(robots=False))),
    "what trunks keep": ("evidence/adapters.md", lambda: adapter_tables.knowledge(adapter_runs())),
    "room of adapters": ("evidence/adapters.md", lambda: adapter_tables.cost(adapter_runs(painted=False))),
    "rates of adapters": (
        "evidence/adapters.md",
        lambda: adapter_tables.rates(read("adapters/metaworld.json") + read("adapters/reach-disc.json")),
    ),
    "claims of transfer": ("evidence/paligemma-transfer.md", transfer),
    "claims of the Perception Test": ("evidence/perception-test.md", lambda: perception("results")),
    "claims with all 56 followed": ("evidence/perception-test.md", lambda: perception("tracked-56")),
    "claims with video features": ("evidence/perception-test.md", lambda: perception("video-features")),
    "claims of bootstrapping": ("evidence/bootstrap.md", bootstrapping),
    "points of the small study": ("evidence/flops-study.md", lambda: study_points("flops-study", "budget", "miou", "linear")),
    "poor data": ("evidence/flops-study.md", lambda: study_points("flops-study", "variant", "miou", "linear")),
    "points of the longer transfer": (
        "evidence/flops-study.md",
        lambda: study_points("flops-study/streets", "budget", "miou", "linear", "knn"),
    ),
    "points of the dense probe": (
        "evidence/flops-study.md",
        lambda: study_points("flops-study/probe", "budget", "miou", "linear"),
    ),
    "points of four sources": (
        "evidence/flops-study.md",
        lambda: study_points("flops-study/sources", "variant", "miou", "linear", "knn"),
    ),
    "cost of HiP": ("evidence/hip.md", hip_cost),
    "scores of HiP": ("evidence/hip.md", hip_scores),
    "recall": ("evidence/longvideo.md", recalled),
    "cost of long video": ("evidence/longvideo.md", long_cost),
    "events": ("evidence/longvideo.md", events),
    "questions without looking": ("evidence/scenes.md", without_looking),
    "scores of bootstrapping": ("evidence/bootstrap.md", lambda: bootstrap_scores(read("bootstrap/results.json"))),
    "nine videos, two looks": (
        "evidence/bootstrap-nine-videos.md",
        lambda: bootstrap_scores(read("bootstrap-nine-videos/results.json")["looking twice"], NINE_VIDEOS),
    ),
    "nine videos, one look": (
        "evidence/bootstrap-nine-videos.md",
        lambda: bootstrap_scores(
            read("bootstrap-nine-videos/results.json")["looking once"],
            NINE_VIDEOS | {name: [name] for name in ("seed 1 harder view", CUT_OUTS, f"{CUT_OUTS} without footage")},
        ),
    ),
    "ingredients of bootstrapping": ("evidence/bootstrap.md", bootstrap_ablations),
    "claims of the study": ("evidence/flops-study.md", study),
    "findings of the study": ("evidence/flops-study.md", study_findings),
    "what seeds tell apart": ("evidence/flops-study.md", power),
    "what HiP's runs tell apart": ("evidence/hip.md", hip_power_table),
    "scores in space": ("evidence/tapvid3d.md", lambda: tap3d_evidence.table(read("tapvid3d/results.json"))),
    "real marks": ("evidence/real-marks.md", marks),
    "marks of seven clips": ("evidence/real-marks.md", lambda: real_marks.table(read("real-marks/seven-clips.json"))),
    "recent patches": ("evidence/tap-speed.md", lambda: live_recent.table(read("live/recent.json"))),
    "recent patches on cut-outs": ("evidence/tap-speed.md", lambda: live_recent.table(read("live/recent-cutouts.json"))),
    "the loop in a browser": ("evidence/tap-speed.md", lambda: live_browser.table(read("live/browser.json"))),
    "the loop in C++": ("evidence/tap-speed.md", lambda: live_cpp.table(read("live/cpp.json"))),
    "doubt": ("evidence/tap-doubt.md", lambda: tap_doubt.table(read("tap-doubt/results.json"))),
    "doubt of causal-tapir-nano": ("evidence/tap-doubt.md", lambda: tap_doubt.table(read("tap-doubt/causal.json"))),
    "doubt in live frames": ("evidence/tap-doubt.md", lambda: tap_doubt.table(read("tap-doubt/live.json"))),
    "claims of doubt": ("evidence/tap-doubt.md", lambda: tap_doubt.claims_table(read("tap-doubt/results.json"))),
    "claims of causal-tapir-nano's doubt": (
        "evidence/tap-doubt.md",
        lambda: tap_doubt.claims_table(read("tap-doubt/causal.json")),
    ),
    "claims of doubt in live frames": ("evidence/tap-doubt.md", lambda: tap_doubt.claims_table(read("tap-doubt/live.json"))),
    "labels of a teacher": ("evidence/tap-doubt.md", lambda: tap_doubt.label_table(read("tap-doubt/labels.json"))),
    "clicks a point": ("evidence/tap-doubt.md", clicks_for_marks),
    "clicks that teach": ("evidence/tap-doubt.md", lambda: tap_doubt.teach_table(read("tap-doubt/teach.json"))),
    "precision of encoders": ("evidence/named-encoders.md", precision),
    "clips that were used": ("evidence/real-marks.md", real_marks.uses),
    "real marks of tapir-nano": (
        "models/tapir-nano.md",
        lambda: marks("static", "lucas-kanade", "tapir-nano-synthetic", "tapir-nano"),
    ),
    "real marks of causal-tapir-nano": (
        "models/causal-tapir-nano.md",
        lambda: marks("static", "lucas-kanade", "tapir-nano-synthetic", "causal-tapir-nano"),
    ),
}
"""Name of a table, the page that it is on, and what writes it."""


if __name__ == "__main__":
    sys.exit(page_tables.main(__doc__, TABLES))
