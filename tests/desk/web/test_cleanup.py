"""Features of frames are removed once no points need them, and not before."""

from pathlib import Path

from starlette.testclient import TestClient

from support.web_page import edit, first_item, ok, serving


def test_features_go_with_the_last_point_and_with_the_video(page: TestClient, item: str, folder: Path) -> None:
    features = folder / ".tapetum-web" / "features"
    features.mkdir()
    own, orphan = features / f"{item.rsplit('/', 1)[1]}.bin", features / "0123456789abcdef.new"
    own.touch()
    points = [edit(page, item, "add_point", frame=0, x=x, y=5)["points"][-1]["id"] for x in (5, 9)]
    edit(page, item, "delete_point", point=points[0])
    assert own.exists()
    orphan.touch()
    edit(page, item, "delete_point", point=points[1])
    assert not own.exists()
    assert not orphan.exists()
    ok(page.post(f"{item}/undo"))
    own.touch()
    page.app.state.page.jobs.submit("track", item.rsplit("/", 1)[1], model="static", device=None, revision=1, clicks=[])
    edit(page, item, "clear")
    assert own.exists()  # a job is at work on them


def test_a_new_server_removes_features_of_videos_that_are_gone(folder: Path) -> None:
    with serving(folder) as client:
        item = first_item(client)
        edit(client, item, "add_point", frame=0, x=5, y=5)
    own = folder / ".tapetum-web" / "features" / f"{item.rsplit('/', 1)[1]}.bin"
    own.parent.mkdir()
    own.touch()
    with serving(folder):
        assert own.exists()
    (folder / "clip.mp4").unlink()
    with serving(folder):
        assert not own.exists()
