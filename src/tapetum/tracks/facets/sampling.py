"""Random sampling of a facet world: its objects, their motion, and the light.

Images on the facets may have a repeated piece (tiles, bricks, stripes, dots), so that places look alike. Objects have paths
across the image (start and end pixel, start and end depth), so their speed in pixels is known; a fraction of them stands still.

Settings that are 0 by default in `SceneConfig` are drawn last, or draw nothing if they are 0, so that older worlds stay
unchanged.
"""

import numpy as np
from PIL import Image

from tapetum.data.textures import Textures, outline, procedural
from tapetum.tracks.facets.types import F64, U8
from tapetum.tracks.facets.world import (
    STILL,
    FacetObject,
    Facets,
    FacetWorld,
    Path,
    SceneConfig,
    bending_sheet,
    box,
    elevate_degree,
    prism,
    sheet,
)

SIZE = 320


def with_repeats(source: Textures, share: float) -> Textures:
    """Replace a share of the images of `source` by ones with a repeated piece; without a share it is `source`."""
    if not share:
        return source

    def draw(rng: np.random.Generator) -> U8:
        return repeat_piece(rng, source) if rng.random() < share else source(rng)

    return draw


def repeat_piece(rng: np.random.Generator, source: Textures) -> U8:
    """Draw an image (320, 320, 3) with a piece repeated every 20 to 64 pixels, under 8 to 30 % of another image."""
    period = int(rng.integers(20, 65))
    kind = rng.choice(["tiles", "bricks", "stripes", "dots"], p=[0.35, 0.2, 0.2, 0.25])
    image = source(rng)
    if kind == "dots":
        y, x = (np.mgrid[:period, :period] + 0.5) / period - 0.5
        colours = image.reshape(-1, 3)[rng.integers(image.shape[0] * image.shape[1], size=2)].astype(float)
        colours[1] += np.where(colours.mean() < 128, 60, -60)  # two that are alike would make no dots
        inside = np.clip((rng.uniform(0.2, 0.42) - np.hypot(x, y)) * period + 0.5, 0, 1)[..., None]
        piece = colours[0] * (1 - inside) + colours[1] * inside
    else:
        side = min(int(period * rng.uniform(1, 4)), *image.shape[:2])
        top, left = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
        crop = Image.fromarray(np.ascontiguousarray(image[top : top + side, left : left + side]))
        piece = np.asarray(crop.resize((period, period), Image.Resampling.BOX)).astype(float)
        if kind == "stripes":
            piece = np.repeat(piece[:1], period, axis=0)
    y, x = np.mgrid[:SIZE, :SIZE]
    shift = period // 2 * (y // period % 2) if kind == "bricks" else 0
    pattern = piece[y % period, (x + shift) % period]
    if rng.random() < 0.5:
        pattern = pattern.swapaxes(0, 1)
    over = np.asarray(Image.fromarray(source(rng)).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    mix = rng.uniform(0.08, 0.3)
    return np.clip((1 - mix) * pattern + mix * over, 0, 255).astype(np.uint8)


Rng = np.random.Generator


def sample_world(config: SceneConfig, seed: int | tuple[int, ...], textures: Textures = procedural) -> FacetWorld:
    """Sample a random world; the same seed and textures give the same world."""
    rng = np.random.default_rng(seed)
    textures = with_repeats(textures, config.repeat_share)
    focal = _focal(rng, config)
    camera = _camera(rng, config)
    empty = FacetWorld(config, [], camera, focal, np.zeros(4), 0)
    walls = _room(rng, textures) if rng.random() < config.room_share else [_backdrop(rng, textures)]
    count = int(rng.integers(config.objects[0], config.objects[1] + 1))
    things = walls + [_object(rng, empty, textures) for _ in range(count)]
    light = rng.normal(size=3)
    light = np.append(light / np.linalg.norm(light), rng.uniform(0.5, 1.0))
    world = FacetWorld(config, things, camera, focal, light, int(rng.integers(2**31)))
    if count and config.cover_share and rng.random() < config.cover_share:
        things.append(_cover(rng, world, textures))
    return world


def _focal(rng: Rng, config: SceneConfig) -> F64:
    start = max(config.size) * rng.uniform(0.8, 1.9)
    zoom = np.exp(rng.uniform(-0.35, 0.35)) if rng.random() < config.zoom_share else 1.0
    return np.array([[start], [start * zoom]])


def _tremor(rng: Rng, turn: float, shift: float) -> F64:
    if rng.random() < 0.6:
        return STILL
    amplitude = np.abs(rng.normal(size=6)) * np.repeat([turn, shift], 3)
    return np.stack([amplitude, rng.uniform(1, 5, 6), rng.uniform(0, 2 * np.pi, 6)])


def _camera(rng: Rng, config: SceneConfig) -> Path:
    effort = rng.choice([0.0, 0.3, 1.0], p=[0.15, 0.35, 0.5])
    way = rng.normal(0, 0.45, (4, 3)) * config.camera_travel * effort
    way = way - way[1]
    rotations = rng.uniform(-0.5, 0.5, (4, 3)) * effort * config.camera_pan * np.array([1.0, 1.0, 0.6])
    return Path(np.clip(way, -config.camera_travel, config.camera_travel), rotations, _tremor(rng, 0.006, 0.01))


def _crop(rng: Rng, image: U8, least: float) -> U8:
    """A random part of an image, at least `least` of each side, flipped half the time."""
    h, w = image.shape[:2]
    ch, cw = (max(8, int(n * rng.uniform(least, 1.0))) for n in (h, w))
    y, x = int(rng.integers(h - ch + 1)), int(rng.integers(w - cw + 1))
    part = image[y : y + ch, x : x + cw]
    return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)


def _wall(image: U8, across: float, size: tuple[float, float], path: Path) -> FacetObject:
    """A wall of `size` whose image is `across` units wide and repeats, mirrored."""
    half = np.array(size) / 2
    texel = image.shape[1] / across
    paint = np.array([[[texel, 0, image.shape[1] / 2], [0, texel, image.shape[0] / 2]]])
    still = sheet(*size, 1)
    facets = Facets(np.array([[-half[0], half[0], -half[1], half[1]]]), paint, [0], still.frames)
    return FacetObject(facets, [image], None, path, wall=True)


def _backdrop(rng: Rng, textures: Textures) -> FacetObject:
    depth = rng.uniform(5, 8)
    tilt = rng.normal(0, 0.2, 3) * np.array([1, 1, 2])
    drift = rng.normal(0, 0.35, (3, 3)) * (rng.random() < 0.5)
    rotations = np.stack([tilt, tilt + rng.normal(0, 0.1, 3), tilt + rng.normal(0, 0.2, 3) * (rng.random() < 0.5)])
    path = Path(np.array([0, 0, depth]) + drift, rotations, STILL)
    return _wall(_crop(rng, textures(rng), 0.5), depth * rng.uniform(0.6, 1.8), (80, 80), path)


def _room(rng: Rng, textures: Textures) -> list[FacetObject]:
    depth, half_width, floor, ceiling = rng.uniform(6, 9), rng.uniform(3, 5), rng.uniform(1.5, 2.5), rng.uniform(2, 4)
    quarter = np.pi / 2
    places = [
        ((0, 0, depth), (0, 0, 0)),
        ((0, floor, 0), (quarter, 0, 0)),
        ((0, -ceiling, 0), (-quarter, 0, 0)),
        ((-half_width, 0, 0), (0, -quarter, 0)),
        ((half_width, 0, 0), (0, quarter, 0)),
    ]
    yaw = rng.uniform(-0.3, 0.3)
    c, s = np.cos(yaw), np.sin(yaw)
    spin = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    walls = []
    for position, turn in places:
        at, about = spin @ np.array(position, float), _compose(np.array([0, yaw, 0.0]), np.array(turn, float))
        path = Path(np.stack([at, at]), np.stack([about, about]), STILL)
        walls.append(_wall(_crop(rng, textures(rng), 0.5), rng.uniform(3, 8), (60, 60), path))
    return walls


def _compose(first: F64, second: F64) -> F64:
    """Rotation vector of `first` applied after `second` (by unit quaternions)."""

    def quaternion(v: F64) -> tuple[float, F64]:
        angle = float(np.linalg.norm(v))
        return np.cos(angle / 2), v * (np.sin(angle / 2) / angle if angle > 1e-9 else 0.5)

    (a, p), (b, q) = quaternion(first), quaternion(second)
    real, imaginary = a * b - p @ q, a * q + b * p + np.cross(p, q)
    length = float(np.linalg.norm(imaginary))
    return imaginary * (2 * np.arctan2(length, real) / length if length > 1e-9 else 2.0)


def _object(rng: Rng, world: FacetWorld, textures: Textures) -> FacetObject:
    """A cut-out, a bending card, a box or a rolling tube on its path through the image."""
    config = world.config
    h, w = config.size
    depth = rng.uniform(2.0, 4.5)
    pixels = min(h, w) * np.exp(rng.uniform(np.log(0.12), np.log(0.7)))
    size = pixels * depth / float(world.focal[0, 0])
    kind = rng.choice(["sheet", "bending", "box", "tube"], p=[0.55, 0.2, 0.15, 0.1])
    alpha, paintings = None, [_crop(rng, textures(rng), 0.35)]
    if kind in ("sheet", "bending"):
        texels = 192
        paintings = [_fit(paintings[0], texels)]
        alpha = outline(rng, texels)
    else:
        texels = 128
    if kind == "sheet":
        facets = sheet(size, size * np.exp(rng.normal(0, 0.25)), texels)
    elif kind == "bending":
        bends, phase = rng.normal(0, 0.7, 2), rng.uniform(0, 2 * np.pi)
        cycles = rng.uniform(0.3, 1.5)
        facets = bending_sheet(
            size, texels, 5, rng.uniform(0, np.pi), lambda t: bends[0] + bends[1] * np.sin(2 * np.pi * cycles * t + phase)
        )
    elif kind == "box":
        facets = box(size * rng.uniform(0.45, 1.0, 3), texels)
        paintings = [_fit(_crop(rng, textures(rng), 0.35), texels) for _ in range(3)]
    else:
        facets = prism(size / 3, size * rng.uniform(0.5, 1.2), texels, 10)
        paintings = [_fit(paintings[0], texels)]
    return FacetObject(facets, paintings, alpha, _way(rng, world, depth, solid=kind in ("box", "tube")))


def _fit(image: U8, texels: int) -> U8:
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((texels, texels), Image.Resampling.BOX))


def _way(rng: Rng, world: FacetWorld, depth: float, solid: bool) -> Path:
    """A path in pixels and depths as seen by the camera, then converted to the world."""
    h, w = world.config.size
    steps = 4
    start = rng.uniform(0.05, 0.95, 2)
    reach = rng.choice([0.05, 0.3, 0.8], p=[0.3, 0.45, 0.25])
    spots = start + np.concatenate([[[0, 0]], np.cumsum(rng.normal(0, reach / 1.7, (steps - 1, 2)), axis=0)])
    spots = np.clip(spots, -0.25, 1.25)
    depths = depth * np.exp(np.linspace(0, rng.normal(0, 0.25), steps))
    times = np.linspace(0, 1, steps)
    still = rng.random() < 0.25
    if still:
        spots, depths, times = spots[:1].repeat(steps, 0), depths[:1].repeat(steps), np.full(steps, 0.5)
    fx, fy, cx, cy = world.intrinsics(times).T
    local = np.stack([(spots[:, 0] * w - cx) / fx, (spots[:, 1] * h - cy) / fy, np.ones(steps)], 1) * depths[:, None]
    rotate, shift = world.world_to_camera(times)
    points = np.einsum("tji,tj->ti", rotate, local - shift)
    lean = rng.normal(0, 0.3, 3) * np.array([1, 1, 0]) + np.array([0, 0, rng.uniform(-0.5, 0.5)])
    if solid:
        lean = rng.uniform(-np.pi, np.pi, 3)
    spin = rng.normal(0, 1, (steps - 1, 3)) * np.array([0.25, 0.25, 0.45]) * rng.choice([0.2, 1.0, 1.8], p=[0.4, 0.4, 0.2])
    rotations = lean + np.concatenate([np.zeros((1, 3)), np.cumsum(spin * (0 if still else 1), axis=0)])
    share = world.config.turn_share
    if share and rng.random() < share:
        rotations = _turn(rng, solid)
    return Path(points, rotations, _tremor(rng, 0.03, 0.008))


def _turn(rng: Rng, solid: bool) -> F64:
    """Control points (2, 3) of a steady rotation about an axis in the image; a sheet shows its painted side throughout."""
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.array([np.cos(angle), np.sin(angle), 0])
    first, last = -rng.uniform(0.3, 1.2), rng.uniform(0.3, 1.2)
    if solid:
        first = rng.uniform(-np.pi, np.pi)
        last = first + rng.uniform(1.2, 3.0)
    return np.array([[first], [last]]) * axis


def _cover(rng: Rng, world: FacetWorld, textures: Textures) -> FacetObject:
    """A sheet on the line of sight to another object, which it leaves or reaches only near the ends of the clip.

    That line, n * object + (1 - n) * camera, is a Bezier curve as both are. A path across the image is added whose control
    points are 0 except the first and last.
    """
    target, radius = _target(rng, world)
    nearness = rng.uniform(0.45, 0.7)
    half = nearness * radius * rng.uniform(1.3, 1.8)
    sight = nearness * elevate_degree(target.positions, 6) + (1 - nearness) * elevate_degree(world.camera.positions, 6)
    angle = rng.uniform(0, 2 * np.pi)
    aside = np.array([np.cos(angle), np.sin(angle), 0]) * (half + 1.1 * nearness * radius)
    sight[[0, -1]] += rng.choice([-1.0, 1.0], (2, 1)) * aside
    rotations = np.cumsum(rng.normal(0, 0.15, (3, 3)), axis=0)
    texels = 192
    facets = sheet(2 * half, 2 * half * np.exp(rng.normal(0, 0.15)), texels)
    alpha = outline(rng, texels) if rng.random() < 0.4 else None
    return FacetObject(facets, [_fit(_crop(rng, textures(rng), 0.35), texels)], alpha, Path(sight, rotations, STILL))


def _target(rng: Rng, world: FacetWorld) -> tuple[Path, float]:
    """The path and radius of an object to cover: one that spans at most two fifths of the image, or the smallest."""
    middle = np.array([0.5])
    turn, shift = world.world_to_camera(middle)
    paths, radii, shares = [], [], []
    for thing in (thing for thing in world.things if not thing.wall):
        o, u, v = (part[:, 0] for part in thing.facets.frames(middle))
        ends = thing.facets.bounds
        corners = [o + ends[:, i, None] * u + ends[:, j, None] * v for i in (0, 1) for j in (2, 3)]
        radius = float(np.linalg.norm(corners, axis=-1).max())
        depth = float((turn[0] @ thing.path(middle)[1][0] + shift[0])[2])
        paths.append(thing.path)
        radii.append(radius)
        shares.append(radius / max(depth, 0.1) * float(world.intrinsics(middle)[0, 0]) / min(world.config.size))
    small = np.flatnonzero(np.array(shares) < 0.2)
    k = int(rng.choice(small)) if len(small) else int(np.argmin(shares))
    return paths[k], radii[k]
