"""The guarantees G1 to G7: whatever is done with adapters, the trunk stays what it was, bit for bit."""

import copy
import hashlib
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from support.trunks import TRUNKS, images, trunk
from tapetum.systems.adapters import Adapted, AdapterConfig, TrunkChanged, attach
from tapetum.systems.adapters.weaving import leaves

FORMS = (
    AdapterConfig(),
    AdapterConfig(maps="series", tokens="parallel"),
    AdapterConfig(preset="all-blocks", maps="bottleneck", scale=True),
)
KINDS = pytest.mark.parametrize("kind", TRUNKS)


def equal(one: Any, other: Any) -> bool:
    a, b = list(leaves(one)), list(leaves(other))
    assert len(a) == len(b) > 0
    return all(map(torch.equal, a, b))


def state(module: nn.Module) -> dict[str, bytes]:
    """Bytes of everything that a module holds, also of what no state dict holds; independent of the package's own hash."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return {name: hashlib.sha256(t.detach().numpy().tobytes()).digest() for name, t in tensors}


def tree(module: nn.Module) -> list[tuple[Any, ...]]:
    """Names, classes, modes, hooks and attributes of the module tree."""
    return [
        (
            name,
            type(m),
            id(m),
            m.training,
            len(m._forward_hooks),
            len(m._forward_pre_hooks),
            sorted(m.__dict__),
            "train" in vars(m),
        )
        for name, m in module.named_modules()
    ]


def train(adapted: Adapted, steps: int = 2, lr: float = 0.1, **options: Any) -> None:
    """Train everything that can be reached, at a high rate, with weight decay, in the mode that hurts most."""
    head = torch.randn(1, generator=torch.Generator().manual_seed(1))
    everything = [*adapted.parameters(), *adapted.trunk.parameters()]
    optimizer = torch.optim.AdamW(everything, lr=lr, weight_decay=0.5)
    for step in range(steps):
        adapted.train()
        optimizer.zero_grad(set_to_none=False)
        loss = sum((out.float() * head).square().mean() for out in leaves(adapted(5 * images(seed=step) + 2, **options)))
        loss.backward()  # pyright: ignore[reportAttributeAccessIssue]
        optimizer.step()


@KINDS
@pytest.mark.parametrize("config", FORMS, ids=["parallel", "series", "bottleneck"])
def test_at_first_nothing_changes_and_the_trunk_is_not_touched(kind: str, config: AdapterConfig) -> None:
    whole, x = trunk(kind), images()
    before, keys, shape = state(whole), whole.state_dict().keys(), tree(whole)
    with torch.no_grad():
        wanted = whole(x)
        adapted = attach(whole, config)
        assert equal(adapted(x), wanted)  # G3
        with adapted.off():
            assert equal(adapted(x), wanted)  # G2
        assert equal(whole(x), wanted)  # the trunk itself works on
    assert state(whole) == before
    given = adapted.detach()
    assert given is whole
    assert tree(given) == shape
    assert given.state_dict().keys() == keys  # G4
    assert all(p.requires_grad for p in given.parameters())


@KINDS
def test_training_reaches_adapters_alone(kind: str) -> None:
    whole, x = trunk(kind), images()
    before, shape = state(whole), tree(whole)
    with torch.no_grad():
        wanted = whole(x)
    adapted = attach(whole)
    start = [p.clone() for p in adapted.adapter_parameters()]
    train(adapted)
    assert state(whole) == before  # G1: buffers included
    assert all(p.grad is None for p in whole.parameters())  # G5
    assert not {id(p) for p in whole.parameters()} & {id(p) for p in adapted.parameters()}
    assert all(not torch.equal(p, q) for p, q in zip(start, adapted.adapter_parameters(), strict=True) if q.ndim)
    with torch.no_grad():
        with adapted.off():
            assert equal(adapted(x), wanted)  # G2, in train mode too
        assert not equal(adapted(x), wanted)
        assert equal(adapted(x, adapter=None), wanted)
    proof = adapted.verify()
    assert proof.before == proof.now
    assert proof.tensors == len(before)
    assert proof.outputs > 0
    assert tree(adapted.detach()) == shape


@KINDS
def test_modes_of_a_user_do_not_reach_the_frozen_trunk(kind: str) -> None:
    whole = trunk(kind)
    adapted, x = attach(whole), images()
    with torch.no_grad():
        wanted = adapted(x)
        for spoil in (
            lambda: adapted.train(),
            lambda: nn.Module.train(adapted),
            lambda: adapted.network("default").train(),
            lambda: adapted.network(None).train(),
            lambda: adapted.apply(lambda m: m.train()),
            lambda: nn.Sequential(adapted).train(),
            lambda: whole.train(),
        ):
            spoil()
            assert equal(adapted(x), wanted)  # dropout, drop path and batch statistics stay off
    adapted.requires_grad_(True)
    assert not any(p.requires_grad for p in adapted.network(None).parameters())
    adapted.verify()


def test_a_trunk_in_train_mode_is_given_back_in_it() -> None:
    whole = trunk("resnet").train()
    adapted = attach(whole)
    assert adapted.training
    train(adapted)
    assert all(m.training for m in adapted.detach().modules())
    assert attach(trunk("resnet")).training is False


@pytest.mark.parametrize("kind", ["vit", "resnet", "nfnet"])
def test_every_adapter_of_a_set_acts_and_learns(kind: str) -> None:
    adapted, x = attach(trunk(kind), AdapterConfig(init="near_zero")), images()
    with torch.no_grad():
        wanted = adapted(x)
        off = adapted(x, adapter=None)
        scale = max(float(t.abs().max()) for t in leaves(off))
        assert max(float((a - b).abs().max()) for a, b in zip(leaves(wanted), leaves(off), strict=True)) < 0.02 * scale
        for adapter in adapted.adapters["default"].children():
            before = copy.deepcopy(adapter.state_dict())
            for p in adapter.parameters():
                p.add_(0.1)
            assert not equal(adapted(x), wanted)
            adapter.load_state_dict(before)
    sum(t.square().mean() for t in leaves(adapted(x))).backward()  # pyright: ignore[reportAttributeAccessIssue]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in adapted.adapter_parameters())


def test_choosing_changes_what_may_learn_for_none() -> None:
    adapted = attach(trunk("vit"), name="a")
    adapted.add("b")
    adapted.adapters["a"].requires_grad_(False)
    with adapted.off():
        adapted.use("b")
    adapted.use("a")
    assert not any(p.requires_grad for p in adapted.adapter_parameters())
    assert all(p.requires_grad for p in adapted.adapter_parameters("b"))


def test_an_exception_brings_back_what_was_in_use() -> None:
    adapted = attach(trunk("vit"), name="a")
    adapted.add("b")
    adapted.use("b")

    def fail() -> None:
        with adapted.off(), adapted.using("a"):
            assert adapted.in_use == "a"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert adapted.in_use == "b"  # G7


def test_a_change_of_the_trunk_is_found() -> None:
    whole = trunk("resnet")
    adapted = attach(whole)
    with torch.no_grad():
        whole.get_submodule("stem").weight[0, 0, 0, 0] += 1e-7  # pyright: ignore[reportIndexIssue]
    with pytest.raises(TrunkChanged, match="SHA-256"):
        adapted.verify()
    whole = trunk("resnet")
    adapted = attach(whole)
    whole.train()(images())  # the trunk itself, in train mode: its batch norms take new statistics
    with pytest.raises(TrunkChanged):
        adapted.verify()


def test_a_strict_run_stops_when_the_trunk_is_written_to() -> None:
    whole = trunk("resnet")
    adapted = attach(whole, strict=2)
    train(adapted, steps=3)
    with torch.no_grad():
        next(whole.parameters()).mul_(0.999)
    with pytest.raises(TrunkChanged, match="call 4"):
        train(adapted, steps=2)


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_copies_and_pickles_work_and_keep_apart(kind: str) -> None:
    adapted, x = attach(trunk(kind)), images()
    train(adapted)
    with torch.no_grad():
        wanted, off = adapted(x), adapted(x, adapter=None)
        for other in (copy.deepcopy(adapted), pickle.loads(pickle.dumps(adapted)), copy.deepcopy(nn.Sequential(adapted))[0]):
            assert equal(other(x), wanted)
            with torch.enable_grad():
                train(other)
            assert not equal(other(x), wanted)
            assert equal(other(x, adapter=None), off)
            other.verify()
        assert equal(adapted(x), wanted)


@pytest.mark.parametrize("kind", ["vit", "resnet", "timm-vit"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_leave_the_trunk_as_it_is(kind: str, dtype: torch.dtype) -> None:
    whole, x = trunk(kind), images()
    before = state(whole)
    adapted = attach(whole).to(dtype)
    with torch.no_grad():
        alone = copy.deepcopy(whole).to(dtype)(x.to(dtype))
        assert equal(adapted(x.to(dtype)), alone)  # G2 and G3 for this type
    train_in = adapted.float()
    train(train_in)
    adapted.verify()
    adapted.to(dtype).verify()
    with torch.no_grad():
        assert equal(adapted(x.to(dtype), adapter=None), alone)
    assert state(whole) == before
    with torch.no_grad():
        assert equal(adapted.float()(x, adapter=None), whole(x))  # nothing was rounded away on the way


def test_autocast_gives_what_the_trunk_gives_under_it() -> None:
    whole, x = trunk("vit"), images()
    adapted = attach(whole)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wanted = whole(x)
        assert equal(adapted(x), wanted)
        assert equal(adapted(x, adapter=None), wanted)


@pytest.mark.slow
def test_compiled_it_gives_the_same_and_switches() -> None:
    adapted, x = attach(trunk("vit"), name="a"), images()
    adapted.add("b")
    with torch.no_grad():
        for p in adapted.adapter_parameters("b"):
            p.add_(0.1)
        compiled = torch.compile(adapted, backend="aot_eager")
        for name in ("a", "b", None, "a"):
            adapted.use(name)
            torch.testing.assert_close(compiled(x).pooled, adapted(x).pooled)
    adapted.verify()
