"""What `tapetum` gives, for type checkers: the package itself imports it when it is asked for."""

from os import PathLike
from typing import Any

import torch

from tapetum.app.learn.adapt import adapt as adapt
from tapetum.app.make.export import export as export
from tapetum.app.make.fetch_perception_test import fetch_perception_test as fetch_perception_test
from tapetum.app.score.evaluate.davis import evaluate_davis as evaluate_davis
from tapetum.app.score.evaluate.longvideo import evaluate_longvideo as evaluate_longvideo
from tapetum.app.score.evaluate.objects import evaluate_objects as evaluate_objects
from tapetum.app.score.evaluate.own import evaluate_all as evaluate_all
from tapetum.app.score.evaluate.own import evaluate_own as evaluate_own
from tapetum.app.score.evaluate.paligemma import evaluate_paligemma as evaluate_paligemma
from tapetum.app.score.evaluate.perception_test import evaluate_perception_test as evaluate_perception_test
from tapetum.app.score.evaluate.tapvid import evaluate_tapvid as evaluate_tapvid
from tapetum.app.score.evaluate.tapvid3d import evaluate_tapvid3d as evaluate_tapvid3d
from tapetum.app.score.evaluate.votsp import evaluate_votsp as evaluate_votsp
from tapetum.app.score.evaluate.zero_shot import evaluate_retrieval as evaluate_retrieval
from tapetum.app.score.evaluate.zero_shot import evaluate_zero_shot as evaluate_zero_shot
from tapetum.app.score.submit_perception_test import submit_perception_test as submit_perception_test
from tapetum.app.see.answer import answer as answer
from tapetum.app.see.ask import ask as ask
from tapetum.app.see.caption import caption as caption
from tapetum.app.see.classify import classify as classify
from tapetum.app.see.detect import detect as detect
from tapetum.app.see.discover import discover as discover
from tapetum.app.see.embed import embed as embed
from tapetum.app.see.segment import segment as segment
from tapetum.app.track.convert import convert as convert
from tapetum.app.track.live import track_live as track_live
from tapetum.app.track.many import track_many as track_many
from tapetum.app.track.show import show as show
from tapetum.app.track.track import track as track
from tapetum.app.track.track_things import track_things as track_things
from tapetum.desk.search.index import index as index
from tapetum.desk.search.search import search as search

__version__: str

def load(
    name_or_path: str | PathLike[str], device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> Any: ...
def __getattr__(name: str) -> Any: ...
