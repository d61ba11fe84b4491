"""Commands of guides made short: they make, learn and score little, and read small networks in place of whole ones."""

import re

from tapetum.app.commands import Command, resolve_command
from tapetum.app.shell.main import command
from tapetum.app.shell.parsing import options_of

STANDS_IN = {
    r"paligemma2-\S+": "my-model.safetensors",
    r"bootstapir": "tapir-nano",
    r"vit-small-16": "vit-nano",
    r"timm:resnet50": "timm:resnet18",
}
"""Published weights and whole networks, and what is read or built in their place."""
ONE = "steps mae-steps n image-clips scenes scored iterations rollouts checks evaluations threads"
NONE = "workers warmup-steps warmup-epochs"
LITTLE = dict.fromkeys(ONE.split(), "1") | dict.fromkeys(NONE.split(), "0")
LITTLE |= {"clips": "2", "batch-size": "2", "micro-batch": "2", "crop": "64", "short-sides": "64", "long-side": "96"}
"""Options that say how much is made, learned or scored, and how large images are then, and what they are here."""
MOST = {"size": 64, "seconds": 2, "points": 16, "width": 64, "frames": 16}
"""Options that are here at most so large."""


def shortened(arguments: list[str]) -> list[str]:
    """Return a command that makes and learns little: options of `LITTLE` have the values that stand there."""
    for name, small in STANDS_IN.items():
        arguments = [re.sub(f"^{name}$", small, word) for word in arguments]
    chosen, _, _ = resolve_command(command(arguments[0]), arguments[1:], "tapetum")
    if arguments[0] not in ("train", "pretrain", "bootstrap", "adapt", "scenes"):
        return arguments
    assert isinstance(chosen, Command)
    known = {option.names[0]: option.default for option in options_of(chosen.options)}
    for name, small in LITTLE.items():
        if known.get(name) == "" or (name == "checks" and "--checks" in arguments):
            continue  # a file, where others have a number
        if name == "workers" and arguments[0] in ("scenes", "bootstrap"):
            continue  # they do the work; or would find what an earlier page's run has read
        if f"--{name}" in arguments:
            arguments = [*arguments]
            arguments[arguments.index(f"--{name}") + 1] = small
        elif name in known:
            arguments = [*arguments, f"--{name}", small]
    if arguments[1:2] == ["tap-kubric"] and "--model" not in arguments:
        arguments = [*arguments, "--model", "tapir-nano"]  # a whole TAPIR takes half a minute a step
    if arguments[1].endswith("tap-nano"):
        arguments[arguments.index("--batch-size") + 1] = "1"  # of each of four phases, each with scenes of its own
        arguments = [*arguments, "--bf16", "False"]  # a minute in bfloat16, which tests/systems/tap trains in
    if arguments[1] == "films":
        arguments = [*arguments, "--stories", "8", "--minutes", "0.1"]  # a minute joins thirty stories of two seconds
    for name, most in MOST.items():
        given = arguments[arguments.index(f"--{name}") + 1] if f"--{name}" in arguments else known.get(name, 0)
        if name in known and (given is None or float(given) > most):
            arguments = [*arguments, f"--{name}", str(most)]
    return arguments
