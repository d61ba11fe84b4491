"""What a run of `tapetum bootstrap` keeps in its folder, and how the folder is of that one run.

OUT/run.json                    settings and footage of the run: a folder with checkpoints of another is refused
    footage/, footage.txt       clips of the videos, and what became of these
    stills/                     frames of the clips to learn from, of which scenes are painted
    scenes/                     drawn scenes, until the end
    before.json                 scores of the start
    best.json, best.safetensors the best weights so far
    run/                        checkpoints and logs of the training loop
    tracker.safetensors, outcome.json   what came out
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_text
from tapetum.core.identity import source_label
from tapetum.core.provenance import check
from tapetum.core.reading import read_bytes, read_json
from tapetum.hub.registry import resolve
from tapetum.systems.tap.bootstrap.footage import FootageDataset
from tapetum.systems.tap.bootstrap.recipes import BootstrapRun
from tapetum.systems.tap.bootstrap.unlabelled_scores import split
from tapetum.train.checkpoint import checkpoints

_SAVED_AS = {"separate_moments": "apart", "image_clips": "warped"}
"""Settings that have another name where runs are recorded."""


def run_identity(run: BootstrapRun) -> dict[str, Any]:
    """Tell all of a run, its ingredients among the rest, as JSON has it; the weights by what is in them."""
    content = asdict(run)
    content |= content.pop("settings")
    content["model"] = hashlib.sha256(read_bytes(resolve(run.model, "track")[0])).hexdigest()[:16]
    content["textures"] = source_label(run.textures)
    return json.loads(json.dumps({_SAVED_AS.get(name, name): value for name, value in content.items()}))


def footage_identity(footage: FootageDataset) -> dict[str, Any]:
    """Tell the clips of a folder from those of another."""
    clips = [f"{clip.shard} {clip.number}" for clip in footage.clips]
    digest = hashlib.sha256("\n".join(clips).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return {"videos": len(footage.records), "clips": len(clips), "digest": digest}


def claim_run(out: Path, part: str, content: Mapping[str, Any]) -> None:
    """Keep in run.json what this run is; where `out` holds scores of another one, they are thrown away.

    Raises BadInput where that has checkpoints already.
    """
    file = out / "run.json"
    known = read_json(file) if file.exists() else {}
    before = known.get(part, {})
    if before == content:
        return
    if checkpoints(out / "run" / "checkpoints"):
        changed = ", ".join(f"{k} {before.get(k)!r} (now {v!r})" for k, v in content.items() if before.get(k) != v)
        raise BadInput(
            f"{out} is of a run with other {'videos' if part == 'footage' else 'settings'}: {changed}; "
            "go on with those that it began with, or give --out another folder"
        )
    for name in ("before.json", "best.json", "best.safetensors"):
        check(out / name)
        (out / name).unlink(missing_ok=True)
    remove_scenes(out)
    write_json(file, {**known, part: content})


def remove_scenes(out: Path) -> None:
    """Remove the drawn scenes of a run, and their folder unless something else is in it."""
    if (out / "scenes" / "clips.json").is_file():
        for file in (out / "scenes" / "clips.json", *(out / "scenes").glob("*clip-[0-9]*.npz")):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            (out / "scenes").rmdir()


def read_best(out: Path) -> dict[str, Any] | None:
    """Read step and scores of the best weights so far."""
    file = out / "best.json"
    return read_json(file) if file.exists() else None


def write_stills(footage: FootageDataset, out: Path) -> None:
    """Keep three frames of every clip to learn from, and nothing else, as images to paint scenes with."""
    folder = out / "stills"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {}
    for number in split(footage)[0]:
        clip = footage.clips[number]
        for at in (0, clip.frames // 2, clip.frames - 1):
            wanted[folder / f"{Path(clip.shard).stem}-{clip.number}-{at:03d}.jpg"] = number, at
    ours = {*folder.glob("*-*-[0-9][0-9][0-9].jpg"), *folder.glob(".*.tmp.jpg")}
    for file in ours - wanted.keys():  # of clips that are no more, or half-written
        file.unlink()
    for file, (number, at) in wanted.items():
        if not file.exists():
            image = BytesIO()
            Image.fromarray(footage[number][at]).save(image, "JPEG", quality=92)
            with whole_file(file, own=True) as temporary:
                temporary.write_bytes(image.getvalue())  # PIL itself does not tell of a full disk


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole or not at all."""
    with whole_file(file) as temporary:
        write_text(temporary, json.dumps(content, indent=1))
