"""The commands of `tapetum eval`."""

from tapetum.app.commands import Group
from tapetum.app.score.evaluate.davis import evaluate_davis
from tapetum.app.score.evaluate.longvideo import evaluate_longvideo
from tapetum.app.score.evaluate.objects import evaluate_objects
from tapetum.app.score.evaluate.own import evaluate_all, own_command
from tapetum.app.score.evaluate.paligemma import evaluate_paligemma
from tapetum.app.score.evaluate.perception_test import evaluate_perception_test
from tapetum.app.score.evaluate.tapvid import evaluate_tapvid
from tapetum.app.score.evaluate.tapvid3d import evaluate_tapvid3d
from tapetum.app.score.evaluate.votsp import evaluate_votsp
from tapetum.app.score.evaluate.zero_shot import evaluate_retrieval, evaluate_zero_shot

COMMANDS = Group(
    """Score a model, or predictions, on a benchmark: TAP-Vid, TAPVid-3D in metres, VOTSp, the Perception Test, questions on
    scenes, long videos, DAVIS, objects found without labels, images named and found by words. Data may lie at an address:
    s3://, gs://, http://, https:// or hf://.

    In place of a benchmark's name, a class of your own may stand: my_benchmark.py:MyBenchmark, package.module:MyBenchmark, or
    the entry point of a package.
    """,
    {
        "tapvid": evaluate_tapvid,
        "tapvid3d": evaluate_tapvid3d,
        "votsp": evaluate_votsp,
        "paligemma": evaluate_paligemma,
        "longvideo": evaluate_longvideo,
        "perception-test": evaluate_perception_test,
        "davis": evaluate_davis,
        "objects": evaluate_objects,
        "zero-shot": evaluate_zero_shot,
        "retrieval": evaluate_retrieval,
        "all": evaluate_all,
    },
    other=own_command,
)
