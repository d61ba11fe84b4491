"""Names for a photograph of an ImageNet class: its own name, one common noun, broader nouns, its kind.

    class   own name           noun   nouns that it is also of   kind
    162     beagle             dog    puppy mammal pet           animal
    817     sports car         car    vehicle                    vehicle
    398     abacus             abacus                            object

Source: the tables of `tapetum.encoders.imagenet`. Imports no torch.
"""

import re
from dataclasses import dataclass
from functools import cache

from tapetum.encoders.imagenet import class_kinds, class_names, group_classes

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
