"""Records what the programs of LVBench, Video-MME and LongVideoBench score for random choices on small files in their form.

    python tests/golden/make_long_video_golden.py LVBENCH LMMS_EVAL EVAL_YOUR_RESULTS.py

LVBENCH is a clone of THUDM/LVBench (f998d95), LMMS_EVAL one of EvolvingLMMs-Lab/lmms-eval (75571cf), whose LongVideoBench task
came from its authors, and the file is Video-MME's (thanku-all/parse_answer at afd52cf). Writes long_video.json here:
accuracies by group. Each program reads the predictions that `official_predictions` writes.
"""

import ast
import contextlib
import importlib.util
import io
import json
import random
import re
import sys
import types
from collections import defaultdict
from pathlib import Path
from typing import Any

from tapetum.data.long_video import official_predictions, read_longvideobench, read_lvbench, read_video_mme

READERS = {"video-mme": read_video_mme, "lvbench": read_lvbench, "longvideobench": read_longvideobench}
DOMAINS = {"Knowledge": ("Geography", "Law"), "Life Record": ("Food", "Travel"), "Multilingual": ("Multilingual",)}
TASKS = "Counting Problem", "OCR Problems", "Action Recognition"
TYPES = "summarization", "reasoning", "entity recognition"


def write_files(folder: Path) -> None:
    """Write the sets into folders of their names; without videos."""
    import pyarrow
    import pyarrow.parquet

    rng, rows = random.Random(0), []
    for video in range(12):
        domain = rng.choice(list(DOMAINS))
        about = {"video_id": f"{video:03}", "duration": ("short", "medium", "long")[video % 3], "domain": domain}
        about |= {"sub_category": rng.choice(DOMAINS[domain]), "videoID": f"v{video}"}
        for k in range(3):
            options = [f"{letter}. {rng.random():.3f}." for letter in "ABCD"]
            asked = {"question_id": f"{video:03}-{k + 1}", "task_type": rng.choice(TASKS), "question": "How many?"}
            rows.append(about | asked | {"options": options, "answer": rng.choice("ABCD")})
    (folder / "video-mme" / "videomme").mkdir(parents=True)
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist(rows), folder / "video-mme" / "videomme" / "test-00000-of-00001.parquet"
    )
    lines = []
    for video in range(6):
        asked = [
            {
                "uid": str(10 * video + k), "question": "What year?\n(A) 1636\n(B) 1366 (about)\n(C) 1363\n(D) 1633",
                "answer": rng.choice("ABCD"), "question_type": rng.sample(TYPES, rng.randint(1, 2)), "time_reference": "00:15",
            }
            for k in range(4)
        ]  # fmt: skip
        lines.append(json.dumps({"key": f"v{video}", "type": "cartoon", "qa": asked}))
    (folder / "lvbench").mkdir()
    (folder / "lvbench" / "video_info.meta.jsonl").write_text("\n".join(lines))
    entries = [
        {
            "id": f"v{k}_0", "video_path": f"v{k}.mp4", "question": "What is seen?", "candidates": list("pqrst")[: 2 + k % 4],
            "correct_choice": k % 2, "duration_group": rng.choice((15, 60, 600, 3600)), "question_category": rng.choice(TYPES),
        }
        for k in range(24)
    ]  # fmt: skip
    (folder / "longvideobench").mkdir()
    (folder / "longvideobench" / "lvb_val.json").write_text(json.dumps(entries))


def choose(questions: Any) -> dict[Any, int]:
    """Choose options by chance, the right one more often."""
    rng = random.Random(1)
    return {q.key: q.right if rng.random() < 0.4 else rng.randrange(len(q.options)) for q in questions}


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lvbench(repository: Path, folder: Path, predictions: Path) -> dict[str, float]:
    """Run `compute_accuracy`; jsonlines, which it reads with, is replaced by json."""

    def opened(path: str) -> Any:
        return contextlib.nullcontext([json.loads(line) for line in Path(path).read_text().splitlines()])

    sys.modules["jsonlines"] = types.SimpleNamespace(open=opened)  # type: ignore[assignment]
    compute = _module(repository / "lvbench" / "metrics" / "compute_accuracy.py").compute_accuracy
    scores = dict(compute(str(predictions), str(folder / "video_info.meta.jsonl")))
    return {"all": scores.pop("acc"), **scores}


def video_mme(file: Path, folder: Path, predictions: Path) -> dict[str, float]:
    """Run `eval_your_results` and read what it prints."""
    content = json.loads(predictions.read_text())
    for video in content:
        video["missing"] = False  # without this field it wants 300 videos of each duration
    predictions.write_text(json.dumps(content))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        _module(file).eval_your_results(str(predictions), ["short", "medium", "long"], True, True, True, True)
    *parts, whole = re.split(r"Evaluation on .*", printed.getvalue())
    scores = {name: float(value) / 100 for name, value in re.findall(r"^(.+?): +([\d.]+)%", whole, re.MULTILINE)}
    for name, part in zip(("short", "medium", "long"), parts[1:], strict=True):
        scores[name] = float(re.findall(r"Overall: +([\d.]+)%", part)[0]) / 100
    return {"all": scores.pop("Overall"), **scores}


def longvideobench(repository: Path, folder: Path, predictions: Path) -> dict[str, float]:
    """Run the functions that score of the task's utils.py, whose other imports are heavy."""
    source = (repository / "lmms_eval" / "tasks" / "longvideobench" / "utils.py").read_text()
    wanted = "parse_multi_choice_response", "longvideobench_process_results", "longvideobench_aggregate_results"
    wanted += "evaluate_longvideobench", "eval_multi_choice", "calculate_ins_level_acc"
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in wanted]
    said: list[Any] = []
    space: dict[str, Any] = {"re": re, "random": random, "defaultdict": defaultdict}
    space["eval_logger"] = types.SimpleNamespace(info=said.append)
    exec(compile(tree, "utils.py", "exec"), space)
    chosen, rows = json.loads(predictions.read_text()), []
    for entry in json.loads((folder / "lvb_val.json").read_text()):
        options = {f"option{k}": (entry["candidates"] + ["N/A"] * 5)[k] for k in range(5)}
        rows.append(space["longvideobench_process_results"](entry | options, [chosen[entry["id"]]])["lvb_acc"])
    overall = space["longvideobench_aggregate_results"](rows)
    return {"all": overall} | {str(name): row["acc"] for name, row in said[0].items() if name != "Overall"}


def main(lvbench_clone: str, lmms_eval: str, eval_your_results: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        write_files(Path(name))
        runs = {"video-mme": (video_mme, eval_your_results), "lvbench": (lvbench, lvbench_clone)}
        runs["longvideobench"] = longvideobench, lmms_eval
        scores = {}
        for task, (score, program) in runs.items():
            questions = READERS[task](Path(name, task))
            predictions = Path(name, f"{task}.json")
            predictions.write_text(json.dumps(official_predictions(task, questions, choose(questions))))
            scores[task] = score(Path(program), Path(name, task), predictions)
    (Path(__file__).parent / "long_video.json").write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
