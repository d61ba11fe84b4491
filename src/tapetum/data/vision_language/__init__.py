"""Sets of questions, captions and expressions about images and videos, read from their official files.

A reader takes the folder of the data and the name of a split, and returns records of `tapetum.data.questions`; each module
describes the folder. QUESTIONS and CAPTIONS name them; `referring` reads expressions. No image is opened.

>>> sorted(QUESTIONS)[:4]
['activitynet-cap', 'activitynet-qa', 'aokvqa', 'chartqa']
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from tapetum.data.questions import CaptionedImage, Question
from tapetum.data.vision_language import captions, documents, languages, photos, videos

QUESTIONS: Mapping[str, Callable[[Path, str], list[Question]]] = {
    "vqav2": photos.read_vqav2,
    "okvqa": photos.read_okvqa,
    "aokvqa": photos.read_aokvqa,
    "gqa": photos.read_gqa,
    "nlvr2": photos.read_nlvr2,
    "tallyqa": photos.read_tallyqa,
    "textvqa": documents.read_textvqa,
    "docvqa": documents.read_docvqa,
    "infovqa": documents.read_infovqa,
    "chartqa": documents.read_chartqa,
    "scienceqa": photos.read_scienceqa,
    "rsvqa-lr": photos.read_rsvqa_lr,
    "rsvqa-hr": photos.read_rsvqa_hr,
    "msrvtt-qa": videos.read_msrvtt_qa,
    "msrvtt-cap": videos.read_msrvtt_captions,
    "activitynet-qa": videos.read_activitynet_qa,
    "activitynet-cap": videos.read_activitynet_captions,
    "vatex": videos.read_vatex_captions,
    "coco-35l": languages.read_coco35l,
    "xm3600": languages.read_xm3600,
    "xgqa": languages.read_xgqa,
    "marvl": languages.read_marvl,
    "st-vqa": documents.read_stvqa,
    "ocr-vqa": documents.read_ocrvqa,
    "pope": photos.read_pope,
    "mmvp": photos.read_mmvp,
    "vsr": photos.read_vsr,
    "vizwiz": photos.read_vizwiz,
}
"""By name."""
CAPTIONS: Mapping[str, Callable[[Path, str], list[CaptionedImage]]] = {
    "coco": captions.read_coco_captions,
    "coco-karpathy": captions.read_karpathy,
    "screen2words": captions.read_screen2words,
    "scicap": captions.read_scicap,
    "textcaps": captions.read_textcaps,
    "docci": captions.read_docci,
}
"""By name."""
