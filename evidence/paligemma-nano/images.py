"""Makes training images for paligemma-nano: the folder of `tapetum scenes images`, several moments and looks of each story.

    python evidence/paligemma-nano/images.py RUN/train --stories 3000 --seed 2024

Simulating a story costs ten times what drawing a frame of it does, and `tapetum scenes images` takes one frame of each. Here
a story of three seconds gives `--shots` images at moments drawn evenly, each with a camera, a light, colours, materials and
surfaces of its own, all drawn as the command draws them; so an image alone looks like one of the command's, and only its
neighbours in the folder are kin to it. Held-out images are made with the command itself, with another seed. Files are those
of the command; of questions only the candidates are written (truth/NAME.json). Image n shows story n // shots. A run that
was stopped goes on.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.jobs import run_jobs
from tapetum.data.textures import Textures, procedural
from tapetum_world.bodies.episode import Body, Episode
from tapetum_world.files.images import _truth, _write_image
from tapetum_world.files.items import LONGEST_S, AnnotatedImage, first_valid_start, truth_file, write_truth
from tapetum_world.physics import episodes as make
from tapetum_world.physics.builder import SceneBuilder, draw_camera, draw_light
from tapetum_world.physics.episodes import moment_times
from tapetum_world.physics.props import PROPS, make_body
from tapetum_world.rendering import GroundTruth, random_render_config, render_episode
from tapetum_world.words import image_candidates, image_captions, scene_graph

RATE = 24.0


def story_images(seed: int, story: int, shots: int, size: int, textures: Textures) -> list[AnnotatedImage]:
    """Make the images of one story."""

    def begin(key: int) -> tuple[Any, Episode]:
        frames = round(LONGEST_S * RATE)
        stories = make._begin(key, None, frames, (size, size), RATE, None)
        return stories.scene, next(stories.parts(frames))

    key, (scene, episode) = first_valid_start((seed, story), begin)
    return [_shot(np.random.default_rng((key, 9, shot)), key + shot, scene, episode, textures) for shot in range(shots)]


def _shot(rng: np.random.Generator, key: int, scene: SceneBuilder, episode: Episode, textures: Textures) -> AnnotatedImage:
    frame = int(rng.integers(2, episode.frames))
    times = moment_times(RATE, episode.frames, episode.moments_per_frame)
    view: dict[str, Any] = {"whole": LONGEST_S, "target": scene.target, **scene.view}
    azimuth = float(scene.azimuth + rng.uniform(-0.3, 0.3))
    fresh = replace(
        episode,
        bodies=_redressed(rng, episode.bodies),
        camera=draw_camera(rng, times, episode.size, azimuth=azimuth, **view),
        light=draw_light(rng, times),
    )
    [shot] = render_episode(fresh, textures, random_render_config(rng), range(frame, frame + 1))
    graph = scene_graph(fresh, frame)
    return AnnotatedImage(
        rgb=shot.rgb,
        episode=fresh,
        frame=frame,
        masks=GroundTruth(fresh).masks(frame),
        graph=graph,
        captions=image_captions(graph),
        candidates=tuple(image_candidates(graph, key)),
    )


def _redressed(rng: np.random.Generator, bodies: tuple[Body, ...]) -> tuple[Body, ...]:
    """Draw colours, materials and surfaces of things and of what they stand on anew; shapes stay."""
    grounds = {b.noun: b for b in SceneBuilder(rng).bodies}
    made: list[Body] = []
    for body in bodies:
        if body.noun in PROPS and not body.fixed and not body.group:
            used = [(b.noun, b.colour_name) for b in made]
            other = make_body(rng, body.noun, number=1, used=used, shape=body.shape)
        else:
            other = grounds.get(body.noun, body)
        made.append(replace(body, surface=other.surface, material=other.material, colour_name=other.colour_name))
    return tuple(made)


def write_story(out: Path, seed: int, shots: int, size: int, story: int, textures: Textures) -> None:
    """Write the images of one story; their truth last."""
    for shot, image in enumerate(story_images(seed, story, shots, size, textures)):
        number = story * shots + shot
        _write_image(out, number, image)
        write_truth(out, f"{number:06d}", _truth(number, image))


def surfaces() -> Textures:
    """Give the patterns that every process draws with."""
    return procedural


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stories", type=int, required=True)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--shots", type=int, default=12)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    for folder in ("truth", "images", "masks"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    last = options.shots - 1
    missing = [s for s in range(options.stories) if not truth_file(options.out, f"{s * options.shots + last:06d}").exists()]
    work = partial(write_story, options.out.absolute(), options.seed, options.shots, options.size)
    done = options.stories - len(missing)
    for _ in run_jobs(work, missing, surfaces, workers=options.workers):
        done += 1
        if done % 100 == 0:
            print(f"{done} of {options.stories} stories", flush=True)


if __name__ == "__main__":
    main()
