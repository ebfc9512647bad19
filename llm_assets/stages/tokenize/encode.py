"""Text to token ids, with the tokenizer that the tokenizer asset froze.

Guarantees the ids of the Hugging Face `tokenizers` library, special tokens in the text taken as plain text,
and one end-of-document token after each document. Training a tokenizer lives in `stages.train_tokenizer`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.errors import LlmAssetsError
from llm_assets.kernels.arrow import byte_lengths, string_buffers
from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.token_schema import token_schema

if TYPE_CHECKING:  # these libraries are imported where they are used: who only asks what is up to date does without
    import gigatoken
    from tokenizers import Tokenizer


class TokenizerError(LlmAssetsError, ValueError):
    """A tokenizer that cannot be used, with the reason and the remedy."""


@dataclass(frozen=True)
class FrozenTokenizer:
    """A tokenizer as the asset froze it: the text of `tokenizer.json` and the end-of-document token."""

    json_text: str
    end_of_document: str

    @cached_property
    def reference(self) -> Tokenizer:
        """The reference implementation, with special tokens in a text encoded as plain text. Raises TokenizerError."""
        tokenizer = _parsed(self.json_text)
        tokenizer.encode_special_tokens = True
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def end_of_document_id(self) -> int:
        """Id of the token that ends each document."""
        token_id = self.reference.token_to_id(self.end_of_document)
        if token_id is None:
            raise TokenizerError(
                f"end_of_document {self.end_of_document!r} is not in the tokenizer's vocabulary: "
                "name a token that it has"
            )
        return int(token_id)

    @cached_property
    def vocabulary_size(self) -> int:
        """The highest id plus one, special tokens included. A vocabulary with gaps has fewer entries."""
        return max(self.reference.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def dtype(self) -> str:
        """`uint16` while every id fits, else `uint32`."""
        return "uint16" if self.vocabulary_size <= 1 << 16 else "uint32"

    @cached_property
    def _encoder(self) -> gigatoken.Tokenizer:
        """gigatoken knows no switch for special tokens in text: it gets a tokenizer without any.

        The vocabulary keeps their entries, which no merge can reach. Raises TokenizerError.
        """
        import gigatoken

        description = json.loads(self.json_text)
        description["added_tokens"] = [token for token in description.get("added_tokens", []) if not token["special"]]
        description["post_processor"] = None
        try:
            return gigatoken.Tokenizer.from_json(json.dumps(description))
        except RuntimeError as error:
            raise TokenizerError(f"the tokenizer cannot be used: {str(error).splitlines()[0]}") from error

    @staticmethod
    @lru_cache(maxsize=4)
    def of(json_text: str, end_of_document: str) -> FrozenTokenizer:
        """The one of that content. Parsing takes a third of a second, so the last few stay in memory."""
        return FrozenTokenizer(json_text, end_of_document)

    def encode(self, texts: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
        """Ids of every text (`large_string`), without end-of-document tokens.

        Returns offsets int64 [texts + 1] and ids uint32 [total].
        """
        import awkward as ak

        offsets, content = string_buffers(texts)
        strings = ak.contents.ListOffsetArray(
            ak.index.Index64(offsets),
            ak.contents.NumpyArray(cast("Any", content), parameters={"__array__": "char"}),
            parameters={"__array__": "string"},
        )
        encoded: Any = self._encoder.encode_batch(ak.Array(strings), parallel=False)
        return np.asarray(encoded.layout.offsets.data), np.asarray(encoded.layout.content.data)

    def disagreements(self, texts: pa.Array) -> list[int]:
        """Places of the texts whose ids differ from the reference implementation's."""
        offsets, ids = self.encode(texts)
        expected = self.reference.encode_batch(texts.to_pylist(), add_special_tokens=False)
        return [
            place
            for place, encoding in enumerate(expected)
            if encoding.ids != ids[offsets[place] : offsets[place + 1]].tolist()
        ]

    def decode(self, ids: npt.NDArray[Any]) -> str:
        """Text of some ids, special tokens shown."""
        return str(self.reference.decode(ids.tolist(), skip_special_tokens=False))


def _parsed(json_text: str) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        description = json.loads(json_text)
    except json.JSONDecodeError as error:
        raise TokenizerError(f"not a tokenizer.json: {error}") from error
    if not isinstance(description, dict) or "model" not in description:
        raise TokenizerError("not a tokenizer.json: it has no `model`")
    return Tokenizer.from_str(json_text)


def tokenize(batches: Iterable[pa.RecordBatch], tokenizer: FrozenTokenizer) -> Iterator[tuple[pa.RecordBatch, Ledger]]:
    """Token rows (`token_schema`) and ledger of each batch with doc_id, file, record and text."""
    schema = token_schema(tokenizer.dtype)
    for batch in batches:
        offsets, ids = tokenizer.encode(batch["text"])
        documents = batch.num_rows
        ended, lengths = _end_documents(offsets, ids, tokenizer)
        input_ids = pa.LargeListArray.from_arrays(
            pa.array(np.concatenate(([0], np.cumsum(lengths))), pa.int64()),
            pa.array(ended),
            type=schema[3].type,
        )
        text_bytes = int(byte_lengths(batch["text"]).sum())
        ledger = Ledger(
            incoming=Count(documents, text_bytes),
            kept=Count(documents, text_bytes),
            output=Count(documents, ended.nbytes, len(ended)),
        )
        columns = [batch["doc_id"], batch["file"], batch["record"], input_ids]
        yield pa.record_batch(columns, schema=schema), ledger


def _end_documents(
    offsets: npt.NDArray[np.int64], ids: npt.NDArray[np.uint32], tokenizer: FrozenTokenizer
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """The ids with one end-of-document token after each document, and the new lengths."""
    ended = np.insert(ids[: offsets[-1]].astype(tokenizer.dtype), offsets[1:], tokenizer.end_of_document_id)
    return ended, np.diff(offsets) + 1
