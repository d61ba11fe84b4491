"""Evaluation on benchmarks: reads official files and computes the field's standard metrics.

A benchmark is a file with a class, `tapetum.bench.own.Benchmark`, and a row of `BENCHMARKS`, whose references are resolved like
those that users give.
"""

from collections.abc import Mapping

_BUILT_IN = "tapetum.bench.built_in"
_TRANSFERS = """coco-captions nocaps coco-35l xm3600 screen2words textcaps scicap widgetcap vqav2 mmvp pope okvqa gqa xgqa nlvr2
marvl ai2d scienceqa rsvqa-lr rsvqa-hr chartqa vizwiz tallyqa countbenchqa ocr-vqa textvqa docvqa infovqa st-vqa vsr refcoco
doclaynet icdar15 total-text fintabnet pubtabnet molecules grandstaff msrvtt-qa activitynet-qa vatex msvd-qa"""
BENCHMARKS: Mapping[str, str] = {
    **dict.fromkeys(("tapvid-davis", "tapvid-rgb-stacking", "tapvid-kinetics", "robotap"), f"{_BUILT_IN}:TapVid"),
    "davis": "tapetum.bench.davis:Davis",
    "votsp": "tapetum.bench.votsp:Votsp",
    "tapvid3d": "tapetum.bench.tapvid3d:TapVid3d",
    "perception-test": "tapetum.bench.perception_test:PerceptionTestVideos",
    **dict.fromkeys(("egoschema", "next-qa", "video-mme", "lvbench", "longvideobench"), f"{_BUILT_IN}:VideoQuestions"),
    **dict.fromkeys(_TRANSFERS.split(), "tapetum.bench.paligemma_tasks:TransferBenchmark"),
    "imagenet": "tapetum.bench.zero_shot:ZeroShot",
    "flickr30k": "tapetum.bench.zero_shot:Retrieval",
}
"""Benchmarks of this project, for `tapetum.bench.own.evaluate`, by the name of the data set."""
