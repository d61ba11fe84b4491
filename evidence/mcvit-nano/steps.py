"""Make what mcvit-nano begins with: the tower of paligemma-nano over time, a text tower, and images with captions to meet on.

    python evidence/paligemma-nano/images.py images ...                # or tapetum scenes images
    python evidence/mcvit-nano/steps.py shards images shards                   # jpg and txt, the short captions
    python evidence/mcvit-nano/steps.py begin begin.safetensors
    tapetum train longvideo --stage images --data shards --start begin.safetensors --out words ...
    python evidence/mcvit-nano/steps.py again words again.safetensors            # what images have taught, to videos too
    python evidence/mcvit-nano/steps.py join episodes part1 part2 ...            # folders of tapetum scenes episodes
    tapetum train longvideo --stage questions --data episodes --beside shards --start again.safetensors --out nano ...
    python evidence/mcvit-nano/steps.py half nano mcvit-nano.safetensors         # float16

All options of the two trainings stand in docs/models/mcvit-nano.md.
"""

import argparse
import io
import json
import shutil
import tarfile
from pathlib import Path

import torch

import tapetum
from tapetum.systems import longvideo
from tapetum.systems.longvideo.video_text import VideoText
from tapetum.systems.longvideo.weights import continue_from, load


def shards(images: Path, out: Path) -> None:
    """Write images of `tapetum scenes images` and their short captions as one tar file."""
    out.mkdir(parents=True, exist_ok=True)
    with tarfile.open(out / "images-000000.tar", "w") as tar:
        for truth in sorted((images / "truth").glob("*.json")):
            told = json.loads(truth.read_text())
            parts = {"jpg": (images / told["file"]).read_bytes(), "txt": told["captions"]["short"].encode()}
            for ending, content in parts.items():
                info = tarfile.TarInfo(f"{truth.stem}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def begin(out: Path) -> None:
    """Inflate paligemma-nano's tower and put a text tower beside it."""
    torch.manual_seed(0)
    towers = longvideo.build_video_text("mcvit-nano")
    towers.video.load_state_dict(longvideo.inflate(tapetum.load("paligemma-nano").vision_encoder, "mcvit-nano").state_dict())
    longvideo.save(towers, out)


def again(run: Path, out: Path) -> None:
    """Give videos the stem that images have taught."""
    towers = load(run)
    assert isinstance(towers, VideoText)
    tubelets = towers.video.tubelets
    tubelets.video.layers.load_state_dict(tubelets.images.layers[:-1].state_dict())
    tubelets.video.inflate(tubelets.images.layers[-1])
    longvideo.save(towers, out)


def join(out: Path, *parts: Path) -> None:
    """Put folders of `tapetum scenes episodes` together: videos under names of their own, questions and captions."""
    (out / "videos").mkdir(parents=True, exist_ok=True)
    for kind in ("questions", "captions"):
        with (out / f"{kind}.jsonl").open("w") as file:
            for part in parts:
                for line in (part / f"{kind}.jsonl").read_text().splitlines():
                    told = json.loads(line)
                    own = f"{part.name}-{told['video']}"
                    shutil.copyfile(part / "videos" / f"{told['video']}.mp4", out / "videos" / f"{own}.mp4")
                    file.write(json.dumps({**told, "video": own}) + "\n")


def half(run: Path, out: Path) -> None:
    """Write weights in float16, with the settings of `mcvit-nano` in place of those of training."""
    towers = load(run)
    assert isinstance(towers, VideoText)
    longvideo.save(continue_from(towers, mask_ratio=0.0, tune="all"), out, torch.float16)


DEEDS = {"shards": shards, "begin": begin, "again": again, "join": join, "half": half}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(DEEDS))
    parser.add_argument("paths", type=Path, nargs="+")
    options = parser.parse_args()
    DEEDS[options.what](*options.paths)


if __name__ == "__main__":
    main()
