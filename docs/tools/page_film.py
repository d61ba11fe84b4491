"""Makes the film of the page for the docs, and one image of it: docs/_static/page.mp4 and docs/images/page.png.

    python docs/tools/page_film.py VIDEO [--out FOLDER]

Chromium, driven by Playwright, does on the real page of `tapetum serve` what a person does: points are put, tracked, looked at,
put right and exported. Each step is a screenshot that the film shows for a while, so that it is as long on a slow machine;
the pointer and the line that says what is done are drawn by this script. VIDEO is a copy of a real one, such as
demo-out/clip.mp4 of `make demo`.
"""

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.append(str(Path(__file__).parents[2] / "evidence" / "web-browser"))

from browser import CHROMIUM, served

DOCS = Path(__file__).parents[1]
SIZE = 1280, 760
"""Of the window in pixels; the line below it is LINE high."""
LINE, RATE = 40, 10
FILM_BYTES, IMAGE_BYTES = 2_000_000, 200_000
POINTS = ((0.25, 0.35), (0.62, 0.3), (0.45, 0.62), (0.41, 0.43), (0.51, 0.57), (0.08, 0.3))
"""Where points are put, as shares of the frame."""
WALKED = 3
"""Doubted places that are looked at; the last one is put right."""
POINTER = """([x, y]) => {
  let dot = document.querySelector('#film-pointer');
  if (!dot) {
    dot = document.body.appendChild(document.createElement('div'));
    dot.id = 'film-pointer';
    Object.assign(dot.style, {position: 'fixed', width: '18px', height: '18px', borderRadius: '50%', zIndex: 99,
      border: '3px solid #fff', boxShadow: '0 0 0 2px #000', pointerEvents: 'none', transform: 'translate(-50%, -50%)'});
  }
  Object.assign(dot.style, {left: `${x}px`, top: `${y}px`});
}"""


class Film:
    """Screenshots of a page, each shown for a while, with a line that says what is done."""

    def __init__(self, page: Any):
        self.page, self.text = page, ""
        self.frames: list[tuple[bytes, str, int]] = []
        """PNG, line, and how many frames of the film show it."""

    def say(self, text: str) -> None:
        """Set the line from now on."""
        self.text = text

    def show(self, seconds: float) -> None:
        """Take a screenshot that is shown so long."""
        self.frames.append((self.page.screenshot(), self.text, max(round(seconds * RATE), 1)))

    def move(self, x: float, y: float) -> None:
        """Move the pointer, on the page and in the film."""
        self.page.mouse.move(x, y, steps=4)
        self.page.evaluate(POINTER, [x, y])

    def click(self, x: float, y: float) -> None:
        """Move the pointer somewhere and click."""
        self.move(x, y)
        self.show(0.4)
        self.page.mouse.click(x, y)

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return sum(count for _, _, count in self.frames) / RATE


class Stage:
    """The frame on the page."""

    def __init__(self, page: Any):
        self.page = page
        self.canvas = page.locator(".stage canvas")
        name = page.locator(".item[aria-current] .name").inner_text()
        items = page.evaluate("fetch('/api/state').then(answer => answer.json())")["items"]
        self.item = next(item for item in items if item["name"] == name)

    def spot(self, x: float, y: float) -> tuple[float, float]:
        """Compute where a pixel of the video is in the window."""
        box = self.canvas.bounding_box()
        scale = min(box["width"] / self.item["width"], box["height"] / self.item["height"])
        left, top = (box[side] - scale * self.item[side] for side in ("width", "height"))
        return box["x"] + left / 2 + x * scale, box["y"] + top / 2 + y * scale

    def shown(self, frame: int) -> None:
        """Wait until a frame is on the canvas."""
        self.page.wait_for_selector(f".stage canvas[data-shown$='/{frame}']")

    def frame(self) -> int:
        """Read which frame is on the canvas."""
        return int(self.canvas.get_attribute("data-shown").rsplit("/", 1)[1])

    def ask(self, path: str) -> Any:
        """Ask the server about the item."""
        return self.page.evaluate("path => fetch(path).then(answer => answer.json())", f"/api/items/{self.item['id']}/{path}")

    def place_of(self, point: str, frame: int) -> tuple[float, float]:
        """Ask where a point is on a frame, in pixels of the video."""
        script = """path => fetch(path).then(async answer => [answer.headers.get('X-Points'),
          [...new Float32Array(await answer.arrayBuffer())].map(value => isNaN(value) ? -1 : value)])"""
        ids, values = self.page.evaluate(script, f"/api/items/{self.item['id']}/tracks.bin")
        tracks = np.array(values).reshape(len(ids.split(",")), -1, 4)
        x, y = tracks[ids.split(",").index(point), frame, :2]
        return float(np.clip(x, 0, self.item["width"])), float(np.clip(y, 0, self.item["height"]))


def watch_job(film: Film, most: int) -> None:
    """Show the job while it runs, in at most so many screenshots of 0.4 s, of which the last ones count."""
    before, busy = len(film.frames), film.page.get_by_role("button", name="Cancel")
    while busy.is_visible():
        film.show(0.4)
        film.page.wait_for_timeout(1000)
    film.page.get_by_text("All points are tracked.").first.wait_for()
    shots = film.frames[before:]
    chosen = np.unique(np.linspace(0, len(shots) - 1, most).round().astype(int)) if shots else []
    film.frames[before:] = [shots[k] for k in chosen]


def act(film: Film) -> bytes:
    """Do what a person does; returns the screenshot for the docs."""
    page = film.page
    page.wait_for_selector(".stage canvas[data-shown$='/0']")
    stage = Stage(page)
    width, height, last = stage.item["width"], stage.item["height"], stage.item["frames"] - 1
    film.say("tapetum serve my-videos: the videos of a folder, in the browser")
    film.move(*stage.spot(width * 0.5, height * 0.95))
    film.show(2.5)
    film.say("Click the points to follow")
    for number, (x, y) in enumerate(POINTS):
        film.click(*stage.spot(x * width, y * height))
        page.locator("li.point").nth(number).wait_for()
        film.show(0.3)
    film.say("t: tracks appear while they are computed, with progress and time left")
    page.keyboard.press("t")
    page.wait_for_timeout(500)
    watch_job(film, 12)
    film.show(1.0)
    film.say("Any frame, at once; a time line for each point")
    for frame in range(0, last, max(last // 24, 1)):
        page.get_by_role("slider", name="Frame").fill(str(frame))
        stage.shown(frame)
        film.show(0.2)
    page.evaluate("document.activeElement.blur()")
    film.show(0.5)
    places = stage.ask("check")["places"]
    film.say("n: look here next, at one place after the other where a track is most likely wrong")
    point = stage.ask("project")["points"][0]["id"]
    for _ in places[:WALKED]:
        page.keyboard.press("n")
        page.wait_for_timeout(500)
        point = next((place["point"] for place in places if place["frame"] == stage.frame()), point)
        film.move(*stage.spot(*stage.place_of(point, stage.frame())))
        film.show(1.0)
    frame = stage.frame()
    x, y = stage.place_of(point, frame)
    film.move(*stage.spot(x, y))
    film.show(2.5)
    image = page.screenshot()
    film.say("Drag the point to where it is; only that point is tracked again")
    page.mouse.down()
    for step in range(1, 5):
        film.move(*stage.spot(x + step * 2 * (1 if x < width / 2 else -1), y + step * (1 if y < height / 2 else -1)))
        film.show(0.3)
    page.mouse.up()
    page.get_by_text("There are changes that are not tracked yet.").first.wait_for()
    film.show(0.8)
    page.keyboard.press("t")
    page.wait_for_timeout(300)
    watch_job(film, 6)
    film.show(1.5)
    film.say("Export: csv, json, npz, DeepLabCut, SLEAP, COCO, napari, TAP-Vid, mp4")
    save = page.locator("button.export")
    save.scroll_into_view_if_needed()
    box = save.bounding_box()
    film.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    film.show(1.5)
    with page.expect_download():
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    film.show(max(30 - film.seconds, 2.0))
    return image


def write_film(path: Path, frames: Sequence[tuple[bytes, str, int]]) -> None:
    """Encode the film as H.264, with less quality until it has at most FILM_BYTES."""
    font = ImageFont.load_default(22)
    for crf in (24, 28, 32, 36):
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as out:
            stream = out.add_stream("libx264", rate=RATE, options={"crf": str(crf), "preset": "medium", "tune": "animation"})
            stream.width, stream.height, stream.pix_fmt = SIZE[0], SIZE[1] + LINE, "yuv420p"
            number = 0
            for data, text, count in frames:
                whole = Image.new("RGB", (SIZE[0], SIZE[1] + LINE), "#181818")
                whole.paste(Image.open(io.BytesIO(data)).convert("RGB"), (0, 0))
                ImageDraw.Draw(whole).text((SIZE[0] / 2, SIZE[1] + LINE / 2), text, "#ffffff", font, anchor="mm")
                frame = av.VideoFrame.from_ndarray(np.asarray(whole), "rgb24")
                for _ in range(count):
                    frame.pts, frame.time_base = number, Fraction(1, RATE)
                    out.mux(stream.encode(frame))
                    number += 1
            out.mux(stream.encode(None))
        if path.stat().st_size <= FILM_BYTES:
            return
    raise SystemExit(f"{path} has {path.stat().st_size:,} bytes; wanted at most {FILM_BYTES:,}")


def write_image(path: Path, data: bytes) -> None:
    """Write a screenshot as PNG with a palette, smaller until it has at most IMAGE_BYTES."""
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    for width in (1200, 1080, 960, 840, 720):
        shown = whole.resize((width, round(width * whole.height / whole.width)), Image.Resampling.LANCZOS)
        shown.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= IMAGE_BYTES:
            return
    raise SystemExit(f"{path} has {path.stat().st_size:,} bytes; wanted at most {IMAGE_BYTES:,}")


def main() -> None:
    """Make both files, and print their sizes."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, help="folder for both files; by default where the docs have them")
    given = parser.parse_args()
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
    film_path = (given.out or DOCS / "_static") / "page.mp4"
    image_path = (given.out or DOCS / "images") / "page.png"
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = Path(place) / "my-videos"
        folder.mkdir()
        shutil.copy(given.video, folder)
        with served(folder) as address:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, accept_downloads=True)
            page.set_default_timeout(120_000)
            page.goto(address)
            film = Film(page)
            image = act(film)
            browser.close()
    write_film(film_path, film.frames)
    write_image(image_path, image)
    for path in (film_path, image_path):
        print(f"{path}: {path.stat().st_size:,} bytes")
    print(f"{film.seconds:.1f} s")


if __name__ == "__main__":
    main()
