"""A process that has imported torch and FSDP2, and for each line on stdin forks the processes of a job, one or more.

A line is JSON: the name of a function of this module as `job`, `processes`, `deadly` as in nursery.py for the first of them,
and `arguments`. It answers with the exit codes. A job's function gets the arguments; what it has to say it writes into its
folder `out`. `conftest.py` has the other side.
"""

import json
import math
import os
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from tapetum.account import machine
from tapetum.core.errors import TapetumError
from tapetum.systems.longvideo.task import video_text_loss
from tapetum.systems.odin.losses import detcon, detcon_s
from tapetum.train import Average, JointTask, ParameterRule, StepContext, Task, TrainConfig, fit, fsdp, process_group
from tapetum.train.checkpoint import CheckpointStore
from tapetum.train.contrastive import clip_loss, info_nce, nt_xent, siglip_loss
from tapetum.train.gather import SyncBatchNorm, all_gather, all_reduce, convert_sync_batchnorm
from tapetum.train.loop import _Run
from tapetum.train.optim import freeze
from tapetum.train.process_group import compute_shared, is_sharded, join_process_group

fsdp.SMALL = 4  # weights of which each process makes its rows alone


class Towers(nn.Module):
    """Two small networks with a learned scale, in float64."""

    def __init__(self, norm: Callable[[int], nn.Module], dropout: float = 0.0, width: int = 12):
        super().__init__()
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(6, width, bias=False), norm(width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, 5))
            for _ in range(2)
        )
        self.scale = nn.Parameter(torch.tensor(5.0))
        self.double()

    def forward(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        return self.towers[0](pairs[:, 0]), self.towers[1](pairs[:, 1])


class Pairs:
    """Two noisy views of random vectors: (2, 6)."""

    def __getitem__(self, number: int) -> Tensor:
        return torch.randn(1, 6, dtype=torch.float64) + 0.3 * torch.randn(2, 6, dtype=torch.float64)


NORMS = {"none": lambda width: nn.Identity(), "batch": nn.BatchNorm1d, "joint": SyncBatchNorm, "layer": nn.LayerNorm}


class Contrast(Task):
    """CLIP's loss over the examples of all processes."""

    joint_batch = True

    def __init__(self, norm: str = "none", dropout: float = 0.0):
        self.norm, self.dropout = norm, dropout

    def model(self) -> nn.Module:
        return Towers(NORMS[self.norm], self.dropout)

    def shards(self, model: nn.Module) -> list[nn.Module]:
        return [*model.towers]

    def dataset(self) -> Pairs:
        return Pairs()

    def loss(self, model: nn.Module, batch: Tensor, context: StepContext) -> tuple[Tensor, dict[str, Any]]:
        images, texts = model(batch)
        return clip_loss(images, texts, model.scale), {"step": context.step}

    def evaluate(self, model: nn.Module, step: int) -> dict[str, float]:
        batch = torch.stack([torch.randn(2, 6, dtype=torch.float64) for _ in range(5)])
        return {"loss": float(self.loss(model, batch, StepContext())[0])}


class Cached(Contrast, JointTask):
    """The same by way of embeddings, so that it can be accumulated."""

    def embed(self, model: nn.Module, batch: Tensor, context: StepContext) -> dict[str, Tensor]:
        images, texts = model(batch)
        return {"images": images, "texts": texts}

    def joint_loss(self, model: nn.Module, embeddings: Any, context: StepContext) -> tuple[Tensor, dict[str, Any]]:
        return clip_loss(embeddings["images"], embeddings["texts"], model.scale), {"step": context.step}

    loss = JointTask.loss


class Taught(Contrast):
    """Every example by itself, and what the average called slow says of it."""

    joint_batch = False
    teachers = ("slow",)

    def loss(self, model: nn.Module, batch: Tensor, context: StepContext) -> tuple[Tensor, dict[str, Any]]:
        teacher = context.teachers.get("slow", model)  # none where the run is scored
        targets = teacher(batch.flip(1))
        assert is_sharded(next(teacher.towers[0].parameters())) == is_sharded(next(model.towers[0].parameters()))
        values = zip(model(batch), targets, strict=True)
        return sum((y - 0.5 * target - 1).square().mean() for y, target in values), {"step": context.step}


class Scored(Contrast):
    """Scored on three batches, whose work processes with weights in shards share; or by a whole model."""

    def __init__(self, whole: bool = False, **options: Any):
        super().__init__(**options)
        self.evaluates_whole = whole

    def evaluate(self, model: nn.Module, step: int) -> dict[str, float]:
        batch, computed = torch.randn(5, 2, 6, dtype=torch.float64), []
        in_shards = is_sharded(next(model.towers[0].parameters()))

        def compute(number: int) -> Tensor:
            computed.append(number)
            return model(batch[2 * number : 2 * number + 2])[0]

        rows = torch.cat(compute_shared(compute, 3))
        weighted = (rows * torch.arange(1, 6, dtype=torch.float64)[:, None]).sum()  # each row has a place
        return {"loss": float(weighted), "computed": float(len(computed)), "in_shards": float(in_shards)}


class Wide(Contrast):
    """A hundred megabytes of weights in 24 blocks, which are trained on what matters little."""

    joint_batch = False

    def model(self) -> nn.Module:
        return nn.Sequential(*(nn.Linear(1024, 1024, bias=False) for _ in range(24)))

    def shards(self, model: nn.Module) -> list[nn.Module]:
        return list(model)

    def loss(self, model: nn.Module, batch: Tensor, context: StepContext) -> tuple[Tensor, dict[str, Any]]:
        return model(batch.float().reshape(len(batch), 12).repeat(1, 86)[:, :1024]).square().mean(), {}


CONFIG = {"steps": 6, "batch_size": 8, "lr": 0.05, "weight_decay": 0.1, "threads": 1, "tensorboard": False}


TASKS = {"contrast": Contrast, "cached": Cached, "taught": Taught, "wide": Wide, "scored": Scored}


def config_of(settings: dict[str, Any]) -> TrainConfig:
    averages = (Average(name="slow", decay=0.9, schedule="cosine"), Average(name="copy", schedule="periodic", every=2))
    rules = tuple(ParameterRule(**rule) for rule in settings.get("rules", ()))
    return TrainConfig(**{**CONFIG, "averages": averages, **settings, "rules": rules})


def train(out: str, task: str, config: dict[str, Any], most_bytes: int | None = None, **options: Any) -> None:
    if most_bytes is not None:  # of a file: a disk that is full
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    counts, before = Counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with counted(counts):
        fit(TASKS[task](**options), config_of(config), out)
    counts["peak_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    (Path(out) / f"exchanges-{os.environ.get('RANK', 0)}.json").write_text(json.dumps(counts))


def save_again(out: str, source: str, config: dict[str, Any]) -> None:
    """Load the newest checkpoint of the folder `source` and save it, in these processes, in `out`, without a step."""
    settings = config_of({"checkpoint_folder": source, **config})
    with join_process_group("cpu") as processes:
        run = _Run(Taught(), settings, Path(out), processes)
        run.saver.store = CheckpointStore(Path(out))
        if run.saver._sharded:
            run.saver._sharded.store = run.saver.store
        run.saver.save(run.state, run.identity, run.log_position)
        run.saver.wait()
        processes.barrier()
        run.saver.close()
        del run


@contextmanager
def counted(counts: Counter) -> Iterator[None]:
    """Count the exchanges of gradients of FSDP2 inside the block."""
    own = fsdp._ReduceScatter.__call__

    def call(self: Any, *arguments: Any, **others: Any) -> Any:
        counts["reduce_scatter"] += 1
        return own(self, *arguments, **others)

    fsdp._ReduceScatter.__call__ = call
    try:
        yield
    finally:
        fsdp._ReduceScatter.__call__ = own


class Counter1kWh:
    """Stands for the energy counters of a machine: 1 kWh, whenever it is read."""

    method, constant = "RAPL", None

    def joules(self, cpu_seconds: float, wall_seconds: float) -> float:
        return 3.6e6


def metered(out: str, machines: int, counters: bool) -> None:
    """Train on so many machines, each with energy counters or without."""
    machine._rapl = Counter1kWh if counters else lambda: None
    os.environ["LOCAL_RANK"] = str(int(os.environ["RANK"]) // machines)
    config = {**CONFIG, "steps": 2, "device": "cpu"}
    fit(Contrast(), TrainConfig(**config), out)


def traffic(**arguments: Any) -> None:
    """Count the bytes of a step of DINO."""
    sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    import traffic_job

    traffic_job.traffic(**arguments)


def exchanges(out: str) -> None:
    """Everything in gather.py and contrastive.py on this process's half of known tensors; values and gradients to a file."""
    with join_process_group("cpu") as world:
        found = compute(half=lambda x: x.chunk(world.size)[world.rank], world_size=world.size)
        for name, value in found.items():
            found[name] = value.detach().clone()
        torch.save(found, Path(out) / f"{world.rank}.pt")


def compute(half: Callable[[Tensor], Tensor], world_size: int) -> dict[str, Tensor]:
    """What `exchanges` writes, of the parts that `half` takes from the joint batch of 8."""
    generator = torch.Generator().manual_seed(3)
    joint = torch.randn(3, 8, 4, dtype=torch.float64, generator=generator)
    weights = torch.randn(8, 4, dtype=torch.float64, generator=generator)
    images = torch.randn(8, 3, 5, 2, dtype=torch.float64, generator=generator) * 2 + 100
    found: dict[str, Tensor] = {}

    def learn(name: str, of: Tensor, loss: Callable[[Tensor], Tensor]) -> None:
        x = half(of).clone().requires_grad_()
        value = loss(x)
        (found[f"{name} gradient"],) = torch.autograd.grad(value, x)
        found[f"{name} loss"] = value[None]

    learn("gather", joint[0], lambda x: (all_gather(x).sin() * weights).sum() / world_size)
    learn("second order", joint[0], lambda x: _slope(all_gather(x).pow(3).sum() / world_size, x).sin().sum())
    learn("reduce", joint[0], lambda x: all_reduce(x.sum(0)).sin().sum() / world_size)
    learn("info_nce", joint[0], lambda x: info_nce(x, half(joint[1]) + x.flip(1), 3.0) / world_size)
    learn("clip", joint[0], lambda x: clip_loss(x, half(joint[1]) * x, torch.tensor(3.0).double()) / world_size)
    learn("nt_xent", joint[0], lambda x: nt_xent(x, half(joint[1]) - x, 2.0) / world_size)
    regions = joint[1:].permute(1, 0, 2).reshape(8, 2, 4)  # two masks an image
    same, swapped = torch.tensor([[0, 1]]).repeat(8, 1), torch.tensor([[1, 0], [1, 2]]).repeat(4, 1)

    def regional(x: Tensor, **settings: Any) -> Tensor:
        first, ids = x[:, None] * half(regions), (half(same), half(swapped))
        return detcon(first, half(regions) + x[:, None], half(regions), half(regions.flip(1)), *ids, *ids, **settings)

    learn("detcon", joint[0], lambda x: regional(x) / world_size)
    swapped = torch.tensor([[1, 0], [1, -1], [-1, 1], [0, 1]]).repeat(2, 1)  # -1: a mask that is not in the view
    learn("detcon of what is there", joint[0], lambda x: regional(x) / world_size)
    learn("detcon apart", joint[0], lambda x: regional(x, local_negatives=False) / world_size)
    learn(
        "detcon_s",
        joint[0],
        lambda x: detcon_s(x[:, None] * half(regions), half(regions), half(same), half(swapped)) / world_size,
    )
    present = torch.tensor([[True, True], [True, False]]).repeat(4, 1)
    names, worse = torch.tensor([[0, 1], [2, 3], [4, 1], [5, 6]] * 2), joint.permute(1, 0, 2)

    def spoken(x: Tensor) -> Tensor:
        texts = half(regions) + x[:, None]
        scale = torch.tensor(3.0).double()
        hard = {"hard": half(worse), "hard_valid": half(present.flip(0))[:, :1].repeat(1, 3)}
        return video_text_loss(x, texts, scale, valid=half(present), names=half(names), **hard)

    learn("video_text", joint[0], lambda x: spoken(x) / world_size)
    model = nn.Sequential(
        nn.Conv1d(3, 4, 1, bias=False), nn.BatchNorm1d(4, momentum=0.3), nn.BatchNorm1d(4, momentum=None)
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    model = convert_sync_batchnorm(model)
    for times in (1, 3):  # what the running statistics follow differs from step to step
        learn("norm", times * images.flatten(2), lambda x: (model(x) * half(weights)[:, :1, None]).sum() / 8)
    uneven = convert_sync_batchnorm(nn.Sequential(nn.BatchNorm1d(4)).double())
    kept = torch.tensor([True] * 5 + [False, True, False])  # one process has four rows, the other two
    learn("uneven", joint[2], lambda x: (uneven(x[half(kept)]).sin() * half(weights)[half(kept)]).sum() / 8)
    present = convert_sync_batchnorm(nn.Sequential(nn.BatchNorm1d(4)).double())[0]
    learn("present", joint[2], lambda x: (present(x, half(kept)).sin() * half(weights) * half(kept)[:, None]).sum() / 8)
    for prefix, norm in (("", model), ("uneven ", uneven[0]), ("present ", present)):
        found |= {f"norm {prefix}{name}": buffer[None] for name, buffer in norm.named_buffers()}
    found["eval"] = model.eval()(half(images.flatten(2)))
    found["frozen"] = freeze(model)(half(images.flatten(2)))
    return found


def ring(out: str) -> None:
    """The sigmoid loss on this process's part of 8 known pairs, and its gradients, to a file."""
    generator = torch.Generator().manual_seed(4)
    joint = torch.randn(2, 8, 5, dtype=torch.float64, generator=generator)
    names = torch.tensor([0, 1, 0, 2, 2, 0, 3, 1])
    with join_process_group("cpu") as world:
        found: dict[str, Tensor] = {}
        for groups in (None, names.chunk(world.size)[world.rank]):
            rows = [x.chunk(world.size)[world.rank].clone().requires_grad_() for x in joint]
            learned = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (math.log(10), -10.0)]
            loss = siglip_loss(rows[0], rows[1], learned[0].exp(), learned[1], groups)
            gradients = torch.autograd.grad(loss, [*rows, *learned])
            name = "own" if groups is None else "equal"
            found |= {f"{name} {key}": x for key, x in zip(("images", "texts", "scale", "bias"), gradients, strict=True)}
            found[f"{name} loss"] = loss.detach()
        torch.save(found, Path(out) / f"{world.rank}.pt")


def _slope(value: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(value, x, create_graph=True)[0]


def wait_at_a_barrier(out: str) -> None:
    """The second process says when it got past the first, which takes its time."""
    with join_process_group("cpu") as world:
        if world.main:
            time.sleep(0.5)
            (Path(out) / "preprocess_frames").touch()
        world.barrier()
        assert (Path(out) / "preprocess_frames").exists()


def join_again(out: str) -> None:
    """Join three times, with the store in a process that outlives each, as torchrun's own does."""
    process_group.JOIN_TIMEOUT = timedelta(seconds=120)  # it was for ever that the second time took
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    main_rank, port = os.environ["RANK"] == "0", int(os.environ["MASTER_PORT"])
    store = TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False) if main_rank else None
    found = []
    for time_ in range(3):
        with join_process_group("cpu") as joined:
            found.append(joined.mean({"rank": joined.rank + time_})["rank"])
            joined.barrier()
    (Path(out) / f"{joined.rank}.json").write_text(json.dumps(found))
    with join_process_group("cpu") as joined:  # so that the store is the last to go
        joined.barrier()
        time.sleep(0.3 * joined.main)
    del store


def clashing(out: str) -> None:
    """The first process fails while the second waits for it."""
    with join_process_group("cpu") as world:
        if world.main:
            raise RuntimeError("failed while the others waited")
        world.barrier()


def main() -> None:
    from support.forks import free_port

    for line in sys.stdin:
        request = json.loads(line)
        if request["processes"] > 1:
            os.environ.update(WORLD_SIZE=str(request["processes"]), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))
        pids = [start(request, rank) for rank in range(request["processes"])]
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]), flush=True)


def start(request: dict[str, Any], rank: int) -> int:
    from nursery import die_at

    pid = os.fork()
    if pid == 0:
        if request["processes"] > 1:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
        die_at(request["deadly"] if rank == 0 else "-")
        code, out = 1, Path(request["arguments"]["out"])
        try:
            out.mkdir(exist_ok=True, parents=True)
            with (out / "stderr").open("a") as errors:
                os.dup2(errors.fileno(), 2)
            globals()[request["job"]](**request["arguments"])
            code = 0
        except TapetumError as error:
            print(error, file=sys.stderr, flush=True)
            code = 2
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return pid


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
