"""Evaluation of a PaliGemma, or of saved answers, on a transfer task: what `evaluate_paligemma` does with `task`."""

import math
from dataclasses import asdict
from typing import Any

from tapetum.core.devices import choose_device, choose_dtype
from tapetum.core.errors import BadInput, Listener


def task_scores(options: Any, listener: Listener) -> dict[str, Any]:
    """Score a PaliGemma, or saved answers, on a transfer task of the papers.

    `options` has the fields of `PaliGemmaEvalOptions`. Returns the task, the number of examples, `scores` (rows with name,
    value, low, high, count: the first is the number that papers report; None for NaN; no rows if right answers are hidden), the
    papers' results (`published`), and whether a model answered or a file (`answers`).

    Raises BadInput for an unknown task, missing or damaged files, a missing model, and answers that do not belong to the task's
    examples.
    """
    from tapetum.systems.paligemma.transfer.data import read_examples, split_names, there
    from tapetum.systems.paligemma.transfer.results import RESULTS
    from tapetum.systems.paligemma.transfer.tasks import task_named

    task = task_named(options.task)
    if options.noise_boxes and task.metric != "detection":
        raise BadInput(f"--noise-boxes is for the detection of all things, and {task.name} is another task; leave it out")
    every = read_examples(task, options.data, split_names(task, options.splits, task.scored))
    kept = there(every)
    if not kept:
        raise BadInput(f"none of the {len(every)} videos of {task.title} are in {options.data}; put them there")
    if len(kept) < len(every):
        listener.note(f"{len(every) - len(kept)} of {len(every)} examples are of videos that are not there; left out")
    trained = set(task.train) & {example.id[0] for example in kept}
    if trained:
        listener.note(f"the published models learned {'+'.join(sorted(trained))} too: right answers of other splits are hidden")

    from tapetum.bench.paligemma_tasks import make_answers, read_answers, scorable, score_answers
    from tapetum.systems.paligemma.transfer.samples import spaced_subset

    examples, unpack = spaced_subset(kept, options.limit), None
    device = choose_device(options.device)
    if options.predictions is not None:
        answers = read_answers(options.predictions, kept)
        examples = [e for e in examples if e.id in answers.texts] if options.limit else examples
        if task.metric == "referred":
            from tapetum.systems.paligemma.masks import codec as mask_codec

            unpack = mask_codec.load(options.masks or mask_codec.DEFAULT, device).unpack
    else:
        import torch

        from tapetum.hub.registry import weights_fingerprint
        from tapetum.systems.paligemma.answers import Answerer

        precision = choose_dtype(options.dtype, device)
        dtype = getattr(torch, precision)
        answerer = Answerer.load(options.model, config=options.model_config, masks=options.masks, device=device, dtype=dtype)
        answers = make_answers(
            answerer,
            task,
            examples,
            save=options.save,
            about={
                "weights": weights_fingerprint(options.model),
                "tokenizer": answerer.tokens.identity,
                "model_config": options.model_config,
                "dtype": precision,
            },
            batch=options.batch_size,
            longest=options.tokens,
            beams=options.beams,
            noise_boxes=options.noise_boxes,
            progress=listener.counting(task.name),
            note=listener.note,
        )
        unpack = answerer.codec.unpack if task.metric == "referred" else None
    rows = score_answers(task, examples, answers, unpack) if options.predictions or scorable(task, examples) else []
    if not rows:
        listener.note(
            "the right answers are not here, so nothing is scored; the answers are in --save" if options.save else task.remark
        )
    if any(math.isnan(row.value) for row in rows[:1]):
        listener.note("there is nothing to find in these examples")
    return {
        "task": task.name,
        "examples": len(examples),
        "scores": [{k: None if v != v else v for k, v in asdict(row).items()} for row in rows],
        "published": dict(RESULTS.get(task.name, {})),
        "answers": "model" if options.predictions is None else "file",
    }
