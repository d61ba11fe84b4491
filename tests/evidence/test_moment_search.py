"""Search of moments by words: right answers, chance, and the commands' own index and search."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.scripts import script
from tapetum.data.entries import write_lines
from tapetum.systems import longvideo
from tapetum.video import write_video

moment_search = script("evidence/mcvit-films/moments.py")


def test_chance_is_the_share_of_the_film_that_is_near() -> None:
    assert moment_search.chance([(0.0, 1.0), (2.0, 4.0), (90.0, 99.0)], 2.0, 100.0) == pytest.approx(0.18)
    spans = [(3.0, 5.0), (4.0, 4.5), (20.0, 21.0)]
    drawn = np.random.default_rng(0).uniform(0, 30, 20_000)
    share = np.mean([moment_search.is_near(time, spans, 2.0) for time in drawn])
    assert moment_search.chance(spans, 2.0, 30.0) == pytest.approx(share, abs=0.01)


@pytest.mark.slow
def test_the_first_film_of_each_group_is_searched(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    rows, rng = [], np.random.default_rng(0)
    for k in range(4):
        write_video(tmp_path / "videos" / f"film_{k:05d}.mp4", rng.integers(0, 255, (24, 32, 32, 3), np.uint8), 2.0)
        for text, start in (
            ("The hand pushes the cup.", 0.0),
            ("The hand spins the can.", 9.0),
            ("The hand pushes the cup.", 5.0),
        ):
            rows.append({"video": f"film_{k:05d}", "start_s": start, "stop_s": start + 1, "thing": "", "caption": text})
    write_lines(tmp_path / "moments.jsonl", rows)
    sizes: dict[str, Any] = {"width": 16, "depth": 1, "heads": 2, "mlp_width": 32, "size": (32, 32), "memories": 3}
    model = tmp_path / "towers.safetensors"
    longvideo.save(longvideo.build_video_text("mcvit-films", **sizes), model)
    result = moment_search.measure(tmp_path, str(model), 10, 0.0, 0)
    assert (result["films"], result["queries"]) == (2, 4)
    assert {row["film"] for row in result["rows"]} == {"film_00000", "film_00003"}
    assert result["chance"] == pytest.approx((2 / 12 + 1 / 12) / 2)
    for row in result["rows"]:
        assert 0 < row["at_s"] < 12
        spans = [(0, 1), (5, 6)] if "cup" in row["text"] else [(9, 10)]
        assert row["right"] == any(start <= row["at_s"] <= stop for start, stop in spans)
