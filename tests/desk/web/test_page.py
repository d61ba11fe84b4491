"""The page of tapetum serve, driven in Chromium as somebody uses it: over the made server of web/dev, and over the real one."""

import base64
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.page import CHROMIUM, NODE, ROOT, WEB, Tab, made_server, real_server

STATIC = ROOT / "src" / "tapetum" / "desk" / "web" / "static"
TABS = "track", "image", "search"
Open = Callable[..., Tab]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Any) -> Iterator[Any]:
    made = chromium.new_context(viewport={"width": 1280, "height": 860}, accept_downloads=True)
    made.set_default_timeout(300_000)
    yield made
    made.close()


@pytest.fixture
def made(context: Any) -> Iterator[Open]:
    with made_server() as address:
        yield lambda: Tab(context.new_page(), address)


@pytest.fixture(params=["made", "real"])
def opened(request: pytest.FixtureRequest, context: Any, tmp_path: Path) -> Iterator[Open]:
    """Open the page over either server; tabs that are opened later need no token."""
    with made_server() if request.param == "made" else real_server(tmp_path) as address:
        addresses = iter([address])
        yield lambda: Tab(context.new_page(), next(addresses, address.split("?")[0]))


def test_points_are_put_tracked_dragged_undone_and_exported(opened: Open) -> None:
    tab = opened()
    tab.click(100, 50)
    tab.click(30, 100)
    [query] = tab.project["points"][0]["queries"]
    assert query["frame"] == 0
    np.testing.assert_allclose((query["x"], query["y"]), (100, 50), atol=0.7)
    assert tab.color(100, 50) == tab.project["points"][0]["color"].lower()

    tracks = tab.track()
    assert np.isfinite(tracks).all()
    tab.press("Shift+ArrowRight", "ArrowRight", "ArrowLeft")
    tab.shown(10)
    x, y = tracks[1, 10, :2]
    tab.drag((x, y), (x + 40, y - 30))
    tab.says("There are changes that are not tracked yet.")
    marks = tab.project["points"][1]["queries"]
    assert [mark["frame"] for mark in marks] == [0, 10]
    np.testing.assert_allclose((marks[1]["x"], marks[1]["y"]), (x + 40, y - 30), atol=0.7)
    corrected = tab.track()
    np.testing.assert_allclose(corrected[1, 10, :2], (x + 40, y - 30), atol=0.7)

    tab.press("Control+z")
    tab.until("() => !document.querySelectorAll('li.point')[1].innerText.includes('+1')")
    assert len(tab.project["points"][1]["queries"]) == 1
    tab.press("Control+Shift+Z")
    tab.until("() => document.querySelectorAll('li.point')[1].innerText.includes('+1')")
    assert len(tab.project["points"][1]["queries"]) == 2

    with tab.page.expect_download() as coming:
        tab.page.click("button.export")
    assert coming.value.suggested_filename.endswith(".csv")
    lines = coming.value.path().read_text().splitlines()
    assert len(lines) > tab.item["frames"]
    assert tab.problems == []


def test_two_tabs_agree_and_a_reload_shows_the_same(opened: Open) -> None:
    one, two = opened(), opened()
    one.click(100, 50)
    two.rows().first.wait_for()
    name = two.page.get_by_label("Name of").first
    name.fill("nose")
    name.press("Enter")
    one.until("() => document.querySelector('li.point input[type=text]').value === 'nose'")
    two.track()
    one.says("All points are tracked.")
    one.press("End")
    last = one.item["frames"] - 1
    one.shown(last)
    one.until("() => location.hash.includes('frame=') && !location.hash.includes('frame=0')")
    one.page.reload()
    one.shown(last)
    assert one.page.get_by_label("Name of").first.input_value() == "nose"
    one.says("All points are tracked.")
    assert one.problems + two.problems == []


def test_all_is_done_by_keys_alone(opened: Open) -> None:
    tab = opened()
    x, y = tab.item["width"] / 2, tab.item["height"] / 2
    tab.press("c", "Shift+ArrowLeft", "ArrowDown", "Enter")
    tab.rows().first.wait_for()
    [query] = tab.project["points"][0]["queries"]
    assert (query["x"], query["y"]) == (x - 10, y + 1)
    tab.press("ArrowRight", "m")
    tab.press("Escape", "End")
    tab.shown(tab.item["frames"] - 1)
    tab.press("h")
    tab.until("() => document.querySelector('li.point').innerText.includes('+1')")
    moved, hidden = tab.project["points"][0]["queries"]
    assert (moved["frame"], moved["x"], moved["y"]) == (0, x - 9, y + 1)
    assert (hidden["frame"], hidden["hidden"]) == (tab.item["frames"] - 1, True)
    tab.press("g", "g")
    tab.page.get_by_label("Rows").fill("2")
    tab.page.get_by_label("Columns").fill("3")
    tab.press("Enter")
    tab.rows().nth(6).wait_for()
    assert tab.rows().count() == 7
    tab.press("]", "Delete")
    tab.rows().nth(6).wait_for(state="detached")
    tab.press("?")
    tab.page.get_by_role("dialog", name="Keys").wait_for()
    tab.press("Escape")
    tab.page.locator("#tab-track").focus()
    tab.press("ArrowRight")
    tab.until("() => document.activeElement.id == 'tab-image'")
    assert tab.page.locator("[aria-selected=true]").inner_text() == "Image"
    assert tab.problems == []


def test_a_box_makes_a_grid_and_the_wheel_zooms(opened: Open) -> None:
    tab = opened()
    tab.press("g")
    tab.drag((20, 20), (120, 100))
    tab.page.get_by_label("Rows").fill("2")
    tab.page.get_by_label("Columns").fill("2")
    tab.page.get_by_role("button", name="Add", exact=True).click()
    tab.rows().nth(3).wait_for()
    points = tab.project["points"]
    places = [(point["queries"][0]["x"], point["queries"][0]["y"]) for point in points]
    np.testing.assert_allclose(places, [(45, 40), (95, 40), (45, 80), (95, 80)], atol=1.5)
    for point, place in zip(points, places, strict=True):
        tab.has_color(*place, point["color"].lower())
    spot = tab.spot(140, 110)
    tab.page.mouse.move(*spot)
    tab.page.mouse.wheel(0, -600)
    tab.page.get_by_text("%, fit").wait_for()
    tab.page.mouse.click(*spot)  # what was under the pointer is there still
    tab.rows().nth(4).wait_for()
    query = tab.project["points"][4]["queries"][0]
    np.testing.assert_allclose((query["x"], query["y"]), (140, 110), atol=1.5)


def test_the_time_line_seeks_and_n_goes_to_the_most_doubtful_place(made: Open) -> None:
    tab = made()
    tab.click(100, 130)
    tracks = tab.track()
    box = tab.page.locator(".timeline canvas").bounding_box()
    tab.page.mouse.click(box["x"] + 92 + (box["width"] - 92) * 30.5 / 60, box["y"] + 9)
    tab.shown(30)
    assert tab.color(*tracks[0, 30, :2]) == tab.project["points"][0]["color"]
    check = tab.ask(f"/api/items/{tab.item['id']}/check")
    places = check["places"]
    for place in places[:2]:
        tab.press("n")
        tab.shown(place["frame"])
    left = check["expected_share"] - places[0]["share"] - places[1]["share"]
    tab.says(f"{100 * left:.1f} % of the visible places are expected wrong, besides those you went to.")
    tab.page.fill("#until", f"{100 * (left - places[2]['share'] / 2)}")  # one more is enough
    tab.page.locator("h2").first.click()
    tab.press("n")
    tab.shown(places[2]["frame"])
    tab.says("expected wrong, less than you asked for.")
    assert tab.page.get_by_role("button", name="Next").is_disabled()
    tab.press("n")
    tab.shown(places[2]["frame"])


def test_models_answer_about_a_frame(made: Open) -> None:
    tab = made()
    tab.page.click("#tab-image")
    for verb, text, said in (
        ("Ask", "what colour is the ball?", "red"),
        ("Caption", "", "three balls that move over a table"),
        ("Detect", "ball", "2 found on frame 0."),
        ("Segment", "ball", "1 found on frame 0."),
        ("Classify", "a dog, a cat", "Most likely: a dog."),
    ):
        tab.page.get_by_label(verb, exact=True).check(force=True)
        if text:
            tab.page.fill(".field input", text)
        tab.page.click("button[type=submit]")
        tab.page.locator(".result [role=status]", has_text=said).wait_for()
        tab.says("made-up: knows three balls and nothing else")
    tab.page.get_by_label("Classify", exact=True).check(force=True)
    tab.page.fill(".field input", "nothing, a cat")
    tab.page.click("button[type=submit]")
    tab.says("None of these labels fits; the closest are:")
    tab.page.get_by_role("row", name="a cat").get_by_text("30.0 %").wait_for()
    tab.page.get_by_label("Ask", exact=True).check(force=True)
    tab.page.fill(".field input", "fail")
    tab.page.click("button[type=submit]")
    tab.page.get_by_role("alert").get_by_text("the model ran out of memory; use a smaller image").wait_for()


def test_a_slider_sets_the_chance_above_which_points_are_visible(made: Open) -> None:
    tab = made()
    tab.click(100, 130)
    place = tab.track()[0, 30, :2]
    [color] = [point["color"] for point in tab.project["points"]]
    tab.press("Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight")
    tab.has_color(*place, color)
    tab.page.get_by_label("Visible above").fill("1")
    tab.has_color(*place, color, drawn=False)
    tab.until("() => location.hash.includes('above=1')")
    with tab.page.expect_request(lambda request: "visible_above=1" in request.url):
        tab.page.click("button.export")
    tab.page.reload()
    tab.shown(30)
    tab.has_color(*place, color, drawn=False)
    tab.page.get_by_role("button", name="Reset").click()
    tab.has_color(*place, color)


def test_white_points_have_dark_edges_and_nothing_scrolls_in_what_scrolls(made: Open) -> None:
    tab = made()
    tab.page.set_viewport_size({"width": 1440, "height": 757})
    for k in range(12):
        tab.click(40 + 45 * k, 300)
    tab.track()
    tab.page.get_by_label("Colour of point 1", exact=True).fill("#ffffff")
    tab.has_color(40, 300, "#ffffff")
    scale = tab.spot(1, 0)[0] - tab.spot(0, 0)[0]
    assert int(tab.color(40 + 5 / scale, 300)[1:3], 16) < 100
    nested = """() => {
      const scrolls = (e) => ["auto", "scroll"].includes(getComputedStyle(e).overflowY) && e.scrollHeight > e.clientHeight + 1;
      const all = [...document.querySelectorAll("*")].filter(scrolls);
      return all.filter((e) => all.some((other) => other !== e && other.contains(e))).map((e) => e.className);
    }"""
    assert tab.page.evaluate(nested) == []


def test_files_that_are_copied_appear_and_a_tab_goes_on_after_a_restart(context: Any, tmp_path: Path, clip: Path) -> None:
    with real_server(tmp_path, "--model", "static") as address:
        tab = Tab(context.new_page(), address)
        tab.click(35, 55)
        shutil.copy(clip, tmp_path / "copied.mp4")
        tab.page.locator(".item", has_text="copied.mp4").wait_for()
    tab.says("No connection to the server; trying again")
    tab.problems.clear()
    with real_server(tmp_path, "--model", "static", "--port", address.split("?")[0].rstrip("/").rsplit(":")[-1]):
        tab.page.get_by_text("No connection to the server; trying again").wait_for(state="detached")
        tab.click(60, 60)
        assert len(tab.project["points"]) == 2


def test_a_point_is_hidden_and_back_with_one_key_each(context: Any, tmp_path: Path) -> None:
    with real_server(tmp_path, "--model", "static") as address:
        tab = Tab(context.new_page(), address)
        tab.click(35, 55)
        tab.track()
        color = tab.project["points"][0]["color"]
        tab.has_color(35, 55, color)
        tab.press("ArrowRight", "ArrowRight", "ArrowRight", "h", "ArrowRight", "ArrowRight")
        tab.page.get_by_role("button", name="Show from here").wait_for()
        tab.has_color(35, 55, color, drawn=False)  # a ring
        tab.press("h")
        tab.page.get_by_role("button", name="Hide from here").wait_for()
        tracks = tab.read_tracks()
        assert tracks[0, :, 2].tolist() == [1, 1, 1, 0, 0, *[1] * 19]
        tab.has_color(35, 55, color)
        tab.says("All points are tracked.")
        assert tab.problems == []


def test_words_put_points_on_what_a_model_finds(made: Open) -> None:
    tab = made()
    tab.press("w")
    tab.page.get_by_label("Things to put points on").fill("ball")
    tab.says("model: made-balls; it knows three balls and nothing else")
    tab.press("Enter")
    tab.says("2 found on frame 0; 2 added.")
    places = [(point["queries"][0]["x"], point["queries"][0]["y"]) for point in tab.project["points"]]
    np.testing.assert_allclose(places, [(0.25 * 640, 0.45 * 360), (0.65 * 640, 0.45 * 360)])
    assert {point["name"] for point in tab.project["points"]} == {"ball"}
    tab.page.get_by_label("Points on each").select_option("2")
    tab.page.get_by_role("combobox", name="Model").select_option("made-boxes")
    tab.page.get_by_role("button", name="Find").click()
    tab.says("2 found on frame 0; 8 added.")
    assert tab.rows().count() == 10
    tab.page.get_by_label("Things to put points on").press("Escape")
    tab.page.get_by_label("Things to put points on").wait_for(state="detached")
    assert tab.problems == []


def test_what_is_clicked_is_outlined_by_a_model_that_is_fetched(made: Open) -> None:
    tab = made()
    x, y = 0.18 * 640, 0.35 * 360
    tab.press("s")
    tab.says("no model outlines what is clicked; fetch one")
    tab.page.get_by_role("button", name="Models", exact=True).click()
    tab.page.get_by_role("cell", name="it needs transformers; run: pip install 'tapetum[vlm]'").wait_for()
    assert tab.page.get_by_role("row", name="made-tracks track (suits) 15 MB Apache-2.0 0.5 GB here").count() == 1
    tab.page.get_by_role("button", name="Fetch made-outlines").click()
    tab.page.get_by_role("row", name="made-outlines segment (suits) 156 MB Apache-2.0 1.5 GB here").wait_for()
    tab.page.get_by_role("button", name="Close").click()
    tab.says("Click on an object in the frame.")
    tab.page.mouse.click(*tab.spot(x - 12, y))
    tab.has_color(x, y, "#ffffff")
    tab.press("ArrowRight")
    tab.has_color(x, y, "#ffffff", drawn=False)
    tab.page.get_by_role("button", name="Outline in the whole video").click()
    with tab.page.expect_download() as coming:
        tab.page.get_by_role("button", name="Save masks").click()
    assert coming.value.suggested_filename == "made-masks.zip"
    tab.has_color(x, y, "#ffffff")
    tab.page.reload()
    tab.has_color(x, y, "#ffffff")
    assert tab.problems == []


def test_a_film_is_drawn_with_progress_and_saved(made: Open) -> None:
    tab = made()
    tab.click(100, 50)
    tab.track()
    tab.page.get_by_label("Format").select_option("mp4")
    with tab.page.expect_download() as coming:
        tab.page.click("button.export")
        tab.page.get_by_label("Progress").wait_for()
    assert coming.value.suggested_filename == "made-overlay.mp4"
    tab.says("Saved.")


DROP = """([name, text]) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name));
  document.querySelector("nav.items").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
}"""


def test_a_video_that_is_dropped_is_opened_and_a_text_is_refused(context: Any, tmp_path: Path, clip: Path) -> None:
    with real_server(tmp_path, "--model", "static") as address:
        tab = Tab(context.new_page(), address)
        tab.page.evaluate(DROP, ["dropped.mp4", base64.b64encode(clip.read_bytes()).decode()])
        tab.page.locator(".item[aria-current]", has_text="dropped.mp4").wait_for()
        tab.shown(0)
        assert (tmp_path / "dropped.mp4").read_bytes() == clip.read_bytes()
        assert tab.problems == []
        tab.page.evaluate(DROP, ["notes.txt", base64.b64encode(b"no video").decode()])
        tab.page.get_by_role("alert").get_by_text("notes.txt has the ending of neither a video nor an image").wait_for()


def test_search_opens_a_moment(made: Open) -> None:
    tab = made()
    tab.page.click("#tab-search")
    tab.page.fill(".long", "ball")
    tab.press("Enter")
    tab.says("4 found, the most alike first")
    tab.page.locator(".moment").nth(1).click()
    tab.shown(12)
    assert tab.problems == []


def test_an_error_is_one_line_and_a_lost_server_is_found_again(context: Any) -> None:
    with made_server() as address:
        tab = Tab(context.new_page(), address)
        tab.click(100, 50)
        tab.track()
        tab.page.get_by_label("Format").select_option("parquet")
        tab.page.click("button.export")
        tab.page.get_by_role("alert").get_by_text("parquet needs pyarrow; install tapetum[tables]", exact=True).wait_for()
    tab.says("No connection to the server; trying again")
    with made_server(int(address.rstrip("/").rsplit(":")[-1])):
        tab.page.get_by_text("No connection to the server; trying again").wait_for(state="detached")
        tab.rows().first.wait_for(state="detached")  # the made server has forgotten it


def states(tab: Tab) -> Iterator[str]:
    """Bring the page into one state after the other; yields the name of each."""
    page = tab.page
    for name in TABS:
        page.click(f"#tab-{name}")
        page.locator(f"#content.tab-{name}").wait_for()
        if name == "track":
            yield "tracks"
            tab.press("w")
            page.get_by_label("Things to put points on").fill("ball")
            page.get_by_role("button", name="Find").click()
            tab.says("2 found on frame 0; 2 added.")
            yield "words"
            page.get_by_label("Things to put points on").press("Escape")
            page.locator(".stage canvas").focus()
            tab.press("t")
            page.get_by_label("Progress").wait_for()
            yield "job"
            tab.says("All points are tracked.")
            tab.press("?")
            page.get_by_role("dialog", name="Keys").wait_for()
            yield "keys"
            tab.press("Escape", "s")
            tab.says("no model outlines what is clicked; fetch one")
            yield "masks"
            page.get_by_role("button", name="Models", exact=True).click()
            page.get_by_role("row", name="made-answers").wait_for()
            yield "models"
            tab.press("Escape")
        elif name == "image":
            for verb, text, said in (("Detect", "ball", "2 found"), ("Classify", "a dog, a cat", "Most likely")):
                page.get_by_label(verb, exact=True).check(force=True)
                page.fill(".field input", text)
                page.click("button[type=submit]")
                tab.says(said)
                yield verb
        else:
            page.fill(".long", "ball")
            tab.press("Enter")
            tab.says("4 found, the most alike first")
            yield "search"


@pytest.mark.parametrize("size", [(1280, 860), (820, 1180), (640, 430), (390, 844)], ids=["laptop", "tablet", "200 %", "phone"])
def test_each_state_fits_and_axe_finds_nothing_serious_in_light_and_dark(made: Open, size: tuple[int, int]) -> None:
    tab = made()
    tab.page.emulate_media(color_scheme="light", reduced_motion="reduce")
    tab.click(100, 50)
    tab.track()
    for name in states(tab):
        check_state(tab, name, size)
    assert tab.problems == []


def check_state(tab: Tab, name: str, size: tuple[int, int]) -> None:
    """Check that nothing is wider than the window, and that axe finds nothing serious."""
    tab.page.set_viewport_size({"width": size[0], "height": size[1]})
    axe = WEB / "node_modules" / "axe-core" / "axe.min.js"
    if axe.is_file():
        tab.page.evaluate(axe.read_text())
    for scheme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, scheme)
        if axe.is_file():
            found = tab.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
            serious = [each for each in found if each["impact"] in ("serious", "critical")]
            assert [(name, scheme, each["id"], [node["html"] for node in each["nodes"]]) for each in serious] == []


def test_the_built_page_is_that_of_its_source(tmp_path: Path) -> None:
    if NODE is None or not (WEB / "node_modules" / "esbuild").is_dir():
        pytest.skip("there is no node, or web/node_modules is not there (npm ci in web)")
    subprocess.run([NODE, WEB / "build.mjs", tmp_path], check=True)
    built = sorted(path.name for path in tmp_path.iterdir())
    assert built == ["app.css", "app.js", "index.html"]
    stale = [name for name in built if (tmp_path / name).read_bytes() != (STATIC / name).read_bytes()]
    assert not stale, f"{stale} are not what web/src builds; run: npm run build, in web"


def test_types_of_the_source_are_right() -> None:
    if shutil.which("npm") is None or not (WEB / "node_modules" / "typescript").is_dir():
        pytest.skip("there is no npm, or web/node_modules is not there (npm ci in web)")
    done = subprocess.run(["npm", "run", "-s", "check"], cwd=WEB, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
