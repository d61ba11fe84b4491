"""Published weights to a file of ours, once, in a process of its own.

    python -m tapetum.systems.tap.weights.convert SOURCE TARGET [--causal] [--softmax-temperature T]

A checkpoint from elsewhere is a pickle. It is read with `weights_only=True` (or by `tapetum.hub.unpickle` for JAX) and nothing
else: where that refuses, so do we. The process of its own is for what a damaged file can still do, which is to crash or to
fill the memory.
"""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.files import cannot_write, same_place
from tapetum.hub.download import Record, record_of, sha256_of, write_record
from tapetum.systems.tap.config import OFFICIAL


def convert_published(source: Path, target: Path, architecture: str) -> None:
    """Convert an official checkpoint of a known architecture; raises BadInput as `convert`."""
    convert(source, target, causal=OFFICIAL[architecture].causal)


def convert(source: Path, target: Path, *, causal: bool | None = None, softmax_temperature: float | None = None) -> None:
    """Write the published weights in `source` (.pt, or .npy of JAX) to the safetensors file `target`, with a record beside it.

    Args:
        causal: whether the network is causal; None takes it from the name of the file.
        softmax_temperature: of stage 1; None is 20.

    Raises:
        BadInput: the file does not hold such a network, or `target` cannot be written.
    """
    if target.suffix != ".safetensors":
        raise BadInput(f"{target} must be named .safetensors: that is what is written")
    if same_place(target, source):
        raise BadInput(f"{source} would be overwritten by what is made of it: give --out another name")
    options = [] if causal is None else ["--causal" if causal else "--no-causal"]
    options += [] if softmax_temperature is None else ["--softmax-temperature", str(softmax_temperature)]
    command = [
        sys.executable,
        "-m",
        "tapetum.systems.tap.weights.convert",
        os.path.realpath(source),
        os.path.realpath(target),
        *options,
    ]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(target, error) from error
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        message = (child.stderr.strip().splitlines() or [""])[-1]
        if child.returncode < 0:
            message = f"reading {source} ended with {signal.Signals(-child.returncode).name}: get the file again"
        raise BadInput(message)
    origin = record_of(source)
    described = Record(
        source=origin.source if origin else f"sha256:{sha256_of(source)}", size=target.stat().st_size, sha256=sha256_of(target)
    )
    write_record(target, described)


def main() -> int:
    """Run the child's side of `convert`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--causal", action=argparse.BooleanOptionalAction)
    parser.add_argument("--softmax-temperature", type=float)
    chosen = parser.parse_args()
    from tapetum.systems.tap import weights

    try:
        model = weights.load(chosen.source, causal=chosen.causal, softmax_temperature=chosen.softmax_temperature)
        weights.save(model, chosen.target)
    except TapetumError as error:
        print(error, file=sys.stderr)
        return 2
    except MemoryError:
        print(f"{chosen.source} does not fit into memory", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
