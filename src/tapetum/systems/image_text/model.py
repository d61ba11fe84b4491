"""Any image-text-to-text model of transformers, with the chat template of its processor.

The network, its preprocessing, its template and its greedy search are the library's: texts equal those of its `generate`, token
for token. A request is one turn of the user: the images, or the video, then the words. No code of a folder is run, only
safetensors are read, and nothing is fetched.

Families that write boxes have an entry in `tapetum.systems.image_text.boxes`; all others answer in words.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from tapetum.core.devices import full_precision
from tapetum.core.errors import BadInput, MissingExtra, check_several
from tapetum.core.reading import check_length, no_pipes_in, read_json
from tapetum.hub.registry import resolve
from tapetum.layers.generate import SamplingConfig
from tapetum.systems.image_text.boxes import FAMILIES, ParsedBoxes
from tapetum.systems.paligemma.answers import Reply

CAPTION = "Describe this image in one short sentence."
_PROCESSORS = "processor_config.json", "preprocessor_config.json"


class ImageTextModel:
    """A model that answers words about images; has the methods of `tapetum.systems.paligemma.answers.Answerer`."""

    def __init__(self, model: Any, processor: Any, name: str = "the model"):
        """Combine a model and its processor, both of transformers."""
        self.model, self.processor, self.name = model.eval().requires_grad_(False), processor, name
        self.family = FAMILIES.get(model.config.model_type)
        processor.tokenizer.padding_side = "left"  # generated tokens follow those of the request
        ends = model.generation_config.eos_token_id
        self._ends = {ends} if isinstance(ends, int) else set(ends or ())

    @classmethod
    def load(
        cls, name_or_path: str | os.PathLike[str], device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "ImageTextModel":
        """Load a model by name or from its folder.

        Raises MissingExtra without transformers, BadInput for a folder that lacks a file or has another kind of model.
        """
        try:
            from transformers import AutoModelForImageTextToText, AutoProcessor
            from transformers.utils.logging import disable_progress_bar
        except ImportError:
            raise MissingExtra("transformers", "vlm", "a vision-language model") from None
        disable_progress_bar()
        folder = Path(name_or_path)
        if not folder.is_dir():
            folder = resolve(name_or_path)[0]
        own: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            place = no_pipes_in(folder)
            if not any((folder / name).is_file() for name in _PROCESSORS):
                raise OSError(f"it has no {_PROCESSORS[0]}, which says how images are prepared")
            processor = AutoProcessor.from_pretrained(place, **own)
            if getattr(processor, "tokenizer", None) is None:
                raise OSError("it has no tokenizer")
            model: Any = AutoModelForImageTextToText.from_pretrained(
                place, use_safetensors=True, dtype=dtype or torch.float32, device_map=None, **own
            )
        except Exception as error:  # each processor and config checks itself, by classes of errors of its own
            if "trust_remote_code" in str(error) or _has_code(folder):
                raise BadInput(
                    f"{folder} is of type {_type_of(folder)}, which needs Python code from its repository, and tapetum "
                    "never runs that; take a model that transformers has itself"
                ) from error
            reason = " ".join(str(error).split())[:160]
            raise BadInput(
                f"{folder} is no image-text-to-text model of transformers ({reason}); give a folder with config.json, "
                "safetensors, the processor's config and its tokenizer"
            ) from error
        return cls(model.to(device), processor, os.fspath(name_or_path))

    def words(self, task: str, text: str = "", language: str = "en") -> str:
        """Write what is said to the model for a task: "ask" and "say" (verbatim), "caption" or "detect".

        Raises BadInput for "detect" if the model writes no boxes, and for "segment".
        """
        if task == "say":
            return text
        if task in ("detect", "segment"):
            if self.family is None or task == "segment":
                what = "boxes" if task == "detect" else "masks"
                raise BadInput(
                    f"{self.name} is a {self.model.config.model_type}, and this model writes no {what}; give one of "
                    f"{', '.join(sorted(FAMILIES))} or a PaliGemma" + ("" if task == "detect" else ", or segment --click")
                )
            return self.family.detect.format(text.replace(" ; ", ", "))
        own = {} if self.family is None else self.family.words
        text_of_task = own.get(task) or (CAPTION if task == "caption" else text)
        return text_of_task if language == "en" else f"{text_of_task} Answer in the language {language}."

    def prefix(self, prompt: str, images: int = 1, max_new_tokens: int = 1) -> list[int]:
        """Encode the words of a prompt. Raises BadInput if they are none, or more than the model reads."""
        del images
        if not prompt.strip():
            raise BadInput("the prompt is empty; say what is wanted, such as a question")
        check_length(prompt, "the prompt")
        ids = self.processor.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        self._check_room(len(ids), max_new_tokens)
        return ids

    def _check_room(self, tokens: int, more: int) -> None:
        room = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if room is not None and tokens + more > room:
            raise BadInput(
                f"the request has {tokens} tokens beside {more} for the answer, and {self.name} reads {room}; give a shorter "
                "prompt, or fewer images"
            )

    @full_precision()
    @torch.inference_mode()
    def ask(
        self,
        images: Sequence[UInt8[np.ndarray, "_i _h _w 3"]],
        prompts: Sequence[str],
        max_new_tokens: int = 64,
        *,
        resize: str = "reference",
        sampling: SamplingConfig | None = None,
        video: bool = False,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Reply]:
        """Answer prompts, each about one or several images, with the likeliest tokens.

        Args:
            images: of each example.
            prompts: for each example.
            max_new_tokens: of an answer.
            resize: has no effect: the processor prepares images.
            sampling: only its beams have an effect.
            video: several images of an example are frames of a video, and given to the processor as one if it takes videos.
            on_text: is called with the text so far of a single example, after each word.

        Raises BadInput as `prefix`, and for images that the processor refuses.
        """
        del resize
        check_several(prompts, "prompts")
        for prompt in prompts:
            self.prefix(prompt, max_new_tokens=max_new_tokens)
        inputs = self._inputs([self._turn(*each, video) for each in zip(images, prompts, strict=True)])
        begun = 1 if self.model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        self._check_room(inputs["input_ids"].shape[1], max_new_tokens)
        beams = sampling.beams if sampling else 1
        made = self.model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=beams,
            return_dict_in_generate=True,
            output_logits=True,
            streamer=self._streamer(on_text) if on_text and len(prompts) == beams == 1 else None,
        )
        chances = self.model.compute_transition_scores(
            made.sequences, made.logits, getattr(made, "beam_indices", None), normalize_logits=True
        )
        return [self._reply(*rows) for rows in zip(made.sequences[:, begun:].tolist(), chances.tolist(), strict=True)]

    def _reply(self, ids: list[int], chances: list[float]) -> Reply:
        """Cut an answer after its end."""
        length = next((k for k, token in enumerate(ids) if token in self._ends), len(ids))
        keep = self.family is not None and self.family.special_tokens
        text = self.processor.tokenizer.decode(ids[:length], skip_special_tokens=not keep).strip()
        return Reply(
            text=text, ids=tuple(ids[:length]), log_probabilities=tuple(chances[: length + 1]), ended=length < len(ids)
        )

    def _turn(self, frames: UInt8[np.ndarray, "n h w 3"], prompt: str, video: bool) -> list[dict[str, Any]]:
        """Build the user's turn: images or a video, then words."""
        parts: list[dict[str, Any]] = [{"type": "image", "image": Image.fromarray(frame)} for frame in frames]
        if video and len(frames) > 1 and self._takes_videos:
            parts = [{"type": "video", "video": frames}]
        return [{"role": "user", "content": [*parts, {"type": "text", "text": prompt}]}]

    @property
    def _takes_videos(self) -> bool:
        """Check whether the processor prepares videos, and the template has a place for one."""
        token = getattr(self.processor, "video_token", None)
        if token is None or getattr(self.processor, "video_processor", None) is None or self.processor.chat_template is None:
            return False
        turn = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": ""}]}]
        return token in self.processor.apply_chat_template(turn, tokenize=False)

    def _inputs(self, turns: list[list[dict[str, Any]]], **template: Any) -> Any:
        """Prepare conversations of one length as tensors, on the model's device. Raises BadInput for what is refused."""
        settings: dict[str, Any] = {"padding": True}
        parts = [part for turn in turns for part in turn[0]["content"]]
        counts = [len(part["video"]) for part in parts if part["type"] == "video"]
        if counts:
            about = [{"fps": 1.0, "total_num_frames": n, "frames_indices": [*range(n)]} for n in counts]
            settings |= {"do_sample_frames": False, "video_metadata": about}
        try:
            if self.processor.chat_template is None:
                inputs = self._without_template(turns)
            else:
                template = {"add_generation_prompt": True, **template}
                inputs = self.processor.apply_chat_template(
                    turns, tokenize=True, return_dict=True, return_tensors="pt", processor_kwargs=settings, **template
                )
        except BadInput:
            raise
        except Exception as error:  # processors and templates raise errors of many classes
            reason = " ".join(str(error).split())[:160]
            raise BadInput(
                f"the processor of {self.name} takes no such request ({reason}); give other images or words"
            ) from error
        return inputs.to(self.model.device, self.model.dtype)

    def _without_template(self, turns: list[list[dict[str, Any]]]) -> Any:
        """Prepare the words verbatim, for families whose prompts are the whole input. Raises BadInput for others."""
        texts = [turn[0]["content"][-1]["text"] for turn in turns]
        images = [[part["image"] for part in turn[0]["content"][:-1]] for turn in turns]
        if self.family is None and not all(str(getattr(self.processor, "image_token", "")) in text for text in texts):
            raise BadInput(
                f"{self.name} has no chat template (chat_template.jinja); put that file into its folder, or say the words "
                f"verbatim with ask --raw, with {getattr(self.processor, 'image_token', 'its token')} where the image belongs"
            )
        return self.processor(text=texts, images=images, return_tensors="pt", padding=True)

    def _streamer(self, on_text: Callable[[str], None]) -> Any:
        """Make what hands pieces of text on while they are generated."""
        from transformers import TextStreamer

        class _Streamer(TextStreamer):
            answer = ""

            def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
                self.answer += text
                on_text(self.answer)

        return _Streamer(self.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)

    @full_precision()
    @torch.inference_mode()
    def score_options(
        self, frames: UInt8[np.ndarray, "n h w 3"], question: str, options: Sequence[str], video: bool = True
    ) -> list[float]:
        """Compute the mean log-likelihood of the tokens of each option as the answer to a question about frames."""
        if self.processor.chat_template is None or self.model.config.is_encoder_decoder:
            raise BadInput(f"{self.name} has no chat template with an assistant's turn, by which options are compared")
        scores = []
        turn = self._turn(frames, question, video)
        begun = self._inputs([turn])["input_ids"][0].tolist()
        for option in options:
            answer = {"role": "assistant", "content": [{"type": "text", "text": option}]}
            inputs = self._inputs([[*turn, answer]], add_generation_prompt=False, continue_final_message=True)
            ids = inputs["input_ids"][0]
            own = [k for k, (a, b) in enumerate(zip(ids.tolist(), [*begun, *[-1] * len(ids)], strict=False)) if a != b]
            if not own:
                raise BadInput(f"the answer {option[:40]!r} has no token of its own for {self.name}; give other words")
            logits = self.model(**inputs).logits[0, own[0] - 1 : -1].float().log_softmax(-1)
            scores.append(float(logits.gather(1, ids[own[0] :, None]).mean()))
        return scores

    def find(
        self, reply: Reply, width: int, height: int, *, masks: bool = False, things: Sequence[str] | None = None
    ) -> ParsedBoxes:
        """Read the boxes of an answer, in pixels of an image of this size; with `things`, only theirs.

        The score of each is the geometric mean of the probabilities of the answer's tokens. Raises BadInput if the model writes
        no boxes.
        """
        if self.family is None or masks:
            raise BadInput(f"{self.name}: this model writes no {'masks' if masks else 'boxes'}")
        return self.family.parse(reply, width, height, things)


def _type_of(folder: Path) -> str:
    try:
        return str(read_json(folder / "config.json").get("model_type"))[:40]
    except (OSError, ValueError, AttributeError):
        return "unknown"


def _has_code(folder: Path) -> bool:
    """Check whether a config names classes in Python files of the folder, which transformers has not itself."""
    try:
        content = read_json(folder / "config.json")
        from transformers import CONFIG_MAPPING

        return "auto_map" in content and content.get("model_type") not in CONFIG_MAPPING
    except (OSError, ValueError, ImportError, AttributeError):
        return False


def load(name_or_path: str | os.PathLike[str], device: Any = None, dtype: Any = None) -> ImageTextModel:
    """Load a model, as `tapetum.load` does. Raises BadInput as `ImageTextModel.load`."""
    return ImageTextModel.load(name_or_path, device, dtype)
