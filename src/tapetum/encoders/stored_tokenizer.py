"""The tokenizer in a file of weights: its kind and length in the header, the bytes of its own file as a tensor."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.encoders.tokenizers import LONGEST_ROW, Tokenizer, from_content

TOKENIZER = "tokenizer"
"""Entry in the header, and name of the tensor of bytes."""


def store_tokenizer(tokenizer: Tokenizer) -> tuple[dict[str, Any], Tensor]:
    """Write a tokenizer as JSON values for the header, and a tensor of bytes."""
    content = torch.frombuffer(bytearray(tokenizer.content), dtype=torch.uint8)
    return {"kind": tokenizer.kind, "length": tokenizer.length}, content


def restore_tokenizer(about: Any, content: Tensor | None, path: Path) -> Tokenizer:
    """Make the tokenizer of the file `path` from what `store_tokenizer` wrote. Raises BadInput where that is damaged."""
    try:
        if content is None or content.dtype != torch.uint8 or not 1 <= about["length"] <= LONGEST_ROW:
            raise ValueError("its bytes or its length are wrong")
        return from_content(content.numpy().tobytes(), about["kind"], about["length"])
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"the tokenizer in {path} cannot be read ({str(error)[:100]}); save it again") from error
