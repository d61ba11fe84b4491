"""Draws one frame of an episode with MuJoCo's own renderer, from shapes described anew: which body each pixel shows, and depth.

    MUJOCO_GL=osmesa python mujoco_look.py EPISODE.npz FRAME OUT.npz

Boxes, spheres, ellipsoids, cylinders and capsules are MuJoCo's; a rounded box is three boxes and twelve capsules; cones, cups,
bowls and sheets are meshes. A process of its own, since MuJoCo chooses its GL once.
"""

import sys
from itertools import product

import mujoco  # pyright: ignore[reportMissingImports]
import numpy as np

from tapetum_world.bodies import shapes
from tapetum_world.bodies.files import load_episode

AROUND = 180


def words(values):
    return " ".join(f"{v:.9g}" for v in np.ravel(values))


def turned_about_z(profile):
    """Vertices and faces of a surface of revolution; profile: (r, z) from point to point."""
    angle = np.arange(AROUND) * 2 * np.pi / AROUND
    rings = [np.stack([r * np.cos(angle), r * np.sin(angle), np.full(AROUND, z)], 1) for r, z in profile]
    i, k = np.arange(AROUND), (np.arange(AROUND) + 1) % AROUND
    faces = []
    for n in range(len(profile) - 1):
        a, b = n * AROUND, (n + 1) * AROUND
        faces += [np.stack([a + i, a + k, b + k], 1), np.stack([a + i, b + k, b + i], 1)]
    return np.concatenate(rings), np.concatenate(faces)


def mesh_of(shape, points):
    """Vertices and faces of a shape that MuJoCo has not, or None."""
    tiny = 1e-6
    match shape:
        case shapes.Cone(radius=r, height=h):
            return turned_about_z([(tiny, -h / 2), (r, -h / 2), (tiny, h / 2)])
        case shapes.Cup(radius_bottom=a, radius_top=b, height=h, wall=w):
            floor = a + (b - a) * w / h - w
            return turned_about_z(
                [(tiny, -h / 2), (a, -h / 2), (b, h / 2), (b - w, h / 2), (floor, w - h / 2), (tiny, w - h / 2)]
            )
        case shapes.Bowl(radius=r, wall=w):
            down = np.linspace(-np.pi / 2, 0, 60)
            outer = [(max(r * np.cos(t), tiny), r * np.sin(t)) for t in down]
            return turned_about_z(outer + [(max((r - w) * np.cos(t), tiny), (r - w) * np.sin(t)) for t in down[::-1]])
        case shapes.Sheet():
            rows, columns = points.shape[:2]
            i, j = (g.ravel() for g in np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij"))
            a, b, c, d = i * columns + j, i * columns + j + 1, (i + 1) * columns + j + 1, (i + 1) * columns + j
            return points.reshape(-1, 3), np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return None


def geoms(shape):
    """Attributes of MuJoCo's geoms that make up a shape, in the body's coordinates."""
    match shape:
        case shapes.Ground():
            return ['type="plane" size="0 0 1"']
        case shapes.Sphere(radius=r):
            return [f'type="sphere" size="{r}"']
        case shapes.Ellipsoid(radii=radii):
            return [f'type="ellipsoid" size="{words(radii)}"']
        case shapes.Capsule(radius=r, length=length):
            return [f'type="capsule" size="{r} {length / 2}"']
        case shapes.Cylinder(radius=r, height=h):
            return [f'type="cylinder" size="{r} {h / 2}"']
        case shapes.RoundedBox(size=size, rounding=r):
            half = np.array(size) / 2
            if r <= 0:
                return [f'type="box" size="{words(half)}"']
            made = [f'type="box" size="{words(half - r * (1 - np.eye(3)[axis]))}"' for axis in range(3)]
            for axis in range(3):
                for signs in product((-1, 1), repeat=2):
                    at = (half - r) * np.insert(np.array(signs, float), axis, 1.0)
                    other = at * (1 - 2 * np.eye(3)[axis])
                    made.append(f'type="capsule" size="{r}" fromto="{words(at)} {words(other)}"')
            return made
    raise TypeError(shape)


def scene(episode, frame):
    """MJCF of a frame, and the number of the body of each geom."""
    moment, (h, _) = episode.moment(frame), episode.size
    assets, placed, owner = [], [], []
    for j, body in enumerate(episode.bodies):
        pose = episode.poses[moment, j]
        where = f'pos="{words(pose[:3])}" quat="{words(pose[3:])}"'
        made = mesh_of(body.shape, episode.sheets[j][moment] if j in episode.sheets else None)
        if made:
            assets.append(f'<mesh name="m{j}" vertex="{words(made[0])}" face="{words(made[1])}" inertia="shell"/>')
            where = "" if j in episode.sheets else where
        parts = [f'type="mesh" mesh="m{j}"'] if made else geoms(body.shape)
        owner += [j] * len(parts)
        inner = "".join(f'<geom {part} contype="0" conaffinity="0"/>' for part in parts)
        placed.append(f"<body {where}>{inner}</body>")
    matrix = episode.camera.world_to_camera[moment]
    fy = episode.camera.intrinsics[moment, 1]
    eye, right, up = -matrix[:3, :3].T @ matrix[:3, 3], matrix[0, :3], -matrix[1, :3]
    turn, field = f"{words(right)} {words(up)}", np.degrees(2 * np.arctan(h / 2 / fy))
    camera = f'<camera name="eye" pos="{words(eye)}" xyaxes="{turn}" fovy="{field}"/>'
    return (
        '<mujoco><statistic extent="1"/><visual><map znear="0.02" zfar="60"/><quality offsamples="0"/>'
        f'<global offwidth="1024" offheight="1024"/></visual><asset>{"".join(assets)}</asset>'
        f"<worldbody>{camera}{''.join(placed)}</worldbody></mujoco>"
    ), np.array([*owner, -1])


def main(file, frame, out):
    episode = load_episode(file)
    text, owner = scene(episode, int(frame))
    model = mujoco.MjModel.from_xml_string(text)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, *episode.size) as renderer:
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_CULL_FACE] = 0
        renderer.enable_segmentation_rendering()
        renderer.update_scene(data, "eye")
        found = renderer.render()
        renderer.disable_segmentation_rendering()
        renderer.enable_depth_rendering()
        renderer.update_scene(data, "eye")
        depth = renderer.render()
    shown = np.where(found[..., 1] == int(mujoco.mjtObj.mjOBJ_GEOM), found[..., 0], -1)
    np.savez(out, bodies=owner[shown], depth=depth)


if __name__ == "__main__":
    main(*sys.argv[1:])
