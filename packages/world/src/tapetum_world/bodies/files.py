"""Episodes as files: one .npz of plain arrays, with a JSON text for the rest. No pickle; lossless both ways.

The same episode gives the same bytes, so files can be compared.
"""

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.reading import no_pipe, parse_json
from tapetum_world.bodies.episode import Action, Body, Camera, Contacts, Episode, Light, Surface
from tapetum_world.bodies.shapes import SHAPES

VERSION = 1
_ARRAYS = ("poses", "inside", "energy")
_CAMERA = ("intrinsics", "world_to_camera", "focus")
_LIGHT = ("direction", "colour", "sky", "exposure")


def save_episode(episode: Episode, path: str | Path) -> None:
    """Write an episode to a .npz file atomically; raise BadInput if the disk is full or settings are not JSON."""
    path = Path(path)
    if path.suffix != ".npz":
        raise BadInput(f"an episode goes into a file that ends in .npz, not {path.name}")
    arrays: dict[str, Any] = {name: getattr(episode, name) for name in _ARRAYS}
    arrays |= {f"camera.{name}": getattr(episode.camera, name) for name in _CAMERA}
    arrays |= {f"light.{name}": getattr(episode.light, name) for name in _LIGHT}
    arrays |= {f"contacts.{f.name}": getattr(episode.contacts, f.name) for f in fields(Contacts)}
    arrays |= {f"sheet.{j}": points for j, points in episode.sheets.items()}
    try:
        text = json.dumps(_describe(episode), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"the settings of an episode hold what JSON has not ({error}); keep to numbers, texts and lists"
        ) from None
    arrays["json"] = np.frombuffer(text.encode(), np.uint8)
    with whole_file(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def load_episode(path: str | Path) -> Episode:
    """Read what `save_episode` wrote; raise BadInput if the file is missing, damaged or something else."""
    path = Path(path)
    try:
        with np.load(no_pipe(path), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        header = parse_json(arrays.pop("json").tobytes().decode())
        if header["version"] != VERSION:
            raise BadInput(f"{path} is an episode of version {header['version']}; this tapetum reads {VERSION}: make it again")
        return _checked(_rebuild(header, arrays), path)
    except FileNotFoundError:
        raise BadInput(f"there is no file {path}; name an episode that save_episode wrote") from None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise BadInput(f"{path} is no whole episode ({type(error).__name__}: {error}); make it again") from None


def _describe(episode: Episode) -> dict[str, Any]:
    return {
        "version": VERSION,
        "seed": episode.seed,
        "size": list(episode.size),
        "rate": episode.frame_rate,
        "frames": episode.frames,
        "moments_per_frame": episode.moments_per_frame,
        "bodies": [_body_to_json(body) for body in episode.bodies],
        "camera": {"aperture": episode.camera.aperture, "shutter": episode.camera.shutter},
        "light": {"softness": episode.light.softness},
        "actions": [asdict(action) for action in episode.actions],
        "settings": dict(episode.settings),
    }


def _body_to_json(body: Body) -> dict[str, Any]:
    plain = {f.name: getattr(body, f.name) for f in fields(Body) if f.name not in ("shape", "surface")}
    shape = {f.name: getattr(body.shape, f.name) for f in fields(body.shape)}  # pyright: ignore[reportArgumentType]
    return plain | {"shape": {"kind": type(body.shape).__name__, **shape}, "surface": asdict(body.surface)}


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def _body_from_json(fields: Mapping[str, Any]) -> Body:
    shape = dict(fields["shape"])
    kind = SHAPES[shape.pop("kind")]
    rest = {name: v for name, v in fields.items() if name not in ("shape", "surface")}
    return Body(shape=kind(**_tuples(shape)), surface=Surface(**_tuples(fields["surface"])), **rest)


def _rebuild(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> Episode:
    return Episode(
        seed=header["seed"],
        size=(header["size"][0], header["size"][1]),
        frame_rate=header["rate"],
        frames=header["frames"],
        moments_per_frame=header["moments_per_frame"],
        bodies=tuple(_body_from_json(b) for b in header["bodies"]),
        sheets={int(name.partition(".")[2]): a for name, a in arrays.items() if name.startswith("sheet.")},
        camera=Camera(**{name: arrays[f"camera.{name}"] for name in _CAMERA}, **header["camera"]),
        light=Light(**{name: arrays[f"light.{name}"] for name in _LIGHT}, **header["light"]),
        contacts=Contacts(**{f.name: arrays[f"contacts.{f.name}"] for f in fields(Contacts)}),
        actions=tuple(Action(**action) for action in header["actions"]),
        settings=header["settings"],
        **{name: arrays[name] for name in _ARRAYS},
    )


def _checked(episode: Episode, path: Path) -> Episode:
    """Check that the arrays of an episode are consistent; return it."""
    moments, count = episode.poses.shape[0], len(episode.bodies)
    touches = len(episode.contacts.moment)
    needed = (episode.frames - 1) * episode.moments_per_frame + 1
    fits = (
        episode.poses.shape == (moments, count, 7)
        and moments >= needed >= 1
        and episode.inside.shape == (moments, count)
        and episode.energy.shape in ((moments,), (0,))
        and episode.camera.world_to_camera.shape == (moments, 4, 4)
        and episode.camera.intrinsics.shape == (moments, 4)
        and episode.light.exposure.shape == (moments,)
        and all(len(getattr(episode.contacts, f.name)) == touches for f in fields(Contacts))
        and all(points.shape[0] == moments for points in episode.sheets.values())
        and all(0 <= a.body < count and a.target < count for a in episode.actions)
    )
    if not fits:
        raise BadInput(f"{path} is no whole episode: its arrays do not fit each other; make it again")
    return episode
