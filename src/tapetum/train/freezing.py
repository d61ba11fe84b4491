"""Parts of a model that learn nothing."""

from collections.abc import Callable
from typing import Any

from torch import nn


class _StaysInEval:
    """In the place of a module's `train`: eval mode, whatever is asked for. A class, so that the module can be pickled."""

    def __init__(self, module: nn.Module):
        self.module = module

    def __call__(self, mode: bool = True) -> nn.Module:
        return type(self.module).train(self.module, False)


def freeze(module: nn.Module) -> nn.Module:
    """Let a module learn nothing and stay in eval mode whatever calls `train()`; returns it.

    So its dropout is off, and its batch norms neither use nor touch statistics of a batch.

    >>> model = nn.Sequential(freeze(nn.BatchNorm1d(2)), nn.Linear(2, 2)).train()
    >>> model[0].training, model[1].training
    (False, True)
    """
    module.requires_grad_(False)
    for inner in module.modules():
        inner.train = _StaysInEval(inner)  # type: ignore[method-assign]
    return module.eval()


def freeze_where(model: nn.Module, wanted: Callable[[str], Any]) -> nn.Module:
    """Let parameters whose names are wanted learn nothing, and `freeze` modules that have parameters, all of which are so."""
    for name, parameter in model.named_parameters():
        if wanted(name):
            parameter.requires_grad_(False)
    for name, module in model.named_modules():
        names = [f"{name}.{own}".lstrip(".") for own, _ in module.named_parameters()]
        if names and all(wanted(own) for own in names):
            freeze(module)
    return model


def holds_batch_statistics(model: nn.Module, but: type[nn.Module] | tuple[()] = ()) -> str | None:
    """Name, with its kind, the first module whose answer for an example depends on the other examples of its batch, if any.

    `but` is a kind that is not looked for.
    """
    for name, module in model.named_modules():
        batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, but)
        if batch_norm and (module.training or module.running_mean is None):
            return f"{name or 'the model'} ({type(module).__name__})"
    return None
