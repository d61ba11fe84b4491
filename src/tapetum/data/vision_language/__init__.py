"""Sets of questions, captions and expressions about images and videos, read from their official files.

A reader takes the folder of the data and the name of a split, and gives records of `tapetum.data.questions`; each module says
what the folder looks like. QUESTIONS and CAPTIONS name them; `referring` reads expressions. No image is opened.

>>> sorted(QUESTIONS)[:4]
['activitynet-cap', 'activitynet-qa', 'aokvqa', 'chartqa']
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from tapetum.data.questions import CaptionedImage, Question
from tapetum.data.vision_language.captions import read_coco_captions, read_karpathy
from tapetum.data.vision_language.described import read_docci, read_scicap, read_screen2words, read_textcaps
from tapetum.data.vision_language.documents import read_chartqa, read_docvqa, read_infovqa, read_textvqa
from tapetum.data.vision_language.languages import read_coco35l, read_marvl, read_xgqa, read_xm3600
from tapetum.data.vision_language.photos import read_aokvqa, read_gqa, read_nlvr2, read_tallyqa
from tapetum.data.vision_language.probes import read_mmvp, read_pope, read_vizwiz, read_vsr
from tapetum.data.vision_language.satellite import read_rsvqa_hr, read_rsvqa_lr
from tapetum.data.vision_language.scene_text import read_ocrvqa, read_stvqa
from tapetum.data.vision_language.science import read_scienceqa
from tapetum.data.vision_language.videos import (
    read_activitynet_captions,
    read_activitynet_qa,
    read_msrvtt_captions,
    read_msrvtt_qa,
    read_vatex_captions,
)
from tapetum.data.vision_language.vqa import read_okvqa, read_vqav2

QUESTIONS: Mapping[str, Callable[[Path, str], list[Question]]] = {
    "vqav2": read_vqav2,
    "okvqa": read_okvqa,
    "aokvqa": read_aokvqa,
    "gqa": read_gqa,
    "nlvr2": read_nlvr2,
    "tallyqa": read_tallyqa,
    "textvqa": read_textvqa,
    "docvqa": read_docvqa,
    "infovqa": read_infovqa,
    "chartqa": read_chartqa,
    "scienceqa": read_scienceqa,
    "rsvqa-lr": read_rsvqa_lr,
    "rsvqa-hr": read_rsvqa_hr,
    "msrvtt-qa": read_msrvtt_qa,
    "msrvtt-cap": read_msrvtt_captions,
    "activitynet-qa": read_activitynet_qa,
    "activitynet-cap": read_activitynet_captions,
    "vatex": read_vatex_captions,
    "coco-35l": read_coco35l,
    "xm3600": read_xm3600,
    "xgqa": read_xgqa,
    "marvl": read_marvl,
    "st-vqa": read_stvqa,
    "ocr-vqa": read_ocrvqa,
    "pope": read_pope,
    "mmvp": read_mmvp,
    "vsr": read_vsr,
    "vizwiz": read_vizwiz,
}
"""By name."""
CAPTIONS: Mapping[str, Callable[[Path, str], list[CaptionedImage]]] = {
    "coco": read_coco_captions,
    "coco-karpathy": read_karpathy,
    "screen2words": read_screen2words,
    "scicap": read_scicap,
    "textcaps": read_textcaps,
    "docci": read_docci,
}
"""By name."""
