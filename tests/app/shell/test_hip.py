"""`tapetum hip plan` as people call it."""

import json

import pytest

from tapetum.app.shell.main import main


def test_plan_of_sound_and_images(capsys: pytest.CaptureFixture) -> None:
    arguments = ["hip", "plan", "--variant", "hip-256", "--video", "8x224x224x3", "--audio", "122880x1", "--json"]
    assert main(arguments) == 0
    content = json.loads(capsys.readouterr().out)
    assert [(m["name"], m["groups"], m["padding"]) for m in content["modalities"]] == [("video", 196, 0), ("audio", 60, 0)]
    assert (content["groups"], content["width"], content["padding"]) == (256, 2048, 0)
    assert content["flops"] == sum(2 * part["macs"] for part in content["parts"])
    assert content["parameters"] == sum(part["parameters"] for part in content["parts"])
    assert main(arguments[:-1]) == 0
    assert "0.0 % of the first block's places are padding" in capsys.readouterr().out


def test_plan_with_a_bottleneck_and_own_names(capsys: pytest.CaptureFixture) -> None:
    own = ["--modality", "depth=32x32x1", "touch=9x4", "--label", "10x1", "--bottleneck", "label"]
    assert main(["hip", "plan", "--variant", "hip-nano", *own, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [m["name"] for m in content["modalities"]] == ["depth", "touch"]
    assert any(part["name"] == "label head" for part in content["parts"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no modality"),
        (["--image", "224"], "extents and channels"),
        (["--image", "0x3"], "all 1 or more"),
        (["--image", "axb"], "extents and channels"),
        (["--image", "8x3", "--variant", "hip-17"], "no variant 'hip-17'"),
        (["--image", "8x3", "--modality", "image=8x3"], "each name once"),
        (["--image", "8x3", "--batch", "0"], "1 or more"),
        (["--image", "8x3", "--bottleneck", "label"], "no such modality"),
        (["--label", "8x3", "--bottleneck", "label"], "all modalities are labels"),
    ],
)
def test_what_cannot_be_planned(arguments: list[str], words: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["hip", "plan", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


def test_variants_are_listed(capsys: pytest.CaptureFixture) -> None:
    assert main(["hip", "variants"]) == 0
    assert "hip-16x3" in capsys.readouterr().out
