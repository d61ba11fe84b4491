"""Runs of adaptation: images, pixels and demonstrations; what is computed once; the command; the proof of a file."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import tapetum
from support.trunks import bank, images, trunk
from tapetum.app.learn.adapt import verify
from tapetum.app.shell.main import main
from tapetum.core.errors import BadInput
from tapetum.encoders import build, save
from tapetum.encoders.config import Preprocessing
from tapetum.encoders.features import prepare
from tapetum.systems.adapters import AdapterConfig, TrunkChanged, attach, load_headed
from tapetum.systems.adapters.data import Below, ListedImages, listed, prepare_mask, shifted
from tapetum.systems.adapters.demos import make_demos, read_demos
from tapetum.systems.adapters.recipes import recipe
from tapetum.systems.adapters.run import adapt, make_task
from tapetum.systems.adapters.worlds.world import ReachWorld, roll
from tapetum.train.launch_config import Launch


@pytest.mark.parametrize("kind", ["vit", "vit-drop", "resnet", "resnet-bottleneck", "nfnet", "efficientnet-lite"])
@pytest.mark.parametrize("preset", ["middle-top", "top", "late"])
def test_what_lies_below_the_lowest_adapter_is_computed_once(kind: str, preset: str) -> None:
    last = {"vit": "blocks.2.mlp", "vit-drop": "blocks.2.mlp", "efficientnet-lite": "stages.5.0"}.get(kind, "stages.2.0")
    config = AdapterConfig(addresses=(last, "")) if preset == "late" else AdapterConfig(preset=preset)
    adapted = bank(kind, "a", config)
    below, x = Below(adapted), images(4)
    assert below.first == {"middle-top": below.first, "top": len(below.blocks)}.get(preset, below.first)
    recorded = below.record(x)
    resumed = below.resume(recorded, (32, 32))
    wanted = adapted(x).pooled
    assert torch.equal(resumed, wanted)
    gradients = [torch.autograd.grad(y.square().sum(), adapted.adapter_parameters()) for y in (resumed, wanted)]
    assert all(map(torch.equal, *gradients))
    with torch.no_grad():
        for p in adapted.adapter_parameters():
            p.add_(0.1)
        assert torch.equal(below.resume(recorded, (32, 32)), adapted(x).pooled)  # it goes on with what is learned
    adapted.double()
    assert torch.equal(below.resume(below.record(x.double()), (32, 32)), adapted(x.double()).pooled)


def test_with_a_bottom_adapter_there_is_nothing_to_record() -> None:
    assert not Below(bank("vit", "a", AdapterConfig(preset="bottom"))).possible
    assert not Below(attach(trunk("timm-vit"), "bottom-top")).possible
    assert Below(bank("resnet", "a", AdapterConfig(preset="middle"))).first == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a trunk, demonstrations, images of two classes and images with masks."""
    place = tmp_path_factory.mktemp("adapt")
    save(
        build("vit-nano", width=32, heads=2, mlp_width=64, patch=4, image_size=(16, 16), pooling="mean"),
        place / "trunk.safetensors",
    )
    make_demos(ReachWorld(pixels=16, horizon=20), place / "demos", n=4)
    generator = np.random.default_rng(0)
    for k, name in enumerate(("lying", "standing")):
        (place / "images" / name).mkdir(parents=True)
        for i in range(10):
            stripes = np.repeat(((np.arange(20) + generator.integers(4)) // 2 % 2 * 200)[None], 24, 0).astype(np.uint8)
            Image.fromarray(stripes if k else stripes.T).convert("RGB").save(place / "images" / name / f"{i}.png")
    voc = place / "voc"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / folder).mkdir(parents=True)
    for i in range(6):
        mask = np.zeros((20, 24), np.uint8)
        mask[:, : 4 + 3 * i] = 1
        image = np.where(mask[..., None] > 0, np.array([220, 30, 30]), np.array([30, 30, 220])).astype(np.uint8)
        Image.fromarray(image).save(voc / "JPEGImages" / f"{i}.jpg", quality=95)
        Image.fromarray(mask).save(voc / "SegmentationClass" / f"{i}.png")
    for split, names in (("train", "0 1 2 3"), ("val", "4 5")):
        (voc / "ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(names.split()))
    return place


def of(place: Path, task, data: str, **changes):
    small = {"steps": 6, "batch_size": 4, "evaluations": 1, "rollouts": 2, "trunk": str(place / "trunk.safetensors")}
    return recipe(task, str(place / data), **{**small, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["adapters", "frozen", "full"])
def test_a_policy_is_cloned(place: Path, tmp_path: Path, regime) -> None:
    said = []
    run = of(place, "clone", "demos", regime=regime, own="concat", strict=2)
    finished = adapt(run, Launch(out=tmp_path / "run"), said.append)
    assert finished is not None
    assert said == ["4 demonstrations of reach-disc by camera top, " + said[0].split(", ")[1]]
    assert {"success", "low", "high", "any", "success_mean", "success_max"} == finished.scores.keys()
    if regime == "full":
        assert finished.proof is None
        assert finished.parameters["trunk"] > 1000
        learned = tapetum.load(finished.weights.with_name("encoder.safetensors"))
        assert isinstance(learned, tapetum.encoders.Encoder)
        assert attach(learned).trunk_sha256 != attach(tapetum.load(place / "trunk.safetensors")).trunk_sha256
        assert load_headed(finished.weights).trunk.in_use is None
        return
    assert finished.proof is not None
    assert finished.proof.now == finished.proof.before == attach(tapetum.load(place / "trunk.safetensors")).trunk_sha256
    assert set(finished.parameters) == ({"bottom", "middle", "top", "head"} if regime == "adapters" else {"head"})
    policy = load_headed(finished.weights)
    world = ReachWorld(pixels=16)
    episode = roll(world, policy.act, 0)
    assert np.isfinite(episode.actions).all()
    assert policy.about["world"] == "reach-disc"


@pytest.mark.slow
def test_images_get_names(place: Path, tmp_path: Path) -> None:
    run = of(place, "classify", "images", steps=None, batch_size=8, lr=1e-2, head_lr=1e-2)
    assert [replace(run, batch_size=32).for_images(n).steps for n in (8, 103, 10**6)] == [30, 96, 2000]
    assert replace(run, task="clone").for_images(8).steps == 2000
    said = []
    finished = adapt(run, Launch(out=tmp_path / "run"), said.append)
    assert said[0] == "16 images to learn from and 4 to check on, 2 classes"
    assert said[1] == "60 steps of 8 images; --steps asks for another number"
    assert [line.split(" about ")[0] for line in said[2:]] == ["60 steps take"]
    assert finished is not None
    assert finished.scores == {"accuracy": 1.0}
    headed = load_headed(finished.weights)
    assert headed.about["classes"] == ["lying", "standing"]
    image = np.asarray(Image.open(place / "images" / "lying" / "9.png"))
    assert int(headed(headed.trunk.prepare(image[None])).argmax()) == 0
    assert isinstance(tapetum.load(finished.weights), tapetum.systems.adapters.Adapted)
    [said_of] = tapetum.classify([place / "images" / "standing" / "9.png"], model=str(finished.weights)).images
    assert said_of.names[0] == "standing"
    assert set(said_of.names) == {"lying", "standing"}


@pytest.mark.slow
def test_pixels_get_classes(place: Path, tmp_path: Path) -> None:
    run = of(place, "segment", "voc", steps=40, lr=1e-2, head_lr=1e-1, shift=2)
    assert run.config.preset == "bottom-middle"
    finished = adapt(run, Launch(out=tmp_path / "run"))
    assert finished is not None
    assert finished.scores["mean_iou"] > 0.6
    assert set(finished.parameters) == {"bottom", "middle", "head"}


@pytest.mark.parametrize("kind", ["run", "random", pytest.param("state dict", marks=pytest.mark.slow)])
def test_adapters_of_any_reference_find_their_trunk_again(place: Path, tmp_path: Path, kind: str, run, monkeypatch) -> None:
    """The folder of a run, timm:NAME=FILE and random:NAME, from another working directory too."""
    (tmp_path / "pretrained").mkdir()
    if kind == "run":
        save(tapetum.load(place / "trunk.safetensors"), tmp_path / "pretrained" / "encoder.safetensors")
    monkeypatch.chdir(tmp_path)
    trunk = {"run": "pretrained", "state dict": "timm:resnet18=pretrained/own.pth", "random": "random:vit-nano"}[kind]
    if kind == "state dict":
        torch.save(timm.create_model("resnet18", num_classes=0).state_dict(), "pretrained/own.pth")
    words = ("--task", "clone", "--trunk", trunk, "--steps", 1, "--batch-size", 2, "--rollouts", 0)
    code, _, err = run("adapt", place / "demos", *words, "--out", "out/run")
    assert code == 0, err
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    file = tmp_path / "out" / "run" / "adapter.safetensors"
    code, _, err = run("adapt", "verify", file)
    assert code == 0, err
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "a.png")
    code, _, err = run("embed", tmp_path / "a.png", "--model", file, "--out", tmp_path / "a.npz")
    assert code == 0, err


@pytest.mark.slow
def test_the_command_learns_and_proves(place: Path, tmp_path: Path, capsys) -> None:
    out, made = tmp_path / "run", str(place / "trunk.safetensors")
    words = ["--trunk", made, "--task", "clone", "--out", str(out), "--steps", "3", "--rollouts", "1", "--batch-size", "4"]
    assert main(["adapt", str(place / "demos"), *words]) == 0
    printed = capsys.readouterr().out
    assert "the trunk is what it was, bit for bit" in printed
    assert f"weights  {out / 'adapter.safetensors'}" in printed
    settings = (out / "settings.toml").read_text()
    assert 'task = "clone"' in settings
    assert main(["adapt", "verify", str(out / "adapter.safetensors")]) == 0
    before, now = (line.split()[1] for line in capsys.readouterr().out.splitlines()[2:4])
    assert before == now == attach(tapetum.load(made)).trunk_sha256
    assert main(["adapt", "verify", str(out / "adapter.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tensors"] > 30
    changed = tapetum.load(made)
    with torch.no_grad():
        changed.norm.bias[0] += 1e-7
    save(changed, tmp_path / "changed.safetensors")
    with pytest.raises(TrunkChanged, match=f"SHA-256 was {before} and is "):
        verify(out / "adapter.safetensors", trunk=str(tmp_path / "changed.safetensors"))
    assert main(["adapt", "verify", str(out / "adapter.safetensors"), "--trunk", str(tmp_path / "changed.safetensors")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_demonstrations_by_the_command(tmp_path: Path, capsys) -> None:
    words = ["--task", "reach-disc", "--n", "2", "--out", str(tmp_path / "d"), "--pixels", "16"]
    assert main(["data", "demos", *words]) == 0
    assert "2 demonstrations of reach-disc by camera top" in capsys.readouterr().out
    assert len(read_demos(tmp_path / "d").seeds) == 2


@pytest.mark.parametrize(
    ("task", "data", "changes", "message"),
    [
        ("clone", "images", {}, "holds no demonstrations"),
        ("clone", "demos", {"trunk": "resnet"}, "there are no weights named"),
        ("clone", "demos", {"trunk": "tapir-nano"}, "holds a TapirTracker; give an encoder"),
        ("classify", "demos", {}, "has 0 folders with images"),
        ("classify", "nowhere", {}, "there is no"),
        ("segment", "images", {}, "parquet"),
        ("classify", "images", {"preset": "bottom-up"}, "no preset 'bottom-up'"),
        ("classify", "images", {"steps": 0}, "steps is 0"),
        ("classify", "images", {"regime": "some"}, "regime is 'some'; it must be adapters, frozen or full"),
        ("classify", "images", {"name": "a b"}, "use letters"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(place: Path, task, data, changes, message) -> None:
    with pytest.raises(BadInput, match=message):
        make_task(of(place, task, data, **changes))


def test_demonstrations_of_other_actions_are_refused(place: Path, tmp_path: Path) -> None:
    make_demos(ReachWorld(pixels=16), tmp_path / "d", n=1)
    about = json.loads((tmp_path / "d" / "demos.json").read_text())
    (tmp_path / "d" / "demos.json").write_text(json.dumps({**about, "action_size": 3}))
    file = tmp_path / "d" / "episode-0000.npz"
    arrays = dict(np.load(file))
    np.savez(file, **{**arrays, "actions": np.pad(arrays["actions"], ((0, 0), (0, 1)))})
    run = replace(of(place, "clone", "demos"), data=str(tmp_path / "d"))
    with pytest.raises(BadInput, match="have actions of 3 numbers and 2 of proprioception; reach-disc has 2 and 2"):
        make_task(run)
    assert make_task(replace(run, rollouts=0)).about["actions"] == 3


@pytest.mark.parametrize(("resize", "crop_offset"), [("crop", "nearest"), ("squash", "nearest"), ("crop", "down")])
def test_masks_are_cut_as_their_images(resize, crop_offset) -> None:
    """An image whose red is its row and whose green is its column, and masks of the same numbers, go the same way."""
    rim = {"crop_fraction": 0.8, "crop_offset": crop_offset}  # 19 columns to spare
    plain = {"interpolation": "bilinear", "antialias": False, "mean": (0, 0, 0), "std": (1, 1, 1)}
    how = Preprocessing(size=(16, 11), resize=resize, **rim, **plain)
    rows, columns = np.mgrid[:40, :60]
    image = np.stack((rows, columns, rows), -1).astype(np.uint8)
    red, green, _ = prepare(image[None], how)[0]
    for numbers, colour in ((rows, red), (columns, green)):
        found = prepare_mask(torch.from_numpy(numbers.copy()), how)
        assert found.shape == colour.shape
        assert (found - colour).abs().max() <= 1  # half a pixel, and half a level that the image was rounded by


def test_shifts_move_images_and_masks_alike(place: Path) -> None:
    x = torch.arange(12).reshape(3, 4)
    assert shifted(x, 1, -1).tolist() == [[4, 4, 5, 6], [8, 8, 9, 10], [8, 8, 9, 10]]
    found = listed(place / "voc", "segment", "train")
    how = Preprocessing(size=(20, 24), mean=(0, 0, 0), std=(1, 1, 1))
    data = ListedImages(found, how, shift=3)
    for number in range(4):
        example = data[number]
        red = example["image"][0] > example["image"][2]
        assert (red == (example["target"] == 1)).float().mean() > 0.95


def test_held_out_images_are_no_others(place: Path) -> None:
    train, val = (listed(place / "images", "classify", split) for split in ("train", "val"))
    names = [{file.name for file in part.files["image"]} for part in (train, val)]  # pyright: ignore
    assert not names[0] & names[1]
    assert (len(names[0]), len(names[1])) == (16, 4)
