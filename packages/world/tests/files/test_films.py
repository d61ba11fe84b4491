"""Films of the physical world as files: joined of their stories, with questions and moments."""

from pathlib import Path

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.data.entries import read_lines
from tapetum.video import open_video
from tapetum_world.commands.scenes import films
from tapetum_world.training.films import read_stories
from tapetum_world.words import join_films

SETTINGS = {"n": 3, "size": 32, "stories": 6, "seconds": 2, "minutes": 0.1, "seed": 4}


def frames_of(path: Path) -> np.ndarray:
    with open_video(path) as video:
        return video[list(range(len(video)))].astype(float)


@pytest.mark.slow
def test_films_are_their_stories_in_order_and_made_once(tmp_path: Path) -> None:
    made = films(tmp_path / "f", **SETTINGS)
    stories = read_stories(tmp_path / "f")
    group = join_films(stories, 4, 0, 4)
    assert (made.films, made.usable, made.seconds) == (3, len(stories), sum(film.seconds for film in group))
    rows, questions = (list(read_lines(tmp_path / "f" / f"{name}.jsonl")) for name in ("moments", "questions"))
    for k, film in enumerate(group):
        name = f"film_{k:05d}"
        joined = frames_of(tmp_path / "f" / "videos" / f"{name}.mp4")
        parts = [
            frames_of(tmp_path / "f" / "stories" / f"{shot.story.name}.mp4")[2 * shot.start_s : 2 * shot.stop_s]
            for shot in film.shots
        ]
        assert len(joined) == 2 * film.seconds == sum(map(len, parts))
        assert np.abs(joined - np.concatenate(parts)).mean() < 6  # encoded once more
        own = [row for row in rows if row["video"] == name]
        assert [(row["start_s"], row["caption"]) for row in own] == [(e.start_s, e.caption) for e in film.events]
        assert all(row["options"][row["answer_id"]] == row["answer"] for row in questions if row["video"] == name)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "f").glob("*/*")}
    assert films(tmp_path / "f", **SETTINGS) == made
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "f").glob("*/*")}
    with pytest.raises(BadInput, match="belongs to a run with minutes"):
        films(tmp_path / "f", **{**SETTINGS, "minutes": 9.0})


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"frame_rate": 2.5}, "a whole number from 1 to 120"),
        ({"seconds": 0.5}, "a whole number from 1 to 60"),
        ({"minutes": 0.0}, "above 0, at most 600"),
        ({"stories": 3}, "from 4 to 100000"),
    ],
)
def test_numbers_that_make_no_films_are_refused(tmp_path: Path, change: dict, line: str) -> None:
    with pytest.raises(BadInput, match=line):
        films(tmp_path / "f", **{**SETTINGS, **change})
    assert not (tmp_path / "f").exists()
