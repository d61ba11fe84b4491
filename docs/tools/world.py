"""Makes the images of docs/guides/synthetic-data.md from what `tapetum scenes` writes: world.jpg and episode.gif.

python docs/tools/world.py [FOLDER]
"""

import json
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tapetum.app.make.scenes import episodes, images
from tapetum.data.entries import read_lines
from tapetum.data.rle import decode_mask
from tapetum.video import write_video
from tapetum_world.bodies.files import load_episode
from tapetum_world.rendering import GroundTruth, RenderConfig, render_episode
from tapetum_world.words.graph import small

IMAGES = Path(__file__).parents[1] / "images"
SIDE, WORDS = 256, 62
"""Pixels of an image of the gallery, and of the lines below it."""
FILM, EVERY = 176, 4
"""Pixels of the film, and which frames of the episode it shows."""


def colour(number):
    """One of many colours that are told apart."""
    red, green, blue = np.random.default_rng(number + 3).integers(70, 256, 3).tolist()
    return red, green, blue


def told(row, folder):
    """An image with its masks' edges, boxes and names, and its captions below."""
    with Image.open(folder / row["file"]) as image:
        pixels = np.array(image.convert("RGB").resize((SIDE, SIDE)))
    for thing in row["objects"]:
        mask = decode_mask(thing["segmentation"])
        inner = mask & np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, 1, 1) & np.roll(mask, -1, 1)
        pixels[mask & ~inner] = colour(thing["id"])
    sheet = Image.new("RGB", (SIDE, SIDE + WORDS), "white")
    sheet.paste(Image.fromarray(pixels))
    draw = ImageDraw.Draw(sheet)
    for thing in row["objects"]:
        x1, y1, x2, y2 = thing["box"]
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colour(thing["id"]))
        draw.text((x1 + 2, max(y1 - 11, 0)), thing["noun"], fill="white", stroke_width=1, stroke_fill="black")
    asked = [f"{q['question']} {q['answer'].capitalize()}." for q in row["questions"]]
    for number, text in enumerate((row["captions"]["short"], *asked[1:2])):
        lines = textwrap.wrap(text, 44)[:2]
        draw.multiline_text((3, SIDE + 2 + 28 * number), "\n".join(lines), fill="black" if number == 0 else (60, 60, 130))
    return np.asarray(sheet)


def gallery(folder, numbers):
    """Images in rows of four."""
    rows = {row["id"]: row for row in read_lines(folder / "images.jsonl")}
    tiles = [told(rows[number], folder) for number in numbers]
    return np.concatenate([np.concatenate(tiles[i : i + 4], 1) for i in range(0, len(tiles), 4)])


def draw_episode(folder, name):
    """Frames of a recorded episode, filmed again without noise, with boxes, points, what is done and what is heard."""
    item = json.loads((folder / "all_train.json").read_text())[name]
    episode = small(load_episode(folder / "episodes" / f"{name}.npz"), FILM)
    truth, names = (
        GroundTruth(episode),
        {int(i): b.group or b.noun for i, b in zip(episode.instance, episode.bodies, strict=True)},
    )
    quiet = RenderConfig(noise=0, compress="no")
    for frame in render_episode(episode, config=quiet, frames=range(0, episode.frames, EVERY)):
        sheet = Image.new("RGB", (FILM, FILM + 28), "white")
        sheet.paste(Image.fromarray(frame.rgb))
        draw = ImageDraw.Draw(sheet)
        boxes = truth.boxes(frame.number)
        for identity, box in zip(boxes.ids.tolist(), boxes.amodal.tolist(), strict=True):
            if names[identity] != "hand" and box[0] == box[0]:
                draw.rectangle(box, outline=colour(identity))
                draw.text((box[0], box[1] - 11), names[identity], fill="white", stroke_width=1, stroke_fill="black")
        for track in item["point_tracking"]:
            if frame.number in track["frame_ids"] and track["parent_objects"]:
                y, x = np.array(track["points"])[:, track["frame_ids"].index(frame.number)] * FILM
                draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill="yellow")
        time = 1e6 * frame.number / episode.frame_rate
        for place, (task, mark) in enumerate((("action_localisation", "does: "), ("sound_localisation", "heard: "))):
            now = {s["label"] for s in item[task] if s["timestamps"][0] <= time <= s["timestamps"][1]}
            draw.text((3, FILM + 1 + 13 * place), mark + ", ".join(sorted(now)), fill="black")
        yield np.asarray(sheet)


def main(folder=IMAGES):
    with tempfile.TemporaryDirectory() as place:
        shown = images(Path(place, "images"), n=24, seed=7)
        Image.fromarray(gallery(shown.out, range(12))).save(folder / "world.jpg", quality=72)
        done = episodes(Path(place, "episodes"), n=1, seed=2, size=96, seconds=7.0, story="cups-shuffle", points=16)
        write_video(folder / "episode.gif", draw_episode(done.out, "episode_00000"), 24 / EVERY)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
