"""Videos in memory, or in an .npy or .npz file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe, open_file
from tapetum.types.checks import unmasked
from tapetum.video.types import Frame, Video, refuse_huge

_WANTED = "a video is uint8 or float 0..1, of shape (t, h, w, 3), or (t, h, w) for gray"


class ArrayVideo(Video):
    """A video made from an array; see `open_video` for accepted inputs. The array is not copied until it is read."""

    clocked = False

    def __init__(self, array: Any, *, frame_rate: float, name: str = "array"):
        array = to_numpy(array, name)
        if array.dtype == np.bool_ or array.dtype.kind not in "uf" or (array.dtype.kind == "u" and array.itemsize > 1):
            raise BadInput(f"{name} has numbers of type {array.dtype}; {_WANTED}")
        if array.ndim == 3 and array.shape[-1] in (3, 4):
            raise BadInput(f"{name} has shape {array.shape}, which looks like one image; put t first: array[None]")
        if array.ndim == 4 and array.shape[-1] not in (1, 3, 4) and array.shape[1] in (1, 3):
            raise BadInput(f"{name} has shape {array.shape}; channels go last: array.transpose(0, 2, 3, 1)")
        if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[-1] not in (1, 3, 4)):
            raise BadInput(f"{name} has shape {array.shape}; {_WANTED}")
        if 0 in array.shape:
            raise BadInput(f"{name} has shape {array.shape}: no frames or no pixels; give at least one frame of 1x1")
        refuse_huge(name, width=array.shape[2], height=array.shape[1])
        self.name = name
        self.height, self.width = array.shape[1:3]
        self._array = array
        self._rate = float(frame_rate)
        self._frame(0)

    def __len__(self) -> int:
        return self._array.shape[0]

    def _read(self, indices: Sequence[int]) -> Iterator[Frame]:
        return map(self._frame, indices)

    def _frame(self, index: int) -> Frame:
        """One frame as a new uint8 (h, w, 3); alpha is composited on black."""
        frame = np.asarray(self._array[index])
        return as_rgb(from_floats(frame, f"frame {index} of {self.name}") if frame.dtype.kind == "f" else frame)


def from_floats(frame: np.ndarray, name: str) -> np.ndarray:
    """Convert floats 0..1 to uint8 0..255. Raises BadInput, naming `name`, for other values and for NaN."""
    frame = frame.astype(np.float32)
    if not (frame.min() >= 0 and frame.max() <= 1):  # also true for NaN
        raise BadInput(f"{name} holds floats outside 0..1 (or NaN); {_WANTED}")
    return np.rint(frame * 255).astype(np.uint8)


def as_rgb(frame: np.ndarray) -> Frame:
    """Make a new uint8 (h, w, 3) from gray (h, w) or (h, w, 1), RGB, or RGBA, which is composited on black."""
    if frame.ndim == 2:
        frame = frame[..., None]
    if frame.shape[-1] == 1:
        return np.repeat(frame, 3, axis=-1)
    if frame.shape[-1] == 4:
        weighted = frame[..., :3].astype(np.uint16) * frame[..., 3:]
        return ((weighted + 127) // 255).astype(np.uint8)
    return np.array(frame, order="C")


def load_array(path: Path) -> np.ndarray:
    """Load the array in an .npy or .npz file; never unpickles. An .npy file is mapped, not read."""
    try:
        if path.suffix.lower() == ".npy":
            return np.load(no_pipe(path), mmap_mode="r", allow_pickle=False)
        with open_file(path) as file, np.load(file, allow_pickle=False) as loaded:
            names = loaded.files
            known = [name for name in ("video", "frames") if name in names]
            if not known and len(names) != 1:
                listed = ", ".join(names[:8]) or "nothing"
                raise BadInput(f"{path} holds {listed}; an .npz of a video has one array, or one named video or frames")
            return loaded[known[0] if known else names[0]]
    except MemoryError as error:
        raise BadInput(f"{path} does not fit in memory; save it as .npy, which is read piece by piece") from error
    except BadInput:
        raise
    except Exception as error:  # the readers of zip and of the header raise whatever damage makes them stumble over
        reason = " ".join(str(error).split())
        raise BadInput(f"{path} cannot be read as an array ({reason}); write it with numpy.save or savez") from error


def to_numpy(array: Any, name: str) -> np.ndarray:
    """Convert data in memory to an array: from numpy, torch (which is not imported), Pillow, or a list of any of these.

    Raises BadInput, naming `name`, for inputs without numbers (sparse and meta tensors) and for lists of different shapes.
    """
    if isinstance(array, np.ndarray):
        return unmasked(array, name)
    try:
        if hasattr(array, "detach") and hasattr(array, "cpu"):
            if array.device.type == "meta":
                raise BadInput(f"a tensor on the device meta has no numbers; {_WANTED}")
            tensor = (array if str(array.layout) == "torch.strided" else array.to_dense()).detach().cpu()
            return (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy()
        if isinstance(array, (list, tuple)):
            of_arrays = len(array) > 0 and all(hasattr(each, "__array__") or hasattr(each, "detach") for each in array)
            return np.stack([to_numpy(each, name) for each in array]) if of_arrays else np.asarray(array)
        if hasattr(array, "__array__"):
            return np.asarray(array)
    except BadInput:
        raise
    except Exception as error:  # whatever somebody's __array__ or a tensor without numbers raises
        reason = " ".join(str(error).split())[:150]
        raise BadInput(f"{name} is a {type(array).__name__} without numbers of one shape ({reason}); {_WANTED}") from error
    raise BadInput(f"{type(array).__name__} is not a video; give a path, an array or a tensor: {_WANTED}")
