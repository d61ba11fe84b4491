"""Notes of unfinished runs in their folders, so that the same call goes on and no other one mixes its files in."""

import json
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text
from tapetum.core.reading import read_json


def continues_run(note: Path, settings: dict[str, Any], out: Path, done: int) -> bool:
    """Check whether `note` is of a run into `out` with these settings that was interrupted, after `done` scenes.

    Raises BadInput where it had other settings, or the note cannot be read.
    """
    try:
        before = read_json(note) if note.exists() else None
    except (OSError, ValueError) as error:
        raise BadInput(f"{note} cannot be read ({error}); remove {out} or choose another folder") from error
    if before is not None and before != settings:
        options = [name for name in settings if before.get(name) != settings[name]]
        had = " ".join(f"--{name} {before.get(name)}" for name in options)
        raise BadInput(
            f"{out} holds {done} scenes of a run with {had} that was not finished; give that again to go on, remove "
            "the folder, or choose another"
        )
    return before is not None


def write_note(note: Path, settings: dict[str, Any]) -> None:
    """Write the settings of a run that begins."""
    with whole_file(note) as temporary:
        write_text(temporary, json.dumps(settings))
