"""Readers of captions in many languages, of photographs and of videos: official files."""

from pathlib import Path

from support.question_sets import make_set
from tapetum.data.vision_language import READERS
from tapetum.systems.paligemma.transfer.tasks import TASKS


def read(name: str, folder: Path, split: str) -> list:
    return READERS[name](folder, split)


def made(name: str, folder: Path) -> list:
    """Records of a set in its official files, of the split that is scored."""
    make_set(name, folder)
    return read(name, folder, TASKS[name].scored[0])


def test_captions_in_many_languages(tmp_path: Path) -> None:
    coco = {q.key: q for q in made("coco-35l", tmp_path / "coco")}
    assert set(coco) == {f"{language}/{k}" for language in ("de", "fr", "en") for k in (3, 4)}
    assert coco["fr/3"].answers == ("un chat assis 0", "un chat assis 1")
    assert coco["en/3"].answers == ("a cat 0", "a cat 1")  # once, though each translation has its source
    assert (coco["de/4"].kind, coco["de/4"].images) == ("de", (tmp_path / "coco" / "val2014" / "4.jpg",))


def test_captions_of_photographs_and_videos(tmp_path: Path) -> None:
    sign, _ = made("textcaps", tmp_path / "signs")
    assert sign.image == tmp_path / "signs" / "train_images" / "i1.jpg"
    assert sign.captions == ("A sign that says a stop", "A sign that says b stop")
    captioned = made("msrvtt-cap", tmp_path / "msrvtt")
    assert [len(q.answers) for q in captioned] == [2, 2]
    assert [q.key for q in read("msrvtt-cap", tmp_path / "msrvtt", "val")] == ["video3"]
    assert len(made("vatex", tmp_path / "vatex")[0].answers) == 3
