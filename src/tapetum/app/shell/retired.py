"""Verbs and options that left, and what took their place; read only where an unknown verb or option is met."""

RETIRED: dict[tuple[str, str], str] = {
    # (verb, or words of a command; option without dashes, "" for the whole): what to use instead
    ("completion", ""): "tapetum VERB --tyro-print-completion bash (or zsh, tcsh) completes the options of a verb",
    ("data check", ""): "the reader of a data set says what is missing when it is used",
    ("doctor", "quick"): "doctor tries nothing any more: leave it out",
    ("doctor", "systems"): "run a verb with --device, which says what it lacks",
}


def replacement(path: str, option: str = "") -> str:
    """Say what took the place of an option, or of a command if `option` is empty; "" if nothing of the name left.

    >>> replacement("tapetum doctor", "quick")
    'it left: doctor tries nothing any more: leave it out'
    """
    text = RETIRED.get((path.removeprefix("tapetum "), option), "")
    return text and f"it left: {text}"
