"""Every token of a training set is followed back to the file it landed in, and every document forward."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from llm_assets.components.declared import load_project
from llm_assets.contract.engine import LocalEngine
from llm_assets.definitions import PROJECT
from llm_assets.demo import write_demo_data
from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.pack.link import PackedLink
from llm_assets.store.folder import Folder
from llm_assets.store.layout import Store
from llm_assets.store.shards.shard_set import ShardSet
from llm_assets_tests.worlds.accounts import Place, Trace, check_ledgers, kept_documents
from llm_assets_tests.worlds.world import World


@pytest.fixture(scope="module", params=["made up", pytest.param("real", marks=pytest.mark.slow)])
def account(request: pytest.FixtureRequest, made_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small store of the other tests; and the demonstration project on text of this Python installation."""
    if request.param == "made up":
        return made_world
    store = Store(Folder(str(tmp_path_factory.mktemp("real"))))
    write_demo_data(store.landing, megabytes=4)
    project = load_project(PROJECT)
    world = World(store, LocalEngine(2), *project.of_kind(PackedLink).values(), project.of_kind(MixedLink)["demo"])
    world.run_all()
    return world


def test_packed_rows_decode_back_to_exactly_the_documents(account: World) -> None:
    trace = Trace(account)
    for packed, snapshot in account.snapshots():
        pieces: dict[Place, list[tuple[int, list[int]]]] = {}
        for ids, row in trace.rows(packed.source, snapshot):
            at = 0
            for place, start, length in row:
                pieces.setdefault(place, []).append((start, ids[at : at + length]))
                at += length
        kept = kept_documents(account, packed.source, snapshot)
        assert {(place.file, place.record) for place in pieces} == {*kept.select("file", "record").rows()}
        tokenizer = account.tokenizer.load(account.store)
        for file, record, text in kept.select("file", "record", "text").iter_rows():
            found = sorted(pieces[Place(packed.source, snapshot, file, record)])
            ids = [token for _, part in found for token in part]
            assert [start for start, _ in found] == np.cumsum([0, *(len(part) for _, part in found)])[:-1].tolist()
            assert ids[-1] == tokenizer.end_of_document_id
            assert tokenizer.decode(np.array(ids[:-1])) == text


def test_every_row_of_the_mixture_comes_from_a_landed_file(account: World) -> None:
    trace = Trace(account)
    shards = ShardSet.open(account.store.version("demo", "v1"))
    rows = {(p.source, s): list(trace.rows(p.source, s)) for p, s in account.snapshots()}
    used: Counter[tuple[str, str, int]] = Counter()
    path = shards.folder.local_path(f"{shards.index.generation}/provenance.parquet")
    for number, origin in enumerate(pq.read_table(path).to_pylist()):
        assert origin["row"] == number
        ids, pieces = rows[origin["source"], origin["snapshot"]][origin["packed_row"]]
        assert shards.document_lengths(number, number + 1).lengths.tolist() == [length for _, _, length in pieces]
        mixed = shards.input_ids(number, number + 1)[0].tolist()
        assert mixed[: len(ids)] == ids
        at = 0
        for place, start, length in pieces:
            assert mixed[at : at + length] == trace.tokens(place)[start : start + length]
            at += length
        used[origin["source"], origin["snapshot"], origin["packed_row"]] += 1
    assert shards.rows == used.total() == number + 1
    most = account.mixed.parameters.max_repetitions
    for source in account.sources:
        counts = [
            used[source.source, s, row] for (p, s) in rows if p == source.source for row in range(len(rows[p, s]))
        ]
        assert max(counts) <= most and max(counts) - min(counts) <= 1


def test_shares_are_exact_at_every_position(account: World) -> None:
    shards = ShardSet.open(account.store.version("demo", "v1"))
    path = shards.folder.local_path(f"{shards.index.generation}/provenance.parquet")
    sources = pq.read_table(path)["source"].to_pylist()
    given: Counter[str] = Counter()
    for position, source in enumerate(sources, start=1):
        given[source] += 1
        for name, share in (("docs", Fraction(2, 3)), ("code", Fraction(1, 3))):
            assert abs(given[name] - position * share) < 1


def test_ledgers_balance_and_say_what_is_there(account: World) -> None:
    for packed, snapshot in account.snapshots():
        check_ledgers(account, packed, snapshot)


def test_the_ledger_of_the_mixture(account: World) -> None:
    shards = ShardSet.open(account.store.version("demo", "v1"))
    manifest = account.mixed.committed(account.store, "v1")
    assert manifest is not None
    ledger = manifest.ledger
    assert ledger.incoming == ledger.accounted and ledger.kept == ledger.output
    tokens = sum(int(shards.document_lengths(row, row + 1).lengths.sum()) for row in range(shards.rows))
    assert (ledger.kept.rows, ledger.kept.tokens) == (shards.rows, tokens)
    assert ledger.kept.bytes == shards.input_ids(0, shards.rows).nbytes


def test_cleaned_text_is_what_landed(account: World) -> None:
    trace = Trace(account)
    for packed, snapshot in account.snapshots():
        kept = kept_documents(account, packed.source, snapshot)
        assert kept.height > 0
        for file, record, text in kept.select("file", "record", "text").iter_rows():
            assert trace.landed(Place(packed.source, snapshot, file, record)) == text


def test_where_the_real_project_is(account: World) -> None:
    """The demonstration has both sources in several files, so that the order of parts matters."""
    names = {place.name for place in Path(account.store.landing.path).rglob("*") if place.is_file()}
    assert len(names) > 3
