"""Which model answers, and what a user should know of it before believing it."""

_SCENES = "it learned from synthetic scenes alone and does not know the real world"
_SMALL = "it learned from few small images, and knows shapes and colours more than things"
_REMARKS = {"mcvit-nano": _SCENES, "paligemma-nano": _SCENES, "resnet-nano": _SMALL, "hip-nano": _SMALL}
"""Of the models that come with the package."""


def describe_model(reference: str) -> str:
    """Write a line that names the model of a result, with what is known to be wrong with it.

    >>> describe_model("mcvit-nano")
    'model: mcvit-nano; it learned from synthetic scenes alone and does not know the real world'
    """
    remark = _REMARKS.get(reference)
    return f"model: {reference}" + (f"; {remark}" if remark else "")
