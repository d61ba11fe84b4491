"""Cost of a training step on many GPUs, in closed form: bytes that a step exchanges, memory of a rank, and time.

Everything is counted from the shapes of weights; `tests/train/test_traffic.py` counts the same bytes in real steps of 2 and 4
processes, and they are equal. What the formulas follow:

    FSDP (arXiv 2304.11277), each unit of weights     all-gather before each forward, and before each backward unless it is the
                                                      outermost unit, whose weights stay; reduce-scatter of its gradients
    HSDP (there, section 3.2.2)                       all-reduce of each rank's shard of the gradients over the replicas
    ring collectives                                  of B bytes a rank sends B (n - 1) / n in all-gather and reduce-scatter, and
                                                      twice that in all-reduce (Patarasuk and Yuan 2009)
    AdamW (arXiv 1711.05101)                          two moments a weight, float32; ZeRO (arXiv 1910.02054) section 3.1
    activations of a block (arXiv 2205.05198, eq. 2)  without dropout and with fused attention: see `block_values`
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tapetum.account.config import Constant, Interval

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Weights that FSDP gathers and lets go of together: a block, or all that is in none."""

    shapes: tuple[tuple[int, ...], ...]
    """Of its weights."""
    forwards: int = 1
    """Times that it is called in a micro-batch."""
    backwards: int = 1
    """Times that gradients go back through it; 0 for a teacher's."""
    outermost: bool = False
    """Its weights stay gathered from the forward pass to the end of the backward pass."""
    gradients: tuple[tuple[int, ...], ...] | None = None
    """Shapes of the weights that get gradients; None: all where there is a backward."""

    def gathers(self) -> int:
        """Count its all-gathers in a micro-batch."""
        return 1 if self.outermost else self.forwards + self.backwards

    def reduced(self) -> tuple[tuple[int, ...], ...]:
        """List the shapes of the gradients that are exchanged."""
        if not self.backwards:
            return ()
        return self.shapes if self.gradients is None else self.gradients


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a step is shared out."""

    shards: int
    """Processes that hold a model together; 1: each holds all of it."""
    replicas: int = 1
    """Groups of these."""
    micro_batches: int = 1
    """Of a process in a step."""
    weight_bytes: int = 4
    """Bytes of a weight on its way: 2 with gather_bf16."""

    @property
    def ranks(self) -> int:
        """Count the processes."""
        return self.shards * self.replicas


def shard_size(shape: Sequence[int], shards: int) -> int:
    """Count the numbers of a weight in one of its shards, which are runs of rows, the last ones padded.

    >>> shard_size((10, 3), 4)
    9
    """
    return -(-shape[0] // shards) * prod(shape[1:])


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Bytes of one step, as they are handed to the exchanges: whole all-gathered and scattered tensors, reduced shards."""

    gathered: int
    """All-gathered weights."""
    scattered: int
    """Gradients before reduce-scatter."""
    replicated: int
    """Gradients of a rank that are all-reduced over the replicas."""

    def sent_within(self, layout: Layout) -> float:
        """Compute the bytes that a rank sends to others of its group of shards, in a ring."""
        return (self.gathered + self.scattered) * (layout.shards - 1) / layout.shards

    def sent_across(self, layout: Layout) -> float:
        """Compute the bytes that a rank sends to other groups, in a ring."""
        return 2 * self.replicated * (layout.replicas - 1) / layout.replicas


def count_traffic(units: Sequence[Unit], layout: Layout) -> Traffic:
    """Count the bytes of a step of FSDP, HSDP (replicas) or, with one shard, data parallelism.

    Gradients travel as float32, once a step; a unit that is called several times in a micro-batch has them reduced after the
    backward of each call.
    """
    gathered = scattered = replicated = 0
    for unit in units:
        own = sum(shard_size(shape, layout.shards) for shape in unit.shapes)
        learned = sum(shard_size(shape, layout.shards) for shape in unit.reduced())
        times = 1 if unit.outermost else unit.backwards
        if layout.shards > 1:
            gathered += own * layout.shards * layout.weight_bytes * unit.gathers() * layout.micro_batches
            scattered += learned * layout.shards * 4 * times
        if layout.replicas > 1:
            replicated += learned * 4 * (times if layout.shards > 1 else 1)
    return Traffic(gathered=gathered, scattered=scattered, replicated=replicated)
