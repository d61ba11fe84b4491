"""Methods and encoders of the user's own, from a file outside of the project; and pre-training that starts from weights."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from support.docs_pages import DOCS, blocks
from support.forks import Forks
from systems.pretraining.conftest import RESNET, tiny
from tapetum.bench.plans import plan_run
from tapetum.core.errors import BadInput
from tapetum.encoders.factory import load as load_file
from tapetum.encoders.references import load
from tapetum.systems.pretraining.heads import DinoHead
from tapetum.systems.pretraining.recipes import PretrainRun, recipe
from tapetum.systems.pretraining.run import pretrain, task_for
from tapetum.train.launch_config import Launch

METHOD = '''
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from tapetum.data.views import supervised
from tapetum.systems.pretraining.heads import Learner
from tapetum.systems.pretraining.task import PretrainTask


class Rotation(PretrainTask):
    """Tell by how many quarter turns an image was turned (RotNet, arXiv 1803.07728)."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        turns: int = 4

    def views(self):
        return supervised(self.run.size)

    def learner(self, encoder):
        return Learner(encoder, turns=nn.Linear(encoder.width, self.settings.turns))

    def method_loss(self, model, batch, context):
        (images,) = batch["views"]
        turns = torch.arange(len(images)) % self.settings.turns
        turned = torch.stack([image.rot90(int(k), (1, 2)) for image, k in zip(images, turns)])
        features = model.encoder(turned).pooled
        return F.cross_entropy(model.heads["turns"](features), turns), features, {}


class Ends(Rotation):
    def collate(self, items):
        raise SystemExit(3)
'''
NET = '''
from torch import nn

from tapetum.encoders.features import Encoder, Features


class MyNet(Encoder):
    """Two convolutions."""

    image_size = (16, 16)

    def __init__(self, config, preprocessing):
        super().__init__(config, preprocessing)
        self.width, self.map_channels, self.strides, self.head = 8, (8,), (4,), None
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))

    def forward(self, images):
        cells = self.layers(self.checked(images))
        grid = (cells.shape[2], cells.shape[3])
        return Features(tokens=cells.flatten(2).mT, grid=grid, pooled=cells.mean((2, 3)), maps=(cells,))
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside of the project with a method and a network."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_rotation.py").write_text(METHOD)
    (folder / "own_net.py").write_text(NET)
    return folder


def own_run(folder: Path, data: Path, **changes: object) -> PretrainRun:
    settings = {**RESNET, "size": 16, "batch_size": 8, "steps": 3, "enlarge": True, **changes}
    return recipe(f"{folder}/own_rotation.py:Rotation", str(data), **settings)


def learned(run: PretrainRun, out: Path, minutes: float | None = None) -> Path | None:
    finished = pretrain(run, Launch(out=out, workers=0, minutes=minutes), say=None)
    return finished and finished.encoder


def test_a_method_of_ones_own_is_trained_resumed_and_recorded_under_its_name(own: Path, data: Path, tmp_path: Path) -> None:
    run = own_run(own, data, own=("turns=2",))
    assert task_for(run).settings.turns == 2
    whole = learned(run, tmp_path / "whole")
    while (cut := learned(run, tmp_path / "cut", minutes=0)) is None:
        continue
    assert whole is not None
    assert whole.read_bytes() == cut.read_bytes()
    recorded = json.loads(next((tmp_path / "whole/checkpoints").glob("*/state.json")).read_text())["run"]["task"]
    assert recorded["method"].startswith("own_rotation.py:Rotation ")
    assert recorded["own"] == ["turns=2"]
    assert "simclr" not in recorded
    session = json.loads((tmp_path / "whole/ledger.json").read_text())["sessions"][0]
    assert set(session["phases_per_step"]) == {"encoder", "heads", "backward"}
    with pytest.raises(BadInput, match="resume with the old settings"):
        learned(replace(run, own=("turns=4",)), tmp_path / "whole")


def test_workers_find_the_class_of_a_file(own: Path, data: Path, tmp_path: Path) -> None:
    finished = pretrain(own_run(own, data, steps=1), Launch(out=tmp_path / "run", workers=1), say=None)
    assert finished is not None
    ends = replace(own_run(own, data, steps=1), method=f"{own}/own_rotation.py:Ends")
    with pytest.raises(BadInput, match=r"own_rotation.py:Ends, line \d+, in collate: ended the program \(exit 3\)"):
        pretrain(ends, Launch(out=tmp_path / "ends", workers=1), say=None)


def test_an_encoder_of_ones_own_is_trained_and_loads_back_with_its_class_alone(own: Path, data: Path, tmp_path: Path) -> None:
    reference = f"{own}/own_net.py:MyNet"
    path = learned(tiny("simclr", data, encoder=reference, change=(), steps=2), tmp_path / "run")
    assert path is not None
    encoder = load(f"{reference}={path}")
    assert type(encoder).__name__ == "MyNet"
    assert load_file(path)(torch.zeros(1, 3, 16, 16)).pooled.shape == (1, 8)  # its class was given in this process
    code = f"from tapetum.encoders.factory import load\nload({str(path)!r})"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "BadInput: the file was made with the encoder 'own_net.py:MyNet', whose code is not in it" in other.stderr
    assert load(f"random:{reference}").config.classes == 0


def test_what_is_no_method_or_setting_is_refused(own: Path, data: Path) -> None:
    with pytest.raises(BadInput, match="is no method; derive it from"):
        task_for(replace(own_run(own, data), method=f"{own}/own_net.py:MyNet"))
    with pytest.raises(BadInput, match="has no such setting; it has turns"):
        task_for(own_run(own, data, own=("temperature=1",)))
    with pytest.raises(BadInput, match="there is no method 'moco'"):
        recipe("moco", str(data))
    with pytest.raises(BadInput, match="simclr has options of its own"):
        tiny("simclr", data, own=("turns=2",))


@pytest.mark.slow
@pytest.mark.parametrize("gathers", [True, False])
def test_the_guides_method_is_one_run_on_two_processes_only_where_it_gathers(
    gathers: bool, forks: Forks, data: Path, tmp_path: Path
) -> None:
    page = DOCS / "guides" / "several-machines.md"
    [code] = [block.text for block in blocks(page) if block.words == ("python",)]
    assert "all_gather(" in code
    (tmp_path / "my_vicreg.py").write_text(code if gathers else code.replace("all_gather(head", "(head"))
    script, losses = Path(__file__).with_name("own_runs.py"), []
    for name in ("one", "two"):
        arguments = (script, f"{tmp_path}/my_vicreg.py:VicReg", data, tmp_path / name)
        errors = tmp_path / f"{name} says"
        codes = [forks.start(*arguments, errors=errors).wait()] if name == "one" else forks.pair(*arguments, errors=errors)
        assert set(codes) == {0}, errors.read_text()
        losses.append([json.loads(line)["loss"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()])
    assert (losses[1] == pytest.approx(losses[0], rel=1e-4)) == gathers


@pytest.mark.parametrize("form", ["folder", "file"])
def test_pre_training_starts_from_weights(form: str, data: Path, tmp_path: Path) -> None:
    path = learned(tiny("supervised", data, steps=2), tmp_path / "first")
    assert path is not None
    start = str(path.parent if form == "folder" else path)
    run = recipe("byol", str(data), encoder=start, size=16, batch_size=8, steps=1, byol=tiny("byol", data).byol)
    model = task_for(run).model()
    for name, value in load_file(path).state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value), name
    assert str(tmp_path) not in run.encoder_label()
    assert learned(run, tmp_path / "second") is not None
    with pytest.raises(BadInput, match="--change is for a network that begins anew"):
        task_for(replace(run, change=("stem_width=8",)))


def test_a_head_with_gain_is_torchs_weight_norm_and_stays_where_it_is_frozen() -> None:
    ours, theirs = DinoHead(5, 7, 3, 4, gain=True), weight_norm(nn.Linear(3, 4, bias=False))
    theirs.parametrizations.weight.original1.data = ours.prototypes.weight.detach().clone()
    theirs.parametrizations.weight.original0.data = ours.gain.data = torch.tensor([[0.5], [1.0], [2.0], [3.0]])
    x = torch.randn(6, 5)
    y, expected = ours(x), theirs(F.normalize(ours.layers(x), dim=-1))
    torch.testing.assert_close(y, expected)
    parts = (y, ours.gain), (expected, theirs.parametrizations.weight.original0)
    torch.testing.assert_close(*(torch.autograd.grad(out.square().sum(), gain, retain_graph=True) for out, gain in parts))
    ours(x, frozen=True).sum().backward()
    assert ours.gain.grad is None


def test_a_vit_that_has_learned_may_drop_paths(data: Path, tmp_path: Path) -> None:
    path = learned(tiny("mae", data, steps=1), tmp_path)
    run = recipe("dinov2", str(data), encoder=str(path), size=16, change=("drop_path=0.4",))
    encoder = run.new_encoder(0)
    assert encoder.config.drop_path == encoder.blocks[-1].drop_path.probability == 0.4
    for name, value in load_file(path).state_dict().items():
        assert torch.equal(encoder.state_dict()[name], value), name


def test_weights_of_a_name_that_is_also_an_architecture(data: Path) -> None:
    run = recipe("simclr", str(data), encoder="weights:resnet-nano", size=32)
    assert torch.equal(next(run.new_encoder(0).parameters()), next(load("resnet-nano").parameters()))
    fresh = recipe("simclr", str(data), encoder="resnet-nano", size=32)
    assert not torch.equal(next(fresh.new_encoder(0).parameters()), next(load("resnet-nano").parameters()))


def test_a_method_that_reads_values_is_refused_a_plan(tmp_path: Path, data: Path) -> None:
    """One that makes tensors without naming a device has a plan."""
    (tmp_path / "reads.py").write_text(METHOD)
    (tmp_path / "plans.py").write_text(
        METHOD.replace("[image.rot90(int(k), (1, 2)) for image, k in zip(images, turns)]", "[*images]")
    )
    reads, plans = (
        recipe(f"{tmp_path / name}.py:Rotation", str(data), **RESNET, size=16, steps=3) for name in ("reads", "plans")
    )
    with pytest.raises(
        BadInput, match=r"reads.py:Rotation cannot be planned, because its loss reads values \(.*\), and a plan"
    ):
        plan_run(reads)
    assert plan_run(plans).flops > 1e8
