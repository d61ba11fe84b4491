"""Measures whether questions about the world can be answered without looking, by words alone.

    python evidence/scenes-blind/claims.py FOLDER [--images 768] [--late 256] [--episodes 256] [--cups 64] [--json OUT.json]

Makes candidates of scenes 0, 1, 2, ... (kept in FOLDER, so that it can be stopped and go on) and balances them block by block,
as users get them. Late images, in which things are in others, and cup games, which are few among all stories, have blocks of
their own. Three guessers learn from the even blocks and answer the odd ones, and the other way round: the most frequent answer
to a question's text; naive Bayes and logistic regression on words of question and option, each with each. All should be right
as often as chance, 1 over the options: overall within 2 standard errors, and in each template within what 2 is when so many
templates are looked at (Bonferroni). The random numbers of ties are fixed.
"""

import argparse
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB

from tapetum_world.physics import STORIES, make_episode
from tapetum_world.words import BLOCK, Candidate, SceneQuestion, balance, episode_candidates, image_candidates, scene_graph

NAMES = tuple(STORIES)
LATE = ("put-and-take", "mixture", "pour")
"""Stories whose images are also taken late, when things are in others."""


def make_image(number: int) -> list[Candidate]:
    """Candidates of one image, early in a story."""
    made = make_episode(10_000 + number, NAMES[number % len(NAMES)], seconds=0.5, frame_rate=12.0)
    return image_candidates(scene_graph(made, 0 if number % 2 else 5), number)


def late(number: int) -> list[Candidate]:
    """Candidates of one image at the end of a story."""
    made = make_episode(30_000 + number, LATE[number % len(LATE)], seconds=7.0, frame_rate=12.0)
    return image_candidates(scene_graph(made, made.frames - 1), number)


def episode(number: int) -> list[Candidate]:
    """Candidates of one episode."""
    return episode_candidates(make_episode(50_000 + number, NAMES[number % len(NAMES)], seconds=6.0, frame_rate=12.0), number)


def cups(number: int) -> list[Candidate]:
    """Candidates of one longer cup game about the cups."""
    made = make_episode(70_000 + number, "cups-shuffle", seconds=8.0, frame_rate=12.0)
    return [c for c in episode_candidates(made, number, counterfactual=False) if c.template == "which-cup"]


MAKERS = {"images": make_image, "late": late, "episodes": episode, "cups": cups}
PER_SCENE = {"images": 4, "late": 4, "episodes": 3, "cups": 3}
"""Options of a question."""
BLOCKS = {"images": BLOCK, "late": BLOCK, "episodes": BLOCK, "cups": BLOCK // 2}
"""Scenes balanced together; an even number of blocks, since guessers learn from every other one."""
FEW = 30
"""Questions of a template below which the table says so."""


def _line(job: tuple[str, int]) -> str:
    kind, number = job
    return json.dumps({"number": number, "candidates": [asdict(c) for c in MAKERS[kind](number)]})


def gather(folder: Path, kind: str, count: int, workers: int) -> list[list[Candidate]]:
    """Read the candidates of scenes 0 .. count - 1 from the folder's file, and make what is missing."""
    path = folder / f"{kind}.jsonl"
    have: dict[int, list[Candidate]] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            told = json.loads(line)
            have[told["number"]] = [Candidate(**{k: _tuple(v) for k, v in c.items()}) for c in told["candidates"]]
    missing = [(kind, n) for n in range(count) if n not in have]
    if missing:
        with path.open("a") as file, get_context("fork").Pool(workers, initializer=os.nice, initargs=(4,)) as pool:
            for line in pool.imap_unordered(_line, missing, chunksize=4):
                file.write(line + "\n")
                file.flush()
        return gather(folder, kind, count, workers)
    return [have[n] for n in range(count)]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def split(scenes: list[list[SceneQuestion]], block: int = BLOCK) -> tuple[list[SceneQuestion], list[SceneQuestion]]:
    """Part questions into those of even blocks and of odd ones."""
    parts: tuple[list[SceneQuestion], list[SceneQuestion]] = ([], [])
    for number, questions in enumerate(scenes):
        parts[number // block % 2].extend(questions)
    return parts


def by_frequency(train: list[SceneQuestion], test: list[SceneQuestion]) -> np.ndarray:
    """Choose the option that answered the same text most often; unseen texts: the same template."""
    texts: dict[str, Counter[str]] = {}
    for question in train:
        for key in (question.text, f"{question.template}:"):
            texts.setdefault(key, Counter())[question.answer] += 1
    rng = np.random.default_rng(0)
    chosen = []
    for question in test:
        counts = texts.get(question.text) or texts.get(f"{question.template}:") or Counter()
        scores = np.array([counts[o] for o in question.options]) + rng.uniform(0, 0.1, len(question.options))
        chosen.append(int(scores.argmax()))
    return np.array(chosen)


def features(question: SceneQuestion, option: str) -> list[str]:
    """Say in words what is known of one option: its words with those of the question, where it stands, what else is offered."""
    words, own = question.text.lower().strip("?").split(), option.lower().split()
    order = sorted(question.options, key=lambda o: question.text.find(o))
    made = [f"o:{option}", f"t:{question.template}:{option}", f"p:{question.options.index(option)}"]
    made += [f"m:{question.template}:{order.index(option)}", f"l:{question.template}:{len(option)}"]
    made += [f"w:{q}:{option}" for q in set(words)] + [f"x:{q}:{o}" for q in set(words) for o in set(own)]
    made += [f"b:{question.template}:{x}:{option}" for x in question.options if x != option]
    return made


def by_words(train: list[SceneQuestion], test: list[SceneQuestion], model: Any) -> np.ndarray:
    """Choose the option that a classifier of (question, option) thinks right most surely."""
    hasher = FeatureHasher(2**18, input_type="string", alternate_sign=False)

    def table(questions: Iterable[SceneQuestion]) -> Any:
        return hasher.transform(features(q, o) for q in questions for o in q.options)

    right = np.array([o == q.answer for q in train for o in q.options])
    model.fit(table(train), right)
    odds = model.predict_log_proba(table(test))
    sure = odds[:, 1] - odds[:, 0] + np.random.default_rng(1).uniform(0, 1e-9, len(odds))
    ends = np.cumsum([len(q.options) for q in test])
    return np.array([int(part.argmax()) for part in np.split(sure, ends[:-1])])


def measure(*folds: tuple[list[SceneQuestion], list[SceneQuestion]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return for each guesser and template (and "all"): n, accuracy, chance, z (standard errors above chance).

    Each fold is (questions to learn from, questions to answer); answers of all folds are counted together.
    """
    guessers: dict[str, Callable[[list[SceneQuestion], list[SceneQuestion]], np.ndarray]] = {
        "frequency": by_frequency,
        "naive Bayes": lambda train, test: by_words(train, test, MultinomialNB()),
        "logistic": lambda train, test: by_words(train, test, LogisticRegression(C=0.3, max_iter=300)),
    }
    asked = [q for _, test in folds for q in test]
    template = np.array([q.template for q in asked])
    chance = np.array([1 / len(q.options) for q in asked])
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, guess in guessers.items():
        chosen = np.concatenate([guess(train, test) for train, test in folds])
        right = np.array([q.correct == c for q, c in zip(asked, chosen, strict=True)])
        found[name] = {}
        for part in ("all", *sorted(set(template))):
            rows = np.ones(len(asked), bool) if part == "all" else template == part
            error = np.sqrt((chance[rows] * (1 - chance[rows])).sum()) / rows.sum()
            gap = right[rows].mean() - chance[rows].mean()
            found[name][part] = {"n": int(rows.sum()), "accuracy": float(right[rows].mean()),
                                 "chance": float(chance[rows].mean()), "z": float(gap / error)}  # fmt: skip
    return found


def show(found: dict[str, dict[str, dict[str, float]]]) -> bool:
    """Print the table; return whether everything is at chance."""
    parts = list(next(iter(found.values())))
    limit = norm.isf(norm.sf(2) / (len(parts) - 1))
    print(f"{'template':22}{'n':>6}{'chance':>8}" + "".join(f"{name:>13}{'z':>6}" for name in found))
    for part in parts:
        first = next(iter(found.values()))[part]
        cells = "".join(f"{rows[part]['accuracy']:13.3f}{rows[part]['z']:6.1f}" for rows in found.values())
        print(f"{part:22}{first['n']:6}{first['chance']:8.3f}{cells}")
    worst = max(abs(r["z"]) for rows in found.values() for part, r in rows.items() if part != "all")
    total = max(abs(rows["all"]["z"]) for rows in found.values())
    few = [part for part in parts if next(iter(found.values()))[part]["n"] < FEW]
    if few:
        print(f"fewer than {FEW} questions: {', '.join(few)}")
    good = bool(worst <= limit and total <= 2)
    print(f"overall {total:.2f} standard errors (limit 2), worst template {worst:.2f} (limit {limit:.2f} for {len(parts) - 1}):"
          f" {'at chance' if good else 'NOT at chance'}")  # fmt: skip
    return good


def main() -> None:
    """Make, balance, learn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for kind, count in (("images", 768), ("late", 256), ("episodes", 256), ("cups", 64)):
        parser.add_argument(f"--{kind}", type=int, default=count)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    even, odd = [], []
    for kind in MAKERS:
        made = gather(given.folder, kind, getattr(given, kind), given.workers)
        first, second = split(balance(made, 0, options=PER_SCENE[kind], block=BLOCKS[kind]), BLOCKS[kind])
        even, odd = even + first, odd + second
    found = measure((even, odd), (odd, even))
    show(found)
    if given.json:
        short = json.loads(json.dumps(found), parse_float=lambda text: round(float(text), 4))
        given.json.write_text(json.dumps(short, indent=1) + "\n")


if __name__ == "__main__":
    main()
