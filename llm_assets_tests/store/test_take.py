"""Rows by place: exactly those asked for, and no row group besides theirs is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.store.documents import StagedSnapshot
from llm_assets_tests.store.tables import rows, staged, table_at

PARTS = [["a", "b"], [], ["c"], ["d", "e", "f"]]
TEXTS = [text for part in PARTS for text in part]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> StagedSnapshot:
    table = table_at(tmp_path_factory.mktemp("take"))
    return staged(table, "s", *({"kept": texts, "rejected": ["x"]} for texts in PARTS))


@given(st.sets(st.integers(0, len(TEXTS) - 1)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_those_at_the_places(snapshot: StagedSnapshot, places: set[int]) -> None:
    ordered = sorted(places)
    taken = [
        text
        for batch in snapshot.take("kept", np.array(ordered, np.int64), ["text"])
        for text in batch["text"].to_pylist()
    ]
    assert taken == [TEXTS[place] for place in ordered]


def test_other_row_groups_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_at(tmp_path)
    attempt = table.begin()
    writer = table.part_writer(attempt, "s", 0)
    for text in "abcd":
        writer.write("kept", rows([text, text + text]))
    files = table.stage(attempt, writer.close(), staged(table, "t", {"kept": []}).manifest)
    read: list[int] = []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, i, **named: read.append(i) or original(self, i, **named)
    )
    batches = list(files.take("kept", np.array([2, 7]), ["text", "record"]))
    assert read == [1, 3]
    assert [batch.to_pylist() for batch in batches] == [[{"text": "b", "record": 0}], [{"text": "dd", "record": 1}]]


@pytest.mark.parametrize("places", [[-1], [0, 0], [2, 1], [len(TEXTS)]])
def test_places_that_are_none_are_refused(snapshot: StagedSnapshot, places: list[int]) -> None:
    with pytest.raises(IndexError):
        list(snapshot.take("kept", np.array(places, np.int64), ["text"]))


def test_there_may_be_none_of_a_disposition(snapshot: StagedSnapshot) -> None:
    assert list(snapshot.take("quarantined", np.empty(0, np.int64))) == []
    with pytest.raises(IndexError, match="there is no quarantined row 0"):
        list(snapshot.take("quarantined", np.array([0])))
