"""The page of a video: what is on it is what is in the files; in Chromium it plays, draws and is used by keyboard."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import browser
from support.browser import Browser, browsing
from tapetum.systems.perception_test.annotations import annotations_of
from tapetum.systems.perception_test.views import contents as page_contents
from tapetum.systems.perception_test.views.contents import Contents, gather, tasks_of
from tapetum.systems.perception_test.views.page import film_uri
from tapetum.systems.perception_test.views.time_line import class_rows, waveform
from tapetum.video import open_video, write_video
from tapetum.video.sound import SoundTrack, read_sound, wav_file

Run = Callable[..., tuple[int, str, str]]
RATE, FRAMES, LONG = 10.0, 60, "video_" + "1234567890" * 6
"""Every video has a long id, as nothing forbids it."""


def track(number: int, label: str, x: float, **more: Any) -> dict[str, Any]:
    boxes = [[x + 0.004 * f, 0.2, x + 0.004 * f + 0.2, 0.5] for f in (0, 10, 20, 50)]
    whole = {"id": number, "label": label, "bounding_boxes": boxes, "frame_ids": [0, 10, 20, 50]}
    return {**whole, "initial_tracking_box": [1, 0, 0, 0], "is_masked": [0, 0, 1, 0], **more}


def segment(number: int, label: str, kind: int, start: float, end: float, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "label": label,
        "label_id": kind,
        "timestamps": [start * 1e6, end * 1e6],
        "parent_objects": [],
        **more,
    }


TRUTH = {
    "metadata": {
        "split": "valid", "video_id": LONG, "frame_rate": RATE, "num_frames": FRAMES, "resolution": [120, 160],
        "is_cup_game": True, "is_camera_moving": False,
    },
    "object_tracking": [track(0, "cup </script><script>alert(1)</script>", 0.05), track(1, "red & green ball", 0.4)],
    "point_tracking": [{"id": 0, "label": "p", "frame_ids": list(range(5, 40)), "points": [[0.5] * 35, [0.5] * 35]}],
    "action_localisation": [segment(0, "Putting something into something that has a very long name", 3, 1, 2.5)],
    "sound_localisation": [segment(0, "Clap", 1, 0.5, 0.7, is_visible=False), segment(1, "Clap", 1, 0.6, 1.5, is_visible=True)],
    "mc_question": [
        {
            "id": 0, "question": "Where is the ball?", "options": ["left", "middle", "right"], "answer_id": 2,
            "area": "physics", "reasoning": "predictive", "tag": ["containment"], "cut_frame": 45,
        },
        {"id": 1, "question": "What is it?", "options": ["a", "b", "c", "d", "e"], "answer_id": 0, "area": "semantics",
         "reasoning": "descriptive", "tag": []},
    ],
    "grounded_question": [
        {"id": 5, "question": "Track the ball", "answers": [1], "area": "memory", "reasoning": "descriptive"},
    ],
}  # fmt: skip
BOXES = [[0.05 + 0.004 * f, 0.22, 0.25 + 0.004 * f, 0.52] for f in range(FRAMES)]
SAID = {
    "object.json": {LONG: [{"id": 0, "bounding_boxes": BOXES, "frame_ids": list(range(FRAMES))}]},
    "joint.json": {LONG: {"point_tracking": [{"id": 0, "points": [[0.5] * 50, [0.51] * 50], "frame_ids": list(range(50))}]}},
    "action.json": {LONG: {"action_localisation": [
        {"label": "3", "score": "0.9", "timestamps": [1.1, 2.4]}, {"label": "7", "score": "0.4", "timestamps": [3, 4]},
    ]}},
    "mcqa.json": {LONG: [{"id": 0, "answer_id": 1, "answer": "middle"}]},
    "grounded.json": {LONG: {"grounded_question": {"5": [
        {"id": 0, "score": 0.8, "bounding_boxes": [[0.4, 0.2, 0.6, 0.5]] * 60, "frame_ids": list(range(60))},
    ]}}},
}  # fmt: skip
OTHER = {"metadata": TRUTH["metadata"], "action_localisation": [segment(0, "Waving", 7, 1, 2)]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video whose frames are as bright as 4 times their number, with annotations and predictions of all tasks."""
    folder = tmp_path_factory.mktemp("perception")
    for part in ("annotations", "videos"):
        (folder / part).mkdir()
    frames = (np.full((120, 160, 3), 4 * k, np.uint8) for k in range(FRAMES))
    sound = SoundTrack([np.sin(np.arange(48_000) / 5) * np.linspace(0, 1, 48_000)], 8000)
    write_video(folder / "videos" / f"{LONG}.mp4", frames, RATE, sound=sound)
    (folder / "annotations/all_valid.json").write_text(json.dumps({LONG: TRUTH, "other": OTHER}))
    for name, content in SAID.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    import tapetum

    files = [folder / name for name in SAID]
    return tapetum.show_perception_test(
        LONG, annotations=folder / "annotations/all_valid.json", predictions=files, out=folder / "page.html"
    ).page  # fmt: skip


class Elements(HTMLParser):
    """Tags with their attributes, and the text of the data element."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self._in_data = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))
        self._in_data = dict(attrs).get("id") == "data"

    def handle_endtag(self, tag: str) -> None:
        self._in_data &= tag != "script"

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self.data += data


def test_a_page_has_all_that_is_known_and_nothing_from_elsewhere(page: Path) -> None:
    text = page.read_text()
    elements = Elements(text)
    assert sum(tag == "script" for tag, _ in elements.found) == 2, "names from files are no code"
    for _, attributes in elements.found:
        for name in ("src", "href", "poster", "srcset", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not re.search(
        r"@import|url\(|fetch\(|XMLHttp|WebSocket|import\(", text.split('id="data"')[1].split("</script>", 1)[1]
    )
    data = json.loads(elements.data)
    assert (data["rate"], data["frames"], data["answers"]) == (RATE, FRAMES, {"5": [1]})
    kinds = [(t["kind"], t["predicted"], t.get("question")) for t in data["tracks"]]
    assert kinds == [("object", False, None)] * 2 + [("point", False, None), ("object", True, None), ("point", True, None)] + [
        ("object", True, 5)
    ]
    assert data["tracks"][0]["hidden"] == [0, 0, 1, 0]
    assert data["tracks"][2]["places"][0] == [0.5, 0.5]
    titles = [a["title"] for tag, a in elements.found if tag == "button" and "title" in a]
    assert "predicted Waving, 3.00 to 4.00 s, score 0.40" in titles  # a class that only another video has
    assert "Clap, 0.50 to 0.70 s, not in the image" in titles
    assert "✓ right" in text
    assert "answered wrongly" in text
    assert "not answered" in text
    assert "asked of the first 4.5 s" in text
    assert "question 1: it is not answered" in text
    assert "the camera stands" in text


def test_the_command_says_where_the_page_is(folder: Path, tmp_path: Path, run: Run) -> None:
    words = (
        "show",
        "perception-test",
        LONG,
        "--annotations",
        folder / "annotations/all_valid.json",
        "--out",
        tmp_path / "a.html",
    )
    code, out, err = run(*words)
    assert code == 0, err
    assert re.match(r"page +\S*a\.html \(\d\.\d MB\)\n", out)
    code, out, _ = run(*words, "--predictions", folder / "object.json", folder / "mcqa.json", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["scores"]["mcqa"] == {"top1": 0.0}
    assert 0 < found["scores"]["object"]["average_iou"] < 0.5  # one of two tracks
    assert len(found["remarks"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["video_12345678901"], "has no video 'video_12345678901'; it has"),
        ([LONG, "--out", "page.png"], "give --out a name that ends in .html"),
        ([LONG, "--videos", "."], "there is no"),
        ([LONG, "--predictions", "{folder}/annotations/all_valid.json"], None),
        ([LONG, "--predictions", "{folder}/nothing.json"], "is of no task"),
        (["../../etc/passwd"], "has no video"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_line(
    words: list[str], message: str | None, folder: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "nothing.json").write_text('{"a": 5}')
    words = [word.format(folder=folder) for word in words]
    code, _, err = run("show", "perception-test", *words, "--annotations", folder / "annotations/all_valid.json")
    if message is None:  # annotations as predictions: what is wrong with them is on the page
        assert code == 0
        return
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


def test_tasks_are_known_by_keys_or_by_what_is_in_lists() -> None:
    assert [tasks_of(content) for content in SAID.values()] == [["object"], ["point"], ["action"], ["mcqa"], ["grounded"]]
    assert tasks_of({"v": {"object_tracking": [], "point_tracking": []}}) == ["object", "point"]
    assert tasks_of({"v": [], "w": 3}) == []


def test_predictions_that_a_server_refuses_are_told_on_the_page() -> None:
    video = annotations_of({LONG: TRUTH})[LONG]
    object_file = {LONG: [{"id": "0", "bounding_boxes": [], "frame_ids": []}]}
    found = gather(LONG, video, {"a.json": object_file, "b.json": {"w": [{"answer_id": 0}]}, "c.json": {}}, {})
    assert [finding.name for finding in found.findings] == ["id-as-text", "missing-track", "missing-track", "missing-video"]
    assert found.scores["object"]["average_iou"] == 0


def test_segments_of_a_class_lie_in_lanes_and_those_of_high_scores_are_drawn() -> None:
    video = annotations_of({LONG: TRUTH})[LONG]
    said = [{"label": "1", "score": 0.01 * k, "timestamps": [1, 2 + 0.001 * k]} for k in range(50)]
    said += [{"label": str(10 + k), "score": 0.5 + 0.01 * k, "timestamps": [1, 2]} for k in range(9)]
    found = gather(LONG, video, {"predictions.json": {LONG: {"sound_localisation": said}}}, {"sound": {1: "Clap", 12: "Hit"}})
    rows, left = class_rows(found, "sound")
    assert [row.label for row in rows] == ["Clap", "class 18", "class 17", "class 16", "class 15", "class 14", "class 13"]
    assert left == 3
    assert [len(lane) for lane in rows[0].true] == [1, 1]  # they overlap
    assert (len(rows[0].predicted), rows[0].undrawn) == (3, 47)
    assert rows[0].predicted[0][0].more == "score 0.49"
    for row in rows:
        for lane in (*row.true, *row.predicted):
            assert all(a.end_s <= b.start_s for a, b in pairwise(lane))


def test_the_waveform_is_the_highest_and_lowest_of_each_column() -> None:
    path = waveform(np.array([0.0, 0.5, -0.25, 1.0, -1.0, 0.0]), columns=3)
    assert path == "M0.0,-0.500 1.0,-1.000 2.0,-0.000 2.0,1.000 1.0,0.250 0.0,-0.000Z"
    assert waveform(np.zeros(0)) == ""


@pytest.mark.slow
def test_a_video_that_is_large_or_silent_is_coded_anew_with_its_sound(folder: Path, tmp_path: Path) -> None:
    meta = annotations_of({LONG: TRUTH})[LONG].metadata
    source = folder / "videos" / f"{LONG}.mp4"
    assert film_uri(source, None, meta) == "data:video/mp4;base64," + base64.b64encode(source.read_bytes()).decode()
    silent = write_video(tmp_path / "silent.mp4", open_video(source), RATE)
    with wav_file(tmp_path / "a.wav", 8000) as file:
        file.write(np.sin(np.arange(48_000) / 5))
    for given, limit in ((silent, 1 << 30), (source, 1000)):
        uri = film_uri(given, tmp_path / "a.wav", meta, most_bytes=limit)
        (tmp_path / "made.mp4").write_bytes(base64.b64decode(uri.partition(",")[2]))
        with open_video(tmp_path / "made.mp4") as made:
            assert len(made) == FRAMES
            np.testing.assert_allclose([f.mean() for f in made], [4 * k for k in range(FRAMES)], atol=3)
        assert np.abs(read_sound(tmp_path / "made.mp4", 8000)).max() > 0.5


@pytest.fixture(scope="module")
def shown(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not browser.HERE:
        pytest.skip("needs chromium and chromedriver, which are not on this machine")
    with browsing(tmp_path_factory.mktemp("chromium")) as it:
        it.resize(1280, 900)
        it.open(page)
        it.wait("return document.body.dataset.ready === 'yes'")
        yield it


def frame_of(it: Browser) -> int:
    return int(it.run("return document.body.dataset.frame"))


@pytest.mark.slow
def test_in_chromium_keys_move_through_frames_and_the_image_is_that_frame(shown: Browser) -> None:
    shown.press("home", "right", "right", "right")
    assert frame_of(shown) == 3
    shown.press("shift+right")
    assert frame_of(shown) == 13
    shown.press("left")
    assert frame_of(shown) == 12
    look = """const c = document.createElement('canvas'); c.width = c.height = 1;
      const d = c.getContext('2d'); d.drawImage(document.getElementById('film'), 0, 0, 1, 1);
      return d.getImageData(0, 0, 1, 1).data[0]"""
    shown.wait("return !document.getElementById('film').seeking")
    shown.wait(f"return Math.abs((() => {{ {look} }})() - 48) < 4")
    shown.press("end")
    assert frame_of(shown) == FRAMES - 1
    shown.wait("return !document.getElementById('film').seeking")
    shown.wait(f"return Math.abs((() => {{ {look} }})() - 4 * 59) < 4")
    assert "frame 59 of 60" in shown.run("return document.getElementById('time').textContent")


@pytest.mark.slow
def test_in_chromium_it_plays_and_pauses_by_the_space_bar(shown: Browser) -> None:
    shown.run("document.activeElement.blur(); seek(0)")
    shown.press(" ")
    shown.wait("return Number(document.body.dataset.frame) > 4")
    shown.press(" ")
    shown.wait("return document.getElementById('film').paused")
    film, told = shown.run("return [document.getElementById('film').currentTime, Number(document.body.dataset.frame)]")
    assert abs(film * RATE - told) < 1.6


@pytest.mark.slow
def test_in_chromium_boxes_are_drawn_where_they_belong(shown: Browser) -> None:
    """At an annotated frame the edge of a box has its colour; a layer that is switched off has not."""
    colour = """const c = document.getElementById('over'), d = c.getContext('2d'), s = c.width / c.clientWidth;
      const [x, y] = [arguments[0] * c.clientWidth * s, arguments[1] * c.clientHeight * s];
      return Array.from(d.getImageData(Math.round(x) - 1, Math.round(y), 3, 1).data)"""
    shown.run("seek(10)")
    edge = (0.4 + 0.04, 0.4)  # left edge of the true box of track 1 in frame 10
    tint = shown.run("return data.tracks[1].colour")
    wanted = [int(tint[k : k + 2], 16) for k in (1, 3, 5)]

    def near(pixels: list[int]) -> bool:
        return any(np.abs(np.array(pixels[4 * k : 4 * k + 3]) - wanted).max() < 40 for k in range(3))

    assert near(shown.run(colour, *edge))
    before = int(shown.run("return document.body.dataset.drawn"))
    assert before == 5  # two true boxes, a true point, a predicted box and point
    shown.click("#layer-true-object")
    assert not near(shown.run(colour, *edge))
    assert int(shown.run("return document.body.dataset.drawn")) == 3
    shown.click("#layer-true-object")
    shown.click("[data-track='1']")
    assert int(shown.run("return document.body.dataset.drawn")) == 4
    shown.click("[data-track='1']")
    shown.run("seek(30)")  # 20 and 50 are too far apart for a box to be carried over
    assert int(shown.run("return document.body.dataset.drawn")) == 3
    shown.click("[data-question='5']")
    shown.run("seek(10)")
    assert int(shown.run("return document.body.dataset.drawn")) == 2  # the answer and what was predicted for it
    shown.click("[data-question='5']")
    assert int(shown.run("return document.body.dataset.drawn")) == 5


@pytest.mark.slow
def test_in_chromium_segments_and_questions_lead_to_their_moment(shown: Browser) -> None:
    shown.click(".bar.action:not(.predicted)")
    assert frame_of(shown) == 10
    shown.run("document.querySelector('.bar.sound').focus()")
    shown.press("enter")
    assert frame_of(shown) == 5
    shown.click("[data-seek]")
    assert frame_of(shown) == 44  # the last one that the question lets be seen
    assert shown.run("return document.querySelectorAll('.cut').length") == 1


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_in_chromium_nothing_overlaps_or_sticks_out(width: int, shown: Browser) -> None:
    shown.resize(width, 900)
    shown.wait(f"return innerWidth === {width}")
    assert shown.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    crossing = shown.run("""
      const parts = [...document.querySelectorAll('section, aside, header, .card, #controls > *, .row .name, .options li')];
      const box = (e) => e.getBoundingClientRect(), found = [];
      for (const a of parts) for (const b of parts) {
        if (a === b || a.contains(b) || b.contains(a)) continue;
        const [p, q] = [box(a), box(b)];
        const w = Math.min(p.right, q.right) - Math.max(p.left, q.left);
        const h = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
        if (w > 1 && h > 1) found.push([a.outerHTML.slice(0, 60), b.outerHTML.slice(0, 60)]);
      }
      return found""")
    assert crossing == []
    small = shown.run("""
      const told = (e) => [...e.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim()) && e.tagName !== 'SCRIPT';
      return [...document.querySelectorAll('body *')].filter((e) => told(e) && parseFloat(getComputedStyle(e).fontSize) < 12)
        .map((e) => e.outerHTML.slice(0, 60))""")
    assert small == []
    shown.resize(1280, 900)


@pytest.mark.slow
def test_in_chromium_nothing_is_asked_of_a_network_and_nothing_fails(shown: Browser) -> None:
    assert shown.run("return performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length") == 0
    assert shown.run("return document.getElementById('problem').textContent") == ""
    assert shown.errors() == []


@pytest.mark.slow
def test_the_page_is_made_without_torch(folder: Path, tmp_path: Path) -> None:
    modules = "tapetum.app.track.show_perception_test, tapetum.systems.perception_test.views.page"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert isinstance(page_contents.drawn_tracks(Contents(name="v", video=annotations_of({LONG: TRUTH})[LONG])), list)
