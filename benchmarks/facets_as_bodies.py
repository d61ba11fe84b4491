"""A world of facets filmed once more as bodies: `python benchmarks/facets_as_bodies.py`.

A turned box before a wall, both of one grey, 128x128 pixels, without blur, noise, shadows or compression; prints how many
pixels of the two renderers differ, to judge whether one of them could stand for the other.
"""

import pathlib
import sys

import numpy as np
from scipy.spatial.transform import Rotation

from tapetum.tracks.facets.render import Renderer
from tapetum.tracks.facets.world import STILL, FacetObject, FacetWorld, Path, SceneConfig, box, sheet
from tapetum_world.bodies.episode import Body, Surface
from tapetum_world.bodies.shapes import RoundedBox
from tapetum_world.rendering import RenderConfig, render_episode

sys.path.append(str(pathlib.Path(__file__).parents[1] / "packages" / "world" / "tests" / "world_support"))

import still_life

SIDE, FOCAL, GREY = 128, 150.0, 180
SIZE, TURN, PLACE, WALL = (1.0, 0.8, 0.6), np.array([0.4, 0.7, 0.2]), np.array([0.1, -0.1, 3.0]), 6.0


def still(place, turn):
    """A path that stays where it is."""
    return Path(np.stack([place, place]), np.stack([turn, turn]), STILL)


def as_facets():
    """Image, depth and instances by the facets' renderer."""
    painting, origin = np.full((SIDE, SIDE, 3), GREY, np.uint8), np.zeros(3)
    solid = FacetObject(box(np.array(SIZE), SIDE), [painting] * 3, None, still(PLACE, TURN))
    plane = sheet(80, 80, SIDE)
    wall = FacetObject(plane, [painting], None, still(np.array([0, 0, WALL]), origin), wall=True)
    light = np.array([0, 0, 1.0, 1.0])
    world = FacetWorld(
        SceneConfig(size=(SIDE, SIDE), frames=1), [wall, solid], still(origin, origin), np.full((2, 1), FOCAL), light, 0
    )
    made = Renderer(world).render(np.zeros(1))
    return np.rint(np.clip(made.frames[0], 0, 1) * 255).astype(np.uint8), made.depth[0], made.instances[0]


def as_bodies():
    """The same by ray tracing; the wall is a metre thick."""
    grey = Surface(colour=((GREY / 255) ** 2.2,) * 3)
    bodies = [
        Body(name="wall", noun="wall", shape=RoundedBox(size=(80, 80, 1)), material="stone", surface=grey, fixed=True),
        Body(name="box", noun="box", shape=RoundedBox(size=SIZE), material="wood", surface=grey),
    ]
    poses = [(np.array([0, 0, WALL + 0.5]), still_life.REST), (PLACE, Rotation.from_rotvec(TURN).as_quat()[[3, 0, 1, 2]])]
    made = still_life.episode(bodies, lambda i, s: poses[i], (SIDE, SIDE), frames=1, focal=FOCAL / SIDE)
    made.camera.world_to_camera[:] = np.eye(4)
    config = RenderConfig(shadows=False, edges=False, blur=False, noise=0.0, compress="no")
    [frame] = render_episode(made, config=config)
    return frame.rgb, frame.depth, frame.instances


def main():
    (image, depth, ids), (other_image, other_depth, other_ids) = as_facets(), as_bodies()
    same = ids == other_ids
    on_box = same & (ids == 1)
    off = (abs(depth - other_depth) / depth)[same].max()
    print(f"pixels {ids.size}, of another instance {(~same).sum()}")
    print(f"equal depth on the box {(depth == other_depth)[on_box].sum()} of {on_box.sum()}, off by at most {off:.1e} of it")
    print(f"equal depth on the wall {(depth == other_depth)[same & (ids == 0)].sum()} of {(same & (ids == 0)).sum()}")
    print(f"equal colour {(image == other_image).all(-1).sum()}")


if __name__ == "__main__":
    main()
