"""Four sources of data that differ, in the layouts in which people have them: each is read, and points learn from it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.files import make_image
from tapetum.core.errors import BadInput
from tapetum.systems.pretraining.study.data import pool, varied
from tapetum.systems.pretraining.study.plan import SHAPES, PlanSource, StudyPlan
from tapetum.systems.pretraining.study.point import predicted

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
