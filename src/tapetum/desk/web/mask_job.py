"""The mask of an object through a video, from the clicks and boxes of a project, as `tapetum segment --click` computes it.

The mask of a frame with clicks is saved as soon as it is solved, before its points are tracked. A process that keeps models
keeps the masks of the last video too: with them, further clicks cost only what they change.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapetum.app.track.point_tasks import kept
from tapetum.app.verb import Listener
from tapetum.data.rle import encode_mask
from tapetum.desk.web.database import FILE, Database
from tapetum.desk.web.hidden import HIDDEN
from tapetum.desk.web.items import Items
from tapetum.desk.web.masks import MaskStore, signature
from tapetum.desk.web.prompts import as_prompts
from tapetum.desk.web.track_job import features_file, kept_features, open_features, open_kept, settle
from tapetum.hub.loading import keeps_loaded
from tapetum.tracks.masks import ClipMasks, outline, segment_clip

if TYPE_CHECKING:
    from tapetum.types import Tracks

_TRACKING = 8
"""How much longer points are tracked through a frame than its mask is solved, about."""
_kept: dict[tuple[str, str], ClipMasks] = {}
"""The last masks, by tracker and content of the video, in a process that keeps models."""


def work(job: dict[str, Any], folder: Path, listener: Listener) -> dict[str, Any]:
    """Compute the mask of the object in each frame. Raises BadInput as `segment_clip`."""
    from tapetum.bench.baselines import load_tracker

    place, settings = folder / HIDDEN, job["settings"]
    database, model = Database(place / FILE), settings["model"]
    try:
        items, store = Items(database, folder), MaskStore(database)
        item, prompts = items.get(job["item"]), as_prompts(settings["prompts"])
        with open_kept(item.path, item.content, listener) as video:
            settle(items, item, video)
            listener.status("loading the model")
            tracker = None
            if len(video) > 1:
                features = partial(open_features, features_file(place, item.id), kept=kept_features(item))
                tracker = _Tracker(load_tracker(model, settings["device"]), features)
            before = _kept.get((model, item.content))
            shown = store.read(item.id)
            runs = shown[1] if shown is not None and len(shown[1]) == len(video) else [None] * len(video)
            solved = 0

            def solve(frame: Any, prompt: Any, earlier: Any) -> np.ndarray:
                nonlocal solved
                solved += 1
                mask = outline(frame, prompt, earlier)
                runs[prompt.frame] = encode_mask(mask)["counts"]
                items.get(item.id)  # refused where it is another file now
                store.save(item.id, "", runs)
                return mask

            there = [] if before is None else [key.prompt for key in before.keyframes]
            same = next((k for k, each in enumerate(prompts) if there[k : k + 1] != [each]), len(prompts))
            passes = len(prompts) - same

            def progress(task: str, done: int, total: int) -> None:
                past = (solved - 1) * total if task == "tracking" else 0
                share = _TRACKING * (past + done) if task == "tracking" else _TRACKING * passes * total + done
                listener.progress(task, share, (_TRACKING * passes + 1) * total)

            masks = segment_clip(video, prompts, tracker, model=solve, before=before, progress=progress)
        items.get(item.id)
        store.save(item.id, signature(model, item.content, settings["prompts"]), [each["counts"] for each in masks.runs])
        if keeps_loaded():
            _kept.clear()
            _kept[model, item.content] = masks
        return {"result": {"frames": len(masks), "computed": solved}}
    finally:
        database.close()


@dataclass(frozen=True)
class _Tracker:
    """A tracker that uses the saved features of the video's frames."""

    tracker: Any
    features: Callable[[Any], AbstractContextManager[Any]]

    def track(self, video: Any, queries: Any, **more: Any) -> "Tracks":
        with self.features(self.tracker) as features:
            return self.tracker.track(video, queries, **more, **kept(self.tracker, features))
