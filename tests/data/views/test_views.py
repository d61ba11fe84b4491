"""Views: the arithmetic is torchvision's, the draws have the distributions of torchvision's transforms."""

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as V
from PIL import Image
from scipy import stats
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2.functional import resized_crop as native_crop

from tapetum.core.errors import BadInput
from tapetum.data.views import View, Views, byol, clip, dino, mae, simclr, supervised
from tapetum.data.views import make as C
from tapetum.data.views.make import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    SATURATION,
    ViewParameters,
    channels_first,
    crop,
    draw,
    stream,
    uniforms,
)


def images(count: int, rows: int = 40, columns: int = 52) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    made = [rng.integers(0, 256, (rows + k, columns, 3), dtype=np.uint8) for k in range(count)]
    made[0][:8] = 77  # a grey part, where a hue is nothing
    return made


def floats(count: int = 5) -> torch.Tensor:
    return torch.stack([torch.from_numpy(p[:40]).movedim(-1, 0) for p in images(count)]).float() / 255


def _crops(made: list[np.ndarray], drawn: ViewParameters, view: View) -> torch.Tensor:
    return crop([channels_first(image) for image in made], drawn, view)


def test_the_generator_is_splitmix64() -> None:
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert stream(np.array([1234567], np.uint64), 5)[0].tolist() == known


def test_uniforms_are_even_and_neighbours_have_nothing_in_common() -> None:
    u = uniforms(3, 1, range(4000), 8)
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    flat = np.concatenate([u, np.roll(u, 1, 0), uniforms(3, 2, range(4000), 8), uniforms(4, 1, range(4000), 8)], 1)
    correlation = np.corrcoef(flat.T) - np.eye(32)
    assert np.abs(correlation).max() < 0.08
    assert (u[17] == uniforms(3, 1, [17], 8)[0]).all()


def test_crops_are_distributed_as_torchvisions() -> None:
    view, size, count = View(size=8), (60, 80), 3000
    ours = draw(view, [size] * count, 5, 0, range(count)).boxes
    torch.manual_seed(0)
    blank = torch.zeros(3, *size)
    theirs = np.array([RandomResizedCrop.get_params(blank, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)])
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, :2] + ours[:, 2:] <= size).all()
    for of in (
        lambda b: b[:, 2] * b[:, 3],
        lambda b: b[:, 3] / b[:, 2],
        lambda b: b[:, 0] / np.maximum(size[0] - b[:, 2], 1),
        lambda b: b[:, 1] / np.maximum(size[1] - b[:, 3], 1),
    ):
        assert stats.ks_2samp(of(ours), of(theirs)).pvalue > 1e-3


@pytest.mark.parametrize("size", [(10, 400), (400, 10), (1, 1)])
def test_where_no_crop_fits_it_is_the_middle_as_torchvisions(size: tuple[int, int]) -> None:
    view = View(size=8, area=(0.99, 1.0))
    theirs = RandomResizedCrop.get_params(torch.zeros(3, *size), [0.99, 1.0], [3 / 4, 4 / 3])
    assert draw(view, [size], 0, 0, [3]).boxes[0].tolist() == list(theirs)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_crops_are_torchvisions_to_the_bit(interpolation: str) -> None:
    view, made = View(size=24, interpolation=interpolation), images(6)
    drawn = draw(view, [p.shape[:2] for p in made], 0, 0, range(6))
    assert 0 < drawn.mirrored.sum() < 6
    for ours, image, box, mirrored in zip(_crops(made, drawn, view), made, drawn.boxes.tolist(), drawn.mirrored, strict=True):
        whole = torch.from_numpy(image).movedim(-1, 0).contiguous()
        theirs = native_crop(whole, *box, [24, 24], InterpolationMode(interpolation), antialias=True)
        assert torch.equal(ours, V.hflip(theirs) if mirrored else theirs)
        top, left, rows, columns = box
        part = Image.fromarray(image[top : top + rows, left : left + columns])
        pillows = np.array(part.resize((24, 24), getattr(Image.Resampling, interpolation.upper())))
        assert (torch.from_numpy(pillows).movedim(-1, 0).int() - theirs.int()).abs().max() <= 1


def test_colours_are_torchvisions() -> None:
    x, factors = floats(), torch.tensor([0.2, 0.7, 1.0, 1.3, 1.8])
    turns = torch.tensor([-0.5, -0.1, 0.05, 0.2, 0.5])
    for ours, theirs, numbers in (
        (C.brighten, V.adjust_brightness, factors),
        (C.contrast, V.adjust_contrast, factors),
        (C.saturate, V.adjust_saturation, factors),
        (C.turn_hue, V.adjust_hue, turns),
    ):
        wanted = torch.stack([theirs(one, float(number)) for one, number in zip(x, numbers, strict=True)])
        torch.testing.assert_close(ours(x.clone(), numbers), wanted, rtol=0, atol=2e-6)
    torch.testing.assert_close(C.greys(x), V.rgb_to_grayscale(x), rtol=0, atol=1e-6)
    assert torch.equal(C.solarise(x), V.solarize(x, 0.5))


def test_blur_is_torchvisions() -> None:
    x, sigma = floats(), torch.tensor([0.1, 0.5, 1.0, 1.5, 2.0])
    for radius in (1, 6):
        wanted = torch.stack([V.gaussian_blur(p, 2 * radius + 1, float(s)) for p, s in zip(x, sigma, strict=True)])
        torch.testing.assert_close(C.blur(x, sigma, radius), wanted, rtol=0, atol=1e-6)
    tiny = x[:, :, :3, :4]  # smaller than the radius
    assert C.blur(tiny, sigma, 6).shape == tiny.shape


def test_everything_happens_as_often_as_it_should() -> None:
    count = 20_000
    view = View(
        size=8, mirror=0.3, jitter=0.8, brightness=1.5, contrast=0.4, saturation=0.2, hue=0.1, grey=0.2, blur=0.5, solarise=0.1
    )
    d = draw(view, [(9, 9)] * count, 0, 0, range(count))
    for found, wanted in (
        (d.mirrored, 0.3),
        (d.jittered, 0.8),
        (d.grey, 0.2),
        (d.sigma > 0, 0.5),
        (d.solarised, 0.1),
        (d.order[:, 0] == HUE, 0.25),
        ((d.order == [3, 1, 0, 2]).all(1), 1 / 24),
    ):
        assert abs(found.mean() - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / count)
    for kind, low, high in ((BRIGHTNESS, 0.0, 2.5), (CONTRAST, 0.6, 1.4), (SATURATION, 0.8, 1.2), (HUE, -0.1, 0.1)):
        assert stats.kstest(d.factors[:, kind], "uniform", (low, high - low)).pvalue > 1e-3
    assert stats.kstest(d.sigma[d.sigma > 0], "uniform", (0.1, 1.9)).pvalue > 1e-3


def test_a_view_depends_on_seed_and_number_alone() -> None:
    made = images(6)
    views = Views(dino(32, 16, 2), seed=3)
    together = views(made, [5, 6, 7, 8, 9, 10])
    assert [tuple(view.shape) for view in together] == [(6, 3, 32, 32)] * 2 + [(6, 3, 16, 16)] * 2
    alone = views(made[2:3], [7])
    for whole, one in zip(together, alone, strict=True):
        assert torch.equal(whole[2:3], one)
    assert not torch.equal(alone[2], alone[3])  # two views of one kind
    assert not torch.equal(views(made[2:3], [8])[0], alone[0])
    assert not torch.equal(Views(dino(32, 16, 2), seed=4)(made[2:3], [7])[0], alone[0])


def test_views_are_those_of_the_papers_tables() -> None:
    """BYOL, table 6; SimCLR, appendix A; DINO's public code; MAE, table 8; CLIP as in OpenCLIP. What is not named is 0."""
    byols = {"jitter": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1, "grey": 0.2}
    simclrs = {"jitter": 0.8, "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2, "grey": 0.2, "blur": 0.5}
    large, small = {"area": (0.4, 1.0)}, {"area": (0.05, 0.4), "size": 96}
    tables = {
        byol: (byols | {"blur": 1.0}, byols | {"blur": 0.1, "solarise": 0.2}),
        simclr: (simclrs, simclrs),
        dino: (
            byols | large | {"blur": 1.0},
            byols | large | {"blur": 0.1, "solarise": 0.2},
            *[byols | small | {"blur": 0.5}] * 8,
        ),
        mae: ({"area": (0.2, 1.0)},),
        supervised: ({},),
        clip: ({"area": (0.9, 1.0), "mirror": 0.0},),
    }
    for method, wanted in tables.items():
        views = method(224, 96) if method is dino else method(224)
        assert tuple(views) == tuple(View(**{"size": 224, **settings}) for settings in wanted), method


@pytest.mark.parametrize(
    ("change", "words"),
    [({"blur": -0.1}, "blur is -0.1; it must be 0 to 1"), ({"area": (0.5, 1.5)}, "area of a view is from 0.5 to 1.5")],
)
def test_views_that_cannot_be_are_refused(change: dict, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        View(**{"size": 8, **change})
