"""Breaks the mathematics in seeded small ways, and counts what the fast tests notice.

    python benchmarks/mutants.py [--count 300] [--seed 0] [--jobs 1] [--out FILE] [--cache DIR] [--only N]

Mutant N depends on --seed and N alone (and on the text that it could break): the kinds of `mutants_made.py` take turns, and
within a kind an order drawn from the seed decides. It meets first the fast tests of its room (`tests/ROOM`, and the examples in
its docstrings) that execute the broken line, then all fast tests of the room's files that do, then those of other rooms,
quickest first, up to a minute of them. A test that fails, a crash, or no end within ten times the usual time kills it.

    killed        a test noticed
    equivalent    `mutants_equivalent.toml` says why nothing that could be observed changes
    survived      no test noticed
    not executed  no fast test executes the line

Needs the dev extra (coverage). The first run records, in --cache, which test executes which line: some minutes. Rows in --out
stay from run to run while the file they broke, and for survivors the tests, are the same.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from itertools import islice, zip_longest
from pathlib import Path

from mutants_made import KINDS, Mutant, candidates
from mutants_run import FAULT, KILLER, Tests, broken, fork, record, run_tests, warm_up

ROOT = Path(__file__).parents[1]
EQUIVALENT = Path(__file__).with_name("mutants_equivalent.toml")
MODULES = """
    systems/adapters/adapted systems/adapters/task systems/adapters/layers systems/adapters/weaving
    account/ledger core/files core/jobs core/reading hub/download hub/fetch hub/unpickle hub/unzip
    layers/*
    data/views/* data/rle
    encoders/convolutional encoders/decoder encoders/efficientnet_lite encoders/features encoders/nfnet
    encoders/resnet encoders/towers encoders/vit
    systems/hip/layers systems/hip/masking systems/hip/model systems/hip/grouping systems/hip/task
    systems/longvideo/captioner systems/longvideo/encoder systems/longvideo/layers
    systems/longvideo/memory systems/longvideo/task systems/longvideo/video_text systems/longvideo/weights
    metrics/*
    systems/odin/losses systems/odin/masks systems/odin/metrics systems/odin/model systems/odin/objects systems/odin/task
    systems/odin/weights
    systems/paligemma/images systems/paligemma/locations systems/paligemma/losses systems/paligemma/masks/codec
    systems/paligemma/model systems/paligemma/official/fill systems/paligemma/transfer/samples
    systems/paligemma/transfer/scores
    systems/perception_test/localiser/model systems/perception_test/localiser/run systems/perception_test/scores
    systems/perception_test/track_scores
    systems/pretraining/heads systems/pretraining/losses systems/pretraining/methods/* systems/pretraining/task
    systems/tap/bootstrap/family systems/tap/bootstrap/task systems/tap/layers systems/tap/matching systems/tap/model
    systems/tap/second_pass systems/tap/task systems/tap/types systems/tap/tracking/polish
    systems/tapvid3d/baselines systems/tapvid3d/mapping systems/tapvid3d/geometry systems/tapvid3d/metrics
    tracks/camera tracks/metrics
    train/accumulation train/checkpoint train/contrastive train/gather train/gradient_cache train/loop train/optim
    train/phases train/process_group train/state train/stream
    transfer/fcn transfer/probes transfer/propagation transfer/segmentation
"""
"""Losses, models, metrics, schedules and samplers, and what keeps files safe: files under src/tapetum, without .py."""
_ELSEWHERE = 60.0
"""Seconds of tests of other rooms that a mutant meets at most."""


def choose(mutants: list[Mutant], seed: int, count: int) -> list[Mutant]:
    """Give mutants 0 to `count` - 1 of a seed."""
    kinds = {kind: [mutant for mutant in mutants if mutant.kind == kind] for kind in KINDS}
    for each in kinds.values():
        each.sort(key=lambda mutant: hashlib.sha256(f"{seed} {mutant.id}".encode()).digest())
    turns = (mutant for turn in zip_longest(*kinds.values()) for mutant in turn if mutant)
    return [*islice(turns, count)]


def room(file: str) -> str:
    """Give the room of a test file, or of a file of the package: a system, or another package."""
    parts = Path(file).parts[2 if file.startswith("src/") else 1 :]
    return parts[1] if parts[0] == "systems" else parts[0]


def executing(mutant: Mutant, tests: Tests) -> set[str]:
    """Give the tests of a file that execute the broken line; of what runs when the module is imported, all that execute any."""
    lines = tests.lines.get(mutant.file, {})
    at = [lines[line] for line in mutant.lines if line in lines] if mutant.lines else [*lines.values()]
    ids = {test for line in at for test in line} - (set() if mutant.lines else {"*"})
    return set(tests.seconds) if "*" in ids else ids


def batches(mutant: Mutant, tests: dict[str, Tests]) -> Iterator[list[str]]:
    """Give the tests that may notice, those first that are the nearest."""
    near, others, beside = list[tuple[int, str, list[str]]](), dict[str, float](), list[str]()
    for file, each in tests.items():
        ids = executing(mutant, each)
        if room(file) != room(mutant.file):
            others.update({test: each.seconds[test] for test in ids})
        elif ids or mutant.file in each.lines:  # of which some may start processes, whose lines are not recorded
            near.append((len(ids), file, sorted(ids, key=each.seconds.__getitem__)))
            beside += [test for test in each.seconds if test not in ids]
    near.sort(reverse=True)
    yield [test for _, _, ids in near[:1] for test in ids]
    yield [test for _, _, ids in near[1:] for test in ids] + beside
    left, chosen = _ELSEWHERE, []
    for test, seconds in sorted(others.items(), key=lambda item: item[1]):
        left -= seconds
        if left < 0:
            break
        chosen.append(test)
    yield sorted(chosen, key=lambda test: test.split("::")[0])


def judge(root: Path, mutant: Mutant, tests: dict[str, Tests]) -> dict[str, object]:
    """Run the tests of a mutant; gives the outcome, and what noticed."""
    began, by = time.monotonic(), ""
    outcome = "survived" if any(executing(mutant, each) for each in tests.values()) else "not executed"
    seconds = {test: value for each in tests.values() for test, value in each.seconds.items()}
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        text = mutant.apply((root / mutant.file).read_bytes())
        with broken(root / "src", str(Path(mutant.file).relative_to("src")), text, Path(name) / "package") as package:
            for number, batch in enumerate(filter(None, batches(mutant, tests))):
                said, limit = Path(name) / f"{number}.txt", 60 + 10 * sum(seconds[test] for test in batch)
                temporary = Path(name) / f"tests-{number}"
                code = fork(lambda batch=batch, temporary=temporary: run_tests(root, package, batch, temporary), limit, said)
                output = said.read_text(errors="replace")
                if code in (5, FAULT):  # nothing was collected, or this script is at fault
                    raise RuntimeError(f"cannot run {batch[:3]} ...: {output[-2000:]}")
                if code != 0:
                    failed = [line.removeprefix(KILLER) for line in output.splitlines() if line.startswith(KILLER)]
                    outcome, by = "killed", "no end" if code is None else failed[0] if failed else f"exit code {code}"
                    break
    return {"outcome": outcome, "by": by, "seconds": round(time.monotonic() - began, 1)}


def described(number: int, mutant: Mutant) -> dict[str, object]:
    """Give the row of a mutant, without its outcome."""
    names = "id", "kind", "file", "line", "function", "before", "after"
    return {"number": number, **{name: getattr(mutant, name) for name in names}}


def equivalents(file: Path = EQUIVALENT) -> dict[tuple[str, str, str, str], str]:
    """Read which mutants change nothing that can be observed, and why."""
    rows = tomllib.loads(file.read_text())["mutant"] if file.exists() else []
    return {(row["file"], row["function"], row["before"], row["after"]): row["why"] for row in rows}


def report(rows: list[dict], same: dict[tuple[str, str, str, str], str], seed: int) -> dict[str, object]:
    """Count outcomes, with those that are said to be equivalent."""
    found, counts = [], Counter[str]()
    for row in rows:
        why = same.get((row["file"], row["function"], row["before"], row["after"])) if row["outcome"] != "killed" else None
        found.append({**{key: value for key, value in row.items() if key != "why"}, **({"why": why} if why else {})})
        counts["equivalent" if why else row["outcome"]] += 1
    share = (counts["killed"] + counts["equivalent"]) / max(len(rows), 1)
    return {"seed": seed, "count": len(rows), "share": round(share, 4), **dict(sorted(counts.items())), "rows": found}


def write(file: Path, result: dict[str, object]) -> None:
    """Write the results, a row a line."""
    head = json.dumps({key: value for key, value in result.items() if key != "rows"})[:-1]
    rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in result["rows"])  # type: ignore[attr-defined]
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(f'{head}, "rows": [\n  {rows}\n]}}\n')
    part.replace(file)


def kept_rows(file: Path, texts: dict[str, str], tests: str) -> dict[str, dict]:
    """Read the rows of a former run that still hold."""
    rows = json.loads(file.read_text())["rows"] if file.exists() else []
    return {
        row["id"]: row
        for row in rows
        if row["text"] == texts.get(row["file"]) and (row["outcome"] == "killed" or row["tests"] == tests)
    }


def main() -> None:
    """Judge the mutants of a seed and print what lives."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", "--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("evidence/mutants/results.json"))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / f"tapetum-mutants-{os.getuid()}")
    parser.add_argument("--only", type=int, help="judge this one alone, write nothing")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    files = sorted({path for each in MODULES.split() for path in (ROOT / "src/tapetum").glob(f"{each}.py")})
    sources = {str(path.relative_to(ROOT)): path.read_bytes() for path in files}
    mutants = choose([mutant for file, text in sources.items() for mutant in candidates(file, text)], given.seed, given.count)
    warm_up()
    rooms = sorted({room(file) for file in sources})
    modules = [file for file, text in sources.items() if b">>> " in text]
    folders = [ROOT / "tests" / above / each for each in rooms for above in ("", "systems")]
    names = [str(path.relative_to(ROOT)) for folder in folders for path in sorted(folder.rglob("test_*.py"))]
    tests = record(ROOT, names + modules, given.cache, given.cache / "temporary")
    digest = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in names)).hexdigest()[:12]
    texts = {file: hashlib.sha256(text).hexdigest()[:12] for file, text in sources.items()}
    done = {} if given.only is not None else kept_rows(given.out, texts, digest)
    chosen = [(number, mutant) for number, mutant in enumerate(mutants) if given.only in (None, number)]
    rows = [{**done[mutant.id], **described(number, mutant)} for number, mutant in chosen if mutant.id in done]
    left = [(number, mutant) for number, mutant in chosen if mutant.id not in done]
    with multiprocessing.get_context("fork").Pool(given.jobs, _keep, (tests,)) as pool:
        for number, mutant, outcome in pool.imap_unordered(_judge, left):
            rows.append({**described(number, mutant), **outcome, "text": texts[mutant.file], "tests": digest})
            result = report(sorted(rows, key=lambda row: row["number"]), equivalents(), given.seed)
            print("{number:4} {outcome:12} {seconds:6} s  {file}:{line} {kind}  {by}".format(**rows[-1]), flush=True)
            if given.only is None:
                write(given.out, result)
    result = report(sorted(rows, key=lambda row: row["number"]), equivalents(), given.seed)
    for row in result["rows"]:  # type: ignore[attr-defined]
        if row["outcome"] != "killed" and "why" not in row:
            print("\n{number} {outcome}: {file}:{line} in {function}, {kind}\n  - {before}\n  + {after}".format(**row))
    print(json.dumps({key: value for key, value in result.items() if key != "rows"}))


_TESTS: dict[str, Tests] = {}


def _keep(tests: dict[str, Tests]) -> None:
    """Keep the tests in a process of the pool."""
    _TESTS.update(tests)


def _judge(work: tuple[int, Mutant]) -> tuple[int, Mutant, dict[str, object]]:
    return *work, judge(ROOT, work[1], _TESTS)


if __name__ == "__main__":
    main()
