"""Optimisers by name, their parameter groups and state; freezing; learning rate and weight decay by step.

The rate rises linearly during the warm-up, then follows the named schedule:

    cosine         half a cosine to the floor (SGDR without restarts, arXiv 1608.03983, eq. 5)
    linear         a line to the floor
    constant       stays
    milestones     a tenth at each of some shares of the run, as detectors learn (Detectron)
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from tapetum.core.devices import send_to_device
from tapetum.core.errors import BadInput
from tapetum.train.config import ParameterRule, TrainConfig
from tapetum.train.process_group import full_norms, is_sharded, shard_of

Layers = Sequence[Sequence[nn.Module | nn.Parameter]]
"""What a network consists of, from input to output; see `Task.layers`."""


def decay_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Make two groups: weights of two and more dimensions, which decay, and biases, gains and offsets, which don't."""
    learning = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim >= 2]},
        {"params": [p for p in learning if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def rule_for(name: str, rules: Sequence[ParameterRule]) -> ParameterRule | None:
    """Find the first rule that matches a parameter's name.

    >>> rules = (ParameterRule(pattern="trunk.norm*"), ParameterRule(pattern="trunk.*", frozen=True))
    >>> rule_for("trunk.blocks.0.weight", rules).frozen, rule_for("trunk.norm.bias", rules).frozen, rule_for("head", rules)
    (True, False, None)
    """
    return next((rule for rule in rules if fnmatchcase(name, rule.pattern)), None)


def freeze_by_rules(model: nn.Module, rules: Sequence[ParameterRule]) -> None:
    """Freeze the parameters that `rules` select; BadInput for a pattern that matches no parameter."""
    names = [name for name, _ in model.named_parameters()]
    for rule in rules:
        if not any(fnmatchcase(name, rule.pattern) for name in names):
            raise BadInput(f"no parameter is named like {rule.pattern!r}; they are {', '.join(names[:3])} and so on")
    if any(rule.frozen for rule in rules):
        freeze_where(model, lambda name: (rule := rule_for(name, rules)) is not None and rule.frozen)


def layer_scales(model: nn.Module, layers: Layers, decay: float) -> dict[int, float]:
    """Find each parameter's factor on the rate, by id: decay to the power of the number of layers between it and the output.

    >>> model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1))
    >>> scales = layer_scales(model, [[model[0]], [model[1]]], 0.5)
    >>> [scales[id(layer.weight)] for layer in model]
    [0.25, 0.5, 1.0]
    """
    scales = {id(p): 1.0 for p in model.parameters()}
    for number, layer in enumerate(layers):
        for part in layer:
            for p in part.parameters() if isinstance(part, nn.Module) else (part,):
                scales[id(p)] = decay ** (len(layers) - number)
    return scales


def ruled_groups(
    groups: Sequence[Mapping[str, Any]], model: nn.Module, config: TrainConfig, layers: Layers = ()
) -> list[dict[str, Any]]:
    """Split groups whose parameters get different settings from the config's `layer_decay` or `rules`."""
    if config.layer_decay is None and not config.rules:
        return [dict(group) for group in groups]
    if config.layer_decay is not None and not layers:
        raise BadInput("layer_decay is given but the task names no layers; define Task.layers, or leave layer_decay None")
    scales = layer_scales(model, layers, 1.0 if config.layer_decay is None else config.layer_decay)
    names = {id(p): name for name, p in model.named_parameters()}
    split: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, group in enumerate(groups):
        for p in group["params"]:
            if not p.requires_grad:
                continue
            rule = rule_for(names[id(p)], config.rules) or ParameterRule(pattern="*")
            scale = group.get("lr_scale", 1.0) * scales[id(p)] * rule.lr_scale
            changed = {**group, "lr_scale": scale, "params": []}
            if rule.weight_decay is not None:
                changed["weight_decay"] = rule.weight_decay
            if rule.warmup_steps:
                changed["warmup_steps"] = rule.warmup_steps
            split.setdefault((number, scale, rule.weight_decay, rule.warmup_steps), changed)["params"].append(p)
    if not split:
        raise BadInput("rules freeze every parameter; leave something to learn")
    return list(split.values())


def build_optimizer(groups: Sequence[Mapping[str, Any]], config: TrainConfig, decay: bool = True) -> torch.optim.Optimizer:
    """Make the optimiser that the config names; a group's `lr_scale` is saved for `set_learning_rates`.

    Without `decay` no group's weights decay: another optimiser of the same weights does that.
    """
    own = [{"lr_scale": 1.0, "decay_is_own": "weight_decay" in group or not decay, **group} for group in groups]
    for group in own if not decay else ():
        group["weight_decay"] = 0.0
    if config.optimizer == "adamw":
        return torch.optim.AdamW(
            own, lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, fused=True
        )
    common = {"lr": config.lr, "momentum": config.momentum, "weight_decay": config.weight_decay, "nesterov": config.nesterov}
    if config.optimizer == "sgd":
        return torch.optim.SGD(own, **common)
    return Lars(own, trust_coefficient=config.trust_coefficient, **common)


def set_learning_rates(optimizer: torch.optim.Optimizer, lr: float, weight_decay: float, step: int = 0) -> None:
    """Set the step's learning rate, times each group's factors, and the weight decay of groups without their own.

    In a group with `warmup_steps`, the rate also rises over that many steps.
    """
    for group in optimizer.param_groups:
        slow = group.get("warmup_steps", 0)
        group["lr"] = lr * group["lr_scale"] * (min((step + 1) / slow, 1.0) if slow else 1.0)
        if not group["decay_is_own"]:
            group["weight_decay"] = weight_decay


def _named(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    names = {id(p): name for name, p in model.named_parameters()}
    return [(names[id(p)], p) for group in optimizer.param_groups for p in group["params"]]


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Shaped[Tensor, "..."]]:
    """Flatten the optimiser's state: '<parameter>/exp_avg' and so on."""
    return {f"{name}/{key}": value for name, p in _named(optimizer, model) for key, value in optimizer.state.get(p, {}).items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Restore what `optimizer_tensors` collected, in the parameters' own memory layout (the fused kernel relies on it).

    The tensors are full; if a parameter is sharded, this process takes its shard.
    """
    by_name: dict[str, dict[str, Tensor]] = {}
    for entry, value in tensors.items():
        name, _, key = entry.rpartition("/")
        by_name.setdefault(name, {})[key] = value
    state: dict[int, dict[str, Tensor]] = {}
    for index, (name, p) in enumerate(_named(optimizer, model)):
        if own := by_name.get(name):
            state[index] = {
                k: v if v.shape != p.shape or is_sharded(v) else torch.empty_like(p).copy_(shard_of(v, p))
                for k, v in own.items()
            }
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def learning_rate(step: int, config: TrainConfig) -> float:
    """Compute the learning rate used by step `step` (0-based).

    The first step of the warm-up already moves (lr / warmup_steps, not 0) and its last one reaches lr; the run's last step uses
    final_lr if the schedule ends there.

    >>> config = TrainConfig(steps=11, batch_size=1, lr=1.0, final_lr=0.1, warmup_steps=4)
    >>> [round(learning_rate(step, config), 3) for step in (0, 1, 3, 10)]
    [0.25, 0.5, 1.0, 0.1]
    >>> config = TrainConfig(steps=9, batch_size=1, lr=1.0, schedule="milestones")
    >>> [round(learning_rate(step, config), 3) for step in (5, 6, 7, 8)]
    [1.0, 0.1, 0.1, 0.01]
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "milestones":
        return config.lr * 0.1 ** sum(step >= share * config.steps for share in config.milestones)
    start = max(config.warmup_steps - 1, 0)
    progress = min((step - start) / max(config.steps - 1 - start, 1), 1.0)
    if config.schedule == "linear":
        return config.lr + (config.final_lr - config.lr) * progress
    return config.final_lr + (config.lr - config.final_lr) * 0.5 * (1.0 + math.cos(math.pi * progress))


def weight_decay(step: int, config: TrainConfig) -> float:
    """Compute the weight decay used by step `step` (0-based), for groups without a decay of their own.

    >>> config = TrainConfig(steps=11, batch_size=1, weight_decay=0.04, final_weight_decay=0.4)
    >>> [round(weight_decay(step, config), 3) for step in (0, 5, 10)]
    [0.04, 0.22, 0.4]
    """
    if config.final_weight_decay is None:
        return config.weight_decay
    progress = min(step / max(config.steps - 1, 1), 1.0)
    gap = config.weight_decay - config.final_weight_decay
    return config.final_weight_decay + gap * 0.5 * (1.0 + math.cos(math.pi * progress))


class _StaysInEval:
    """Replacement for a module's `train`: always eval mode. A class, so that the module can be pickled."""

    def __init__(self, module: nn.Module):
        self.module = module

    def __call__(self, mode: bool = True) -> nn.Module:
        return type(self.module).train(self.module, False)


def freeze(module: nn.Module) -> nn.Module:
    """Freeze a module: it learns nothing and stays in eval mode even if `train()` is called; returns it.

    Its dropout is off, and its batch norms neither use nor update batch statistics.

    >>> model = nn.Sequential(freeze(nn.BatchNorm1d(2)), nn.Linear(2, 2)).train()
    >>> model[0].training, model[1].training
    (False, True)
    """
    module.requires_grad_(False)
    for inner in module.modules():
        inner.train = _StaysInEval(inner)  # type: ignore[method-assign]
    return module.eval()


def freeze_where(model: nn.Module, chosen: Callable[[str], Any]) -> nn.Module:
    """Freeze the parameters with the chosen names, and `freeze` modules whose parameters are all chosen."""
    for name, parameter in model.named_parameters():
        if chosen(name):
            parameter.requires_grad_(False)
    for name, module in model.named_modules():
        names = [f"{name}.{own}".lstrip(".") for own, _ in module.named_parameters()]
        if names and all(chosen(own) for own in names):
            freeze(module)
    return model


def holds_batch_statistics(model: nn.Module, but_joint: bool = False) -> str | None:
    """Find the first module whose output for an example depends on other examples in its batch; return its name and kind.

    With `but_joint`, modules that see the batch of all processes (`gather.SyncBatchNorm`) don't count.
    """
    for name, module in model.named_modules():
        batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm) and not (but_joint and hasattr(module, "joint"))
        if batch_norm and (module.training or module.running_mean is None):
            return f"{name or 'the model'} ({type(module).__name__})"
    return None


class Lars(torch.optim.Optimizer):
    """LARS: stochastic gradient descent in which each matrix moves by a fraction of its own norm.

    Source: "Large Batch Training of Convolutional Networks" (arXiv 1708.03888, algorithm 1 and eq. 6). With trust coefficient
    eta, learning rate gamma, momentum m and weight decay beta:

        local = eta * |w| / (|g| + beta * |w|)
        v     = m * v + gamma * local * (g + beta * w)
        w     = w - v

    Vectors (biases, gains and offsets of norms) are not adapted: local is 1, as in SimCLR (arXiv 2002.05709, B.9) and BYOL.
    The same holds for a weight where |w| or |g| + beta * |w| is zero. The rate is inside the momentum, as published; code with
    it outside differs when the rate changes. Under FSDP2, norms are of whole weights, with one exchange per step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
        nesterov: bool = False,
    ):
        settings = {"momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, {"lr": lr, **settings, "trust_coefficient": trust_coefficient, "nesterov": nesterov})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        learning = [(p, group) for group in self.param_groups for p in group["params"] if p.grad is not None]
        locals_ = self._local_rates([(p, group) for p, group in learning if p.dim() >= 2])
        for p, group in learning:
            assert p.grad is not None
            decay, momentum = group["weight_decay"], group["momentum"]
            move: Tensor = p.grad.add(p, alpha=decay).mul_(group["lr"] * locals_.get(p, 1.0))
            state = self.state[p]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(p)
            velocity = state["momentum_buffer"].mul_(momentum).add_(move)
            p.sub_(move.add_(velocity, alpha=momentum) if group["nesterov"] else velocity)

    def _local_rates(self, adapted: Sequence[tuple[Tensor, Mapping[str, Any]]]) -> dict[Tensor, Tensor]:
        """Compute each matrix's factor on the rate; it stays on the device, so no step waits for it."""
        if not adapted:
            return {}
        weights, gradients = full_norms([*(p for p, _ in adapted), *(p.grad for p, _ in adapted)]).chunk(2)  # type: ignore[misc]
        settings = [[group["weight_decay"], group["trust_coefficient"]] for _, group in adapted]
        decay, trust = send_to_device(torch.tensor(settings, dtype=torch.float64), weights.device).unbind(1)
        below = gradients + decay * weights
        local = torch.where((weights > 0) & (below > 0), trust * weights / below, 1.0)
        return {p: factor for (p, _), factor in zip(adapted, local, strict=True)}
