"""Point-tracking folders of Kubric, as published for CoTracker3 (Hugging Face data set facebook/CoTracker3_Kubric).

The layout, according to the public reader (facebookresearch/co-tracker, `kubric_movif_dataset.py`) and users of the data; an
archive 0000.tar.gz holds one folder:

    DIR/0000/frames/000.png ... 119.png     512x512 pixels, in the order of their names; jpg is read as well
    DIR/0000/0000.npy                       a pickled dict, of which these are read:
                                              coords      float (n, t, 2): (x, y) in pixels
                                              visibility  bool (n, t): True where the point is HIDDEN
    DIR/0001/...                            5,869 such folders; anything else there (depths/, ...) is ignored

`visibility` has the wrong name: it is the `occluded` of Kubric's own tracks, and the public reader negates it. `coords` are
raster pixels like ours. Points may leave the image; a position that is not finite makes its point hidden.

The pickle is read by `tapetum.hub.unpickle`, which runs none of its code. This project has not seen the published files.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.hub.unpickle import load_npy
from tapetum.tracks.training.clips import TrackedClip

IMAGES = (".png", ".jpg", ".jpeg")


def kubric_sequences(folder: str | Path) -> list[str]:
    """List the names of the sequences in `folder`, sorted, each with its npy file and at least one frame.

    BadInput if there are none, or, naming the folders, if some are incomplete.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}; give one with a folder for every Kubric sequence")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        packed = " (there are .tar.gz files: unpack them first)" if any(folder.glob("*.tar.gz")) else ""
        raise BadInput(f"{folder} has no folders of Kubric sequences{packed}; wanted 0000/0000.npy and 0000/frames/000.png")
    lacking = [f"{name} lacks {what}" for name in names if (what := _lacks(folder / name))]
    if lacking:
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        raise BadInput(
            f"{len(lacking)} of {len(names)} folders in {folder} are not whole: {', '.join(lacking[:3])}{more}; "
            "get them again or take them out"
        )
    return names


def _lacks(sequence: Path) -> str | None:
    if not (sequence / f"{sequence.name}.npy").is_file():
        return f"{sequence.name}.npy"
    frames = sequence / "frames"
    if not frames.is_dir() or not any(file.suffix.lower() in IMAGES for file in frames.iterdir()):
        return "frames/*.png or *.jpg"
    return None


@dataclass(frozen=True)
class KubricClips:
    """Sequences of `folder`, by number; `names` are some of those that `kubric_sequences` gives."""

    folder: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, k: int) -> TrackedClip:
        return read_sequence(self.folder / self.names[k])


def write_sequence(sequence: Path, clip: TrackedClip) -> None:
    """Write a clip as the folder `sequence` in this layout, frames as png, for your own data."""
    (sequence / "frames").mkdir(parents=True)
    for number, frame in enumerate(clip.video[:]):
        Image.fromarray(frame).save(sequence / "frames" / f"{number:03d}.png")
    truth = {"coords": clip.xy, "visibility": ~clip.visible}
    np.save(sequence / f"{sequence.name}.npy", np.array(truth, dtype=object), allow_pickle=True)


def read_sequence(sequence: Path) -> TrackedClip:
    """Read the tracks of one sequence and its frames, still undecoded. BadInput names a damaged folder."""
    npy = sequence / f"{sequence.name}.npy"
    truth = load_npy(npy)
    try:
        xy, hidden = np.asarray(truth["coords"]), np.asarray(truth["visibility"])
    except (KeyError, TypeError, IndexError) as error:
        raise BadInput(f"{npy} holds no dict with coords and visibility; get the sequence {sequence.name} again") from error
    files = sorted(file for file in (sequence / "frames").iterdir() if file.suffix.lower() in IMAGES)
    fits = xy.ndim == 3 and xy.shape[2] == 2 and xy.dtype.kind == "f" and hidden.shape == xy.shape[:2] == (len(xy), len(files))
    if not fits or hidden.dtype.kind not in "bui":
        raise BadInput(
            f"{sequence} does not fit together: coords {xy.dtype} {xy.shape}, visibility {hidden.dtype} {hidden.shape}, "
            f"{len(files)} frames; wanted float (n, t, 2), bool (n, t) and t frames: get the sequence again"
        )
    xy, visible = xy.astype(np.float32, copy=False), ~hidden.astype(bool)
    finite = np.isfinite(xy[..., 0]) & np.isfinite(xy[..., 1])
    if not finite.all():
        xy, visible = np.where(finite[..., None], xy, np.float32(0)), visible & finite
    return TrackedClip(Images(files), xy, visible)


@dataclass(frozen=True)
class Images:
    """Image files of one size as frames."""

    files: list[Path]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, part: slice) -> np.ndarray:
        """uint8 (t, h, w, 3); BadInput names a file that cannot be read or has another size."""
        frames = [_decode(file) for file in self.files[part]]
        for file, frame in zip(self.files[part], frames, strict=True):
            if frame.shape != frames[0].shape:
                (h, w), (height, width) = frame.shape[:2], frames[0].shape[:2]
                raise BadInput(f"{file} is {w}x{h} pixels where the frames before are {width}x{height}; get the sequence again")
        return np.stack(frames)


def _decode(file: Path) -> np.ndarray:
    try:
        with Image.open(no_pipe(file)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or "not a whole image"
        raise BadInput(f"cannot read the frame {file} ({reason}); get the sequence again") from error
