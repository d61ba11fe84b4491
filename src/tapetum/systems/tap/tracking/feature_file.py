"""Cache of a video's frame features in a file, on which tracking a few points spends nearly all its time.

A file is a header (a line of JSON) and a record per frame:

    {"format": 1, "network": ..., "shapes": ...}\n   digest of frame 0, CRC-32 and maps as float16   digest of frame 1, ...

A frame is identified by its pixels, and the network by its weights, config and sizes. Rounding to float16 moves positions by a
few thousandths of a pixel.
"""

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tapetum.core.reading import no_pipe, open_file, parse_json
from tapetum.core.stages import stage
from tapetum.systems.tap.types import FeatureGrids, Size

FORMAT = 1
_DIGEST = 16
"""Bytes by which a frame is known."""
_LONGEST_HEADER = 1 << 16
Compute = Callable[[np.ndarray], FeatureGrids]


class FeatureFile:
    """A file of features: those in `source` are read, others are computed and written to `target`, within `room` bytes and half
    of the free disk space. A source with errors is not used.

    `kept` also keeps those of the last `Video` in memory, if they fit in one window. The target begins as a copy of a source of
    the same network, or goes on with it where both are one file; without new features none is written.
    """

    def __init__(self, source: Path | None, target: Path | None, room: int, kept: dict[Any, Any] | None = None):
        free = room if target is None else shutil.disk_usage(target.parent).free // 2
        self.source, self.target, self.room = source, target, min(room, free)
        self.kept = kept
        self.read = self.computed = 0
        """Numbers of frames whose features were read and computed."""
        self._places: dict[bytes, int] = {}
        self._header: dict[str, Any] | None = None
        self._records: np.ndarray | None = None
        self._end = 0  # of the source's last whole record; a killed command leaves part of one behind it
        self._written: Any = None

    def wrap(self, compute: Compute, network: nn.Module, about: Any, resolutions: tuple[Size, ...]) -> Compute:
        """Wrap `compute` so that it reads the file first; `about` is the config of the network."""
        key = network_key(network, about, resolutions)
        weight = next(network.parameters())
        self._open(key)

        def cached(frames: np.ndarray) -> FeatureGrids:
            names = [_digest(frame) for frame in frames]
            rows = [self._row(name) for name in names]
            missing = [k for k, row in enumerate(rows) if row is None]
            self.read += len(rows) - len(missing)
            self.computed += len(missing)
            if not missing:
                return self._features(rows, weight.device, weight.dtype)
            new = compute(frames[missing] if len(missing) < len(frames) else frames)
            try:
                with stage("keep features"):
                    self._keep(key, [names[k] for k in missing], new)
            except OSError:  # the tracks need what room is left on the disk
                self._discard_target()
            if len(missing) == len(frames):
                return new
            features = self._features(rows, weight.device, weight.dtype)
            for maps, more in zip(features.maps, new.maps, strict=True):
                maps[:, missing] = more.to(maps.dtype)
            return features

        return cached

    def close(self) -> None:
        """Finish the target."""
        if self._written is not None:
            self._written.close()
            self._written = None
        self._records = None

    def _discard_target(self) -> None:
        target, self.target = self.target, None
        with suppress(OSError):
            if self._written is not None:
                self._written.close()
        self._written = None
        if target is not None:
            target.unlink(missing_ok=True)

    def _open(self, key: str) -> None:
        if self.source is None or not self.source.is_file():
            return
        try:
            with open_file(self.source) as file:
                line = file.readline(_LONGEST_HEADER)
                header = parse_json(line)
                if header["format"] != FORMAT or header["network"] != key or header != _summed(header):
                    return
                size = _record(header).itemsize
                count = (os.fstat(file.fileno()).st_size - len(line)) // size
            if count < 1:
                return
            self._records = np.memmap(no_pipe(self.source), _record(header), "r", offset=len(line), shape=(count,))
            self._places = {name.tobytes(): place for place, name in enumerate(self._records["name"])}
            self._header, self._end = header, len(line) + count * size
        except (OSError, ValueError, KeyError, TypeError):
            self._places, self._records, self._header = {}, None, None

    def _row(self, name: bytes) -> np.ndarray | None:
        """The values of a frame, as written; None if they are missing or damaged."""
        if self._records is None or (place := self._places.get(name, -1)) < 0:
            return None
        row = self._records[place]
        return row["maps"] if zlib.crc32(row["maps"].data) == row["sum"] else None

    def _features(self, records: list[np.ndarray | None], device: torch.device, dtype: torch.dtype) -> FeatureGrids:
        """Features of consecutive frames; those that are None stay 0."""
        assert self._header is not None
        floats = sum(int(np.prod(shape)) for shape in self._header["shapes"])
        rows = np.stack([np.zeros(floats, np.float16) if row is None else row for row in records])
        maps, first = [], 0
        for shape in self._header["shapes"]:
            count = int(np.prod(shape))
            part = torch.from_numpy(rows[:, first : first + count]).unflatten(1, shape)[None]
            maps.append(part.to(device=device, dtype=dtype))
            first += count
        height, width = self._header["video"]
        resolutions = tuple((int(h), int(w)) for h, w in self._header["resolutions"])
        pyramids = tuple(tuple(maps[k] for k in pyramid) for pyramid in self._header["pyramids"])
        return FeatureGrids((height, width), resolutions, maps[self._header["initial"]], pyramids)

    def _keep(self, key: str, names: list[bytes], features: FeatureGrids) -> None:
        if self.target is None:
            return
        header = _header_of(key, features)
        dtype = _record(header)
        if self._written is None:
            if dtype.itemsize * (1 + len(self._places)) > self.room or all(name in self._places for name in names):
                return
            if self._header is not None and self.source is not None:
                if self.source != self.target:
                    shutil.copyfile(self.source, self.target)
                self._written = open(self.target, "ab")  # noqa: SIM115  # closed by close()
                self._written.truncate(self._end)
                self._written.seek(self._end)
            else:
                self._written = open(self.target, "wb")  # noqa: SIM115
                self._written.write(json.dumps(header).encode() + b"\n")
        record, sizes = np.zeros((), dtype), [maps[0, 0].numel() for maps in features.maps]
        for k, name in enumerate(names):
            if name not in self._places and self._written.tell() + dtype.itemsize <= self.room:
                for part, maps in zip(torch.from_numpy(record["maps"]).split(sizes), features.maps, strict=True):
                    part.copy_(maps[0, k].flatten())
                record["name"], record["sum"] = np.void(name), zlib.crc32(record["maps"].data)
                self._written.write(record.data)
                self._places[name] = -1  # where it is, only the next command needs to know


def network_key(network: nn.Module, about: Any, resolutions: tuple[Size, ...]) -> str:
    """Compute the identity of a network: its weights, their type, its config and its input sizes."""
    digest = hashlib.sha256(repr((about, resolutions)).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _digest(frame: np.ndarray) -> bytes:
    name = hashlib.blake2b(repr(frame.shape).encode(), digest_size=_DIGEST)
    name.update(np.ascontiguousarray(frame).data)
    return name.digest()


def _header_of(key: str, features: FeatureGrids) -> dict[str, Any]:
    number = {id(maps): k for k, maps in enumerate(features.maps)}
    header = {
        "format": FORMAT,
        "network": key,
        "video": list(features.video_size),
        "resolutions": [list(size) for size in features.resolutions],
        "shapes": [list(maps.shape[2:]) for maps in features.maps],
        "initial": number[id(features.initial)],
        "pyramids": [[number[id(maps)] for maps in pyramid] for pyramid in features.pyramids],
    }
    return _summed(header)


def _summed(header: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in header.items() if name != "sum"}
    return {**plain, "sum": zlib.crc32(json.dumps(plain).encode())}


def _record(header: dict[str, Any]) -> np.dtype:
    floats = sum(int(np.prod(shape)) for shape in header["shapes"])
    return np.dtype([("name", f"V{_DIGEST}"), ("sum", "<u4"), ("maps", np.float16, (floats,))])
