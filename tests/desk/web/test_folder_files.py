"""The files of a folder: which are files, in which order, and what is read of one."""

import os
from pathlib import Path

from support.files import make_image
from tapetum.desk.web.folder_files import UNREADABLE, media_below, order_of, read_file


def test_pipes_folders_hidden_files_overlays_and_links_out_are_left_out(tmp_path: Path) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    for name in ("a.png", "Below/b.JPG", "Below/more/c.png", ".hidden/d.png", ".e.png", "run/overlay.mp4", "overlay.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    make_image(outside / "f.png", (1, 2, 3))
    (folder / "run" / "tracks.npz").touch()
    (folder / "notes.txt").touch()
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "to the pipe.png").symlink_to(folder / "pipe.png")
    (folder / "within.png").symlink_to(folder / "a.png")
    (folder / "out.png").symlink_to(outside / "f.png")
    (folder / "out").symlink_to(outside)
    (folder / "round").symlink_to(folder)
    (folder / "nowhere.png").symlink_to(folder / "gone.png")
    (folder / "hidden.png").symlink_to(folder / ".hidden" / "d.png")
    files = media_below(folder)
    assert set(files) == {"a.png", "Below/b.JPG", "Below/more/c.png", "overlay.mp4", "within.png", "hidden.png"}
    about = (folder / "a.png").stat()
    assert files["a.png"] == files["within.png"] == (about.st_size, about.st_mtime_ns)


def test_the_order_is_that_of_a_walk_with_numbers_by_value() -> None:
    names = ["B.png", "a1.png", "a01b.png", "a2.png", "a10.png", "a 1.png", "a/z.png", "a/b/1.png", "a 2/a.png", "a2/1.png",
             "a10/1.png", "9.png", "10.png", "B/1.png"]  # fmt: skip
    expected = ["9.png", "10.png", "a1.png", "a01b.png", "a2.png", "a10.png", "a 1.png", "B.png", "a/z.png", "a/b/1.png",
                "a2/1.png", "a10/1.png", "a 2/a.png", "B/1.png"]  # fmt: skip
    assert sorted(names, key=order_of) == expected


def test_of_an_image_the_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    make_image(path, (9, 9, 9), (640, 480))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    read = read_file(path)
    assert read is not None
    assert read.measures == ("image", 1, 25.0, 640, 480)
    path.write_bytes(whole[:10])
    read = read_file(path)
    assert read is not None
    assert read.measures[0] == UNREADABLE
    path.unlink()
    assert read_file(path) is None
