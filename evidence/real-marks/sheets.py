"""Makes the sheets by which points are marked in real videos: frames with rulers, enlarged crops with a grid, marks drawn back.

    python evidence/real-marks/sheets.py frames VIDEO --start 96 --out FOLDER [--box 200 100 840 500 --scale 2]
    python evidence/real-marks/sheets.py crops VIDEO --places rough.csv --out FOLDER [--side 40 --scale 6 --shift 7 --seed 1]
    python evidence/real-marks/sheets.py frames VIDEO --places marks.csv --out FOLDER

`frames` writes the six marked frames (every eighth from --start), or the part of them in --box, with rulers, and draws the
places of the table if one is given, numbered in its order. `crops` writes, three points to a sheet, a row with one crop for
each marked frame round the place that the table names (clip, point, frame, x, y, further columns); a row without a place leaves
its cell empty. --shift moves each centre at random, for a second reading. All labels are raster coordinates of the video: the
centre of the first pixel is (0.5, 0.5).
"""

import argparse
import csv
import random
from collections.abc import Sequence
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

STEP, COUNT, ROWS = 8, 6, 3
YELLOW, RED = (255, 255, 0), (255, 40, 40)
Places = dict[str, dict[int, tuple[float, float] | None]]


def read_frames(video: Path, wanted: Sequence[int]) -> dict[int, Image.Image]:
    """Decodes the wanted frames, by their place in the file."""
    found = {}
    with av.open(str(video)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                found[index] = frame.to_image()
            if index >= max(wanted):
                break
    return found


def read_places(path: Path, clip: str) -> Places:
    """Reads the places of a clip's points; None where a row has none."""
    places: Places = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["clip"] == clip:
                place = (float(row["x"]), float(row["y"])) if row["x"] else None
                places.setdefault(row["point"], {})[int(row["frame"])] = place
    return places


def enlarge(frame: Image.Image, box: tuple[int, int, int, int], scale: int, grid: int) -> Image.Image:
    """Enlarges a box of a frame and draws a line each `grid` pixels, each second one stronger and labelled."""
    size = ((box[2] - box[0]) * scale, (box[3] - box[1]) * scale)
    image = frame.crop(box).resize(size, Image.Resampling.BICUBIC)
    draw, font = ImageDraw.Draw(image, "RGBA"), ImageFont.load_default(11)
    for axis in (0, 1):
        for at in range(-(-box[axis] // grid) * grid, box[axis + 2], grid):
            where, labelled = (at - box[axis]) * scale, at % (2 * grid) == 0
            ends = [(where, 0), (where, size[1])] if axis == 0 else [(0, where), (size[0], where)]
            draw.line(ends, fill=(*YELLOW, 90 if labelled else 40))
            if labelled:
                spot = (where + 1, 0) if axis == 0 else (0, where - 6)
                draw.text(spot, str(at), fill=YELLOW, font=font, stroke_width=1, stroke_fill=(0, 0, 0))
    return image


def crop_sheets(frames: dict[int, Image.Image], places: Places, side: int, scale: int, shift: int) -> list[Image.Image]:
    """Puts three points to a sheet, one row each, with a crop for each frame."""
    cell, font, sheets, names = side * scale + 4, ImageFont.load_default(13), [], list(places)
    for first in range(0, len(names), ROWS):
        sheet = Image.new("RGB", (COUNT * cell, ROWS * (cell + 16)))
        for row, name in enumerate(names[first : first + ROWS]):
            for column, (index, frame) in enumerate(sorted(frames.items())):
                x, y = column * cell, row * (cell + 16)
                ImageDraw.Draw(sheet).text((x, y), f"{index} {name}"[: cell // 7], font=font)
                if (place := places[name].get(index)) is not None:
                    left, top = (round(value + random.uniform(-shift, shift) - side / 2) for value in place)
                    sheet.paste(enlarge(frame, (left, top, left + side, top + side), scale, 4), (x, y + 16))
        sheets.append(sheet)
    return sheets


def draw_places(image: Image.Image, places: Places, index: int, corner: Sequence[int], scale: int) -> None:
    """Draws a frame's places into its enlarged box, numbered in the order of the table."""
    draw = ImageDraw.Draw(image)
    for number, marks in enumerate(places.values()):
        if (place := marks.get(index)) is not None:
            x, y = ((value - start) * scale for value, start in zip(place, corner, strict=True))
            draw.ellipse([x - 5, y - 5, x + 5, y + 5], outline=RED)
            draw.text((x + 7, y - 7), str(number), fill=RED, font=ImageFont.load_default(13))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["frames", "crops"])
    parser.add_argument("video", type=Path)
    parser.add_argument("--places", type=Path)
    parser.add_argument("--box", type=int, nargs=4)
    parser.add_argument("--out", type=Path, required=True)
    for name, default in (("start", None), ("side", 40), ("scale", None), ("shift", 0), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args(arguments)
    random.seed(options.seed)
    places = read_places(options.places, options.video.name) if options.places else {}
    start = min(index for marks in places.values() for index in marks) if options.start is None else options.start
    frames = read_frames(options.video, range(start, start + STEP * COUNT, STEP))
    options.out.mkdir(parents=True, exist_ok=True)
    if options.kind == "crops":
        for number, sheet in enumerate(crop_sheets(frames, places, options.side, options.scale or 6, options.shift)):
            sheet.save(options.out / f"crops-{number:02}.png")
        return
    for index, frame in frames.items():
        box, scale = options.box or (0, 0, *frame.size), options.scale or 1
        image = enlarge(frame, box, scale, 20)
        draw_places(image, places, index, box[:2], scale)
        image.save(options.out / f"frames-{index:04}.png")


if __name__ == "__main__":
    main()
