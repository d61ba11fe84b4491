"""Scores of answers about photographs: paligemma-photo, what it is compared with, and what is unlike the world.

    python evidence/paligemma-photo/claims.py fold PHOTOS.parquet --out FILE.json [--model paligemma-photo] [--fold 0] \\
        [--most N]
    python evidence/paligemma-photo/claims.py labelled cifar10/ --out FILE.json [--most 300]
    python evidence/paligemma-photo/claims.py street camvid/ --out FILE.json
    python evidence/paligemma-photo/claims.py familiarity WORLD OTHER_WORLD PHOTOS.parquet --out FILE.json \\
        [--fit FILE.safetensors]

Beside the model stand the commonest answer, what the classifier and a table of nouns would say, and paligemma-nano-2.
`fold` asks the questions of `tapetum.systems.paligemma.photo.scores` about the photographs of a fold of which none was trained
on; `labelled` about images of a data set with common nouns as classes; `street` asks whether each class of the masks is there.
`familiarity` compares photographs with images of `tapetum scenes` by the score of `systems.paligemma.answers`, whose
statistics are those of WORLD and whose limit is that of the first half of OTHER_WORLD; AUROC is of its other half.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tapetum.core.files import whole_file, write_text
from tapetum.data.labelled import labelled_images
from tapetum.systems.paligemma import prompts
from tapetum.systems.paligemma.answers import Answerer, fit_familiarity, image_tokens, load_familiarity, save_familiarity
from tapetum.systems.paligemma.canonical_questions import canonical_question
from tapetum.systems.paligemma.images import read_images
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.photo.data import (
    FOLDS,
    PhotoFeatures,
    class_of,
    read_labelled,
    read_photos,
    read_segmented,
)
from tapetum.systems.paligemma.photo.model import PhotoPaliGemma, classifier_of, join_evidence, load_classifier
from tapetum.systems.paligemma.photo.scores import Probe, ShareRight, answer_features, commonest, probes_of, score_answers
from tapetum.systems.paligemma.photo.texts import class_nouns


def features_of(model: PhotoPaliGemma, images: PhotoFeatures) -> np.ndarray:
    """Compute what the model reads of whole images."""
    assert model.encoder is not None
    weight, bias = classifier_of(model.encoder)
    vectors = torch.from_numpy(images.vectors[:, 0].astype(np.float32))
    return join_evidence(vectors, (vectors @ weight.T + bias).softmax(-1), weight).numpy()


def ask_nano(images: list[np.ndarray], probes: list[Probe]) -> list[str]:
    """Answer with the bundled model of the world of scenes, in the words that it knows."""
    answerer = Answerer.load("paligemma-nano-2")
    answers = []
    for probe in probes:
        head = prompts.answer("")
        question = probe.prompt.removeprefix(head)
        prompt = prompts.answer(canonical_question(question)) if probe.prompt.startswith(head) else probe.prompt
        answers.append(answerer.ask([images[probe.image][None]], [prompt], 24)[0].text)
    return answers


def look_up(model: PhotoPaliGemma, images: PhotoFeatures, probes: list[Probe]) -> list[str]:
    """Answer without words of a decoder: by the likeliest class of the classifier, and the table of nouns."""
    assert model.encoder is not None
    weight, bias = classifier_of(model.encoder)
    whole = torch.from_numpy(images.vectors[:, 0, 0].astype(np.float32))
    guesses = [class_nouns()[number] for number in (whole @ weight.T + bias).argmax(-1).tolist()]
    answers = []
    for probe in probes:
        guess = guesses[probe.image]
        if there := re.search(r"is there (?:an? )?(.*?)\??$", probe.prompt):
            answers.append("yes" if there[1].strip() in guess.true else "no")
        else:
            answers.append(guess.kind if probe.group == "kind" else f"{guess.name}, a kind of {guess.noun}")
    return answers


def shown(scores: dict[str, ShareRight]) -> dict[str, Any]:
    """Write shares as JSON values."""
    rows = {}
    for group, share in scores.items():
        low, high = share.interval
        rows[group] = {
            "right": share.right,
            "of": share.count,
            "share": round(share.share, 3),
            "95 %": [round(low, 3), round(high, 3)],
        }
    return rows


def score(model: str, images: PhotoFeatures, pixels: list[np.ndarray], skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """Score a model and the commonest answer on all images, and the nano on those of which there are pixels."""
    answerer = Answerer.load(model)
    assert isinstance(answerer.model, PhotoPaliGemma)
    probes = [probe for probe in probes_of(images.nouns) if probe.group not in skip]
    answers = answer_features(answerer.model, answerer.tokens, features_of(answerer.model, images), probes)
    result = {"images": len(images), model: shown(score_answers(probes, answers)), "commonest answer": shown(commonest(probes))}
    result["classifier and table"] = shown(score_answers(probes, look_up(answerer.model, images, probes)))
    result["answers"] = [
        [images.nouns[probe.image].name, probe.prompt, answer, probe.right(answer)]
        for probe, answer in zip(probes, answers, strict=True)
        if probe.group in ("what", "caption")
    ][:80]
    if pixels:
        few = [probe for probe in probes if probe.image < len(pixels)]
        result["paligemma-nano-2"] = {"images": len(pixels), **shown(score_answers(few, ask_nano(pixels, few)))}
    return result


def score_fold(given: argparse.Namespace) -> dict[str, Any]:
    """Score a fold of photographs of ImageNet's classes."""
    encoder = load_classifier("efficientnet-lite2")
    every = read_photos(given.data, encoder, 1, given.cache / "whole.npy", print)
    images = every.part([k for k, number in enumerate(every.classes) if number % FOLDS == given.fold])
    pixels = {}
    for split in ("train", "val"):
        loaded, labels, names = labelled_images(given.data, split)
        pixels |= {class_of(str(names[label])): loaded[k] for k, label in enumerate(labels.tolist()) if given.most}
    return score(given.model, images, [np.asarray(pixels[number]) for number in images.classes[: given.most]])


def score_labelled(given: argparse.Namespace) -> dict[str, Any]:
    """Score images whose classes are common nouns; what they are called exactly is not known."""
    images = read_labelled(
        given.data, "val", load_classifier("efficientnet-lite2"), given.most, given.cache / "labelled.npy", print
    )
    return score(given.model, images, [], ("exact",))


def score_street(given: argparse.Namespace) -> dict[str, Any]:
    """Score whether a model says of the things of masks that they are there."""
    answerer = Answerer.load(given.model)
    assert isinstance(answerer.model, PhotoPaliGemma)
    images = read_segmented(given.data, "val", load_classifier("efficientnet-lite2"), given.cache / "street.npy", print)
    probes = []
    for k, (nouns, absent) in enumerate(zip(images.nouns, images.absent, strict=True)):
        for thing, answer in [(each, "yes") for each in nouns.groups] + [(each, "no") for each in (*absent, "dog", "boat")]:
            prompt = prompts.answer(f"is there a {thing}?")
            probes.append(Probe(group=thing, image=k, prompt=prompt, right=lambda text, answer=answer: text == answer))
    answers = answer_features(answerer.model, answerer.tokens, features_of(answerer.model, images), probes)
    return {
        "images": len(images),
        given.model: shown(score_answers(probes, answers)),
        "commonest answer": shown(commonest(probes)),
    }


def score_familiarity(given: argparse.Namespace) -> dict[str, Any]:
    """Fit the statistics of the world's images, or take the bundled ones, and tell photographs apart by them."""
    answerer = Answerer.load("paligemma-nano-2")
    assert isinstance(answerer.model, PaliGemma)

    model = answerer.model

    def features(images: list[np.ndarray]) -> torch.Tensor:
        return torch.cat([image_tokens(model, image[None]) for image in images])

    def world(folder: Path) -> list[np.ndarray]:
        return [read_images(path)[0] for path in sorted((folder / "images").glob("*.*g"))]

    photos = [np.asarray(image) for split in ("train", "val") for image in labelled_images(given.photos, split)[0]]
    others = features(world(given.other))
    half = len(others) // 2
    if given.fit:
        save_familiarity(fit_familiarity(features(world(given.world)), others[:half]), given.fit)
    familiarity = load_familiarity(given.fit) if given.fit else load_familiarity()
    near, far = familiarity.distances(others[half:]), familiarity.distances(features(photos))
    auroc = float(((far[:, None] > near[None]).float() + 0.5 * (far[:, None] == near[None]).float()).mean())
    return {
        "world": {
            "images": len(near),
            "median": float(near.median()),
            "beyond the limit": float((near > familiarity.limit).float().mean()),
        },
        "photographs": {
            "images": len(far),
            "median": float(far.median()),
            "beyond the limit": float((far > familiarity.limit).float().mean()),
        },
        "limit": familiarity.limit,
        "auroc": round(auroc, 4),
    }


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, work, most in (("fold", score_fold, 0), ("labelled", score_labelled, 300), ("street", score_street, 0)):
        command = commands.add_parser(name)
        command.add_argument("data", type=Path)
        command.add_argument("--model", default="paligemma-photo")
        command.add_argument("--fold", type=int, default=0)
        command.add_argument("--most", type=int, default=most, help="images; of fold, those that the nano is asked about")
        command.add_argument("--cache", type=Path, default=Path("photo-features"))
        command.set_defaults(work=work)
    command = commands.add_parser("familiarity")
    for name in ("world", "other", "photos"):
        command.add_argument(name, type=Path)
    command.add_argument("--fit", type=Path, help="write the statistics to this file")
    command.set_defaults(work=score_familiarity)
    for command in commands.choices.values():
        command.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    result = given.work(given)
    with whole_file(given.out) as temporary:
        write_text(temporary, json.dumps(result, indent=1))
    print(json.dumps({name: value for name, value in result.items() if name != "answers"}, indent=1))


if __name__ == "__main__":
    main()
