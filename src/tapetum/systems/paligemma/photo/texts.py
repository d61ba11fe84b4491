"""What a photograph of an ImageNet class is called, and questions, answers and captions about it. Imports no torch.

    class   own name           noun   nouns that it is also of   kind
    162     beagle             dog    puppy mammal pet           animal
    817     sports car         car    vehicle                    vehicle
    398     abacus             abacus                            object

Source of the names: the tables of `tapetum.encoders.imagenet`. Texts are made of templates:

    question                          answer
    what is this?                     beagle, a kind of dog
    what animal is this?              dog
    what kind of dog is this?         beagle
    what kind of thing is this?       an animal
    is there a cat in the picture?    no
    is it a dog or a wolf?            dog
    what vehicle is this?             no vehicle: dog
    what colour is it?                I cannot say
    (caption)                         a photo of a beagle, a kind of dog

Questions are lower case with a question mark at the end (`normalised`). For facts that no training photograph has labels for
(colours, counts, places, words, people's actions), the answer is that it cannot be said.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from tapetum.encoders.imagenet import class_kinds, class_names, group_classes
from tapetum.systems.paligemma import prompts
from tapetum.systems.paligemma.data import TextPair

WIDE = frozenset(
    re.findall(
        r"\S+",
        "animal mammal pet rodent primate insect bug reptile amphibian aircraft vehicle instrument furniture food "
        "building fruit vegetable drink dessert fungus person people sea coast coffee wine puppy kitten bunny toad "
        "tortoise",
    )
)
"""Groups that are never the noun of a photograph: too wide to say what it shows, or true of some of their classes alone."""
UNTRUE = frozenset(["puppy", "kitten", "bunny", "toad", "tortoise"])
"""Groups that need not be true of a photograph of one of their classes; nothing is asked about them."""
UNCOUNTED = frozenset(
    re.findall(
        r"\S+",
        "food clothing furniture cattle corn hay wool velvet guacamole spaghetti meat carbonara dough custard potpie "
        "broccoli cauliflower bread chain-mail coffee sunscreen lotion wine espresso eggnog brass pajama trousers boots "
        "glasses sunglasses trunks bars scuba",
    )
)
"""Words that take no article, as the last or the only word of a name."""


@dataclass(frozen=True, kw_only=True)
class Nouns:
    """What a photograph of one class may be called."""

    name: str
    """The class's own name."""
    noun: str
    """The common noun that says what it is; the name itself where there is none."""
    groups: tuple[str, ...]
    """All common nouns of it, the narrowest first, kinds of things among them."""
    kind: str

    @property
    def accepted(self) -> frozenset[str]:
        """List the correct answers to "what is this": the name, the noun, and every common noun except the broad ones."""
        return frozenset((self.name.lower(), self.noun, *(group for group in self.groups if group not in WIDE)))

    @property
    def true(self) -> frozenset[str]:
        """List everything true of the class: all of `accepted`, the broad nouns, and the kind."""
        kind = () if self.kind == "object" else (self.kind,)
        return self.accepted | {group for group in self.groups if group not in UNTRUE} | set(kind)


@cache
def class_nouns() -> tuple[Nouns, ...]:
    """List the nouns of each class.

    >>> class_nouns()[162].noun, class_nouns()[22].noun, sorted(class_nouns()[22].accepted)
    ('dog', 'eagle', ['bald eagle', 'bird', 'eagle'])
    """
    groups = sorted(group_classes().items(), key=lambda each: len(each[1]))  # a stable sort: the first of equal ones stays so
    made = []
    for number, (name, kind) in enumerate(zip(class_names(), class_kinds(), strict=True)):
        plain = re.sub(r" \(.*\)|, .*", "", name)
        own = tuple(noun for noun, classes in groups if number in classes)
        noun = next((noun for noun in own if noun not in WIDE), plain)
        made.append(Nouns(name=plain, noun=noun, groups=own, kind=kind))
    return tuple(made)


@cache
def askable() -> tuple[str, ...]:
    """List the nouns for yes-no questions, each true of some classes: common nouns, kinds, and names of animals that have no
    other noun.
    """
    nouns = {noun for each in class_nouns() for noun in each.true if noun in group_classes() or noun == each.kind}
    return tuple(sorted(nouns | {each.noun for each in class_nouns() if each.kind == "animal"}))


def with_article(noun: str) -> str:
    """Put a or an before a noun, if it takes one.

    >>> with_article("beagle"), with_article("abacus"), with_article("hay")
    ('a beagle', 'an abacus', 'hay')
    """
    if noun.rpartition(" ")[2] in UNCOUNTED:
        return noun
    return f"{'an' if noun[0].lower() in 'aeiou' and not noun.startswith(('unicy', 'European')) else 'a'} {noun}"


IRREGULAR = {"person": "people", "fish": "fish", "sheep": "sheep", "wolf": "wolves", "goose": "geese", "mouse": "mice"}


def plural(noun: str) -> str:
    """Write the plural of a common noun.

    >>> plural("dog"), plural("fox"), plural("butterfly"), plural("person"), plural("fish")
    ('dogs', 'foxes', 'butterflies', 'people', 'fish')
    """
    if noun in IRREGULAR or noun in IRREGULAR.values() or noun in ("trousers", "boots", "glasses", "sunglasses", "cattle"):
        return IRREGULAR.get(noun, noun)
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"


def _read_templates() -> dict[str, tuple[str, ...]]:
    """Read the lists of questions in templates.txt, whose names are in brackets."""
    text = Path(__file__).with_name("templates.txt").read_text(encoding="utf-8")
    lists = (part.splitlines() for part in text.split("\n\n[")[1:])
    return {head.partition("]")[0]: tuple(lines) for head, *lines in lists}


_TEMPLATES = _read_templates()
WHAT, WHICH, BREED, KIND, THERE, EITHER, OTHER = (
    _TEMPLATES[name] for name in ("WHAT", "WHICH", "BREED", "KIND", "THERE", "EITHER", "OTHER")
)
"""Questions after the main thing, a noun of a kind or a name, a breed, the kind; of yes and no; between two nouns; without an
answer."""
CANNOT_SAY = "I cannot say"
CAPTIONS = "caption en", "describe en"
"""Prompts of captions, as `prompts.caption` and `prompts.describe` write them."""
_IMAGE = "picture", "photo", "image", "photograph"
_LISTED_KINDS = ("animal", "vehicle", "food", "tool", "instrument", "building", "plant", "clothing", "furniture", "device")


def normalised(question: str) -> str:
    """Write a question in the templates' form: lower case, single spaces, a mark at the end.

    >>> normalised("  What IS  this "), normalised("Name this.")
    ('what is this?', 'name this.')
    """
    plain = " ".join(question.lower().replace("\u2019", "'").split())
    return plain if not plain or plain[-1] in "?.!" else f"{plain}?"


def naming(nouns: Nouns) -> str:
    """Write the name of a class, with its noun if that adds information.

    >>> naming(class_nouns()[162]), naming(class_nouns()[398]), naming(class_nouns()[817])
    ('beagle, a kind of dog', 'abacus', 'sports car')
    """
    if nouns.noun in nouns.name.lower() or nouns.name.lower() in nouns.noun:
        return nouns.name
    return f"{nouns.name}, a kind of {nouns.noun}"


def caption_of(nouns: Nouns) -> str:
    """Write a caption.

    >>> caption_of(class_nouns()[162])
    'a photo of a beagle, a kind of dog'
    """
    name, _, noun = naming(nouns).partition(", ")
    return f"a photo of {with_article(name)}" + (f", {noun}" if noun else "")


def question_pair(question: str, answer: str, kind: str) -> TextPair:
    """Make the prompt of a question, and its answer; `kind` is its group in the scores."""
    return TextPair(prefix=prompts.answer(question), suffix=answer, kind=kind)


def pairs_about(
    nouns: Nouns, rng: np.random.Generator, questions: int, mixed: Sequence[Nouns] = (), there_share: float = 0.36
) -> tuple[TextPair, ...]:
    """Draw questions about a photograph, with their answers, and a caption.

    Args:
        nouns: nouns of what it shows.
        rng: random generator.
        questions: how many.
        mixed: nouns of other objects that it shows too; then only yes-no questions are asked.
        there_share: share of yes-no questions.
    """
    if mixed:
        true = frozenset.union(*(each.true for each in (nouns, *mixed)))
        return tuple(there_pair(nouns, true, rng) for _ in range(questions))
    makers = (_there, _what, _which, _kind, _either, _other)
    others = (1 - there_share) * np.array([0.2, 0.2, 0.08, 0.1, 0.06]) / 0.64
    chosen = [makers[k](nouns, rng) for k in rng.choice(len(makers), questions, p=(there_share, *others))]
    return (*chosen, TextPair(prefix=str(rng.choice(CAPTIONS)), suffix=caption_of(nouns), kind="caption"))


def pairs_of_presence(nouns: Nouns, absent: Sequence[str], rng: np.random.Generator, questions: int) -> tuple[TextPair, ...]:
    """Draw questions about the presence of objects in an image where presence and absence are known; and a caption."""
    pairs = []
    for _ in range(questions):
        yes = rng.random() < 0.5
        no = absent if absent and rng.random() < 0.5 else ("dog", "cat", "boat", "horse", "snake", "ship", "bed")
        pairs.append(
            there_pair(nouns, nouns.true, rng, str(rng.choice(list(nouns.groups) if yes and nouns.groups else list(no))))
        )
    return (*pairs, TextPair(prefix=str(rng.choice(CAPTIONS)), suffix=caption_of(nouns), kind="caption"))


def there_pair(nouns: Nouns, true: frozenset[str], rng: np.random.Generator, noun: str | None = None) -> TextPair:
    """Draw a yes-no question; half are true, and half of the others are about something of the same kind."""
    if noun is None:
        noun = str(rng.choice(sorted(true))) if rng.random() < 0.5 else negative(nouns, true, rng)
    return question_pair(_filled(str(rng.choice(THERE)), rng, noun), "yes" if noun in true else "no", "there")


def negative(nouns: Nouns, true: frozenset[str], rng: np.random.Generator) -> str:
    """Draw a noun that is absent: one true of another class, which is of the same kind in half of the draws.

    Each noun is thus asked about equally often when absent and when present, so the question alone reveals nothing.
    """
    near = rng.random() < 0.5
    while True:
        other = class_nouns()[int(rng.integers(len(class_nouns())))]
        wrong = sorted(other.true - true)
        if wrong and (other.kind == nouns.kind or not near):
            return str(rng.choice(wrong))


def _what(nouns: Nouns, rng: np.random.Generator) -> TextPair:
    return question_pair(_filled(str(rng.choice(WHAT)), rng), naming(nouns), "what")


def _which(nouns: Nouns, rng: np.random.Generator) -> TextPair:
    """A question for the noun by its kind, for the name by the noun, or for an absent kind."""
    draw = rng.random()
    if draw < 0.2:
        kind = str(rng.choice([kind for kind in _LISTED_KINDS if kind not in nouns.true]))
        return question_pair(_filled(str(rng.choice(WHICH)), rng, kind), f"no {kind}: {nouns.noun}", "which-not")
    if draw < 0.6 and nouns.noun != nouns.name:
        template = str(rng.choice((*WHICH, *BREED))) if nouns.kind == "animal" else str(rng.choice(WHICH))
        return question_pair(_filled(template, rng, nouns.noun), nouns.name, "name")
    wide = [noun for noun in nouns.true if noun in (nouns.kind, "mammal", "insect", "fruit", "vegetable", "pet")]
    if not wide:
        return _what(nouns, rng)
    return question_pair(_filled(str(rng.choice(WHICH)), rng, str(rng.choice(sorted(wide)))), nouns.noun, "which")


def _kind(nouns: Nouns, rng: np.random.Generator) -> TextPair:
    return question_pair(_filled(str(rng.choice(KIND)), rng), with_article(nouns.kind), "kind")


def _there(nouns: Nouns, rng: np.random.Generator) -> TextPair:
    return there_pair(nouns, nouns.true, rng)


def _either(nouns: Nouns, rng: np.random.Generator) -> TextPair:
    right = str(rng.choice(sorted({nouns.noun, nouns.kind} if nouns.kind != "object" else {nouns.noun})))
    wrong = negative(nouns, nouns.true, rng)
    if right == nouns.kind:
        wrong = str(rng.choice([kind for kind in _LISTED_KINDS if kind not in nouns.true]))
    one, other = (right, wrong) if rng.random() < 0.5 else (wrong, right)
    return question_pair(_filled(str(rng.choice(EITHER)), rng, one, other), right, "either")


def _other(nouns: Nouns, rng: np.random.Generator) -> TextPair:
    return question_pair(_filled(str(rng.choice(OTHER)), rng, nouns.noun), CANNOT_SAY, "other")


def _filled(template: str, rng: np.random.Generator, noun: str = "", other: str = "") -> str:
    """Fill nouns and a word for the image into a template."""
    noun, other = noun.lower(), other.lower()
    article, second = (with_article(each).rpartition(each)[0].strip() if each else "" for each in (noun, other))
    text = template.format(
        noun=noun, nouns=plural(noun) if noun else "", other=other, a=article, b=second, image=str(rng.choice(_IMAGE))
    )
    return re.sub(" +", " ", text)


def training_lines(draws: int = 40) -> list[str]:
    """List prompts and answers of every class, for training a tokenizer."""
    lines = []
    for number in range(len(class_nouns())):
        rng = np.random.default_rng((7, number))
        for pair in pairs_about(class_nouns()[number], rng, draws):
            lines += [pair.prefix, pair.suffix]
        lines += [naming(class_nouns()[number])] * draws
    return lines
