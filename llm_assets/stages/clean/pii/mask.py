"""Spans of a column replaced by placeholders.

Guarantees that all bytes outside the spans stay as they are and in order. The cost is that of copying the column
once, whatever the number of documents; without spans there is none.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from llm_assets.kernels.kernel import kernel
from llm_assets.stages.clean.pii.spans import KINDS, Kind, Spans
from llm_assets.stages.clean.texts import text_buffers

_Bytes = npt.NDArray[np.uint8]
_Integers = npt.NDArray[np.int64]


def mask(texts: pa.LargeStringArray, spans: Spans, placeholders: Mapping[Kind, str]) -> pa.LargeStringArray:
    """The texts with each span replaced by the placeholder of its kind.

    `spans` are of these texts. Raises as `text_buffers` does, and KeyError for a kind without a placeholder.
    """
    offsets, data = text_buffers(texts)
    if len(spans) == 0:
        return texts
    present = set(spans.kind.tolist())
    encoded = [placeholders[kind].encode() if code in present else b"" for code, kind in enumerate(KINDS)]
    sizes = np.array([len(each) for each in encoded], np.int64)
    kinds = spans.kind.astype(np.int64)

    grown = np.zeros(len(texts), np.int64)
    np.add.at(grown, spans.document, sizes[kinds] - (spans.stop - spans.start))
    bounds = np.concatenate([[0], np.cumsum(np.diff(offsets) + grown)])
    first = offsets[spans.document]
    masked = _spliced(
        data[offsets[0] : offsets[-1]],
        first + spans.start - offsets[0],
        first + spans.stop - offsets[0],
        kinds,
        np.frombuffer(b"".join(encoded), np.uint8),
        np.concatenate([[0], np.cumsum(sizes)]),
        int(bounds[-1]),
    )
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(bounds), pa.py_buffer(masked))


@kernel
def _spliced(
    data: _Bytes, starts: _Integers, stops: _Integers, kinds: _Integers, words: _Bytes, word: _Integers, size: int
) -> _Bytes:
    """`data` with `words[word[k]:word[k + 1]]` in place of each range, k being its kind; `size` bytes in all."""
    result = np.empty(size, np.uint8)
    source = target = 0
    for number in range(len(starts)):
        target = _copied(data, source, starts[number], result, target)
        kind = kinds[number]
        target = _copied(words, int(word[kind]), int(word[kind + 1]), result, target)
        source = stops[number]
    _copied(data, source, len(data), result, target)
    return result


@kernel
def _copied(data: _Bytes, start: int, stop: int, result: _Bytes, target: int) -> int:
    for position in range(start, stop):
        result[target] = data[position]
        target += 1
    return target
