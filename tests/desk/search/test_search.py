"""`tapetum search` on indexes and tables: by words, an image, a moment, names; pages; what cannot be."""

import json
import re
import sqlite3
from base64 import b64decode
from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tapetum
from support.colour_words import ColourWords, install
from support.files import make_image
from tapetum.core.errors import BadInput
from tapetum.desk.search import approximate_search
from tapetum.desk.search import results as search_results
from tapetum.desk.search.approximate_search import InvertedLists
from tapetum.desk.search.index import HIDDEN
from tapetum.desk.search.index_database import DATABASE, VECTORS
from tapetum.desk.search.results import Grouped, Searched, sureness
from tapetum.desk.search.vector_index import IndexedPiece, VectorIndex
from tapetum.encoders import naming
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
    assert found(photos, words="green", count=1) == [("film.mp4", 0.0, 2.0)]
    assert set(found(photos / HIDDEN, "blue", count=2)) == {("blue.png", None, None), ("film.mp4", 5.0, 6.0)}
    assert found("something red", index=photos, count=1) == [("red.png", None, None)]  # as it was once
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


def test_a_large_index_is_searched_approximately_unless_exact_is_asked_for(
    photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    exact = run("search", photos, "something red", "--count", 2)[1]
    monkeypatch.setattr(approximate_search, "LIMIT", 3)
    assert "built lists" in "".join(tapetum.index(photos).notes)
    used, nearest = list[int](), InvertedLists.nearest

    def noted(self: InvertedLists, *args: Any) -> Any:
        used.append(1)
        return nearest(self, *args)

    monkeypatch.setattr(InvertedLists, "nearest", noted)
    assert run("search", photos, "something red", "--count", 2)[:2] == (0, exact)
    assert used
    used.clear()
    assert run("search", photos, "something red", "--count", 2, "--exact")[:2] == (0, exact)
    assert not used


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_tables_of_embed_are_searched_too(photos: Path, tmp_path: Path, ending: str, run: Run) -> None:
    table = tmp_path / f"table.{ending}"
    tapetum.embed(photos, model="colours", out=table)
    assert found(table, "green", count=1) == [("film.mp4", 0.0, 2.0)]
    assert found(table, image=photos / "red.png", count=1) == [("film.mp4", 2.0, 5.0)]
    code, _, err = run("search", table, "green", "--model", "turned")
    assert code == 2
    assert "is the index of another model than turned" in err
    code, _, err = run("search", photos, "green", "--model", "turned")
    assert code == 2
    assert "is the index of another model than turned" in err
    tapetum.embed([photos / "red.png", photos / "blue.png"], out=table)
    assert found(table, image=photos / "blue.png", count=1) == [("red.png", None, None)]
    with pytest.raises(BadInput, match="resnet-nano reads no words, and the index has no names of things"):
        tapetum.search(table, "green")


def test_a_table_that_does_not_say_its_model_is_made_again(photos: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "old.npz", path=["a"], start_s=[0.0], stop_s=[1.0], embedding=np.ones((1, 3)))
    with pytest.raises(BadInput, match="does not say which model made it; make it again: tapetum embed"):
        tapetum.search(tmp_path / "old.npz", "x")
    columns = {"path": ["a"], "start_s": [0.0], "stop_s": [1.0], "model": "m", "reference": "colours"}
    for vectors in (np.full((1, 3), np.nan), np.ones(3), np.ones((2, 3)), np.zeros((0, 3)), np.ones((1, 3), int)):
        np.savez(tmp_path / "odd.npz", embedding=vectors, **columns)
        with pytest.raises(BadInput, match=r"odd\.npz has"):
            tapetum.search(tmp_path / "odd.npz", "x")
    (tmp_path / "odd.npz").write_bytes(b"PK nonsense")
    with pytest.raises(BadInput, match="is no table of tapetum embed"):
        tapetum.search(tmp_path / "odd.npz", "x")


def tagged(folder: Path) -> None:
    """An index with names, of a model that is not there and reads no words."""
    with VectorIndex.create(folder, "gone", 4, reference="gone", words="") as index:
        for name, tags in (("pug.jpg", (("pug", 0.75), ("boxer", 0.1875))), ("car.jpg", (("cab", 0.5),)), ("x.jpg", ())):
            index.put(name, "f", [IndexedPiece(path=name, tags=tags)], np.ones((1, 4)))
        seconds = [(), (("seashore", 0.5),), (("seashore", 0.375), ("pug", 0.25)), (("seashore", 0.125),)]
        pieces = [IndexedPiece(path="f.mp4", start_s=k, stop_s=k + 1, tags=tags) for k, tags in enumerate(seconds)]
        index.put("f.mp4", "f", pieces, np.ones((4, 4)))


ENDLESS = "as with recursive r(x) as (select 1 union all select x + 1 from r) select"


@pytest.mark.parametrize(
    "planted",
    [
        f"drop table about; create view about {ENDLESS} 'format' as name, '2' as value from r where x < 0",
        f"drop table pieces; create view pieces {ENDLESS} x as row, 1 as file from r where x < 0",
        "update pieces set row = -5 where row = 2",
        "update pieces set tags = 'pug'",
        "not a number",
    ],
)
def test_a_damaged_index_is_one_line(tmp_path: Path, run: Run, planted: str) -> None:
    tagged(tmp_path / "i")
    if planted == "not a number":
        np.full(28, np.nan, np.float16).tofile(tmp_path / "i" / VECTORS)
    else:
        with closing(sqlite3.connect(tmp_path / "i" / DATABASE)) as database:
            database.executescript(planted)
    for words in (("--duplicates",), ("--clusters", 2), ("pug",)):
        code, out, err = run("search", tmp_path / "i", *words)
        if planted == "not a number" and words == ("pug",):  # which compares no vectors
            continue
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert "unforeseen" not in err
        assert "again" in err


def test_names_stand_in_where_no_words_are_read(tmp_path: Path, run: Run) -> None:
    tagged(tmp_path / "i")
    result = tapetum.search(tmp_path / "i", "dogs", count=9)
    assert isinstance(result, Searched)
    assert [(each.path, each.start_s, each.probability) for each in result.moments] == [
        ("pug.jpg", None, 0.9375),
        ("f.mp4", 2.0, 0.25),
    ]
    assert found(tmp_path / "i", "beach", count=1) == [("f.mp4", 1.0, 3.0)]
    assert found(tmp_path / "i", "dog on a beach", count=2) == [("pug.jpg", None, None), ("f.mp4", 1.0, 3.0)]
    code, out, _ = run("search", tmp_path / "i", "yellow taxi")
    assert code == 0
    assert "car.jpg" in out
    assert "not looked for: yellow" in out
    code, out, _ = run("search", tmp_path / "i", "zebra")
    assert code == 0
    assert "nothing in the index is likely to be that" in out
    code, out, _ = run("search", tmp_path / "i", "taxi", "--json")
    assert json.loads(out)["moments"] == [
        {"path": "car.jpg", "start_s": None, "stop_s": None, "cosine": None, "probability": 0.5}
    ]


def test_what_is_far_less_likely_than_the_best_is_no_result(tmp_path: Path) -> None:
    with VectorIndex.create(tmp_path / "i", "gone", 4, reference="gone", words="") as index:
        for name, likely in (("sure.jpg", 0.8), ("half.jpg", 0.4), ("hardly.jpg", 0.1)):
            index.put(name, "f", [IndexedPiece(path=name, tags=(("pug", likely),))], np.ones((1, 4)))
    assert [path for path, *_ in found(tmp_path / "i", "dog", count=9)] == ["sure.jpg", "half.jpg"]


def test_spans_grow_to_half_of_the_peak_above_the_mean(tmp_path: Path) -> None:
    tagged(tmp_path / "i")
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


def test_passages_of_video_models_are_not_joined(tmp_path: Path) -> None:
    with VectorIndex.create(tmp_path / "i", "m", 2) as index:
        index.put("f", "f", [IndexedPiece(path="f", start_s=8.0 * k, stop_s=8.0 * k + 8) for k in range(3)], np.ones((3, 2)))
        assert len(search_results.join_spans(index, [0, 1, 2], [1.0] * 3, lambda rows: np.ones(len(rows)), 0.0)) == 3


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


def images_of(page: Path) -> list[np.ndarray]:
    text = page.read_text()
    assert not re.search(r"(src|href)='?\"?(http|//|file)", text)
    return [np.asarray(Image.open(BytesIO(b64decode(part.split("'")[0])))) for part in text.split("base64,")[1:]]


def test_pages_show_the_thumbnails_of_the_index_offline(photos: Path, tmp_path: Path) -> None:
    (photos / "red.png").unlink()  # the index has what is needed
    sheet, chart = tmp_path / "s.html", tmp_path / "m.html"
    result = tapetum.search(photos, "<b>red</b>", count=2, sheet=sheet, map=chart)
    assert isinstance(result, Searched)
    assert (result.sheet, result.map) == (sheet, chart)
    shown = images_of(sheet)
    assert len(shown) == 1 + 3  # an image; beginning, best and end of a span
    assert all(image.mean((0, 1)).argmax() == 0 for image in shown)
    text = sheet.read_text()
    assert "<b>" not in text
    assert "&lt;b&gt;red" in text
    assert "0:02.0 to 0:05.0" in text
    assert "deviations above the mean of 16 pieces" in text
    assert len(images_of(chart)) == 16
    places = [tuple(map(float, pair)) for pair in re.findall(r"left:([\d.]+)%;top:([\d.]+)%", chart.read_text())]
    assert np.ptp(np.array(places), axis=0).tolist() == [100.0, 100.0]


def test_names_of_clusters_are_what_sets_them_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, colours=ColourWords())
    monkeypatch.setattr(ColourWords, "identity", lambda self: "x", raising=False)
    monkeypatch.setattr(naming, "EVERYDAY", ("white", "red", "blue"))
    with VectorIndex.create(tmp_path / "i", "x", 8, reference="colours", words="yes") as index:
        for k in range(6):
            pale = np.array([1.0, 0.8, 0.8] if k < 4 else [0.8, 0.8, 1.0]) + 0.01 * k  # most of all like white
            index.put(str(k), "f", [IndexedPiece(path=str(k))], np.pad(pale, (0, 5))[None])
    result = tapetum.search(tmp_path / "i", clusters=2)
    assert isinstance(result, Grouped)
    assert [(group.name.split(", ")[0], group.pieces) for group in result.groups] == [("red", 4), ("blue", 2)]


def test_a_map_alone_is_made(photos: Path, tmp_path: Path, run: Run) -> None:
    code, out, _ = run("search", photos, "--map", tmp_path / "m.html")
    assert code == 0
    assert f"{tmp_path / 'm.html'}: a map of all" in out
    (tmp_path / "mine.html").write_text("mine")
    code, _, err = run("search", photos, "--map", tmp_path / "mine.html")
    assert code == 2
    assert "mine.html" in err
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_near_duplicates_are_of_different_files(photos: Path, tmp_path: Path) -> None:
    make_image(photos / "red again.png", (203, 2, 0), size=(40, 30))
    tapetum.index(photos)
    result = tapetum.search(photos, duplicates=True, alike=0.9999, count=99)
    assert isinstance(result, Grouped)
    groups = [{Path(each.path).name for each in group.shown} for group in result.groups]
    assert {"red.png", "red again.png"} in groups
    assert {"film.mp4"} not in groups
    assert result.as_text().startswith("group 1 (")
    for gone in (*photos.glob("grey*"), photos / "red again.png", photos / "film.mp4"):
        gone.unlink()
    tapetum.index(photos)
    assert "there are no duplicates" in tapetum.search(photos / HIDDEN, duplicates=True, alike=0.9999).as_text()


def test_clusters_have_names_of_words_or_of_tags(photos: Path, tmp_path: Path) -> None:
    result = tapetum.search(photos, clusters=4, count=2)
    assert isinstance(result, Grouped)
    assert sum(group.pieces for group in result.groups) == 16
    together = [{re.split(r"[ .]", Path(each.path).name)[0] for each in group.shown} for group in result.groups]
    assert {"grey"} in together
    assert all(group.name for group in result.groups)
    assert [group.pieces for group in result.groups] == sorted((group.pieces for group in result.groups), reverse=True)
    with VectorIndex.create(tmp_path / "t", "gone", 3, reference="gone", words="") as index:
        for k in range(6):
            tags = (("pug" if k < 3 else "cab", 0.9), ("sky", 0.5))
            index.put(str(k), "f", [IndexedPiece(path=str(k), tags=tags)], np.eye(3)[[k // 3]] + 0.01 * k)
    result = tapetum.search(tmp_path / "t", clusters=2, count=9)
    assert isinstance(result, Grouped)
    assert {(group.name, tuple(sorted(each.path for each in group.shown))) for group in result.groups} == {
        ("pug", ("0", "1", "2")),
        ("cab", ("3", "4", "5")),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "there is no INDEX"),
        ("photos", "there are no WORDS"),
        ("nothere red", "there is no index 'nothere'"),
        ("photos red --index photos", "the index is given twice"),
        ("photos red --words blue", "said twice"),
        ("photos red --count 0", "--count is 0"),
        ("photos red --duplicates", "look at all of the index"),
        ("photos --duplicates --clusters 2", "one at a time"),
        ("photos --clusters 1", "--clusters is 1"),
        ("photos --duplicates --alike 2", "--alike is 2"),
        ("photos red --sheet a.jpg", "the ending must be .html"),
        ("photos --map a.txt", "the ending must be .html"),
        ("photos red --map a.html --sheet ./a.html", "--map and --sheet are both a.html"),
        ("photos --image gone.png", "cannot read gone.png"),
        ("photos --moment film.mp4", "is no FILE@SECONDS"),
        ("photos --moment film.mp4@soon", "is no FILE@SECONDS"),
        ("photos --moment gone.mp4@1", "gone.mp4"),
        (f"photos {'x' * 10_000}", "WORDS has 10,000 characters; give 1,000 or fewer"),
        ("photos/red.png red", "is no table"),
    ],
)
def test_refusals(photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch, words: str, message: str) -> None:
    monkeypatch.chdir(photos.parent)
    code, out, err = run("search", *words.split())
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_words_of_any_script_are_searched_for(photos: Path) -> None:
    assert len(found(photos, "красный 猫 🦊", count=3)) == 3
    with pytest.raises(BadInput, match="there are no WORDS"):
        tapetum.search(photos, " ")


def test_an_index_whose_model_is_gone_says_so(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(BadInput, match="there are no weights named 'colours'"):
        tapetum.search(photos, "red")
