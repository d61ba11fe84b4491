"""Files of COCO, of the Perception Test and of EgoSchema: read by their own readers, or against hand-made values."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapetum.core.errors import BadInput
from tapetum.data import perception
from tapetum.data.coco import CocoImage, instance, write_captions, write_instances
from tapetum.data.entries import write_lines
from tapetum.data.questions import Question
from tapetum.data.rle import decode_mask, encode_mask
from tapetum.data.video_language import write_egoschema


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_masks_are_those_of_pycocotools(h: int, w: int, share: float, seed: int) -> None:
    theirs = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(seed).random((h, w)) < share
    encoded = encode_mask(mask)
    assert encoded["counts"].encode() == theirs.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert np.array_equal(theirs.decode(encoded), mask)
    assert np.array_equal(decode_mask(encoded), mask)


def test_pycocotools_reads_instances_and_captions(tmp_path: Path) -> None:
    theirs = pytest.importorskip("pycocotools.coco")
    mask = np.zeros((8, 10), bool)
    mask[2:5, 3:9] = True
    mask[2, 3] = False
    images = [
        CocoImage(id=7, file_name="7.jpg", height=8, width=10, instances=[instance(2, mask, seen=0.5)], captions=["a cup"])
    ]
    write_instances(tmp_path / "instances.json", lambda: images, {1: "ball", 2: "cup"})
    write_captions(tmp_path / "captions.json", lambda: images)
    with contextlib.redirect_stdout(io.StringIO()):
        coco, captions = theirs.COCO(tmp_path / "instances.json"), theirs.COCO(tmp_path / "captions.json")
    [found] = coco.loadAnns(coco.getAnnIds(imgIds=[7], catIds=coco.getCatIds(catNms=["cup"])))
    assert np.array_equal(coco.annToMask(found), mask)
    assert (found["bbox"], found["area"], found["seen"]) == ([3, 2, 6, 3], 17, 0.5)
    assert captions.imgToAnns[7][0]["caption"] == "a cup"
    with pytest.raises(BadInput, match="category 2"):
        write_instances(tmp_path / "new.json", lambda: images, {1: "ball"})
    with pytest.raises(BadInput, match="number 7"):
        write_captions(tmp_path / "new.json", lambda: images * 2)
    with pytest.raises(BadInput, match="empty"):
        instance(1, np.zeros((3, 3), bool))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["captions.json", "instances.json"]


def item() -> dict:
    size, frame_rate = (100, 200), 25.0
    boxes = np.array([[20.0, 10, 40, 60], [-5, 10, 40, 110]])
    return {
        "metadata": perception.metadata(
            video_id="v", split="train", frame_rate=frame_rate, frames=60, size=size, audio_samples=38400,
            audio_sample_rate=16000, cup_game=False, moving=True,
        ),
        "object_tracking": [
            perception.object_track(0, "red ball", boxes, np.array([5, 30]), np.array([False, True]), size=size,
                                    frame_rate=frame_rate)
        ],
        "point_tracking": [
            perception.point_track(0, "ball", [0], np.array([[100.0, 25], [150, 50]]), np.array([3, 9]), size=size)
        ],
        "sound_localisation": [
            perception.segment(0, "impact", 1, [0, -1], 0.5, 2.6, frame_rate=frame_rate, frames=60, visible=False)
        ],
        "mc_question": [
            perception.mc_question(
                0, "What?", ["a", "b", "c"], 2, area="memory", reasoning="predictive", tags=["motion"], cut_frame=9
            )
        ],
        "grounded_question": [perception.grounded_question(4, "Which?", [0], area="physics", reasoning="descriptive")],
    }  # fmt: skip


def test_units_of_the_perception_test(tmp_path: Path) -> None:
    written = json.loads(perception.write_annotations(tmp_path / "all_train.json", [("v", item())]).read_text())["v"]
    assert list(written) == ["metadata", *perception.TASKS]
    track = written["object_tracking"][0]
    assert track["bounding_boxes"] == [[0.1, 0.1, 0.2, 0.6], [0, 0.1, 0.2, 1]]
    assert (track["timestamps"], track["is_masked"], track["initial_tracking_box"]) == ([200_000, 1_200_000], [0, 1], [1, 0])
    assert written["point_tracking"][0]["points"] == [[0.25, 0.5], [0.5, 0.75]]
    sound = written["sound_localisation"][0]
    assert (sound["timestamps"], sound["frame_ids"], sound["is_visible"]) == ([500_000, 2_600_000], [12, 59], False)
    assert written["metadata"]["resolution"] == [100, 200]
    assert (written["action_localisation"], written["mc_question"][0]["cut_frame"]) == ([], 9)


def test_egoschema_and_lines(tmp_path: Path) -> None:
    question = Question(key="v-0", video=Path("v"), question="What?", options=tuple("abcde"), right=3)
    questions, answers = write_egoschema(tmp_path, lambda: [question])
    [found] = json.loads(questions.read_text())
    assert (found["q_uid"], found["option 3"], found["video_id"]) == ("v-0", "d", "v")
    assert json.loads(answers.read_text()) == {"v-0": 3}
    with pytest.raises(BadInput, match="five"):
        write_egoschema(tmp_path, lambda: [replace(question, options=tuple("abc"))])
    with pytest.raises(BadInput, match="no JSON"):
        write_lines(tmp_path / "x.jsonl", [{"a": float("nan")}])
    assert not (tmp_path / "x.jsonl").exists()
