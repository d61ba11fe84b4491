"""Meshes in OFF files, as ModelNet40 has them, and points on their surfaces."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from tapetum.core.errors import BadInput
from tapetum.core.reading import read_bytes

MAX_POINTS = 5_000_000
"""Vertices or faces in a mesh beyond which it is refused."""


def read_off(content: Path | bytes, name: str) -> tuple[Float32[np.ndarray, "v 3"], np.ndarray]:
    """Read vertices and triangles (f, 3) of a mesh in an OFF file; faces of more corners are cut into fans.

    ModelNet40 has files in which the numbers follow the word OFF on the same line. Raises BadInput for anything else.
    """
    try:
        data = content if isinstance(content, bytes) else read_bytes(content)
        words = data.split()
        if words[0][:3] != b"OFF":
            raise ValueError("it does not begin with OFF")
        words = ([words[0][3:]] if len(words[0]) > 3 else []) + words[1:]
        v, f = int(words[0]), int(words[1])
        if not (0 < v <= MAX_POINTS and 0 < f <= MAX_POINTS):
            raise ValueError(f"it states {v} vertices and {f} faces; from 1 to {MAX_POINTS} are read")
        vertices = np.array(words[3 : 3 + 3 * v], np.float32).reshape(v, 3)
        rest, at, triangles = words[3 + 3 * v :], 0, []
        for _ in range(f):
            corners = int(rest[at])
            face = [int(word) for word in rest[at + 1 : at + 1 + corners]]
            if len(face) != corners or not all(0 <= c < v for c in face):
                raise ValueError("a face has corners that are not there")
            triangles += [(face[0], face[i], face[i + 1]) for i in range(1, corners - 1)]
            at += 1 + corners
        if not triangles or not np.isfinite(vertices).all():
            raise ValueError("it has no faces, or vertices that are not finite")
    except FileNotFoundError as error:
        raise BadInput(f"there is no file {name}; copy the data anew") from error
    except (ValueError, IndexError) as error:
        raise BadInput(f"{name} is not a whole OFF file of a mesh ({str(error)[:100]}); copy it anew") from error
    return vertices, np.array(triangles)


def on_surface(
    vertices: Float32[np.ndarray, "v 3"], faces: np.ndarray, count: int, rng: np.random.Generator
) -> Float32[np.ndarray, "n 3"]:
    """Draw `count` random points of the triangles, evenly by area."""
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    total = areas.sum()
    chosen = rng.choice(len(faces), count, p=areas / total if total > 0 else None)
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return (a[chosen] + u * (b[chosen] - a[chosen]) + v * (c[chosen] - a[chosen])).astype(np.float32)


def normalise_points(points: Float32[np.ndarray, "n 3"], up: int) -> Float32[np.ndarray, "n 3"]:
    """Move points about the middle of their box, scale them into the unit ball, and order them along axis `up`."""
    points = points - (points.min(0) + points.max(0)) / 2
    points /= max(float(np.linalg.norm(points, axis=1).max()), 1e-9)
    return points[np.argsort(points[:, up], kind="stable")].astype(np.float32)
