"""Stages of PaliGemma as phases of one run, each in its folder, and the run that produces the weights of paligemma-nano-2."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from tapetum.core.files import whole_file
from tapetum.systems.paligemma import weights
from tapetum.systems.paligemma.recipes import PaliGemmaStage
from tapetum.systems.paligemma.run import TOKENIZER, TrainedPaliGemma
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch
from tapetum.train.process_group import join_process_group
from tapetum.world.training.paligemma.recipes import NanoRun
from tapetum.world.training.paligemma.stages import train_stage

WEIGHTS = "model.safetensors"


def train_nano(run: NanoRun, launch: Launch, say: Callable[[str], None] = print) -> TrainedPaliGemma | None:
    """Train through all phases in the folder `launch.out`; the same call resumes a stopped run.

    Returns the file of the final float16 weights, with their tokenizer beside it, and the scores of the last phase; None if the
    run is unfinished. Raises BadInput for missing data.
    """
    last = train_phases(run.phases(), launch, say)
    if last is None:
        return None
    path = launch.out / WEIGHTS
    if is_main():
        tokens = Tokens.beside(last.weights)
        with whole_file(launch.out / TOKENIZER) as temporary:
            temporary.write_bytes(tokens.model)
        weights.save(weights.load(last.weights), path, torch.float16, tokens.identity)
    return TrainedPaliGemma(path, last.scores)


def train_phases(
    phases: Mapping[str, PaliGemmaStage], launch: Launch, say: Callable[[str], None] = print
) -> TrainedPaliGemma | None:
    """Train stages one after the other, each in the folder of its name in `launch.out`; the same call resumes a stopped run.

    Each starts from the weights of the one before, unless its `start` or `vision_encoder` names an earlier phase. Returns the
    result of the last one, or None if the run is unfinished.
    """
    finished, made = None, dict[str, str]()
    with join_process_group(launch.device):  # once for all phases: torchrun's processes cannot meet a second time
        for name, stage in phases.items():
            start = made[stage.start] if stage.start else str(finished.weights) if finished else ""
            encoder = made[stage.vision_encoder] if stage.vision_encoder else ""
            scored = name != list(phases)[-1] and any((launch.out / name).glob("*.safetensors"))  # when it ended
            stage = replace(stage, start=start, vision_encoder=encoder, checks="" if scored else stage.checks)
            finished = train_stage(stage, launch, say, phase=name)
            if finished is None:
                return None
            made[name] = str(finished.weights)
    return finished
