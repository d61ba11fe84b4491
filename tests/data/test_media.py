"""Parts of images, films and sounds that are looked at."""

import numpy as np

from tapetum.data.media import window


def test_a_part_is_as_often_wide_as_high() -> None:
    rng = np.random.default_rng(0)
    parts = np.array([window(90, 90, (10, 10), rng, 0.2) for _ in range(3000)])
    sides = parts[:, 2:] - parts[:, :2]
    aspect, share = np.log(sides[:, 0] / sides[:, 1]), sides.prod(1) / 90**2
    assert (parts >= 0).all()
    assert (parts <= 90).all()
    assert np.abs(aspect).max() < np.log(4 / 3) + 1e-9
    assert abs((aspect < 0).mean() - 0.5) < 0.03
    # a share of s > 3/4 fits where the aspect is within s and 1 / s, which has the chance -log(s) / log(4/3)
    fitting = 0.55 + (0.25 + 0.75 * np.log(0.75)) / np.log(4 / 3)
    assert abs((share < 0.6).mean() - 0.4 / fitting) < 0.03
