"""Odin's task: views and masks go where pixels go, every source of masks learns; see also tests/twins."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from support.sharding import check_shards
from tapetum.core.errors import BadInput
from tapetum.encoders.references import load
from tapetum.systems.odin.recipes import RECIPES, OdinRun
from tapetum.systems.odin.task import OdinTask
from tapetum.systems.pretraining.data import ImageSource
from tapetum.train import StepContext


class Squares:
    """Images of a square of one colour on a ground of another, by number."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, k: int) -> np.ndarray:
        rng = np.random.default_rng(k)
        image = np.full((80, 90, 3), rng.integers(0, 256, 3), np.uint8)
        row, column = rng.integers(5, 40, 2)
        image[row : row + 30, column : column + 30] = rng.integers(0, 256, 3)
        return image

    def name(self, k: int) -> str:
        return f"square {k}"


def small(**odin: Any) -> OdinRun:
    run = RECIPES["small"]
    sizes = {"pyramid_width": 8, "hidden_width": 16, "projection_width": 8, "clusters": 4, **odin}
    return replace(
        run,
        size=32,
        batch_size=8,
        micro_batch=8,
        steps=6,
        base_lr=0.02,
        change=("stem_width=4",),
        odin=replace(run.odin, **sizes),
    )


def batch_of(task: OdinTask, count: int = 4) -> dict[str, Any]:
    samples = task.dataset()
    return task.collate([samples[k] for k in range(count)])


def test_views_and_the_spanning_one_are_cut_where_their_boxes_say() -> None:
    task = OdinTask(small(), ImageSource(Squares()))
    batch = batch_of(task)
    first, second, whole = batch["boxes"]
    assert (whole[:, :2] <= torch.minimum(first[:, :2], second[:, :2])).all()
    ends = torch.maximum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])
    torch.testing.assert_close(whole[:, :2] + whole[:, 2:], ends)
    assert not batch["flipped"][2].any()
    assert [tuple(view.shape) for view in batch["views"]] == [(4, 3, 32, 32)] * 3
    again = batch_of(task, 2)
    assert torch.equal(again["views"][0], batch["views"][0][:2])  # whatever else is in the batch


def test_the_spanning_view_is_cut_and_scaled_alone_and_the_others_are_coloured() -> None:
    task = OdinTask(small(), ImageSource(Squares()))
    batch = batch_of(task)
    how = task.run.architecture.preprocessing
    changed = []
    for b, number in enumerate(batch["number"]):
        image = Image.fromarray(Squares()[int(task.dataset().order(number))])
        for v, view in enumerate(batch["views"]):
            top, left, rows, columns = (int(x) for x in batch["boxes"][v][b])
            cut = np.array(image.crop((left, top, left + columns, top + rows)).resize((32, 32), Image.Resampling.BICUBIC))
            cut = cut[:, ::-1] if batch["flipped"][v][b] else cut
            apart = np.abs(view[b].movedim(0, -1).numpy() * how.std + how.mean - cut).max()
            if v == 2:
                assert apart < 1.01  # pixels are rounded, of 255
            else:
                changed.append(apart)
    assert sum(apart > 5 for apart in changed) > 4  # a view may be left as it is, but seldom


def test_where_k_means_begins_follows_the_seed_of_the_run() -> None:
    run = small(source="pixels", clusters=5)
    same, other = (OdinTask(replace(run, seed=seed), ImageSource(Squares())) for seed in (1, 2))
    batch = batch_of(same, 4)
    first, again, drawn = (task._discover(batch, StepContext(), 4)[0][0] for task in (same, same, other))
    assert torch.equal(first, again)
    assert not torch.equal(first, drawn)


def test_ids_of_views_are_where_the_pixels_are() -> None:
    """The truth as masks: a view's colour inside of id 1 is that of the square, wherever it was cut and flipped."""
    masks = np.zeros((24, 80, 90), np.int64)
    for k in range(24):
        rng = np.random.default_rng(k)
        rng.integers(0, 256, 3)
        row, column = rng.integers(5, 40, 2)
        masks[k, row : row + 30, column : column + 30] = 1
    run = small(source="given", clusters=2)
    task = OdinTask(run, ImageSource(Squares()), masks)
    task.views = lambda: tuple(  # without colours
        replace(view, jitter=0.0, grey=0.0, blur=0.0, solarise=0.0) for view in OdinTask.views(task)
    )
    batch = batch_of(task, 12)
    ids, regions = task._discover(batch, StepContext(), 4)
    assert regions == 2
    how = run.architecture.preprocessing
    seen = 0
    for view, each in zip(batch["views"], ids, strict=False):
        pixels = view.movedim(1, -1) * torch.tensor(how.std) + torch.tensor(how.mean)
        cells = pixels.unflatten(1, (8, 4)).unflatten(3, (8, 4)).mean((2, 4))
        for k in range(12):
            number = int(task.dataset().order(k))
            rng = np.random.default_rng(number)
            ground = rng.integers(0, 256, 3)
            rng.integers(5, 40, 2)
            square = rng.integers(0, 256, 3)
            if np.abs(ground.astype(int) - square).max() < 60:
                continue
            near = (cells[k] - torch.tensor(square)).abs().sum(-1) < (cells[k] - torch.tensor(ground)).abs().sum(-1)
            wrong = (near != (each[k] == 1)).float().mean()
            assert wrong <= 0.2  # cells on a border may be either
            seen += 1
    assert seen > 12


def test_a_mask_alone_is_too_few() -> None:
    model: Any = OdinTask(small(), ImageSource(Squares())).model()
    with pytest.raises(BadInput, match="1 masks are in the views of a batch of 2; give a larger batch_size"):
        model.project(torch.randn(2, 3, 8), torch.tensor([[False, True, False], [False] * 3]))


def test_in_shards_it_is_the_same() -> None:
    task = OdinTask(small(), ImageSource(Squares()))
    check_shards(task, batch_of(task))


def test_a_run_may_begin_with_weights_that_have_learned() -> None:
    """resnet-nano's, with the preset's changes of its own encoder left out; masks at four pixels a cell."""
    task = OdinTask(replace(RECIPES["small"], encoder="weights:resnet-nano"), ImageSource(Squares()))
    model: Any = task.model()
    learned = load("resnet-nano").state_dict()
    assert all(torch.equal(value, learned[name]) for name, value in model.encoder.state_dict().items())
    assert model.stride == 4
