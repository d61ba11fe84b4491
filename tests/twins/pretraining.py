"""Ways to pre-train once more, in 64 bits and image by image: which view of which network is compared with which, who learns.

The networks are given, as modules whose parameters and buffers are set before each step; a batch is of all processes.
SimCLR: arXiv 2002.05709, equation 1 and algorithm 1. BYOL: 2006.07733, equations 2 and 3, but for 2 - 2 cos. DINO: 2104.14294,
equations 3 and 4. MAE: 2111.06377, section 3. CLIP: 2103.00020, figure 3. SigLIP: 2303.15343, equation 1. DINOv2: 2304.07193,
section 4, with SwAV's queue (2006.09882) and Gram anchoring (2508.10104, section 4). LeJEPA: 2511.08544, algorithm 2. I-JEPA:
2301.08243, section 3, with the smooth L1 of its public code.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from twins import loop

Batch = Mapping[str, Any]


class Training(loop.Run):
    """A run whose gradients are those of `method(run, batch)`; `choices` are what its paper leaves open."""

    def __init__(
        self,
        networks: Mapping[str, Any],
        settings: loop.Settings,
        method: Callable[["Training", Batch], Tensor],
        choices: Mapping[str, Any],
    ):
        super().__init__({name: x.detach().numpy() for name, x in networks["model"].named_parameters()}, settings)
        self.networks, self.method, self.choices = networks, method, choices
        state = networks["model"].state_dict().items()
        self.buffers = {name: x.clone() for name, x in state if name not in self.p and x.is_floating_point()}
        self.average_buffers = {name: dict(self.buffers) for name in settings.averages}
        self.idle: set[str] = set()

    @property
    def now(self) -> int:
        return len(self.log)

    def gradients(self, *batch: Any) -> tuple[float, Any]:
        for name, network in self.networks.items():
            own = self.p if name == "model" else self.averages[name]
            buffers = self.buffers if name == "model" else self.average_buffers[name]
            values = {key: torch.as_tensor(x) for key, x in {**own, **buffers}.items()}
            network.train().load_state_dict(values, strict=False)  # all batch norms see by the batch
            network.zero_grad(set_to_none=True)
        model = self.networks["model"]
        loss = self.method(self, *batch)
        loss.backward()
        self.buffers |= {name: x.clone() for name, x in model.state_dict().items() if "running_" in name}
        self.idle = {name for name, p in model.named_parameters() if p.grad is None}
        gradients = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in model.named_parameters()}
        return float(loss.detach()), {name: each.numpy() for name, each in gradients.items()}

    def move(self, name: str, *given: Any) -> Any:
        """Leave alone what has no gradient: it does not decay either."""
        return 0.0 if name in self.idle else super().move(name, *given)

    def step(self, micro_batches: Any) -> None:
        before = self.moved
        super().step(micro_batches)
        self.states[-1]["model"] |= {name: x.numpy() for name, x in self.buffers.items()}
        for name, (schedule, value) in self.s.averages.items():
            share, own = loop.kept(schedule, value, before, self.s), self.average_buffers[name]
            self.average_buffers[name] = {key: share * own[key] + (1 - share) * x for key, x in self.buffers.items()}
            self.states[-1][name] |= {key: x.numpy() for key, x in self.average_buffers[name].items()}


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b) / (a.norm() * b.norm())


def by_size(network: Any, views: list[Tensor]) -> Tensor:
    """Encode two large crops of all images, then the small ones, which see the batch norms together."""
    parts = [torch.cat(views[:2]), *([torch.cat(views[2:])] if len(views) > 2 else [])]
    return torch.cat([network.encoder(part).pooled for part in parts])


def supervised(run: Training, batch: Batch) -> Tensor:
    network, smoothing = run.networks["model"], 0.1
    logits = network.heads["classes"](network.encoder(batch["views"][0]).pooled)
    total, (rows, classes) = logits.new_zeros(()), logits.shape
    for b, name in enumerate(batch["class"]):
        for k in range(classes):
            share = smoothing / classes + (1 - smoothing) * (k == name)
            total = total - share * torch.log(torch.exp(logits[b, k]) / torch.exp(logits[b]).sum())
    return total / rows


def byol(run: Training, batch: Batch) -> Tensor:
    online, target = run.networks["model"], run.networks["teacher"]
    predictions = [online.heads["prediction"](online.heads["projection"](online.encoder(v).pooled)) for v in batch["views"]]
    with torch.no_grad():
        targets = [target.heads["projection"](target.encoder(v).pooled) for v in batch["views"]]
    rows = len(targets[0])
    return sum(-cosine(predictions[a][b], targets[1 - a][b]) for a in (0, 1) for b in range(rows)) / (2 * rows)


def simclr(run: Training, batch: Batch) -> Tensor:
    network = run.networks["model"]
    z = network.heads["projection"](network.encoder(torch.cat(batch["views"])).pooled)  # view a of image b: a * rows + b
    total = z.new_zeros(())
    for i in range(len(z)):
        odds = {k: torch.exp(cosine(z[i], z[k]) / run.choices["temperature"]) for k in range(len(z)) if k != i}
        total = total - torch.log(odds[(i + len(z) // 2) % len(z)] / sum(odds.values()))
    return total / len(z)


def clip(run: Training, batch: Batch) -> Tensor:
    network = run.networks["model"]
    images = network.heads["image"](network.encoder(batch["views"][0]).pooled)
    texts = network.heads["text"](network.text(batch["text"]).pooled)
    total, names = images.new_zeros(()), batch["class"]
    scale = network.log_scale.exp().clamp(max=100)
    for b in range(len(names)):
        alike = [k for k in range(len(names)) if names[k] == names[b]]  # images of one caption share it
        for one, others in ((images[b], texts), (texts[b], images)):
            row = torch.stack([scale * cosine(one, other) for other in others])
            total = total - sum(row.log_softmax(0)[k] for k in alike) / len(alike)
    return total / (2 * len(names))


def siglip(run: Training, batch: Batch) -> Tensor:
    network = run.networks["model"]
    images = network.heads["image"](network.encoder(batch["views"][0]).pooled)
    texts = network.heads["text"](network.text(batch["text"]).tokens[:, -1])
    total, names = images.new_zeros(()), batch["class"]
    for i in range(len(names)):
        for j in range(len(names)):
            chance = torch.sigmoid(network.log_scale.exp() * cosine(images[i], texts[j]) + network.bias)
            total = total - torch.log(chance if names[i] == names[j] else 1 - chance)
    return total / len(names)


def some_patches(encoder: Any, image: Tensor, numbers: list[int]) -> Tensor:
    """Encode the class token and some patches of one image (1, 1 + patches, width), at their own positions."""
    tokens = encoder.embed(image[None])[0]
    x = torch.cat([tokens[:, :1], *(tokens[:, 1 + n : 2 + n] for n in numbers)], 1)
    for block in encoder.blocks:
        x = block(x)
    return encoder.norm(x)


def mae(run: Training, batch: Batch) -> Tensor:
    [view], network, side = batch["views"], run.networks["model"], run.choices["patch"]
    decoder, columns = network.heads["decoder"], view.shape[-1] // side
    total, terms = view.new_zeros(()), 0
    for b in range(len(view)):
        visible = batch["visible"][b].tolist()
        entered = decoder.enter(some_patches(network.encoder, view[b], visible))[0]
        places = [entered[1 + visible.index(n)] if n in visible else decoder.mask_token for n in range(columns**2)]
        x = torch.stack([entered[0], *(place + decoder.positions[n] for n, place in enumerate(places))])[None]
        for block in decoder.blocks:
            x = block(x)
        drawn = decoder.leave(decoder.norm(x))[0, 1:]
        for n in range(columns**2):
            if n not in visible:
                row, column = side * (n // columns), side * (n % columns)
                patch = view[b, :, row : row + side, column : column + side].permute(1, 2, 0).flatten()
                patch = (patch - patch.mean()) / (patch.var() + 1e-6).sqrt()
                total, terms = total + ((drawn[n] - patch) ** 2).mean(), terms + 1
    return total / terms


def ijepa(run: Training, batch: Batch) -> Tensor:
    [view], network, average = batch["views"], run.networks["model"], run.networks["teacher"]
    head, total, terms = network.heads["predictor"], view.new_zeros(()), 0
    [visible] = batch["visible"]
    for b in range(len(view)):
        numbers = visible[b].tolist()
        x = head.enter(some_patches(network.encoder, view[b], numbers))[0]
        context = [x[0], *(x[1 + k] + head.positions[n] for k, n in enumerate(numbers))]
        with torch.no_grad():
            whole = average.encoder(view[b : b + 1]).tokens[0, 1:]
        for places in batch["targets"][b].tolist():
            assert not set(places) & set(numbers)
            y = torch.stack([*context, *(head.mask_token + head.positions[n] for n in places)])[None]
            for block in head.blocks:
                y = block(y)
            predicted = head.leave(head.norm(y))[0, len(context) :]
            for k, n in enumerate(places):
                target = (whole[n] - whole[n].mean()) / (whole[n].var(unbiased=False) + 1e-5).sqrt()
                error = (predicted[k] - target).abs()
                total = total + torch.where(error < 1, error**2 / 2, error - 0.5).mean()
                terms += 1
    return total / terms


def lejepa(run: Training, batch: Batch) -> Tensor:
    """(1 - weight) prediction + weight SIGReg, whose directions are drawn anew in each step."""
    network, views = run.networks["model"], batch["views"]
    z = network.heads["projector"](by_size(network, views)).chunk(len(views))
    rows, width = z[0].shape
    draw = torch.Generator().manual_seed((run.choices["seed"] << 32) + run.now)
    directions = torch.randn(width, run.choices["slices"], generator=draw).to(z[0].dtype)
    t, spread, prediction = torch.linspace(-3, 3, 33, dtype=z[0].dtype), z[0].new_zeros(()), z[0].new_zeros(())
    for view in z:
        for b in range(rows):
            prediction = prediction + ((view[b] - (z[0][b] + z[1][b]) / 2) ** 2).mean() / (len(z) * rows)
        for direction in directions.T:
            along = view @ (direction / direction.norm())
            error = (torch.cos(t[:, None] * along).mean(1) - torch.exp(-(t**2) / 2)) ** 2
            error = error + torch.sin(t[:, None] * along).mean(1) ** 2
            spread = spread + rows * torch.trapezoid(error * torch.exp(-(t**2) / 2), t) / (len(z) * len(directions.T))
    return (1 - run.choices["weight"]) * prediction + run.choices["weight"] * spread


def prototypes(head: Any, rows: Tensor, frozen: bool) -> Tensor:
    """Cosines of a head's output with unit prototypes, whose lengths may be learned; frozen ones learn nothing."""
    unit = [prototype / prototype.norm() for prototype in head.prototypes.weight]
    weight = torch.stack(unit if head.gain is None else [each * length for each, length in zip(unit, head.gain, strict=True)])
    out = [row / row.norm() for row in head.layers(rows)]
    return torch.stack(out) @ (weight.detach() if frozen else weight).T


def temperature(run: Training) -> float:
    """The teacher's: it rises in a straight line over some epochs, then stays."""
    first, last, epochs = run.choices["temperatures"]
    return first + (last - first) * min(1.0, run.now / run.choices["epoch"] / epochs)


def moved_center(run: Training, name: str, logits: Tensor) -> None:
    run.buffers[name] = run.choices["center_decay"] * run.buffers[name] + (1 - run.choices["center_decay"]) * logits.mean(0)


def class_loss(logits: Tensor, targets: list[Tensor]) -> Tensor:
    """Cross entropies of all pairs of views but of a view with itself; the two large ones are first."""
    views = logits.chunk(2 if len(logits) == 2 * len(targets[0]) else len(logits) // len(targets[0]))
    total, pairs = logits.new_zeros(()), 0
    for x, target in enumerate(targets):
        for other, view in enumerate(views):
            if other != x:
                pairs += 1
                for b in range(len(target)):
                    total = total - target[b] @ torch.log_softmax(view[b] / 0.1, 0) / len(target)
    return total / pairs


def dino(run: Training, batch: Batch) -> Tensor:
    network, average, views = run.networks["model"], run.networks["teacher"], batch["views"]
    with torch.no_grad():
        taught = prototypes(average.heads["head"], average.encoder(torch.cat(views[:2])).pooled, False)
        targets = [torch.softmax((rows - run.buffers["center"]) / temperature(run), 1) for rows in taught.chunk(2)]
    logits = prototypes(network.heads["head"], by_size(network, views), run.now < run.choices["frozen"])
    moved_center(run, "center", taught)
    return class_loss(logits, targets)


def sinkhorn(logits: Tensor, temperature: float) -> Tensor:
    """Normalise prototypes, then samples, three times."""
    table = ((logits - logits.max()) / temperature).exp()
    for _ in range(3):
        table = table / table.sum(0)
        table = table / table.sum(1, keepdim=True)
    return table


def hidden_tokens(encoder: Any, view: Tensor, hidden: Tensor) -> Tensor:
    """Encode one image (tokens, width), patch by patch: where one is hidden the mask token stands, at the same position."""
    patches = encoder.patches(view[None]).flatten(1, 2)[0]
    x = torch.stack([encoder.mask_token if hidden[n] else patch for n, patch in enumerate(patches)])
    x = torch.cat([(encoder.class_token + encoder.positions[0])[None], x + encoder.positions[1:]])[None]
    for block in encoder.blocks:
        x = block(x)
    return encoder.norm(x)[0]


def dinov2(run: Training, batch: Batch) -> Tensor:
    network, average, views, c = run.networks["model"], run.networks["teacher"], batch["views"], run.choices
    rows, hidden, patch_head = len(views[0]), batch["hidden"], "patches" if c["own_head"] else "head"
    crops = [(crop, b) for crop in range(2) for b in range(rows)]
    places = [(crop, b, n) for crop, b in crops for n in range(hidden.shape[2]) if hidden[b, crop, n]]
    with torch.no_grad():
        whole = {at: average.encoder(views[at[0]][at[1]][None]).tokens[0] for at in crops}
        taught = prototypes(average.heads["head"], torch.stack([whole[at][0] for at in crops]), False)
        patches = torch.stack([whole[crop, b][1 + n] for crop, b, n in places])
        taught_patches = prototypes(average.heads[patch_head], patches, False)
        if c["sinkhorn"]:
            filled = min(c["queue"], 2 * c["batch"] * run.now)
            targets = sinkhorn(torch.cat([taught, run.buffers["queue"][:filled]]), temperature(run))[: 2 * rows]
            patch_targets = sinkhorn(taught_patches, temperature(run))
            newest = [taught[crop * rows + b] for b in range(rows) for crop in range(2)]
            run.buffers["queue"] = torch.cat([torch.stack(newest), run.buffers["queue"]])[: c["queue"]]
        else:
            targets = torch.softmax((taught - run.buffers["center"]) / temperature(run), 1)
            patch_targets = torch.softmax((taught_patches - run.buffers["patch_center"]) / temperature(run), 1)
            moved_center(run, "center", taught)
            moved_center(run, "patch_center", taught_patches)
    with torch.set_grad_enabled(run.now >= c["head_steps"]):
        own = {(crop, b): hidden_tokens(network.encoder, views[crop][b], hidden[b, crop]) for crop, b in crops}
        classes = torch.cat([torch.stack([own[at][0] for at in crops]), *(network.encoder(view).pooled for view in views[2:])])
    frozen = run.now < c["frozen"]
    loss = class_loss(prototypes(network.heads["head"], classes, frozen), [*targets.chunk(2)])
    logits = prototypes(network.heads[patch_head], torch.stack([own[crop, b][1 + n] for crop, b, n in places]), frozen)
    for row, (crop, b, _) in enumerate(places):
        entropy = -patch_targets[row] @ torch.log_softmax(logits[row] / 0.1, 0)
        loss = loss + entropy / hidden[b, crop].sum() / len(crops)
    for crop in range(2):  # KoLeo
        unit = [own[crop, b][0] / own[crop, b][0].norm() for b in range(rows)]
        for b in range(rows):
            near = min((unit[b] - unit[k] + 1e-8).norm() for k in range(rows) if k != b)
            loss = loss - c["koleo"] * torch.log(near + 1e-8) / rows
    if c["gram"]:
        with torch.no_grad():
            anchors = {at: run.networks["anchor"].encoder(views[at[0]][at[1]][None]).tokens[0, 1:] for at in crops}
        for at in crops:
            ours, theirs = (nn.functional.normalize(x, dim=1) for x in (own[at][1:], anchors[at]))
            loss = loss + c["gram"] * ((ours @ ours.T - theirs @ theirs.T) ** 2).mean() / len(crops)
    return loss
