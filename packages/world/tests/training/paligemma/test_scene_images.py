"""Images of a folder: mirrored, shifted, told of, and asked about cell by cell."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tapetum.core.errors import BadInput
from tapetum.systems.paligemma.recipes import TextMixture
from tapetum_world.training.paligemma.dense_task import (
    MATTER,
    NOUNS,
    PARTS,
    TINTS,
    cell_targets,
    collate_cells,
    dense_loss,
    edge_positions,
    unfold_cells,
)
from tapetum_world.training.paligemma.scene_images import (
    SceneFolder,
    SceneImage,
    SceneTexts,
    format_objects,
    mirrored,
    shifted,
    visible_objects,
    written_text,
)
from world_support.scene_folder import write_scene_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> SceneFolder:
    return SceneFolder(write_scene_folder(tmp_path_factory.mktemp("scenes") / "made"))


def boxes_fit(image: SceneImage) -> bool:
    """Whether each box is the tightest around its pixels."""
    for thing in image.things:
        where = np.argwhere(image.ids == thing.id)
        (y1, x1), (y2, x2) = where.min(0), where.max(0) + 1
        if (x1, y1, x2, y2) != thing.box:
            return False
    return True


def test_a_mirrored_image_is_told_the_other_way_round(folder: SceneFolder) -> None:
    image = folder.read(0)
    other = mirrored(image)
    assert boxes_fit(image) and boxes_fit(other)  # noqa: PT018
    assert np.array_equal(other.rgb[:, ::-1], image.rgb)
    [old], [new] = ([q.answer for q in p.questions if q.template == "relation"] for p in (image, other))
    assert {old, new} == {"to the left of it", "to the right of it"}
    assert other.long == image.long.replace("left", "right")
    assert "read" not in {q.template for q in other.questions}
    twice = mirrored(other)
    assert twice.things == image.things
    assert twice.long == image.long


def test_a_shift_cuts_nothing_and_is_drawn_from_the_number(folder: SceneFolder) -> None:
    image = folder.read(1)
    seen = set()
    for seed in range(20):
        moved = shifted(image, np.random.default_rng(seed))
        assert boxes_fit(moved)
        assert [(moved.ids == t.id).sum() for t in moved.things] == [(image.ids == t.id).sum() for t in image.things]
        seen.add(moved.things[0].box)
    assert len(seen) > 10
    first, again = (folder.draw(3, 7)[0] for _ in range(2))
    assert np.array_equal(first.rgb, again.rgb)
    assert first.questions[0].text == again.questions[0].text


def test_cells_say_what_is_in_them(folder: SceneFolder) -> None:
    image = folder.read(0)
    kinds, edges = cell_targets(image)
    assert kinds.shape == (14, 14, 4)
    for thing in image.things:
        x, y = (thing.box[0] + thing.box[2]) // 2, (thing.box[1] + thing.box[3]) // 2
        cell = kinds[y // 8, x // 8]
        assert (NOUNS[cell[0]], TINTS[cell[1]], MATTER[cell[2]], cell[3]) == (thing.noun, thing.colour, thing.material, 1)
        middle = np.array([x // 8 * 8 + 4, y // 8 * 8 + 4] * 2)
        expected = (middle - thing.box) * [1, 1, -1, -1] / 112
        np.testing.assert_allclose(edges[y // 8, x // 8], expected, atol=1e-6)
        places = edge_positions(torch.from_numpy(edges)[None])[0, y // 8, x // 8] * 112
        np.testing.assert_allclose(places, thing.box, atol=1e-4)
    assert kinds[:, :, 3].sum() == 2
    assert kinds[0, 0].tolist() == [0, 0, 0, 0]


def test_the_loss_of_places_is_least_for_the_truth(folder: SceneFolder) -> None:
    cells = collate_cells([folder.read(0), folder.read(1)])
    told = torch.zeros(*cells.kinds.shape[:3], sum(PARTS))
    noun, tint, matter, edges, middle, places = told.split(PARTS, -1)
    for part, number in ((noun, 0), (tint, 1), (matter, 2)):
        part.scatter_(-1, cells.kinds[..., number : number + 1], 20.0)
    edges.copy_(cells.edges)
    places.copy_(edge_positions(cells.edges))
    middle.copy_((cells.kinds[..., 3:].float() * 2 - 1) * 20)
    assert float(dense_loss(told, cells)[0]) < 1e-3
    for name, number in {
        "noun": 0,
        "colour": len(NOUNS),
        "material": len(NOUNS) + len(TINTS),
        "edges": -9,
        "middle": -5,
        "places": -1,
    }.items():
        worse = told.clone()
        worse[..., number] += 40
        loss, parts = dense_loss(worse, cells)
        assert float(loss) > 1
        assert max(parts, key=lambda part: float(parts[part])) == name


def test_tokens_are_spread_over_their_cells() -> None:
    told = torch.arange(2 * 3 * 4.0).reshape(1, 6, 4)  # two rows of three tokens, each with 2 x 2 cells of one number
    grid = unfold_cells(told, (2, 3), 2)[0, :, :, 0]
    assert grid.tolist()[0] == [0, 1, 4, 5, 8, 9]
    assert grid.tolist()[1] == [2, 3, 6, 7, 10, 11]
    assert grid.tolist()[2] == [12, 13, 16, 17, 20, 21]


def test_texts_are_true_and_a_function_of_the_number(folder: SceneFolder) -> None:
    pairs = SceneTexts(folder, TextMixture(answers=3, regions=1, captions=1, descriptions=1, detect_all=1, detect=1))
    sample, again = pairs.draw(0, 5), pairs.draw(0, 5)
    assert sample.pairs == again.pairs
    assert len(sample.pairs) == 3 + 1 + 1 + 1 + 1 + 1
    image = sample.image
    told = {(pair.prefix, pair.suffix) for pair in sample.pairs}
    assert ("caption en", image.short) in told
    [every] = [s for p, s in told if p == "detect all classes"]
    assert every == format_objects(image, visible_objects(image))
    assert [label.split("> ")[1] for label in every.split(" ; ")] == [
        t.noun for t in sorted(image.things, key=lambda t: t.box[0])
    ]
    for prefix, suffix in told:
        if prefix.startswith("detect ") and prefix != "detect all classes":
            nouns = prefix.removeprefix("detect ").split(" ; ")
            assert suffix == format_objects(image, [t for t in visible_objects(image) if t.noun in nouns])
        if prefix.startswith("caption <"):
            assert suffix in {t.caption for t in image.things}


def test_masks_are_told_where_there_is_a_codec(folder: SceneFolder) -> None:
    asked = []

    def encode(masks: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        asked.append((masks, boxes))
        return np.tile(np.arange(16), (len(masks), 1))

    mixture = TextMixture(answers=0, regions=0, captions=0, detect_all=0, detect=0, segment=1)
    found = [pair for n in range(6) for pair in SceneTexts(folder, mixture, encode).draw(0, n).pairs]
    assert all(pair.prefix.startswith("segment ") and pair.long for pair in found)
    assert any("<seg000><seg001>" in pair.suffix for pair in found)
    for masks, boxes in asked:
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
            assert mask.sum() == mask[y1:y2, x1:x2].sum() == 24 * 20


def test_written_text_is_read_by_rows_where_all_of_it_is_known(folder: SceneFolder) -> None:
    image = folder.read(0)
    low, high = (replace(t, box=(x, y, x + 24, y + 20)) for t, x, y in zip(image.things, (10, 60), (70, 10), strict=True))
    things = [replace(low, caption='a box that says "B" in a cup'), replace(high, caption='a box that says "A"')]
    made = replace(image, things=(*things, replace(high, noun="hand", caption="")))
    assert written_text(made) == "A B"
    assert written_text(image) == written_text(mirrored(made)) == ""
    assert written_text(replace(made, things=(*things, replace(high, caption="")))) == ""
    only_text = TextMixture(answers=0, regions=0, captions=0, detect_all=0, detect=0, ocr=1)
    [pair] = SceneTexts(folder, only_text).pairs(made, np.random.default_rng(0))
    assert (pair.prefix, pair.suffix) == ("ocr", "A B")


def test_questions_are_made_of_answers(folder: SceneFolder) -> None:
    mixture = TextMixture(answers=0, regions=0, captions=0, detect_all=0, detect=0, questions=3)
    sample = SceneTexts(folder, mixture).draw(0, 5)
    known = {(f"question en {q.answer}", q.text) for q in sample.image.questions}
    assert len(sample.pairs) == 3
    assert {(pair.prefix, pair.suffix) for pair in sample.pairs} <= known


def test_questions_about_objects_are_answered_by_what_is_there(folder: SceneFolder) -> None:
    image = folder.read(0)
    ids, small = image.ids.copy(), image.things[1]
    ids[ids == small.id] = 0
    ids[0, :5] = small.id  # 5 pixels: too few to be asked about
    first = replace(image.things[0], noun="cup")
    unsure = replace(image, ids=ids, things=(first, replace(small, noun="box")))
    counted = replace(image, things=(first, replace(small, noun="cup")))
    none = replace(image, ids=image.ids * 0, things=())
    texter = SceneTexts(folder, TextMixture(answers=0, regions=0, captions=0, detect_all=0, detect=0, objects=4000))
    for made, cups, others in ((counted, 2, True), (unsure, 1, False), (none, 0, True)):
        texts = {p.prefix: p.suffix for p in texter.pairs(made, np.random.default_rng(0))}
        assert texts.get("answer en Can a cup be seen?") == ("yes" if cups else "no")
        assert texts.get("answer en How many cups can be seen?") == ("none", "one", "two")[cups]
        assert texts.get("answer en Which objects can be seen?") == (("cup" if cups else "none") if others else None)
        assert ("answer en Can a box be seen?" in texts) == others
        assert {texts[p] for p in texts if " and " in p} == {"no"}  # of two nouns one is not there
    both = replace(image, things=(first, replace(small, noun="box")))
    answers = {p.prefix: p.suffix for p in texter.pairs(both, np.random.default_rng(0))}
    assert answers["answer en Can a cup and a box be seen?"] == "yes"


def test_folders_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no folder truth"):
        SceneFolder(tmp_path)
    (tmp_path / "truth").mkdir()
    with pytest.raises(BadInput, match="is empty"):
        SceneFolder(tmp_path)
    (tmp_path / "truth" / "000000.json").write_text("{")
    with pytest.raises(BadInput, match="cannot be read"):
        SceneFolder(tmp_path).read(0)
