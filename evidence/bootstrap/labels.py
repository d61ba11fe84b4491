"""How good are the labels from which `tapetum bootstrap` learns? Measured where the truth is known.

    python evidence/bootstrap/labels.py IMAGES [--model tapir-nano] [--clips 30] [--frames 12] [--stride 2] [--out FILE]

Clips with exact tracks are made of IMAGES, a folder or parquet file (`training.image_clips`; every tenth image, the tenth
that the bundled tracker never saw), and treated as footage: the teacher tracks them, the student sees every so-many-th of their
frames shrunk and spoilt, and starts from another of these on the teacher's track. Printed for several `Ingredients.confident`,
`within` (- is without `cycle`) and `polish`: the fraction of points and frames that count; the distance of the teacher's label,
and of the student's answer, from the truth, in px of 256x256 (median, mean, fraction beyond 4) where both are seen; the
fraction of these in which the student could learn, since it is beyond 4 px and the label is not; and the fraction of labels
that say seen where the point is hidden.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import tapetum
from tapetum.systems.tap.bootstrap.config import BootstrapRun, Ingredients
from tapetum.systems.tap.bootstrap.family import TapirFamily, keep_mask, pseudo_labels, teach, warp_queries, warp_tracks
from tapetum.systems.tap.bootstrap.samples import FootageSample
from tapetum.systems.tap.model import Tapir
from tapetum.systems.tap.second_pass import track_passes
from tapetum.systems.tap.types import TrackEstimate
from tapetum.tracks.training.image_clips import ImageClips
from tapetum.tracks.training.warping import jpeg, moving_window, warp_frames

SIZE = 256
CASES = [(c, within, polish) for polish in (False, True) for within in (4.0, 16.0, None) for c in (0.0, 0.7, 0.9)]


def showing(clip, rng, settings):
    """A batch of one: the clip, and what the student sees of it; true tracks and visibility in the student's frames."""
    frames = torch.arange(0, len(clip.video), settings.stride)
    seen, visible = np.asarray(clip.video[:: settings.stride]), clip.visible[:, :: settings.stride]
    rows = np.flatnonzero(visible.any(1))[:64]
    xy, visible = torch.from_numpy(clip.xy[rows][:, :: settings.stride]), torch.from_numpy(visible[rows])
    at = torch.tensor([rng.choice(np.flatnonzero(row)) for row in visible.numpy()])
    queries = torch.cat([at[:, None].float(), xy[torch.arange(len(rows)), at]], 1)
    maps = moving_window(rng, len(seen), SIZE, settings.area, settings.aspect)
    spoilt = torch.from_numpy(jpeg(seen, int(rng.integers(*settings.quality)))).permute(0, 3, 1, 2).float() / 255
    spoilt = warp_frames(spoilt, torch.from_numpy(maps), (SIZE, SIZE)).permute(0, 2, 3, 1) * 2 - 1
    draw = torch.from_numpy(rng.random(len(rows), np.float32))
    clean, maps = torch.from_numpy(clip.video).float() / 127.5 - 1, torch.from_numpy(maps).float()
    if not settings.between:
        clean, frames = clean[:: settings.stride], torch.arange(len(frames))
    batch = FootageSample(
        *(part[None] for part in (clean, frames, spoilt, maps, queries, draw)), lengths=(int(frames[-1]) + 1,)
    )
    return batch, xy, visible


@torch.no_grad()
def measure(model, clips, settings, seed):
    """Rows of (label error, student error, says seen, is seen) of all that counts, and the fraction that does."""
    found, counted = [], []
    for number in range(len(clips)):
        batch, xy, visible = showing(clips[number], np.random.default_rng((seed, number)), settings)
        taught = teach(TapirFamily(BootstrapRun(settings=settings)), model, batch)
        labels = pseudo_labels(taught, batch.queries, batch.draw, SIZE, settings)
        place = warp_queries(batch.maps, labels.frame, labels.place).clamp(0, SIZE)
        out = track_passes(model, batch.spoilt, torch.cat([labels.frame[..., None].float(), place], -1))[-1]
        student = TrackEstimate(warp_tracks(torch.linalg.inv(batch.maps), out.tracks), out.occlusion, out.expected_dist)
        kept = keep_mask(labels, student, batch.queries, SIZE, settings)[0] > 0
        errors = [(tracks[0] - xy).norm(dim=-1) for tracks in (labels.xy, student.tracks)]
        columns = [*errors, (~labels.occluded[0]).float(), visible.float()]
        found.append(torch.stack([column[kept] for column in columns], 1))
        counted.append(kept.float().mean())
    return torch.cat(found).numpy(), float(torch.stack(counted).mean())


def settings(stride, confident, within, polish):
    return Ingredients(stride=stride, confident=confident, cycle=within is not None, within=within or 4.0, polish=polish)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images")
    parser.add_argument("--model", default="tapir-nano")
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--frames", type=int, default=12, help="of the student")
    parser.add_argument("--stride", type=int, default=2)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file of what is printed")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    loaded = tapetum.load(args.model).model
    model = Tapir(replace(loaded.config, initial_resolution=(SIZE, SIZE), refine_at_least=None)).eval()
    model.load_state_dict(loaded.state_dict())
    clips = ImageClips(
        args.clips, seed=args.seed, source=args.images, part="held-out", frames=args.stride * (args.frames - 1) + 1
    )
    names = f"{'confident':>9}{'within':>8}{'polish':>8}{'count':>8}"
    print(names + "   label: median  mean   > 4    student: median  mean   > 4    to learn    wrongly seen")
    found = []
    for confident, within, polish in CASES:
        rows, fraction = measure(model, clips, settings(args.stride, confident, within, polish), args.seed)
        says, seen = rows[:, 2] > 0, rows[:, 3] > 0
        label, student = (rows[says & seen, k] for k in (0, 1))
        case = {"confident": confident, "within": within, "polish": polish, "counts": fraction}
        for name, e in (("label", label), ("student", student)):
            case[name] = {"median": float(np.median(e)), "mean": float(e.mean()), "beyond 4 px": float((e > 4).mean())}
        case["to learn"] = float(((student > 4) & (label <= 4)).mean())
        case["wrongly seen"] = float((says & ~seen).sum() / says.sum())
        found.append(case)
        print(
            f"{confident:9.2f}{within or '-':>8}{'yes' if polish else 'no':>8}{fraction:8.2f}"
            + "".join(f"{'':11}" + "".join(f"{e:6.2f}" for e in case[name].values()) + " " for name in ("label", "student"))
            + f"{case['to learn']:12.3f}{case['wrongly seen']:16.3f}",
            flush=True,
        )
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
