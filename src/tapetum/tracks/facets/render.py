"""Rendering of a facet world: frames, depth and instance maps, with torch on the CPU.

In each frame the facets are sorted far to near and painted over one another; a depth test resolves crossing facets. For each
pixel, one 3x3 matrix of the facet's plane gives its position (u, v) on the facet and its depth, all exactly (perspective is not
approximated). Paintings are sampled from a pyramid of halved copies, so small objects do not flicker.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.tracks.facets.types import F32, F64, U8
from tapetum.tracks.facets.world import FacetObject, FacetView, FacetWorld

NEAR = 0.05
"""Nothing nearer to the camera than this is seen, in world units."""
EDGE = 1e-4
"""Facets overlap their neighbours by this much (world units), so that no background shows through a seam."""


@dataclass(frozen=True)
class Rendering:
    """Rendered frames, without a sensor's faults."""

    frames: F32
    """(t, h, w, 3) in 0..1."""
    depth: F32
    """(t, h, w) z in world units."""
    instances: U8
    """(t, h, w), 0 is background."""


class Renderer:
    """Renders one world; the paintings are prepared once."""

    def __init__(self, world: FacetWorld):
        self.world = world
        self.paints = [[_pyramid(thing, i) for i in range(len(thing.sheets))] for thing in world.things]
        facets = [(k, j) for k, thing in enumerate(world.things) for j in range(len(thing.facets.bounds))]
        self.paint_of = [self.paints[k][world.things[k].facets.sheet[j]] for k, j in facets]
        self.to_texels = [world.things[k].facets.paint[j] for k, j in facets]

    def render(self, times: F64) -> Rendering:
        """Render frames at `times` (t,) in 0..1, each an instant without blur."""
        view = self.world.view(times)
        h, w = self.world.config.size
        colour = torch.zeros(len(times), 3, h, w)
        depth = torch.full((len(times), h, w), torch.inf)
        instances = torch.zeros(len(times), h, w, dtype=torch.uint8)
        intrinsics = self.world.intrinsics(times)
        corners = _corners(self.world.bounds, view.frames)
        for t in range(len(times)):
            far = corners[:, t, :, 2].max(1)
            order = np.argsort(-np.where(self.world.instance == 0, 1e6 + far, corners[:, t, :, 2].mean(1)))
            for f in order:
                if far[f] > NEAR:
                    window = _window(corners[f, t], intrinsics[t], h, w)
                    self._paint(view, f, t, window, intrinsics[t, 0], colour[t], depth[t], instances[t])
        return Rendering(colour.permute(0, 2, 3, 1).contiguous().numpy(), depth.numpy(), instances.numpy())

    def _paint(
        self,
        view: FacetView,
        f: int,
        t: int,
        window: tuple[int, int, int, int],
        focal: float,
        colour: Tensor,
        depth: Tensor,
        ids: Tensor,
    ) -> None:
        x0, x1, y0, y1 = window
        if x0 >= x1 or y0 >= y1 or not view.maps[f, t].any():
            return
        m = view.maps[f, t]
        xs = torch.arange(x0, x1, dtype=torch.float32) + 0.5
        ys = (torch.arange(y0, y1, dtype=torch.float32) + 0.5)[:, None]
        q2 = (ys * m[2, 1] + m[2, 2]) + xs * m[2, 0]
        z = 1 / q2
        u = ((ys * m[0, 1] + m[0, 2]) + xs * m[0, 0]) * z
        v = ((ys * m[1, 1] + m[1, 2]) + xs * m[1, 0]) * z
        u0, u1, v0, v1 = self.world.bounds[f]
        here = (q2 > 0) & (z > NEAR) & (z < depth[y0:y1, x0:x1] * (1 + 1e-6))
        here &= (u >= u0 - EDGE) & (u <= u1 + EDGE) & (v >= v0 - EDGE) & (v <= v1 + EDGE)
        if not bool(here.any()):
            return
        pyramid = self.paint_of[f]
        texel = self.to_texels[f]
        per_pixel = np.sqrt(abs(np.linalg.det(texel[:, :2]))) * float(z[here].median()) / focal
        level = min(max(round(np.log2(max(per_pixel, 1e-6))), 0), len(pyramid) - 1)
        image = pyramid[level]
        th, tw = pyramid[0].shape[-2:]
        a = torch.from_numpy(texel * np.array([[2 / tw], [2 / th]])).float()
        grid = torch.stack([u * a[0, 0] + v * a[0, 1] + (a[0, 2] - 1), u * a[1, 0] + v * a[1, 1] + (a[1, 2] - 1)], dim=-1)
        if not view.front[f, t]:
            image = image.flip(1) if image.shape[1] == 3 else torch.cat([image[:, :3].flip(1), image[:, 3:]], 1)
        sample = F.grid_sample(image, grid[None], padding_mode="reflection", align_corners=False)[0]
        shaded = sample[:3] * float(view.shade[f, t])
        region = colour[:, y0:y1, x0:x1]
        if sample.shape[0] == 4:
            alpha = sample[3] * here
            region += (shaded - region) * alpha
            solid = alpha > 0.5
        else:
            solid = here
            region.copy_(torch.where(solid, shaded, region))
        depth[y0:y1, x0:x1] = torch.where(solid, z, depth[y0:y1, x0:x1])
        ids[y0:y1, x0:x1] = torch.where(solid, int(self.world.instance[f]), ids[y0:y1, x0:x1])


def _pyramid(thing: FacetObject, sheet: int) -> list[Tensor]:
    """(1, c, h, w) in 0..1, each half the size of the one before; 3 channels, or 4 with alpha."""
    image = torch.tensor(thing.sheets[sheet]).permute(2, 0, 1)[None].float() / 255
    if thing.alpha is not None:
        image = torch.cat([image, torch.from_numpy(thing.alpha)[None, None]], 1)
    levels = [image]
    while min(levels[-1].shape[-2:]) >= 8 and len(levels) < 6:
        levels.append(F.interpolate(levels[-1], scale_factor=0.5, mode="area"))
    return levels


def _corners(bounds: F64, frames: F64) -> F64:
    """Camera coordinates (f, t, 4, 3) of the corners of all facets."""
    u0, u1, v0, v1 = bounds.T
    ones = np.ones_like(u0)
    uv = np.stack([np.stack(c, -1) for c in ((u0, v0, ones), (u1, v0, ones), (u1, v1, ones), (u0, v1, ones))], 1)
    return np.einsum("ftij,fkj->ftki", frames, uv)


def _window(corners: F64, intrinsics: F64, h: int, w: int) -> tuple[int, int, int, int]:
    """Pixels x0, x1, y0, y1 that the part of a facet in front of the camera can cover."""
    z, following = corners[:, 2], np.roll(corners, -1, axis=0)
    ahead = z > NEAR
    if not ahead.all():
        crossing = ahead != np.roll(ahead, -1)
        fraction = ((NEAR - z) / np.where(crossing, following[:, 2] - z, 1.0))[crossing, None]
        cut = corners[crossing] + fraction * (following - corners)[crossing]
        corners = np.concatenate([corners[ahead], cut])
    fx, fy, cx, cy = intrinsics
    x, y = fx * corners[:, 0] / corners[:, 2] + cx, fy * corners[:, 1] / corners[:, 2] + cy
    x0, x1 = (int(min(max(v, 0), w)) for v in (x.min() - 1, x.max() + 2))
    y0, y1 = (int(min(max(v, 0), h)) for v in (y.min() - 1, y.max() + 2))
    return x0, x1, y0, y1
