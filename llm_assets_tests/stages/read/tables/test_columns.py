from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.stages.read.tables.columns import json_values

LIST_TYPES = [pa.list_, pa.large_list, pa.list_view, pa.large_list_view, lambda item: pa.list_(item, 2)]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, None], pa.uint64(), [1, None]),
        ([2**64 - 1], pa.uint64(), [2**64 - 1]),
        ([True, None], pa.bool_(), [True, None]),
        ([None, None], pa.null(), [None, None]),
        ([1.5, float("nan"), float("-inf"), None], pa.float64(), [1.5, "nan", "-inf", None]),
        ([0.5, float("inf")], pa.float16(), [0.5, "inf"]),
        (["é", None], pa.string_view(), ["é", None]),
        ([b"text", b"\xff\x00", None], pa.binary(), ["text", "\\xff\0", None]),
        ([b"ab", b"\xfe\xfe"], pa.binary(2), ["ab", "\\xfe\\xfe"]),
        ([b"ab"], pa.binary_view(), ["ab"]),
        ([Decimal("1.50"), None], pa.decimal128(5, 2), ["1.50", None]),
        ([dt.date(2026, 11, 2), None], pa.date32(), ["2026-11-02", None]),
        ([dt.time(3, 4, 5, 6)], pa.time64("us"), ["03:04:05.000006"]),
        ([90, None], pa.duration("ms"), ["90 ms", None]),
        ([0, None], pa.timestamp("s"), ["1970-01-01T00:00:00", None]),
        ([1], pa.timestamp("ns"), ["1970-01-01T00:00:00.000000001"]),
        ([3_600_000], pa.timestamp("ms", "Europe/Berlin"), ["1970-01-01T01:00:00.000Z"]),
        ([0], pa.timestamp("s", "Not/AZone"), ["1970-01-01T00:00:00Z"]),
        ([2**62], pa.timestamp("s"), [f"<value out of range: {2**62}>"]),
        ([2**31 - 1], pa.date32(), [f"<value out of range: {2**31 - 1}>"]),
        ([(1, 2, 3)], pa.month_day_nano_interval(), ["MonthDayNano(months=1, days=2, nanoseconds=3)"]),
        ([{"a": 1, "b": None}, None], pa.struct({"a": pa.int8(), "b": pa.date32()}), [{"a": 1, "b": None}, None]),
        ([{}, None], pa.struct([]), [{}, None]),
        (
            [[("k", 1)], None, [("k", None), ("k", 2)], []],
            pa.map_(pa.string(), pa.int8()),
            [[{"key": "k", "value": 1}], None, [{"key": "k", "value": None}, {"key": "k", "value": 2}], []],
        ),
        (["a", None, "a"], pa.dictionary(pa.int8(), pa.string()), ["a", None, "a"]),
    ],
    ids=str,
)
def test_values_of_each_type(values: list[Any], kind: pa.DataType, expected: list[Any]) -> None:
    if isinstance(kind, pa.DataType) and pa.types.is_float16(kind):
        array = pa.array(values, pa.float32()).cast(kind)
    else:
        array = pa.array(values, kind)
    assert json_values(array) == expected
    assert json_values(array.slice(1)) == expected[1:]
    assert json.loads(orjson.dumps(expected)) == expected


@pytest.mark.parametrize("make", LIST_TYPES)
def test_lists_of_every_layout_also_sliced(make: Any) -> None:
    values = [[dt.date(2026, 1, 1), None], None, [dt.date(2026, 1, 2), dt.date(2026, 1, 3)]]
    expected = [["2026-01-01", None], None, ["2026-01-02", "2026-01-03"]]
    array = pa.array(values, make(pa.date32()))
    assert json_values(array) == expected
    assert json_values(array.slice(1, 2)) == expected[1:]


def test_run_ends_and_extensions_give_their_values() -> None:
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array(["a", "b"]))
    assert json_values(runs) == ["a", "a", "b"]
    identifier = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0123456789abcdef"], pa.binary(16)))
    assert json_values(identifier) == ["0123456789abcdef"]


def test_a_union_becomes_text() -> None:
    union = pa.UnionArray.from_dense(
        pa.array([0, 1], pa.int8()), pa.array([0, 0], pa.int32()), [pa.array([5]), pa.array(["x"])]
    )
    assert json_values(union) == ["5", "x"]


@pytest.mark.parametrize("nest", [lambda array: array, lambda array: pa.StructArray.from_arrays([array], ["s"])])
def test_strings_that_are_not_utf8_raise_or_are_escaped(nest: Any) -> None:
    array = nest(pa.array([b"ok", b"caf\xe9"], pa.binary()).view(pa.string()))
    with pytest.raises(UnicodeDecodeError):
        json_values(array)
    assert "caf\\xe9" in str(json_values(array, "backslashreplace")[1]).replace("\\\\", "\\")


@given(st.lists(st.none() | st.lists(st.none() | st.text(max_size=3), max_size=3), max_size=6), st.integers(0, 6))
def test_nested_values_are_those_of_arrow(values: list[Any], start: int) -> None:
    nested = [None if value is None else {"a": value, "b": [[value]]} for value in values]
    strings = pa.list_(pa.string())
    array = pa.array(nested, pa.struct({"a": strings, "b": pa.list_(pa.large_list(strings))})).slice(start)
    assert json_values(array) == array.to_pylist()
