from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.kernels.arrow import byte_lengths, string_buffers


@given(st.lists(st.text(max_size=4)), st.integers(0, 5), st.integers(0, 5))
def test_slices_of_strings(texts: list[str], first: int, count: int) -> None:
    values = pa.array(texts, pa.large_string()).slice(first, count)
    offsets, data = string_buffers(values)
    expected = [text.encode() for text in texts[first : first + count]]
    assert [bytes(data[offsets[i] : offsets[i + 1]]) for i in range(len(values))] == expected
    assert byte_lengths(values).tolist() == [len(text) for text in expected]


def test_binary_without_any_byte() -> None:
    offsets, data = string_buffers(pa.array([b"", b""], pa.large_binary()))
    assert offsets.tolist() == [0, 0, 0]
    assert len(data) == 0
