"""Remarks on which model answers, and what a user should know before trusting it."""

_SCENES = "it learned from synthetic scenes alone and does not know the real world"
_PHOTO = "it names what a classifier of ImageNet knows: animals, vehicles, food, things; no colours, counts, places or people"
_SMALL = "it learned from few small images, and knows shapes and colours more than things"
_REMARKS = {
    "mcvit-films": _SCENES,
    "paligemma-nano-2": _SCENES,
    "paligemma-photo": _PHOTO,
    "resnet-nano": _SMALL,
    "hip-nano": _SMALL,
}
"""Of the models that come with the package."""


_BETTER = {
    "mcvit-films": "photographs and films are found by words with",
    "paligemma-nano-2": "photographs are answered about by",
    "paligemma-photo": "more is known by",
    "resnet-nano": "photographs are told apart far better by",
}
_FETCHED = {
    "mcvit-films": "siglip2-base-32",
    "paligemma-nano-2": "paligemma2-3b-mix-224",
    "paligemma-photo": "paligemma2-3b-mix-224",
    "resnet-nano": "dinov2-small",
}
"""What a user with a network may take in place of a model that comes with the package."""


def next_step(reference: str) -> str | None:
    """Write the command that fetches a more capable model, with size and licence; None for models of other kinds.

    >>> next_step("mcvit-films")
    'photographs and films are found by words with siglip2-base-32: tapetum weights fetch siglip2-base-32 (1.5 GB, Apache-2.0)'
    """
    from tapetum.hub.registry import known

    if reference not in _BETTER:
        return None
    weights = known()[_FETCHED[reference]]
    command = f"tapetum weights fetch {weights.name} ({weights.size_text}, {weights.licence})"
    return f"{_BETTER[reference]} {weights.name}: {command}"


def describe_model(reference: str) -> str:
    """Write a line that names the model behind a result, with its known limits.

    >>> describe_model("mcvit-films")
    'model: mcvit-films; it learned from synthetic scenes alone and does not know the real world'
    """
    remark = _REMARKS.get(reference)
    return f"model: {reference}" + (f"; {remark}" if remark else "")
