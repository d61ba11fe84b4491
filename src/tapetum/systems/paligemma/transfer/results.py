"""Published scores of the transfer tasks, to stand beside a score: figures of others, none of them measured here.

Sources: PaliGemma, table 1 (arXiv 2407.07726; one run, answers of test servers), PaliGemma 2, table 13 and section 4
(2412.03555; means of five runs, often on validation splits, "val"), and at 896 pixels Gemma 3 (2503.19786, table 12).

Each text has the numbers at 224, 448 and 896 pixels, in hundredths; parts and splits follow each other. Unusual: PaliGemma 2
compares its VizWiz on val with the first one's on a server, which on val has the same 76.4.
"""

from collections.abc import Mapping

_MODELS = "paligemma-3b", "paligemma2-3b", "paligemma2-10b"
_ROWS = {
    "coco-captions": ("141.9/144.6", "141.3/143.4", "143.7/145.0"),
    "nocaps": ("121.7/123.6", "123.1/123.5", "126.3/126.9"),
    "coco-35l": (
        "en 139.2/141.2, mean of 34 113.7/115.8", "en 138.4/140.4, mean of 34 113.9/115.8",
        "en 140.8/142.4, mean of 34 115.8/117.2",
    ),
    "xm3600": (
        "en 78.0/80.0, mean of 35 41.9/42.4", "en 79.8/80.3, mean of 35 42.8/43.2", "en 80.7/81.5, mean of 35 44.5/44.6",
    ),
    "screen2words": ("117.6/119.6", "113.3/114.0", "117.8/119.1"),
    "textcaps": ("127.5/153.9", "127.5/152.1", "137.9/157.7"),
    "scicap": ("162.3/181.5", "165.1/183.3", "159.5/177.2"),
    "widgetcap": ("136.1/148.4", "138.1/151.4", "139.8/151.9"),
    "vqav2": ("83.2/85.6; minival 82.1/84.6", "minival 83.0/84.8", "minival 84.3/85.8"),
    "mmvp": ("47.3/45.3",),
    "pope": ("86.0/87.0",),
    "objaverse": ("62.7/62.8; not transferred 58.4/60.4",),
    "okvqa": ("63.5/63.2", "64.2/64.1", "68.0/68.6"),
    "aokvqa-mc": ("76.4/76.9; val 78.5/80.3", "val 79.7/82.5", "val 83.7/85.9"),
    "aokvqa-da": ("61.9/63.2; val 61.1/65.7", "val 64.2/67.9", "val 68.9/70.8"),
    "gqa": ("65.6/67.0", "66.2/68.1", "67.2/68.3"),
    "xgqa": ("57.3/57.9", "58.6/60.4", "61.4/62.6"),
    "nlvr2": ("90.0/88.9", "91.4/91.6", "93.9/93.7"),
    "marvl": ("80.6/76.8", "83.5/82.7", "89.5/89.1"),
    "ai2d": ("72.1/73.3", "74.7/76.0", "83.1/84.4"),
    "scienceqa": ("95.4/95.9", "96.1/96.2", "98.2/98.5"),
    "rsvqa-lr": ("92.6/93.1", "93.0/92.7", "92.8/93.1"),
    "rsvqa-hr": ("test 92.6/92.8, test 2 90.6/90.5", "test 92.7/92.8, test 2 90.9/90.7", "test 92.6/92.8, test 2 90.8/90.7"),
    "chartqa": (
        "human 40.0/54.2, augmented 74.2/88.5, mean 57.1/71.4", "human 42.0/54.0, augmented 74.4/89.2; mean at 896 70.7",
        "human 48.4/66.4, augmented 74.2/90.1; mean at 896 79.1",
    ),
    "vizwiz": ("73.7/75.5; val 76.4/-", "val 76.4/77.5", "val 78.1/78.6"),
    "tallyqa": (
        "simple 81.7/84.9, complex 69.6/72.3", "simple 81.8/85.3, complex 70.3/73.6", "simple 83.2/86.2, complex 73.4/76.7",
    ),
    "countbenchqa": ("81.9/83.1", "81.0/82.0", "84.0/85.3"),
    "ocr-vqa": ("72.3/74.6/74.9", "73.4/75.7", "74.7/76.3"),
    "textvqa": ("55.5/73.2/76.5; val 59.0/74.6", "val 59.6/75.2; 896 76.3", "val 64.0/76.6; 896 76.3"),
    "docvqa": ("43.7/78.0/84.8; val 37.8/74.1", "val 39.9/73.6; 896 81.6", "val 43.9/76.6; 896 86.3"),
    "infovqa": ("28.5/40.5/47.8; val 25.5/37.0", "val 25.2/37.5; 896 41.4", "val 33.6/47.8; 896 53.1"),
    "st-vqa": ("63.3/81.8/84.4; val 61.6/79.7", "val 61.9/80.5", "val 64.3/82.0"),
    "vsr": ("", "zero-shot split 74.8, random 81.6", "zero-shot split 79.8, random 86.8"),
    "refcoco": (
        "val 73.4/75.6/76.9, testA 75.7/77.9/78.7, testB 70.7/72.4/73.9; + val 68.3/69.8/72.2, testA 71.9/74.2/76.1, "
        "testB 64.5/64.5/66.9; g val 67.7/70.2/72.2, test 68.2/71.0/72.7",
        "val 73.4/76.3, testA 75.7/78.6, testB 71.0/73.5; + val 68.6/72.1, testA 72.7/76.1, testB 64.2/67.0; g val 68.3/72.3, "
        "test 69.0/72.7",
        "val 75.9/78.2, testA 77.2/79.7, testB 74.2/76.2; + val 72.0/74.4, testA 74.7/77.7, testB 68.4/71.1; g val 71.4/74.4, "
        "test 71.9/74.8",
    ),
    "coco-detection": ("28.7/37.0/41.1", "30.4/38.5/42.3", "30.3/39.2/43.6"),
    "doclaynet": ("50.8/64.1/66.5", "46.7/62.5/66.1", "50.4/63.5/66.0"),
    "msrvtt-cap": ("70.5", "68.5", "72.1"),
    "msrvtt-qa": ("50.1", "50.5", "51.9"),
    "activitynet-cap": ("34.6", "34.2", "35.9"),
    "activitynet-qa": ("50.8", "51.3", "53.2"),
    "vatex": ("79.7", "80.8", "82.7"),
    "msvd-qa": ("60.2", "61.1", "62.5"),
    "docci": ("", "sentences not entailed, 448: 28.4", "sentences not entailed, 448: 20.3"),
}  # fmt: skip
_UNSAID = {
    "icdar15": "F1 at 896 75.9",
    "total-text": "F1 at 896 74.2",
    "fintabnet": "TEDS of structure 99.2, TEDS 98.9",
    "pubtabnet": "TEDS of structure 97.6, TEDS 97.3",
    "molecules": "448: 94.8 (10B)",
    "grandstaff": "CER 1.6, SER 2.3, LER 6.7",
    "mimic-cxr": "RadGraph F1 at 896 28.8 (3B), 29.5 (10B)",
}
"""Of PaliGemma 2."""
RESULTS: Mapping[str, Mapping[str, str]] = {
    name: {model: text for model, text in zip(_MODELS, texts, strict=False) if text} for name, texts in _ROWS.items()
} | {name: {"paligemma2": text} for name, text in _UNSAID.items()}
"""By task and model."""
