"""Losses of the ways to pre-train an encoder; the supervised one uses cross entropy.

Sources: SimCLR (arXiv 2002.05709, eq. 1), BYOL (2006.07733, eq. 2), DINO (2104.14294, eq. 3), MAE (2111.06377, section 3), CLIP
(2103.00020, figure 3), SigLIP (2303.15343, eq. 1); "Where Should I Spend My FLOPs?" (2209.15589) compares all but the last.
DINOv2 (2304.07193: masked patches, KoLeo, Sinkhorn-Knopp), DINOv3 (2508.10104: Gram anchoring), LeJEPA (2511.08544,
algorithm 1: SIGReg), I-JEPA (2301.08243, its public code: smooth L1, where the paper has L2).

`simclr`, `clip` and `siglip` take negatives from all processes of a run (`tapetum.train.contrastive`), `sinkhorn_knopp`,
`koleo` and `sigreg` samples; the others are means over a process's own examples. Either way, the mean over processes, which a
run minimises, is the loss of the joint batch. All are computed in at least float32, regardless of autocast.

Differs from the papers: `byol` is minus the cosine, as in most code; BYOL's 2 - 2 cos is 2 + 2 * `byol`, with twice the slope.
`sinkhorn_knopp` works on logarithms: where the public code overflows (logits above 88 temperatures) it does not. `sigreg`
integrates over 0..3 as its public code does, where the paper's listing has -5..5.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.layers.precision import unrounded
from tapetum.train.contrastive import clip_loss, nt_xent, siglip_loss
from tapetum.train.gather import all_gather, all_reduce
from tapetum.train.process_group import current_process_group


def simclr(z1: Float[Tensor, "b d"], z2: Float[Tensor, "b d"], temperature: float) -> Float[Tensor, ""]:
    """Compute NT-Xent: each projection must match the one of its other view, among all others of both views (eq. 1).

    Projections may have any length; their cosines are divided by the temperature. Raises BadInput for one image in total, which
    has no negatives.
    """
    _check_negatives(z1)
    return nt_xent(z1, z2, 1 / temperature)


def clip(
    image: Float[Tensor, "b d"],
    text: Float[Tensor, "b d"],
    scale: float | Float[Tensor, ""],
    captions: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """Compute the mean of two cross entropies: images must match their texts, and texts their images.

    Embeddings may have any length; their cosines are multiplied by `scale`. `captions` numbers the texts: those with the same
    number are all correct for each other's images, in equal parts; without it only an image's own row is. Raises BadInput for
    one pair in total, which has no negatives.
    """
    _check_negatives(image)
    return clip_loss(image, text, scale, captions)


def siglip(
    image: Float[Tensor, "b d"],
    text: Float[Tensor, "b d"],
    scale: float | Float[Tensor, ""],
    bias: float | Float[Tensor, ""],
    captions: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """Compute the sum of each image's binary cross entropies with all texts, averaged over images.

    Arguments are those of `clip`, and `bias`, which is added to the scaled cosines. Images with equal captions match each
    other's texts.
    """
    return siglip_loss(image, text, scale, bias, captions)


def byol(p: Float[Tensor, "b d"], z: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Compute minus the mean cosine of predictions and the target network's projections of the other view; one direction.

    The caller stops the gradient, by computing `z` without one.

    >>> rows = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    >>> float(byol(rows, rows * 2)), float(byol(rows, -rows))
    (-1.0, 1.0)
    """
    return -F.cosine_similarity(_precise(p), _precise(z), dim=-1).mean()


def centred(logits: Float[Tensor, "*n k"], center: Float[Tensor, " k"], temperature: float) -> Float[Tensor, "*n k"]:
    """Compute the teacher's probabilities: softmax of its logits, less their running mean, over the temperature."""
    return F.softmax((_precise(logits) - center) / temperature, dim=-1)


def pairs(student_views: Float[Tensor, "v b k"], targets: Float[Tensor, "t b k"], temperature: float) -> Float[Tensor, ""]:
    """Compute the mean cross entropy of the student's views and the teacher's probabilities, over pairs of different views.

    `student_views`: logits, to be divided by the temperature; the teacher's views come first, in the teacher's order.
    """
    log_probabilities = F.log_softmax(_precise(student_views) / temperature, dim=-1)
    # (teachers, students): minus the cross entropy (DINO, eq. 1), summed over images; a matrix product of so many terms would
    # be off by 1e-4 in float32
    products = torch.stack([(each * log_probabilities).sum((1, 2)) for each in _precise(targets)])
    # a pair of one view with itself is left out (eq. 3)
    count = len(targets) * (len(student_views) - 1) * targets.shape[1]
    return -(products.sum() - products.diagonal().sum()) / count


def mae(
    prediction: Float[Tensor, "b n k"], target: Float[Tensor, "b n k"], hidden: Bool[Tensor, "b n"], normalise: bool
) -> Float[Tensor, ""]:
    """Compute the mean squared error over the values of all patches that are `hidden` from the encoder.

    `normalise`: scale each patch's target to mean 0 and deviation 1, with variance over k - 1, plus 1e-6.
    """
    target = _precise(target)
    if normalise:
        variance, mean = torch.var_mean(target, -1, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
    error = (_precise(prediction) - target).square().mean(-1)
    return (error * hidden).sum() / hidden.sum().clamp(min=1)


def ijepa(prediction: Float[Tensor, "*n d"], target: Float[Tensor, "*n d"]) -> Float[Tensor, ""]:
    """Compute the mean smooth L1 distance between predictions and tokens, each token first brought to mean 0 and variance 1.

    >>> round(float(ijepa(torch.tensor([[3.0, -1.0]]), torch.tensor([[5.0, 1.0]]))), 4)  # errors 2 and 0: (2 - 1/2) / 2
    0.75
    """
    target = _precise(target)
    return F.smooth_l1_loss(_precise(prediction), F.layer_norm(target, target.shape[-1:]))


SINKHORN_ITERATIONS = 3
"""How often prototypes, then samples are normalised, over the samples of all processes."""


@torch.no_grad()
def sinkhorn_knopp(logits: Float[Tensor, "n k"], temperature: float) -> Float[Tensor, "n k"]:
    """Assign samples to prototypes so that all prototypes are used alike, by the algorithm of Sinkhorn and Knopp.

    Rows sum to 1. `logits`: the teacher's, of this process's samples, to be divided by the temperature; processes may have
    different numbers of them, or none.
    """
    logits = _precise(logits)
    highest = logits.amax(1, keepdim=True) if len(logits) else logits.new_zeros(0, 1)
    top = all_gather(highest.amax()[None] if len(logits) else logits.new_full((1,), -torch.inf)).amax()
    below = (logits - highest) / temperature  # logarithms of the matrix; each row's maximum stands in `of_sample`
    of_sample, of_prototype = (highest - top) / temperature, below.new_zeros(below.shape[1])
    for _ in range(SINKHORN_ITERATIONS):
        sums = (below + of_sample).logsumexp(0) if len(logits) else below.new_full((below.shape[1],), -torch.inf)
        of_prototype = -all_gather(sums[None]).logsumexp(0)
        of_sample = -(below + of_prototype).logsumexp(1, keepdim=True)
    return (below + of_prototype + of_sample).exp()


def koleo(features: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Compute the Kozachenko-Leonenko regulariser: minus the mean log distance of vectors, brought to length 1, to the nearest
    other of all processes (in the public code, of one).

    Neighbours carry gradient; give the views of a batch one by one. Raises BadInput for one row, which has no neighbour.
    """
    world = current_process_group()
    if len(features) * world.size < 2:
        raise BadInput(f"KoLeo got {len(features)} rows, which have no neighbours; give 2 or more")
    with unrounded(features):
        unit = F.normalize(_precise(features), dim=-1, eps=1e-8)
        others, first = all_gather(unit), len(unit) * world.rank
        with torch.no_grad():
            cosines = unit @ others.T
            cosines[:, first : first + len(unit)].fill_diagonal_(-1)
            nearest = cosines.argmax(1)
        return -(F.pairwise_distance(unit, others[nearest], eps=1e-8) + 1e-8).log().mean()


def masked_patches(
    student_logits: Float[Tensor, "m k"],
    teacher_probabilities: Float[Tensor, "m k"],
    image_of_patch: Int[Tensor, " m"],
    images: int,
    temperature: float,
) -> Float[Tensor, ""]:
    """Compute iBOT's loss: the cross entropy of each masked patch with the teacher's, averaged by image, then over images.

    `image_of_patch`: 0..images - 1; an image without a masked patch counts as 0. The student's logits are divided by the
    temperature.
    """
    log_probabilities = F.log_softmax(_precise(student_logits) / temperature, dim=-1)
    entropies = -(_precise(teacher_probabilities) * log_probabilities).sum(-1)
    patches = entropies.new_zeros(images).index_add(0, image_of_patch, torch.ones_like(entropies))
    return (entropies / patches[image_of_patch]).sum() / images


def gram(features: Float[Tensor, "b n d"], anchor: Float[Tensor, "b n d"]) -> Float[Tensor, ""]:
    """Compute the mean squared difference of two networks' cosines between all patches of an image (DINOv3, section 4.2).

    `anchor` is of the same patches, made without gradient.

    >>> rows = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    >>> [round(float(gram(rows, other)), 6) for other in (rows.flip(-1), torch.ones(1, 2, 2))]  # half of the cosines 0, not 1
    [0.0, 0.5]
    """
    with unrounded(features):
        ours, theirs = (F.normalize(_precise(x), dim=-1) for x in (features, anchor))
        return (ours @ ours.mT - theirs @ theirs.mT).square().mean()


SIGREG_REACH, SIGREG_POINTS = 3.0, 17
"""Greatest frequency at which characteristic functions are compared, and number of frequencies from 0 to it."""


def sigreg(features: Float[Tensor, "n d"], slices: int, seed: int) -> Float[Tensor, ""]:
    """Compute how far features are from an isotropic standard normal: the mean Epps-Pulley statistic of random projections.

    For each of `slices` random unit vectors a, n * integral of |mean of exp(i t a.x) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) dt,
    over the n rows x of all processes. Divided by n, it tends to 0 for a standard normal alone.

    Rows are samples, the same number in every process; all processes must pass the same seed, and each step another.
    """
    with unrounded(features):
        x = _precise(features)
        generator = torch.Generator().manual_seed(seed)
        directions = torch.randn(x.shape[1], slices, generator=generator, device="cpu").to(x)  # the same on every device
        frequencies = torch.linspace(0, SIGREG_REACH, SIGREG_POINTS, device=x.device, dtype=x.dtype)
        normal = (-frequencies.square() / 2).exp()
        angles = (x @ (directions / directions.norm(dim=0)))[..., None] * frequencies  # (n, slices, points)
        world = current_process_group().size
        cosine, sine = (all_reduce(wave.mean(0)) / world for wave in (angles.cos(), angles.sin()))
        distance = ((cosine - normal).square() + sine.square()) * normal
        return 2 * torch.trapezoid(distance, frequencies).mean() * len(x) * world  # 2: of both signs of t


def meeting(views: Float[Tensor, "v b k"], large: int) -> Float[Tensor, ""]:
    """Compute LeJEPA's prediction loss: the mean squared distance of all projections to the mean of the `large` first ones."""
    z = _precise(views)
    return (z - z[:large].mean(0)).square().mean()


def _check_negatives(rows: Tensor) -> None:
    if rows.shape[0] * current_process_group().size < 2:
        raise BadInput(f"a batch of {rows.shape[0]} has no negatives to tell an image from; give batch_size 2 or more")


def _precise(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
