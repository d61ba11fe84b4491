"""Makes clips with exact tracks, tracks points through them, and stores what the error model learns from (`train.py`).

    python evidence/tap-doubt/clips.py photos.parquet FOLDER --more VIDEO ... [--part train] [--model tapir-nano]

Clips are of 256x256 pixels and 24 to 48 frames. Four kinds: plain, a photograph, or a frame of a video, that moves behind one
to three cut-outs of others, of which a grid of 9x9 points is tracked from the first frame on; crowded, the same with up to six,
half of the points on them, asked for anywhere; facets; bodies of the physical world. Those of photographs are blurred,
brightened or made faster at random. The part train has all of them, of all photographs but every tenth; the parts plain,
crowded and made (facets and bodies) are of the others; cutouts are those of benchmarks/tap_cutouts.py, from which no model here
learns. The part marks has the real clips of evidence/real-marks whose videos lie in the folders of --more, at 256x256, known at
their marks alone; they are for the benchmark, and no other part has any of them. What was tracked stays in the folder: a
stopped run goes on.
"""

import argparse
import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

import tapetum
from tapetum.data.textures import open_textures
from tapetum.systems.tap.tracking.error_model import CueRecorder
from tapetum.tracks.facets import SceneConfig
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.facet_clips import SceneClips
from tapetum.tracks.training.image_clips import image_clip
from tapetum.tracks.training.warping import jpeg
from tapetum.video import open_video
from tapetum_world.training.point_clips import EpisodeClips

sys.path += [str(Path(__file__).parents[2] / "benchmarks"), str(Path(__file__).parents[1] / "real-marks")]

POINTS, GRID, LONG = 80, 9, 48
SEEDS = {"train": 6001, "plain": 6002, "crowded": 6003, "made": 6004, "cutouts": 6005}
KINDS = {"train": ("plain", "scenes", "crowded", "plain", "bodies"), "made": ("scenes", "bodies")}


@cache
def frames_of(path):
    """Every twelfth frame of a video."""
    return open_video(path)[::12]


def photo_clip(rng, draw, films, most):
    """Photographs or frames of videos under known motion, up to `most` cut-outs of others over them."""
    frames, fast = LONG if rng.random() < 0.15 else int(rng.integers(24, 33)), rng.random() < 0.3
    images = [draw(rng) for _ in range(int(rng.integers(most // 3, most + 1)) + 1)]
    if films and rng.random() < 0.3:
        film = films[int(rng.integers(len(films)))]
        images[0] = film[int(rng.integers(len(film)))]
    clip = image_clip(rng, images, frames=frames, points=5 * POINTS)
    video, xy, visible = clip.video[:], clip.xy, clip.visible
    if fast:
        video, xy, visible = video[::2], xy[:, ::2], visible[:, ::2]
    return TrackedClip(degraded(rng, video), xy, visible)


def degraded(rng, video):
    """Blur, brightness or coarse compression that change during the clip."""
    kind, time = rng.choice(["none", "blur", "light", "jpeg"], p=[0.35, 0.25, 0.2, 0.2]), np.linspace(0, 1, len(video))
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * (rng.uniform(0.5, 2.5) * time + rng.random()))
    if kind == "blur":
        radius = rng.uniform(0.8, 3) * wave
        blurred = [Image.fromarray(f).filter(ImageFilter.GaussianBlur(float(r))) for f, r in zip(video, radius, strict=True)]
        return np.stack([np.asarray(each) for each in blurred])
    if kind == "light":
        gain = np.exp(rng.uniform(0.2, 0.7) * (2 * wave - 1))[:, None, None, None]
        return np.clip(video * gain + rng.uniform(-20, 20), 0, 255).astype(np.uint8)
    return jpeg(video, int(rng.integers(12, 35))) if kind == "jpeg" else video


def kind_of(given, number):
    """Kind of a clip, by number."""
    kinds = KINDS.get(given.part, (given.part,))
    return kinds[number % len(kinds)]


def make(given, number):
    """Make a clip by number."""
    rng = np.random.default_rng((SEEDS[given.part], number))
    if given.part == "cutouts":
        import tap_cutouts

        layers = tap_cutouts.layers_of(rng, open_textures(given.photos, "held-out"))
        video = tap_cutouts.render(rng, layers)
        xy, hidden = tap_cutouts.truth(rng, layers, 2 * POINTS)
        return TrackedClip(video, xy * tap_cutouts.SIZE, ~hidden)
    part, kind = "train" if given.part == "train" else "held-out", kind_of(given, number)
    if kind in ("plain", "crowded"):
        films = [frames_of(path) for path in given.more] if part == "train" else []
        return photo_clip(rng, open_textures(given.photos, part), films, 3 if kind == "plain" else 6)
    common = {"seed": SEEDS[given.part], "textures": given.photos, "part": part}
    frames = int(rng.integers(24, 29))
    if kind == "scenes":
        config = SceneConfig(frames=frames, cover_share=0.3, turn_share=0.2, repeat_share=0.15)
        return SceneClips(number + 1, config=config, **common)[number]
    return EpisodeClips(number + 1, frames=frames, repeat_share=0.15, **common)[number]


def asked(clip, grid, rng):
    """Points of a clip and the frames they are asked for in: a grid on the first frame, or any, half from where they appear."""
    if grid:
        cells = (clip.xy[:, 0] * (GRID / clip.video[0].shape[0])).astype(int)
        shown = np.flatnonzero(clip.visible[:, 0])
        _, first = np.unique(cells[shown] @ (GRID, 1), return_index=True)
        return shown[first], np.zeros(len(first), int)
    rows = rng.permutation(np.flatnonzero(clip.visible.any(1)))[:POINTS]
    anywhere = [rng.choice(np.flatnonzero(each)) for each in clip.visible[rows]]
    return rows, np.where(rng.random(len(rows)) < 0.5, clip.visible[rows].argmax(1), anywhere)


def record(tracker, clip, rows, at, path):
    """Track points of a clip, and write what was kept."""
    visible = clip.visible[rows]
    queries = np.column_stack([at, clip.xy[rows, at]]).astype(np.float32)
    tracker.track(clip.video[0 : len(clip.video)], queries)
    names, recorder = ("network", "correlation", "stretch", "hold", "sharpness", "brightness"), tracker.error_model
    arrays = {name: getattr(recorder.cues, name).numpy() for name in names} | recorder.tracks
    with open(path, "wb") as file:
        np.savez(file, truth=clip.xy[rows], visible=visible, size=np.array(recorder.cues.size), **arrays)


def marked(folders):
    """Names of the files of the clips with marks, and functions that give each clip, its points and the frames asked for."""
    from real_marks import MARKS, SIZE, read_marks, read_video

    def clip_of(marks):
        frames, size = read_video(marks, folders)
        video = np.stack([np.asarray(Image.fromarray(f).resize((SIZE, SIZE), Image.Resampling.LANCZOS)) for f in frames])
        at, shown = marks.frames - marks.frames[0], ~marks.occluded
        xy, visible = np.full((len(shown), len(frames), 2), np.nan, np.float32), np.zeros((len(shown), len(frames)), bool)
        xy[:, at] = np.where(shown[..., None], marks.xy * (SIZE / np.array(size)), np.nan)
        visible[:, at] = shown
        rows = np.flatnonzero(shown.any(1))
        return TrackedClip(video, xy, visible), rows, visible[rows].argmax(1)

    for name in (MARKS.name, "seven-clips.csv"):
        for marks in read_marks(MARKS.with_name(name)):
            if any((folder / marks.clip).is_file() for folder in folders):
                yield f"marks-{Path(marks.clip).stem}.npz", lambda marks=marks: clip_of(marks)
            else:
                print(f"{marks.clip} is not at hand: left out")


def made(given):
    """Names of the files of clips with exact tracks, and functions that give each clip, its points and the frames asked for."""

    def clip_of(number):
        clip = make(given, number)
        return clip, *asked(clip, kind_of(given, number) == "plain", np.random.default_rng((7, number)))

    for number in range(given.first, given.last):
        yield f"{given.part}-{number:03d}.npz", lambda number=number: clip_of(number)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="videos, or folders of videos with marks")
    parser.add_argument("--part", choices=[*SEEDS, "marks"], default="train")
    parser.add_argument("--model", default="tapir-nano")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=200)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    tracker = tapetum.load(given.model)
    tracker.error_model = CueRecorder()
    for name, clip_of in marked(given.more) if given.part == "marks" else made(given):
        path = given.folder / name
        if not path.exists():
            record(tracker, *clip_of(), path)
            print(name, flush=True)


if __name__ == "__main__":
    main()
