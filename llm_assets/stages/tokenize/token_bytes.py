"""How many bytes of text each token of a tokenizer stands for: what makes losses of different tokenizers comparable.

Guarantees that the bytes of the tokens of a text add up to those of the text, but for a space that a tokenizer puts
before it. What the losses are is not known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from llm_assets.errors import LlmAssetsError

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE = "▁"


class UnknownBytesError(LlmAssetsError, ValueError):
    """A tokenizer whose tokens do not say how many bytes they are."""


def token_bytes(json_text: str, vocabulary_size: int) -> npt.NDArray[np.int64]:
    """Bytes of each id, int64 [vocabulary_size]; special tokens, and ids that are no token, have 0.

    Of byte-level tokenizers (each character of a token is a byte; Radford et al. 2019) and of those with spaces written
    as ▁ (Kudo and Richardson 2018), with or without tokens for single bytes. Raises UnknownBytesError for others.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json_text)
    kinds = set(_decoders(json.loads(json_text)["decoder"] or {}))
    if not kinds & {"ByteLevel", "ByteFallback", "Metaspace"}:
        known = ", ".join(sorted(kinds)) or "none"
        raise UnknownBytesError(f"the bytes of tokens are not known for a tokenizer with the decoders: {known}")
    added = tokenizer.get_added_tokens_decoder()
    sizes = np.zeros(vocabulary_size, np.int64)
    for token, number in tokenizer.get_vocab().items():
        if number in added:
            sizes[number] = 0 if added[number].special else len(token.encode())
        elif "ByteLevel" in kinds:
            sizes[number] = len(token)
        else:
            sizes[number] = 1 if _BYTE.fullmatch(token) else len(token.replace(_SPACE, " ").encode())
    return sizes


def _decoders(decoder: Mapping[str, Any]) -> Iterator[str]:
    if decoder:
        yield str(decoder["type"])
    for each in decoder.get("decoders", ()):
        yield from _decoders(each)
