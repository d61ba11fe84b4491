"""Variants of data: what each has of the pool, the same every time.

Four sources of data that differ, in the layouts in which people have them: each is read, and points learn from it.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.files import make_image
from tapetum.core.errors import BadInput
from tapetum.systems.pretraining.data import ImageSource
from tapetum.systems.pretraining.study.data import (
    SHAPE_NAMES,
    ShapePixels,
    VariedImages,
    balanced,
    inside,
    pool,
    shape_source,
    varied,
)
from tapetum.systems.pretraining.study.plan import SHAPES, VARIANTS, PlanSource, StudyPlan
from tapetum.systems.pretraining.study.point import predicted

POOL = shape_source(600, 8)


def labels(source: ImageSource) -> np.ndarray:
    assert source.labels is not None
    return source.labels


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_its_length_and_is_the_same_again(variant: str) -> None:
    one, other = varied(POOL, variant, 90), varied(POOL, variant, 90)
    assert len(one) == len(labels(one)) == 90
    assert labels(one).tolist() == labels(other).tolist()
    assert all((one.images[k] == other.images[k]).all() for k in range(0, 90, 9))
    assert one.about["variant"] == variant


def test_curated_data_have_all_classes_equally_often_and_no_image_twice() -> None:
    which = balanced(POOL, 90)
    assert np.bincount(POOL.labels[which]).tolist() == [15] * 6  # type: ignore[index]
    assert len(set(which.tolist())) == 90
    assert balanced(POOL, 48).tolist() == which[:48].tolist()  # fewer are the first of them
    bare = replace(POOL, labels=None, classes=())
    assert len(set(balanced(bare, 90).tolist())) == 90


def test_a_long_tail_falls_by_a_hundred() -> None:
    counts = np.sort(np.bincount(labels(varied(shape_source(4000, 8), "long_tailed", 1000)), minlength=6))[::-1]
    assert counts.sum() == 1000
    wanted = 100 ** -(np.arange(6) / 5)
    np.testing.assert_allclose(counts, 1000 * wanted / wanted.sum(), atol=6)
    assert 60 < counts[0] / counts[-1] < 130


def test_duplicates_are_near_copies_of_a_fifth() -> None:
    made = varied(POOL, "duplicated", 50)
    assert isinstance(made.images, VariedImages)
    groups = made.images.places.reshape(10, 5)
    assert (groups == groups[:, :1]).all()
    assert len(set(groups[:, 0].tolist())) == 10
    for k in range(0, 50, 7):
        original = POOL.images[int(made.images.places[k])].astype(int)
        assert any((made.images[k] == moved).all() for moved in moves(original))
    assert len({made.images[k].tobytes() for k in range(5)}) > 1


def moves(image: np.ndarray) -> Iterator[np.ndarray]:
    """An image moved by up to two pixels, and up to eight levels darker or brighter."""
    wide = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge")
    for y, x, level in product(range(5), range(5), range(-8, 9)):
        yield np.clip(wide[y : y + 8, x : x + 8] + level, 0, 255)


def test_noise_is_in_the_labels_alone() -> None:
    clean, noisy = varied(POOL, "curated", 200), varied(POOL, "noisy", 200)
    wrong = labels(clean) != labels(noisy)
    assert wrong.mean() == 0.4
    assert all((clean.images[k] == noisy.images[k]).all() for k in range(0, 200, 20))
    assert len(set(labels(noisy)[wrong].tolist())) == 6


@pytest.mark.slow
def test_half_is_off_the_domain() -> None:
    clean, strange = varied(POOL, "curated", 100), varied(POOL, "off_domain", 100)
    other = [(clean.images[k] != strange.images[k]).any() for k in range(100)]
    assert sum(other) == 50
    assert strange.images[other.index(True)].shape == (8, 8, 3)
    assert strange.images.name(other.index(True)).startswith("texture")
    assert labels(clean).tolist() == labels(strange).tolist()


def test_what_cannot_be_made_of_a_pool() -> None:
    bare = replace(POOL, labels=None, classes=())
    for source, variant, count, said in (
        (POOL, "dirty", 10, "no variant 'dirty'"),
        (bare, "long_tailed", 10, "by their classes, and these have none"),
        (bare, "noisy", 10, "by their classes, and these have none"),
        (POOL, "curated", 601, "wants 601 images of 600"),
        (POOL, "long_tailed", 600, "wants .* of one class, and there are 100"),
    ):
        with pytest.raises(BadInput, match=said):
            varied(source, variant, count)


def test_shapes_are_what_they_are_called() -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 401), np.linspace(-1, 1, 401))
    share = {name: inside(name, x, y).mean() for name in SHAPE_NAMES}
    assert share["disc"] == pytest.approx(np.pi / 4, abs=0.01)
    assert share["square"] == pytest.approx(0.85**2, abs=0.01)
    assert share["ring"] == pytest.approx(np.pi / 4 * (1 - 0.55**2), abs=0.01)
    assert share["cross"] == pytest.approx(2 * 0.3 - 0.3**2, abs=0.01)
    assert share["triangle"] == pytest.approx(1.7 * (1.7 / 1.7) / 4, abs=0.02)
    part = ShapePixels("val", 3, (24, 32))
    image, truth = part.read(1)
    assert image.shape == (24, 32, 3)
    assert truth.shape == (24, 32)
    assert 0 < (truth > 0).mean() < 1
    assert truth.max() < len(part.classes)
    assert (part.read(1)[0] == image).all()
    assert (ShapePixels("train", 3, (24, 32)).read(1)[0] != image).any()


SIZES = (
    '[sizes.s]\nfamily = "vit"\nencoder = "vit-nano"\nchange = ["patch=4", "width=16", "depth=1", "heads=2", "mlp_width=32"]\n'
)
GRID = '[[grids]]\nsizes = ["s"]\nmethods = ["simclr"]\nbudgets = [1e9]\n'


def sources(folder: Path) -> dict[str, str]:
    """CIFAR-10's binary files, frames of a drive, a parquet file of photographs, and made scenes."""
    rng, places = np.random.default_rng(0), {name: folder / name for name in ("cifar", "frames", "photos.parquet")}
    places["cifar"].mkdir(parents=True)
    pixels = rng.integers(0, 256, (8, 3072), dtype=np.uint8)
    np.concatenate([np.arange(8, dtype=np.uint8)[:, None] % 3, pixels], 1).tofile(places["cifar"] / "data_batch_1.bin")
    for k in range(6):
        make_image(places["frames"] / f"0001TP_{k:06d}.png", (200, 10 * k, 0), (48, 36))
    rows = []
    for k in range(9):  # of which one is held out, as of every parquet file without parts
        path = folder / f"photo-{k}.png"
        make_image(path, (0, 0, 25 * k), (40, 40))
        rows.append({"bytes": path.read_bytes(), "path": path.name})
    pq.write_table(pa.table({"image": rows}), places["photos.parquet"])
    return {"cifar": str(places["cifar"]), "frames": str(places["frames"]), "photos": str(places["photos.parquet"])}


def plan_of(places: dict[str, str], count: int = 8) -> StudyPlan:
    text = f"[images]\ndata = {places['cifar']!r}\ncount = {count}\n{SIZES}"
    text += f"[sources.camvid]\ndata = {places['frames']!r}\nlabelled = false\ncount = 6\n"
    text += f"[sources.photos]\ndata = {places['photos']!r}\nlabelled = false\n[sources.scenes]\ndata = '{SHAPES}'\n"
    names = '["curated", "camvid", "photos", "scenes"]'
    text += f'[[grids]]\nsizes = ["s"]\nmethods = ["supervised", "simclr"]\nbudgets = [1e9]\nvariants = {names}\n'
    return PlanSource(plan=text).read()


def test_points_learn_from_the_source_that_they_name(tmp_path: Path) -> None:
    places = sources(tmp_path)
    plan = plan_of(places)
    points = [(point.variant, point.method) for point in plan.points()]
    assert points == [
        *(("curated", method) for method in ("supervised", "simclr")),
        ("camvid", "simclr"),  # without classes, nothing to supervise
        ("photos", "simclr"),
        *(("scenes", method) for method in ("supervised", "simclr")),
    ]
    shown = {}
    for name in ("curated", "camvid", "photos", "scenes"):
        images, variant = plan.learned_from(name)
        own = varied(pool(images), variant, images.count)
        assert len(own) == (6 if name == "camvid" else 8)
        shown[name] = [own.images[k] for k in range(len(own))]
    assert {image.shape for image in shown["curated"]} == {(32, 32, 3)}
    raw = np.fromfile(Path(places["cifar"]) / "data_batch_1.bin", np.uint8).reshape(8, 3073)[:, 1:]
    wanted = {row.reshape(3, 32, 32).transpose(1, 2, 0).tobytes() for row in raw}
    assert {image.tobytes() for image in shown["curated"]} == wanted
    assert {tuple(image[0, 0]) for image in shown["camvid"]} == {(200, 10 * k, 0) for k in range(6)}
    assert {tuple(image[0, 0]) for image in shown["photos"]} < {(0, 0, 25 * k) for k in range(9)}
    runs = {point.variant: plan.run(point) for point in plan.points() if point.method == "simclr"}
    assert [run.data for run in runs.values() if run] == [(places[n],) for n in ("cifar", "frames", "photos")] + [(SHAPES,)]
    steps = {predicted(plan, point).steps for point in plan.points() if point.method == "simclr"}
    assert len(steps) == 1  # as many on each


def test_sources_that_cannot_be(tmp_path: Path) -> None:
    places = sources(tmp_path)
    few = plan_of(places)
    few = replace(few, sources={**few.sources, "camvid": replace(few.sources["camvid"], count=0)})
    camvid = next(point for point in few.points() if point.variant == "camvid")
    with pytest.raises(BadInput, match=r"wants 8 images of .*frames, which has 6; give it a count"):
        predicted(few, camvid)
    gone = plan_of({**places, "photos": str(tmp_path / "none.parquet")})
    with pytest.raises(BadInput, match=r"none\.parquet"):
        predicted(gone, next(point for point in gone.points() if point.variant == "photos"))
    for text, message in (
        ("[sources.noisy]\ndata = 'x'\n", "which is a variant of"),
        ("[sources.x]\nlabelled = true\n", "data"),
        ("sources = 3\n", "sources that are no tables"),
    ):
        with pytest.raises(BadInput, match=message):
            PlanSource(plan=text + SIZES + GRID).read()
    with pytest.raises(BadInput, match="the variant or source 'other'"):
        PlanSource(
            plan=SIZES + '[[grids]]\nsizes = ["s"]\nmethods = ["simclr"]\nbudgets = [1e9]\nvariants = ["other"]\n'
        ).read()
