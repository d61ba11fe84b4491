"""`tapetum search` on indexes and tables: by words, an image, a moment, names; pages; what cannot be."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import tapetum
from support.colour_words import ColourWords, install
from support.files import make_image
from tapetum.core.errors import BadInput
from tapetum.desk.search import results as search_results
from tapetum.desk.search.index import HIDDEN
from tapetum.desk.search.index_database import DATABASE, VECTORS
from tapetum.desk.search.results import Searched, sureness
from tapetum.desk.search.vector_index import IndexedPiece, VectorIndex
from tapetum.video import write_video

Run = Callable[..., tuple[int, str, str]]
RED, GREEN, BLUE = (240, 10, 10), (10, 240, 10), (10, 10, 240)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index, by an encoder of colours and words, of images and of a film: two seconds green, three red, one blue."""
    install(monkeypatch, colours=ColourWords(), turned=ColourWords(turned=True))
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(8):
        make_image(folder / f"grey {k}.png", (100 + k, 100, 100 - k))
    make_image(folder / "red.png", (200, 0, 0))
    make_image(folder / "blue.png", BLUE)
    shades = np.repeat(np.array([GREEN, GREEN, RED, RED, RED, BLUE], np.uint8), 5, axis=0)
    write_video(folder / "film.mp4", np.broadcast_to(shades[:, None, None], (30, 32, 48, 3)), 5)
    tapetum.index(folder, model="colours")
    return folder


def found(*args: object, **kwargs: object) -> list[tuple[str, float | None, float | None]]:
    result = tapetum.search(*args, **kwargs)  # pyright: ignore
    assert isinstance(result, Searched)
    return [(Path(each.path).name, each.start_s, each.stop_s) for each in result.moments]


def test_words_find_images_and_spans_of_films(photos: Path, run: Run) -> None:
    assert found(photos, "something red", count=2) == [("red.png", None, None), ("film.mp4", 2.0, 5.0)]
    assert found(photos, "green", count=1) == [("film.mp4", 0.0, 2.0)]
    assert set(found(photos / HIDDEN, "blue", count=2)) == {("blue.png", None, None), ("film.mp4", 5.0, 6.0)}
    code, out, err = run("search", photos, "green", "--count", 1)
    assert (code, err) == (0, "")
    first, sure, model = out.splitlines()
    assert re.fullmatch(r" +0\.0 - +2\.0 +(1\.000|0\.99\d)  .*film\.mp4", first)
    assert "deviations above the mean of 16 pieces" in sure
    assert model == "model: colours"


def test_an_example_is_not_found_but_what_is_like_it(photos: Path) -> None:
    assert found(photos, image=photos / "red.png", count=1) == [("film.mp4", 2.0, 5.0)]
    assert found(photos, image=np.full((9, 9, 3), RED, np.uint8), count=1)[0][0] in ("film.mp4", "red.png")
    assert found(photos, moment=f"{photos / 'film.mp4'}@5.5", count=1) == [("blue.png", None, None)]
    assert found(photos, moment=f"{photos / 'film.mp4'}@0:02.5", count=2) == [
        ("film.mp4", 3.0, 5.0),  # without the moment itself
        ("red.png", None, None),
    ]


def test_a_film_that_is_not_in_the_index_is_looked_at(photos: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "other.mp4", np.full((10, 32, 48, 3), GREEN, np.uint8), 5)
    assert found(photos, moment=f"{tmp_path / 'other.mp4'}@1", count=1) == [("film.mp4", 0.0, 2.0)]
    with pytest.raises(BadInput, match=r"the film ends at 1\.8 s"):
        tapetum.search(photos, moment=f"{tmp_path / 'other.mp4'}@9")


def test_words_and_an_example_are_searched_by_the_mean_of_both(photos: Path) -> None:
    result = tapetum.search(photos, "blue", image=np.full((9, 9, 3), RED, np.uint8), count=99)
    assert isinstance(result, Searched)
    colours = ColourWords()
    query = colours.embed_texts(["blue"])[0] + colours.embed_images([np.full((9, 9, 3), RED, np.uint8)])[0]
    with VectorIndex.open(photos / HIDDEN) as index:
        cosines = index.vectors() @ (query / np.linalg.norm(query))
    assert result.moments[0].cosine == pytest.approx(float(cosines.max()), abs=1e-3)
    assert result.sure is not None
    assert result.sure.deviations == pytest.approx((cosines.max() - cosines.mean()) / cosines.std(), abs=0.01)


def test_an_index_of_another_model_and_one_that_reads_no_words_are_refused(photos: Path, tmp_path: Path, run: Run) -> None:
    code, _, err = run("search", photos, "green", "--model", "turned")
    assert code == 2
    assert "is the index of another model than turned" in err
    tapetum.index((photos / "red.png", photos / "blue.png"), model="resnet-nano", out=tmp_path / "index")
    assert found(tmp_path / "index", image=photos / "blue.png", count=1) == [("red.png", None, None)]
    with pytest.raises(BadInput, match="reads no words; give --image or --moment"):
        tapetum.search(tmp_path / "index", "green")


def small(folder: Path) -> None:
    """An index of three images and four seconds of a film, of a model that is not there."""
    with VectorIndex.create(folder, "gone", 4, reference="gone", words="") as index:
        for name in ("pug.jpg", "car.jpg", "x.jpg"):
            index.put(name, "f", [IndexedPiece(path=name)], np.ones((1, 4)))
        index.put("f.mp4", "f", [IndexedPiece(path="f.mp4", start_s=k, stop_s=k + 1) for k in range(4)], np.ones((4, 4)))


ENDLESS = "as with recursive r(x) as (select 1 union all select x + 1 from r) select"


@pytest.mark.parametrize(
    "planted",
    [
        f"drop table about; create view about {ENDLESS} 'format' as name, '2' as value from r where x < 0",
        f"drop table pieces; create view pieces {ENDLESS} x as row, 1 as file from r where x < 0",
        "update pieces set row = -5 where row = 2",
        "not a number",
    ],
)
def test_a_damaged_index_is_one_line(photos: Path, run: Run, planted: str) -> None:
    place = photos / HIDDEN
    if planted == "not a number":
        np.full((place / VECTORS).stat().st_size // 2, np.nan, np.float16).tofile(place / VECTORS)
    else:
        with closing(sqlite3.connect(place / DATABASE)) as database:
            database.executescript(planted)
    code, out, err = run("search", photos, "red")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "unforeseen" not in err
    assert "again" in err


def test_spans_grow_to_half_of_the_peak_above_the_mean(tmp_path: Path) -> None:
    small(tmp_path / "i")
    with VectorIndex.open(tmp_path / "i") as index:
        film = index.rows_of("f.mp4")
        values = dict(zip(film.tolist(), (0.5, 0.9, 1.0, 0.3), strict=True))

        def spans(base: float, passed: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
            order = sorted(values, key=lambda row: -values[row])
            joined = search_results.join_spans(
                index,
                order,
                [values[row] for row in order],
                lambda rows: np.array([*map(values.get, rows.tolist())]),
                base,
                passed,
            )
            return [tuple(row - film[0] for row in span.rows) for span in joined]

        assert spans(0.0) == [(0, 1, 2), (3,)]
        assert spans(0.2) == [(1, 2), (0,), (3,)]
        assert spans(0.0, (int(film[1]),)) == [(2,), (0,), (3,)]


def test_a_long_film_leaves_room_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, colours=ColourWords())
    red, reddish = np.eye(8)[0], np.eye(8)[0] + 0.3 * np.eye(8)[1]
    with VectorIndex.create(tmp_path / "i", "x", 8, reference="colours", words="yes") as index:
        index.put("f", "f", [IndexedPiece(path="f", start_s=k, stop_s=k + 1) for k in range(100)], np.tile(red, (100, 1)))
        index.put("a.png", "f", [IndexedPiece(path="a.png")], reddish[None])
        index.put("b.png", "f", [IndexedPiece(path="b.png")], np.eye(8)[[2]])
    monkeypatch.setattr(ColourWords, "identity", lambda self: "x", raising=False)
    assert found(tmp_path / "i", "red", count=2) == [("f", 0.0, 100.0), ("a.png", None, None)]
    assert found(tmp_path / "i", "red", count=9)[2] == ("b.png", None, None)


def test_chance_is_the_median_of_the_largest_of_normal_numbers() -> None:
    largest = np.random.default_rng(0).standard_normal((2000, 50)).max(1)
    sure = sureness(0.5, 0.2, 0.1, 50)
    assert sure is not None
    assert sure.deviations == pytest.approx(3.0)
    assert sure.chance == pytest.approx(np.median(largest), abs=0.03)
    assert "stands out: 3.0" in sure.as_text()
    low = sureness(0.3, 0.2, 0.1, 50)
    assert low is not None
    assert "by chance" in low.as_text()
    assert sureness(0.5, 0.2, 0.0, 50) is None
    assert sureness(0.5, 0.2, 0.1, 5) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "there is no INDEX"),
        ("photos", "there are no WORDS"),
        ("nothere red", "there is no index 'nothere'"),
        ("photos red --count 0", "--count is 0"),
        ("photos --moment film.mp4@soon", "is no FILE@SECONDS"),
        (f"photos {'x' * 10_000}", "WORDS has 10,000 characters; give 1,000 or fewer"),
    ],
)
def test_refusals(photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch, words: str, message: str) -> None:
    monkeypatch.chdir(photos.parent)
    code, out, err = run("search", *words.split())
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_an_index_whose_model_is_gone_says_so(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(BadInput, match="there are no weights named 'colours'"):
        tapetum.search(photos, "red")
