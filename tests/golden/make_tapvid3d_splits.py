"""Writes src/tapetum/systems/tapvid3d/splits.txt from the public lists of TAPVid-3D.

    python tests/golden/make_tapvid3d_splits.py PATH/OF/tapvid3d_splits.py

PATH is the file of google-deepmind/tapnet, two dictionaries of file names and nothing that is worth copying. Prints the SHA-256
of every sorted list, which `tests/systems/tapvid3d/test_folders.py` holds.
"""

import hashlib
import runpy
import sys
from collections import defaultdict
from pathlib import Path

OUT = Path(__file__).parents[2] / "src" / "tapetum" / "systems" / "tapvid3d" / "splits.txt"


def parts(source: str, name: str) -> tuple[str, str]:
    """The recording, and the clip of it; the id of a car may hold underscores."""
    stem = name.removesuffix(".npz")
    if source != "drivetrack":
        recording, clip = stem.rsplit("_", 1)
        return recording, clip
    _, *segment, camera, car = stem.split("_", 7)
    return "_".join(segment), f"{camera}_{car}"


def digest(names: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def main() -> None:
    public = runpy.run_path(sys.argv[1])
    lines = []
    for source in ("adt", "drivetrack", "pstudio"):
        recordings: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for lists, mark in ((public["MINIVAL_FILES"], "*"), (public["FULL_EVAL_FILES"], "")):
            for name in lists[source]:
                recording, clip = parts(source, name)
                recordings[recording].append((clip, mark))
            print(source, mark or " ", len(lists[source]), digest(lists[source]))
        lines.append(f"[{source}]")
        for recording, clips in sorted(recordings.items()):
            order = sorted(clips, key=lambda clip: (len(clip[0]), clip[0]) if source != "drivetrack" else clip[0])
            lines.append(" ".join([recording, *(clip + mark for clip, mark in order)]))
    OUT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
