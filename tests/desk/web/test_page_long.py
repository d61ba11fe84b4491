"""The page over long films, and reloaded while it tracks: what the browser keeps in memory, and what it finds again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.files import make_image
from support.page import CHROMIUM, Tab, made_server
from support.scripts import script

long = script("evidence/web-browser/browser.py")
MORE_MB = 150
"""What going through a film may add to the memory of Chromium with the film open; docs/evidence/serve.md has all of it."""

pytestmark = pytest.mark.slow


@pytest.fixture
def playwright() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with api.sync_playwright() as playwright:
        yield playwright


def test_long_films_open_and_the_browser_stays_small(playwright: Any, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    long.make_film(folder / "film.mp4", 4000, (640, 360), key_every=10)
    long.make_film(folder / "ten-minutes.mp4", 10 * 60 * long.RATE, (320, 180), key_every=10)
    with long.served(folder) as address:
        browser = long.Browser(playwright, tmp_path / "profile", address)
        try:
            browser.open("film.mp4")
            opened = browser.measure()
            assert opened > 50  # its processes are found
            long.go_through(browser, 4000, 40, 10)
            assert browser.most_mb - opened < MORE_MB
            browser.open("ten-minutes.mp4")
            for frame in (17_999, 9_000):
                browser.seek(frame)
        finally:
            browser.context.close()


def test_a_reload_while_it_tracks_shows_the_job_and_its_end(playwright: Any) -> None:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    with made_server() as address:
        tab = Tab(browser.new_page(viewport={"width": 1280, "height": 860}), address)
        tab.click(100, 50)
        tab.press("t")
        tab.page.get_by_label("Progress").wait_for()
        tab.page.reload()
        tab.page.get_by_label("Progress").wait_for()
        assert tab.page.get_by_role("button", name="Cancel").is_visible()
        tab.says("All points are tracked.")
        assert tab.problems == []
    browser.close()


def test_a_long_list_is_read_as_one_scrolls_and_changes_by_events(playwright: Any, tmp_path: Path) -> None:
    for number in range(450):
        make_image(tmp_path / f"{number}.png", (number % 200, number // 200, 9), (16, 12))
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    with long.served(tmp_path) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        lists: list[str] = []
        page.on("request", lambda request: lists.append(request.url) if "/api/items?" in request.url else None)
        page.goto(address)
        names = page.locator(".item .name")
        page.get_by_text("450 in all").wait_for()
        page.get_by_text("more files are being read").wait_for(state="detached")
        assert names.count() == 200
        scroll = "list.scrollTop = list.scrollHeight; return document.querySelectorAll('.item').length === 450"
        page.wait_for_function(f"() => {{ const list = document.querySelector('.items ul'); {scroll} }}")
        assert names.all_inner_texts() == [f"{number}.png" for number in range(450)]
        assert page.get_by_text("in all").count() == 0
        assert len(lists) == 2
        make_image(tmp_path / "7b.png", (1, 1, 1), (16, 12))
        (tmp_path / "9.png").unlink()
        page.get_by_text("7b.png").wait_for()
        page.get_by_text("9.png", exact=True).wait_for(state="detached")
        assert names.all_inner_texts()[6:10] == ["6.png", "7.png", "7b.png", "8.png"]
        assert len(lists) == 2  # nothing was asked for again
        page.get_by_label("Filter by name").fill("44")
        page.wait_for_function("() => document.querySelectorAll('.item').length === 14")
        assert names.all_inner_texts()[:5] == ["44.png", "144.png", "244.png", "344.png", "440.png"]
        make_image(tmp_path / "3b.png", (1, 1, 3), (16, 12))
        make_image(tmp_path / "4 44.png", (1, 1, 2), (16, 12))
        page.get_by_text("4 44.png").wait_for()
        assert names.all_inner_texts()[:2] == ["4 44.png", "44.png"]
        address = page.evaluate("location.hash")
        names.nth(5).click()
        page.wait_for_function("before => location.hash !== before", arg=address)
        page.reload()  # of an item that is not on the first page
        page.wait_for_selector(".stage canvas[data-shown$='/0']")
        assert names.count() == 200
    browser.close()
