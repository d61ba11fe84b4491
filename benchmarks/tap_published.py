"""TAPIR in the published order of operations, to time ours beside it.

`Published` runs the weights of a `tap.model.Tapir` the way the public PyTorch model of TAPIR does (tapnet/torch in
google-deepmind/tapnet): channels-first convolutions and instance norms, ten frames at a time through the image network, 49
bilinear samples of whole feature vectors for every point, frame and map before the dot products, pyramids pooled again in every
iteration, a softmax over the whole map with masks over coordinate grids, temporal convolutions over transposed sequences, and
in the online step buffers padded by two more frames whose outputs are thrown away. Only what decides the result on square
videos is kept. `tests/benchmarks/test_tap_published.py` holds it against golden tensors that the public model made.
"""

import torch
import torch.nn.functional as F

from tapetum.systems.tap.model import Tapir, default_resolutions

CHUNK = 10
"""Frames that go through the image network at a time."""


class Published:
    """The network of `model`, run as published; video float32 (1, t, h, w, 3) in -1..1, queries (1, n, 3) as (t, x, y)."""

    def __init__(self, model: Tapir):
        self.model, self.config = Tapir(model.config).eval().to(next(model.parameters())), model.config
        self.model.load_state_dict(model.state_dict())  # plain layers: a tracker swaps its own for fast ones

    def track(self, video, queries, query_chunk=64):
        """Tracks (1, n, t, 2) in raster pixels, occlusion and expected-distance logits (1, n, t)."""
        grids = self.features(video)
        points = self.points(video.shape, queries, grids)
        tracks, occlusion, expected, _ = self.trajectories(video.shape[2:4], grids, points, queries, query_chunk)
        every = self.config.iterations
        return tuple(torch.stack(it[every::every]).mean(0) for it in (tracks, occlusion, expected))

    # ---- features

    def features(self, video):
        """Hires and lowres maps, channels last, for the initial and every refinement resolution."""
        size, base = tuple(video.shape[2:4]), self.config.initial_resolution
        grids, latest = [], None
        for want in (base, *default_resolutions(size, base)):
            if want != latest:
                b, t, h, w, c = video.shape
                resized = video
                if want != size:
                    flat = video.permute(0, 1, 4, 2, 3).reshape(b, t * c, h, w)
                    flat = F.interpolate(flat, size=want, mode="bilinear", align_corners=False)
                    resized = flat.reshape(b, t, c, *want).permute(0, 1, 3, 4, 2)
                frames = resized.reshape(b * t, *want, c).permute(0, 3, 1, 2)
                hires, lowres = [], []
                for begin in range(0, len(frames), CHUNK):
                    one, three = self._resnet(frames[begin : begin + CHUNK])
                    hires.append(one.permute(0, 2, 3, 1))
                    lowres.append(three.permute(0, 2, 3, 1))
                hires, lowres = torch.cat(hires), torch.cat(lowres)
                for block in self.model.backbone.extra:
                    x = F.layer_norm(lowres, lowres.shape[-1:], block.norm.weight, block.norm.bias).permute(0, 3, 1, 2)
                    wide = F.gelu(F.conv2d(x, block.widen.weight, block.widen.bias, padding=1), approximate="tanh")
                    lowres = (x + F.conv2d(wide, block.narrow.weight, block.narrow.bias, padding=1)).permute(0, 2, 3, 1)
                hires, lowres = (g / torch.sqrt(g.square().sum(-1, keepdim=True).clamp(min=1e-12)) for g in (hires, lowres))
                pair, latest = (hires.view(b, t, *hires.shape[1:]), lowres.view(b, t, *lowres.shape[1:])), want
            grids.append((want, *pair))
        return grids

    def _resnet(self, x):
        body = self.model.backbone
        x = F.conv2d(F.pad(x, (2, 4, 2, 4)), body.stem.weight, stride=2)
        kept = []
        for group in body.groups:
            for block in group:
                shortcut = x
                x = torch.relu(F.instance_norm(x, weight=block.norm_0.weight, bias=block.norm_0.bias))
                if block.projection is not None:
                    shortcut = F.conv2d(x, block.projection.weight, stride=block.stride)
                pad = (1, 1, 1, 1) if block.stride == 1 else (0, 2, 0, 2)
                x = F.conv2d(F.pad(x, pad), block.conv_0.weight, stride=block.stride)
                x = torch.relu(F.instance_norm(x, weight=block.norm_1.weight, bias=block.norm_1.bias))
                x = F.conv2d(x, block.conv_1.weight, padding=1) + shortcut
            kept.append(x)
        return kept[1], kept[3]

    def points(self, shape, queries, grids):
        """Trilinear samples of both maps at the queries, for every resolution."""
        sampled = []
        for index, (size, hires, lowres) in enumerate(grids):
            if index and size == grids[index - 1][0]:
                sampled.append(sampled[-1])
                continue
            pair = []
            for grid in (hires, lowres):
                txy = queries * torch.tensor([1.0, grid.shape[3] / shape[3], grid.shape[2] / shape[2]])
                txy = txy + torch.tensor([0.5, 0.0, 0.0])
                whole = torch.tensor([grid.shape[1], grid.shape[3], grid.shape[2]])
                place = (2 * txy / whole - 1)[..., [1, 2, 0]][:, :, None, None]
                found = F.grid_sample(grid.permute(0, 4, 1, 2, 3), place, align_corners=False, padding_mode="border")
                pair.append(found[..., 0, 0].permute(0, 2, 1))
            sampled.append(tuple(pair))
        return sampled

    # ---- trajectories

    def trajectories(self, video_size, grids, points, queries, query_chunk=64, context=None):
        """All iterates of all points, and the causal context after them where one was given."""
        count, every = points[0][1].shape[1], self.config.iterations
        rounds = every * (len(grids) - 1)
        base = self.config.initial_resolution
        outward = torch.tensor([video_size[1] / base[1], video_size[0] / base[0]])
        all_tracks, all_occlusion, all_expected = ([[] for _ in range(rounds + 1)] for _ in range(3))
        after = [[] for _ in range(rounds)]
        for begin in range(0, count, query_chunk):
            some = slice(begin, begin + query_chunk)
            asked = None if queries is None else queries[:, some] / torch.tensor([1.0, *outward.tolist()])
            now, first, first_expected = self._match(points[0][1][:, some], grids[0][2], asked)
            occlusion, expected, vectors = first, first_expected, None
            for kept, value in ((all_tracks, now * outward), (all_occlusion, first), (all_expected, first_expected)):
                kept[0].append(value)
            for i in range(rounds):
                size, hires, lowres = grids[1 + i // every]
                pyramid, asking = [hires, lowres], [part[:, some] for part in points[1 + i // every]]
                for _ in range(self.config.pyramid_level):
                    pyramid.append(F.avg_pool3d(pyramid[-1], (2, 2, 1), (2, 2, 1)))
                    asking.append(asking[-1])
                held = None if context is None else {k: v[some] for k, v in context[i].items()}
                now, occlusion, expected, vectors, new = self._refine(
                    pyramid, asking, now, occlusion, expected, vectors, size, held
                )
                for kept, value in ((all_tracks, now * outward), (all_occlusion, occlusion), (all_expected, expected)):
                    kept[i + 1].append(value)
                after[i].append(new)
                if (i + 1) % every == 0:
                    vectors, occlusion, expected = None, first, first_expected
        joined = [[torch.cat(part, 1) for part in kept] for kept in (all_tracks, all_occlusion, all_expected)]
        if context is not None:
            after = [{k: torch.cat([part[k] for part in parts]) for k in parts[0]} for parts in after]
        return (*joined, after)

    def _match(self, query, grid, asked):
        heads, base = self.model.matching, self.config.initial_resolution
        cost = torch.einsum("bnc,bthwc->tbnhw", query, grid)
        t, b, n, h, w = cost.shape
        trunk = torch.relu(F.conv2d(cost.reshape(t * b * n, 1, h, w), heads.trunk.weight, heads.trunk.bias, padding=1))
        heat = F.conv2d(trunk, heads.position.weight, heads.position.bias, padding=1).view(t, b, n, h, w).permute(1, 2, 0, 3, 4)
        heat = F.softmax(heat.reshape(b, n, t, -1) * heads.temperature, -1).view(b, n, t, h, w)
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        cells = torch.stack([x + 0.5, y + 0.5], -1)
        best = cells.reshape(-1, 2)[heat.reshape(b, n, t, -1).argmax(-1)]
        near = (cells - best[:, :, :, None, None]).square().sum(-1, keepdim=True) < 25
        weight = (near * heat[..., None]).sum((3, 4)).clamp(min=1e-12)
        place = (cells * near * heat[..., None]).sum((3, 4)) / weight
        place = place * torch.tensor([base[1] / w, base[0] / h])
        if asked is not None:
            here = asked[..., :1].round() == torch.arange(t)
            place = place * ~here[..., None] + asked[:, :, None, 1:] * here[..., None]
        strided = torch.relu(F.conv2d(F.pad(trunk, (0, 2, 0, 2)), heads.occlusion_conv.weight, heads.occlusion_conv.bias, 2))
        logits = heads.occlusion_out(torch.relu(heads.occlusion_hidden(strided.mean((-1, -2)))))
        logits = logits.view(t, b, n, 2).permute(1, 2, 0, 3)
        return place, logits[..., 0], logits[..., 1]

    def _refine(self, pyramid, asking, now, occlusion, expected, vectors, size, context):
        base, hires_dim = self.config.initial_resolution, self.config.hires_dim
        dy, dx = torch.meshgrid(torch.arange(-3, 4), torch.arange(-3, 4), indexing="ij")
        around = torch.stack([dx, dy], -1).reshape(-1, 2)
        correlations = []
        for level, (query, grid) in enumerate(zip(asking, pyramid, strict=True)):
            b, t, h, w, c = grid.shape
            place = now * torch.tensor([w / base[1], h / base[0]])
            place = place[:, :, :, None] + around
            n = place.shape[1]
            maps = grid.permute(0, 1, 4, 2, 3).reshape(b * t, c, h, w)
            where = 2 * place.permute(0, 2, 1, 3, 4).reshape(b * t, n, 49, 2) / torch.tensor([w, h]) - 1
            found = F.grid_sample(maps, where, align_corners=False).permute(0, 2, 3, 1)
            found = found.view(b, t, n, 49, c).permute(0, 2, 1, 3, 4)
            if vectors is None:
                correlations.append(torch.einsum("bnfsc,bnc->bnfs", found, query))
            else:
                own = vectors[..., :hires_dim] if level == 0 else vectors[..., hires_dim:]
                correlations.append(torch.einsum("bnfsc,bnfc->bnfs", found, own))
        frames = now.shape[2]
        if vectors is None:
            vectors = torch.cat(asking[:2], -1)[:, :, None].tile(1, 1, frames, 1)
        known = [torch.zeros_like(now), occlusion[..., None], expected[..., None]]
        x = torch.cat([*known, vectors, torch.cat(correlations, -1)], -1)
        out, context = self._mixer(x.flatten(0, 1), context)
        out = out.view(*x.shape[:3], -1)
        move = out[..., :2] * torch.tensor([base[1] / size[1], base[0] / size[0]])
        return now + move, occlusion + out[..., 2], expected + out[..., 3], vectors + out[..., 4:], context

    def _mixer(self, x, context):
        mixer, after = self.model.mixer, {}
        x = mixer.inward(x)
        for number, block in enumerate(mixer.blocks):
            x, more = self._block(block, number, x, context)
            after |= more
        return mixer.outward(mixer.norm(x)), after

    def _block(self, block, number, x, context):
        """One mixer block on (sequences, frames, channels)."""
        causal, after, extra = self.config.causal, {}, 0
        pad = 0 if causal else 1
        skip = x
        x = block.time_norm(x)
        if context is not None:
            x = torch.cat([context[f"{number}_1"], x], -2)
            extra = 2
            after[f"{number}_1"] = x[:, -2:]
        x = x.permute(0, 2, 1)
        if causal:
            x = F.pad(x, (2, 0))
        x = F.conv1d(x, block.time_up.weight, block.time_up.bias, padding=pad, groups=x.shape[1])
        x = F.gelu(x, approximate="tanh")
        if context is not None:
            x = torch.cat([context[f"{number}_2"], x.permute(0, 2, 1)[:, extra:]], -2)
            after[f"{number}_2"] = x[:, -2:]
            x = x.permute(0, 2, 1)
        if causal:
            x = F.pad(x, (2, 0))
        x = F.conv1d(x, block.time_down.weight, block.time_down.bias, padding=pad, groups=x.shape[1]).permute(0, 2, 1)
        x = x[:, extra:]
        x = sum(x[..., k :: block.expansion] for k in range(block.expansion)) + skip
        inner = F.gelu(block.channel_up(block.channel_norm(x)), approximate="tanh")
        return x + block.channel_down(inner), after

    # ---- frames one by one

    def start(self, frame, points):
        """Query features of `points` (1, n, 2) on `frame` (1, 1, h, w, 3), and a context of zeros."""
        queries = torch.cat([torch.zeros_like(points[..., :1]), points], -1)
        grids = self.features(frame)
        found = self.points(frame.shape, queries, grids)
        n, width = points.shape[1], self.config.mixer_width
        blank = {
            f"{number}_{k}": torch.zeros(n, 2, width * (1 if k == 1 else self.config.mixer_expansion))
            for number in range(self.config.mixer_blocks)
            for k in (1, 2)
        }
        return found, [dict(blank) for _ in range(self.config.iterations * (len(grids) - 1))]

    def step(self, points, context, frame):
        """Tracks, logits of one more frame (the mean over the resolutions) and the context after it."""
        tracks, occlusion, expected, context = self.trajectories(
            frame.shape[2:4], self.features(frame), points, None, context=context
        )
        every = self.config.iterations
        return *(torch.stack(it[every::every]).mean(0) for it in (tracks, occlusion, expected)), context
