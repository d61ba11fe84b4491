"""Transfer of paligemma-nano to easy-VQA, questions that this project did not make (package `easy-vqa`, MIT).

    pip install easy-vqa matplotlib
    python benchmarks/paligemma_easy_vqa.py --runs RUNS --out evidence/paligemma-easy-vqa [--minutes 60]

4,000 + 1,000 pictures of 64x64 with one coloured shape, 38,575 + 9,673 questions with 13 answers. Arms, sizes and seeds are
those of transfer_arms.py; the same command goes on. Beside them: the most common answer, and the most common one to each
question, which is what can be known without an eye.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import torch

from tapetum.data.json_files import read_lines, write_lines
from tapetum.paligemma import prompts
from tapetum.paligemma.answers import Answerer
from tapetum.paligemma.data import JsonLines, collate
from transfer_arms import parser, run_all, write_up


def write_data(folder: Path) -> dict[str, Path]:
    """Questions of both splits as lines of JSON, pictures where the package has them."""
    import easy_vqa

    splits = {
        "train": (easy_vqa.get_train_questions, easy_vqa.get_train_image_paths),
        "test": (easy_vqa.get_test_questions, easy_vqa.get_test_image_paths),
    }
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for split, (questions, paths) in splits.items():
        files[split] = folder / f"{split}.jsonl"
        if not files[split].exists():
            where = paths()
            rows = zip(*questions(), strict=True)
            write_lines(
                files[split],
                ({"image": str(where[k]), "prefix": prompts.answer(question), "suffix": said} for question, said, k in rows),
            )
    return files


@torch.no_grad()
def score(answerer: Answerer, lines: Path, most: int | None) -> dict[str, float]:
    """Share of answers that are right to the letter: of all, of those that are yes or no, of the others."""
    data = JsonLines(lines, answerer.model.config.picture_size, 1 << 30)
    right: dict[str, list[bool]] = {"yes or no": [], "other": []}
    for index in range(min(len(data), most or len(data))):
        sample, answers = data.read(index)
        [rows] = collate([sample], answerer.tokens).groups
        pixels = torch.from_numpy(sample.pixels)[None].expand(len(rows.of), -1, -1, -1, -1)
        said = answerer.model.generate_ids(pixels, rows.prefix, 8)
        for ids, known in zip(said, answers, strict=True):
            kind = "yes or no" if known[0] in ("yes", "no") else "other"
            right[kind].append(answerer.tokens.decode(ids) in known)
    every = right["yes or no"] + right["other"]
    return {"all": float(np.mean(every)), **{kind: float(np.mean(found)) for kind, found in right.items() if found}}


def without_an_eye(files: dict[str, Path], most: int | None) -> dict[str, dict[str, float]]:
    """The most common answer of all, and to each question."""
    train, test = (list(read_lines(files[split])) for split in ("train", "test"))
    kept = set(sorted({row["image"] for row in test})[:most]) if most else {row["image"] for row in test}
    common = Counter(row["suffix"] for row in train).most_common(1)[0][0]
    to_each: dict[str, Counter] = {}
    for row in train:
        to_each.setdefault(row["prefix"], Counter())[row["suffix"]] += 1
    test = [row for row in test if row["image"] in kept]
    blind = [to_each[r["prefix"]].most_common(1)[0][0] if r["prefix"] in to_each else common for r in test]
    return {
        "most common answer": {"all": float(np.mean([row["suffix"] == common for row in test]))},
        "most common to each question": {"all": float(np.mean([a == r["suffix"] for a, r in zip(blind, test, strict=True)]))},
    }


def main() -> None:
    args = parser(__doc__ or "", (100, 400, 1600, 4000)).parse_args()
    files = write_data(args.runs / "data")
    results = run_all(args, files["train"], lambda answerer: score(answerer, files["test"], args.tests))
    write_up(args, results, without_an_eye(files, args.tests))


if __name__ == "__main__":
    main()
