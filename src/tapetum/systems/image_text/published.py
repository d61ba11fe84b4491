"""Named image-text-to-text models of transformers whose licences are free, small enough for a laptop. Imports no torch."""

from tapetum.hub.registry import Weights

LOADER = "tapetum.systems.image_text.model:load"


def _entry(name: str, repository: str, paper: str, megabytes: int, summary: str, score: str | None, licence: str) -> Weights:
    return Weights(
        name=name,
        architecture="image-text",
        summary=summary,
        paper=paper,
        licence=licence,
        file=name,
        loader=LOADER,
        repository=repository,
        size=megabytes * 10**6,
        verbs=("ask",),
        score=score,
    )


_SMOL, _FREE = "arXiv 2504.05299", "Apache-2.0"
PUBLISHED = (
    _entry(
        "smolvlm-256m",
        "HuggingFaceTB/SmolVLM-256M-Instruct",
        _SMOL,
        513,
        "questions about images in words; 0.8 GB of memory in bfloat16",
        None,
        _FREE,
    ),
    _entry(
        "smolvlm-500m",
        "HuggingFaceTB/SmolVLM-500M-Instruct",
        _SMOL,
        1015,
        "questions about images in words; 1.2 GB of memory in bfloat16",
        None,
        _FREE,
    ),
    _entry(
        "smolvlm2-500m",
        "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
        _SMOL,
        2030,
        "questions about images and videos in words; 1.8 GB of memory in bfloat16",
        "Video-MME 42.2 (published)",
        _FREE,
    ),
    _entry(
        "qwen3-vl-2b",
        "Qwen/Qwen3-VL-2B-Instruct",
        "arXiv 2511.21631",
        4260,
        "questions about images and videos in words, and boxes; 5 GB of memory in bfloat16",
        None,
        _FREE,
    ),
    _entry(
        "florence2-base",
        "florence-community/Florence-2-base",
        "arXiv 2311.06242",
        470,
        "captions and boxes by its own prompts; 1 GB of memory",
        None,
        "MIT",
    ),
)
FOLDERS = dict.fromkeys(
    (
        *("florence2", "gemma3", "gemma3n", "idefics2", "idefics3", "internvl", "lfm2_vl", "llava", "llava_next"),
        *("llava_onevision", "mistral3", "molmo2", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "smolvlm"),
    ),
    LOADER,
)
"""The model_type in the config.json of a folder, to its loader; `ask` takes others of transformers too."""
