"""Cost of a training step on many GPUs, in closed form: bytes exchanged per step, memory of a rank, and time.

Everything is counted from the shapes of weights; `tests/train/test_traffic.py` counts the same bytes in real steps of 2 and 4
processes, and they are equal. The formulas follow:

    FSDP (arXiv 2304.11277), a unit of weights     all-gather before each forward, and before each backward unless it is the
                                                   outermost unit, whose weights stay; reduce-scatter of its gradients
    HSDP (there, section 3.2.2)                    all-reduce of each rank's shard of the gradients over the replicas
    ring collectives (Patarasuk and Yuan 2009)     of B bytes a rank sends B (n - 1) / n in all-gather and reduce-scatter, and
                                                   twice that in all-reduce
    AdamW (arXiv 1711.05101)                       two moments a weight, float32; ZeRO (arXiv 1910.02054), section 3.1
    activations (arXiv 2205.05198, eq. 2)          without dropout and with fused attention: `encoder_block_bytes`
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from tapetum.account.config import Constant, Interval

GIB = 1 << 30


_H100 = (
    Constant("flops", 989e12, 989e12, 989e12, "FLOP/s", "H100 SXM, dense bfloat16: NVIDIA's data sheet"),
    Constant(
        "flops_float32", 67e12, 67e12, 494e12, "FLOP/s",
        "H100 SXM, float32; high: dense TF32, as PyTorch computes convolutions unless told otherwise: NVIDIA's data sheet",
    ),
    Constant("memory", 80e9, 80e9, 80e9, "B", "H100 SXM: NVIDIA's data sheet"),
    Constant(
        "within", 360e9, 225e9, 450e9, "B/s",
        "what a GPU sends to others of its machine: NVLink's 900 GB/s are 450 each way by the data sheet; four fifths of "
        "that are assumed, and at least half",
    ),
    Constant(
        "across", 40e9, 25e9, 50e9, "B/s",
        "what a GPU sends to other machines: a port of 400 Gb/s a GPU, as in NVIDIA's DGX H100; four fifths of that are "
        "assumed, and at least half",
    ),
    Constant("utilisation", 0.35, 0.2, 0.5, "", "share of the FLOP/s that a step reaches: a guess, not measured"),
)  # fmt: skip
H100 = {constant.name: constant for constant in _H100}
"""What estimates of time rest on, by name."""
Device = Mapping[str, Constant]
"""The same of any GPU."""


def _gpu(name: str, bfloat16: float, float32: float, tf32: float, gigabytes: float) -> Device:
    """Describe a GPU whose TFLOP/s and memory its maker's data sheet has; the rest is assumed as of an H100."""
    source = f"{name}: NVIDIA's data sheet"
    flops, memory = 1e12 * bfloat16, 1e9 * gigabytes
    return {
        **H100,
        "flops": Constant("flops", flops, flops, flops, "FLOP/s", f"{source}, dense bfloat16"),
        "flops_float32": Constant(
            "flops_float32", 1e12 * float32, 1e12 * float32, 1e12 * tf32, "FLOP/s", f"{source}; high: TF32"
        ),
        "memory": Constant("memory", memory, memory, memory, "B", source),
    }


ALONE: Mapping[str, Device] = {
    "H100": H100,
    "A100": _gpu("A100 SXM 80GB", 312, 19.5, 156, 80),
    "RTX4090": _gpu("GeForce RTX 4090", 165.2, 82.6, 82.6, 24),
    "L4": _gpu("L4", 121, 30.3, 60, 24),
}
"""GPUs that a plan says of what one of them takes."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Weights that FSDP gathers and lets go of together: a block, or all that is in none."""

    shapes: tuple[tuple[int, ...], ...]
    """Of its weights."""
    learning: tuple[tuple[int, ...], ...]
    """Of those that get gradients; none of a teacher."""
    forwards: int = 1
    """Times that it is called in a micro-batch."""
    backwards: int = 1
    """Calls that gradients go back through."""
    in_vain: int = 0
    """Gathers that no call needs: FSDP fetches in the backward pass what was called before, a teacher's last block too."""
    outermost: bool = False
    """Its weights stay gathered from the forward pass to the end of the backward pass."""

    @property
    def gathers(self) -> int:
        """Count its all-gathers in a micro-batch."""
        return 1 if self.outermost else self.forwards + self.backwards + self.in_vain


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
    gradient_bytes: int = 4
    """Bytes of a gradient on its way: 2 with reduce_bf16."""

    @property
    def ranks(self) -> int:
        """Count the processes."""
        return self.shards * self.replicas


def shard_size(shape: Sequence[int], shards: int) -> int:
    """Count the values of a weight in one of its shards, which are ranges of rows, the last ones padded.

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
    """Count the bytes of a step of FSDP, of HSDP (replicas) or, with one shard, of data parallelism.

    Weights are gathered and gradients scattered in every micro-batch; replicas exchange gradients in the last. Those of a unit
    that is called several times are sent after the backward pass of each call. Data parallelism sends them once.

    >>> unit = Unit(shapes=((10, 3),), learning=((10, 3),))
    >>> count_traffic([unit], Layout(shards=4, replicas=2, micro_batches=3))
    Traffic(gathered=864, scattered=432, replicated=36)
    """
    gathered = scattered = replicated = 0
    for unit in units:
        own = sum(shard_size(shape, layout.shards) for shape in unit.shapes)
        learned = sum(shard_size(shape, layout.shards) for shape in unit.learning)
        times = unit.backwards if layout.shards > 1 and not unit.outermost else 1
        if layout.shards > 1:
            gathered += own * layout.shards * layout.weight_bytes * unit.gathers * layout.micro_batches
            scattered += learned * layout.shards * layout.gradient_bytes * times * layout.micro_batches
        if layout.replicas > 1:
            replicated += learned * layout.gradient_bytes * times
    return Traffic(gathered=gathered, scattered=scattered, replicated=replicated)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of a rank."""

    weights: int
    """Its shards of the weights, float32, teachers' too."""
    gradients: int
    """Its shards of the gradients, float32."""
    moments: int
    """Its shards of the optimiser's moments, AdamW's two or one, float32."""
    gathered: int
    """At most at a time: the outermost unit, and two others (one in use, one on its way), with their whole gradients."""
    activations: int
    averages: int = 0
    """Its shards of the averages of weights, float32, that no teacher holds."""
    largest: int = 0
    """The largest weight, which is whole while it is made, and while finished weights are written."""

    @property
    def total(self) -> int:
        """Sum what a step has; allocator overhead and the libraries' own memory are extra."""
        return self.weights + self.gradients + self.moments + self.gathered + self.activations + self.averages

    @property
    def by_moment(self) -> dict[str, int]:
        """Sum what a rank has at the start, in a step, while a checkpoint in parts is saved or read, and at the end."""
        kept = self.weights + self.averages
        saved = kept + self.moments
        return {"start": kept + self.largest, "step": self.total, "save": saved, "end": saved + self.largest}


def least_shards(
    units: Sequence[Unit], layout: Layout, activations: int, room: float, averages: int = 0, moments: int = 2
) -> int | None:
    """Find the least number of shards, from the layout's on, with which a rank's memory suffices at every moment."""
    for shards in range(layout.shards, 1 << 16):
        memory = count_memory(units, replace(layout, shards=shards), activations, averages, moments)
        if max(memory.by_moment.values()) <= room:
            return shards
        if max(memory.gathered, memory.largest) + activations > room:
            break
    return None


def count_memory(units: Sequence[Unit], layout: Layout, activations: int, averages: int = 0, moments: int = 2) -> Memory:
    """Count the peak memory of a rank, for `activations` bytes of activations and a number of averages beside the units.

    The optimiser keeps `moments` numbers of a weight that learns.

    >>> unit = Unit(shapes=((10, 3),), learning=((10, 3),))
    >>> count_memory([unit], Layout(shards=4), 0).by_moment
    {'start': 156, 'step': 432, 'save': 108, 'end': 228}
    """
    shards = layout.shards
    own = sum(shard_size(shape, shards) for unit in units for shape in unit.shapes)
    learned = sum(shard_size(shape, shards) for unit in units for shape in unit.learning)
    whole = {True: [0], False: [0, 0]}
    for unit in units:
        weights, gradients = (sum(shard_size(shape, shards) for shape in shapes) for shapes in (unit.shapes, unit.learning))
        whole[unit.outermost].append(shards * layout.weight_bytes * (weights + gradients))
    gathered = sum(whole[True]) + sum(sorted(whole[False])[-2:]) if shards > 1 else 0
    return Memory(
        weights=4 * own,
        gradients=4 * learned,
        moments=4 * moments * learned,
        gathered=gathered,
        activations=activations,
        averages=4 * own * averages,
        largest=4 * max((prod(shape) for unit in units for shape in unit.shapes), default=0),
    )


def encoder_block_bytes(width: int, hidden: int, heads: int) -> int:
    """Count the bytes that a ViT block saves for its backward pass, for each token, under bfloat16 autocast.

        x, x'                   2 x 4 width     float32: the input, and what is behind the first residual
        norm(x), norm(x')       4 x 2 width     bfloat16: queries, keys and values each have a copy, the MLP one
        q, k, v, attention      4 x 2 width     attention is fused, so its scores are not kept
        layer, GELU             2 x 2 hidden
        log-sum-exp, norms      4 heads + 16    of the scores; means and deviations

    With hidden = 4 width that is 40 width: 32 of the 34 of arXiv 2205.05198 (eq. 2; it has two masks of dropout), 4 more since
    residuals are float32, and 4 for two more copies of norm(x).
    """
    return 24 * width + 4 * hidden + 4 * heads + 16


def decoder_block_bytes(width: int, hidden: int, heads: int, groups: int, head_width: int) -> int:
    """Count the bytes that a Gemma block saves for its backward pass, for each token, under bfloat16 autocast.

    x, x', and both normalised          4 x 4 width + 8                 float32; 8: the roots of the mean squares
    norm(x), norm(x')                   2 x 2 width                     bfloat16, as layers take them
    q and k, rotated; q, k, v; output   2 head_width x 3 (heads + groups)
    log-sum-exp                         4 heads
    gate and up, GELU, product          4 x 2 hidden
    """
    return 20 * width + 8 + 6 * head_width * (heads + groups) + 4 * heads + 8 * hidden


def checkpointed_bytes(kept: Sequence[tuple[int, int, int]]) -> int:
    """Count the bytes of activations with checkpointing: each block's float32 input, and all of the largest block.

    `kept` has for each call of a block its tokens, its width, and the bytes per token that it saves without checkpointing.

    >>> checkpointed_bytes([(10, 8, 300), (10, 8, 300)])
    3640
    """
    inputs = sum(4 * tokens * width for tokens, width, _ in kept)
    return inputs + max(tokens * each for tokens, _, each in kept)


def peak_flops(bf16: bool, device: Device = H100) -> Constant:
    """Look up the FLOP/s of a GPU in bfloat16, or else in float32."""
    return device["flops" if bf16 else "flops_float32"]


def step_seconds(
    flops: float, traffic: Traffic, layout: Layout, *, bf16: bool = True, device: Device = H100
) -> tuple[Interval, Interval, Interval]:
    """Estimate seconds of a step on GPUs: of computing, of exchanges, and of both together.

    `flops` are of all ranks, in bfloat16 or else in float32. Together: at best exchanges overlap fully with computing, or
    the other way round; at worst they run one after the other.
    """
    each = flops / layout.ranks
    computing = Interval(each, each, each).over(peak_flops(bf16, device)).over(device["utilisation"])
    within, across = traffic.sent_within(layout), traffic.sent_across(layout)
    exchanging = (
        Interval(within, within, within).over(H100["within"]).plus(Interval(across, across, across).over(H100["across"]))
    )
    together = Interval(
        max(computing.value, exchanging.value), max(computing.low, exchanging.low), computing.high + exchanging.high
    )
    return computing, exchanging, together
