from __future__ import annotations

from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llm_assets.store.digest import combined_digest, content_digest

FIELDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "large_string": (pa.large_string(), st.text(max_size=3)),
    "large_binary": (pa.large_binary(), st.binary(max_size=3)),
    "fixed": (pa.binary(2), st.binary(min_size=2, max_size=2)),
    "bool": (pa.bool_(), st.booleans()),
    "int32": (pa.int32(), st.integers(-2, 2)),
    "int64": (pa.int64(), st.integers(-(1 << 40), 1 << 40)),
    "uint16": (pa.uint16(), st.integers(0, 3)),
    "float64": (pa.float64(), st.sampled_from([0.0, 0.5, 1e300])),
    "tokens": (pa.large_list(pa.field("item", pa.uint16(), nullable=False)), st.lists(st.integers(0, 3), max_size=3)),
    "strings": (pa.list_(pa.large_string()), st.lists(st.none() | st.text(max_size=2), max_size=2)),
    "struct": (
        pa.struct([("words", pa.int64()), ("name", pa.large_string())]),
        st.fixed_dictionaries({"words": st.none() | st.integers(0, 2), "name": st.none() | st.text(max_size=2)}),
    ),
    "structs": (
        pa.list_(pa.struct([("rule", pa.large_string()), ("value", pa.float64())])),
        st.lists(st.fixed_dictionaries({"rule": st.text(max_size=2), "value": st.just(0.5)}), max_size=2),
    ),
}
SCHEMA = pa.schema([(name, kind) for name, (kind, _) in FIELDS.items()])
Row = tuple[Any, ...]
rows_of_values = st.lists(st.tuples(*(st.none() | values for _, values in FIELDS.values())), max_size=8)


def table(rows: list[Row]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


@given(rows_of_values, st.lists(st.integers(0, 8)), st.integers(0, 3))
def test_it_does_not_matter_how_rows_are_cut(rows: list[Row], cuts: list[int], before: int) -> None:
    whole = table(rows)
    padded = pa.concat_tables([table(rows[:before]), whole]).combine_chunks()
    bounds = sorted({0, len(rows), *(cut for cut in cuts if cut <= len(rows))})
    pieces = [whole.slice(a, b - a) for a, b in pairwise(bounds)]
    sliced = padded.slice(min(before, len(rows)))
    expected = content_digest([whole])
    assert content_digest(pieces) == expected
    assert content_digest([whole.slice(0, 0), *pieces, whole.slice(0, 0)]) == expected
    assert content_digest([sliced]) == content_digest(sliced.to_batches()) == expected
    assert content_digest([pa.concat_tables(pieces)] if pieces else []) == expected


@given(rows_of_values.filter(bool), st.data())
def test_every_value_counts(rows: list[Row], data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(rows) - 1))
    place = data.draw(st.integers(0, len(SCHEMA) - 1))
    value = data.draw(st.none() | list(FIELDS.values())[place][1])
    assume(value != rows[row][place])
    changed = [*rows]
    changed[row] = (*rows[row][:place], value, *rows[row][place + 1 :])
    assert content_digest([table(changed)]) != content_digest([table(rows)])


@given(rows_of_values, rows_of_values)
def test_other_rows_other_digest(one: list[Row], other: list[Row]) -> None:
    assert (content_digest([table(one)]) == content_digest([table(other)])) == (one == other)


def test_what_lies_under_a_null_does_not_count() -> None:
    garbage = pa.LargeStringArray.from_buffers(
        2, pa.array([0, 3, 5], pa.int64()).buffers()[1], pa.py_buffer(b"abcde"), pa.py_buffer(b"\x02"), 1
    )
    clean = pa.array([None, "de"], pa.large_string())
    assert garbage.to_pylist() == clean.to_pylist()
    assert content_digest([pa.table({"a": garbage})]) == content_digest([pa.table({"a": clean})])


def test_names_and_order_of_columns() -> None:
    a, b = pa.array([1, 2]), pa.array([3, 4])
    digests = [content_digest([pa.table({x: a, y: b})]) for x, y in (("a", "b"), ("b", "a"), ("a", "c"))]
    assert len({*digests}) == 3
    assert content_digest([pa.table({"b": b, "a": a})]) == digests[0]


def test_types_without_a_digest_are_refused() -> None:
    for values in (pa.array([1], pa.timestamp("s")), pa.array(["a"]), pa.array(["a"]).dictionary_encode()):
        with pytest.raises(TypeError, match="no digest is defined"):
            content_digest([pa.table({"a": values})])


def test_the_same_digest_on_every_machine() -> None:
    """Changing this makes every partition of every store stale."""
    batch = pa.table(
        {"doc_id": pa.array([b"0123456789abcdef"], pa.binary(16)), "text": pa.array(["ü"], pa.large_string())}
    )
    assert content_digest([batch]) == "329a7f0eb706a4b80deab93461e5716b"


def test_combined_digests_depend_on_order() -> None:
    assert combined_digest(["a", "b"]) != combined_digest(["b", "a"]) != combined_digest(["ab"])
