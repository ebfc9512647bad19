from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from llm_assets.store.ledger import Count, Ledger

amounts = st.integers(0, 1 << 60)
counts = st.builds(Count, amounts, amounts, amounts, amounts)
by_name = st.dictionaries(st.text(max_size=5), counts, max_size=4)
ledgers = st.builds(Ledger, counts, counts, counts, by_name, by_name, by_name)


@given(ledgers)
def test_json_and_back(ledger: Ledger) -> None:
    assert Ledger.from_dict(json.loads(json.dumps(ledger.as_dict()))) == ledger


@given(ledgers, ledgers, ledgers)
def test_adding_is_associative_and_has_a_neutral_element(a: Ledger, b: Ledger, c: Ledger) -> None:
    assert (a + b) + c == a + (b + c)
    assert (a + Ledger()).as_dict() == a.as_dict() == (Ledger() + a).as_dict()


@given(ledgers, ledgers)
def test_adding_keeps_the_balance(a: Ledger, b: Ledger) -> None:
    both = a + b
    assert both.accounted == a.accounted + b.accounted
    assert both.dropped_total == a.dropped_total + b.dropped_total
    assert {*both.dropped} == {*a.dropped, *b.dropped}


def test_what_is_accounted_for() -> None:
    ledger = Ledger(
        incoming=Count(10, 100),
        kept=Count(5, 50),
        dropped={"short": Count(2, 10), "long": Count(1, 30)},
        quarantined={"malformed": Count(2, 10)},
    )
    assert ledger.accounted == ledger.incoming
    assert ledger.dropped_total == Count(3, 40)
    assert ledger.quarantined_total == Count(2, 10)


def test_json_has_the_units_that_apply() -> None:
    documents = Ledger(incoming=Count(3, 30), dropped={"short": Count(3, 30)})
    assert documents.as_dict()["kept"] == {"documents": 0, "bytes": 0} and documents.unit == "documents"
    rows = Count(rows=2, bytes=8, tokens=4)
    mixture = Ledger(incoming=rows, kept=rows, output=rows, dropped={"over_share:docs": Count()})
    assert mixture.as_dict()["dropped"] == {"over_share:docs": {"rows": 0, "bytes": 0, "tokens": 0}}
    assert mixture.unit == "rows"
    packed = Ledger(incoming=Count(5, 8, 4), kept=Count(5, 8, 4), output=Count(5, 8, 4, rows=2))
    assert packed.units == ("documents", "rows", "bytes", "tokens") and packed.unit == "documents"
    assert Ledger().units == ("documents", "bytes")


@given(ledgers)
def test_a_share_is_of_what_came_in(ledger: Ledger) -> None:
    whole = ledger.incoming.rows or ledger.incoming.documents
    kept = ledger.kept.rows if ledger.incoming.rows else ledger.kept.documents
    assert ledger.share(ledger.kept) == (kept / whole if whole else None)


@given(counts, st.integers(0, 5))
def test_times_is_repeated_addition(count: Count, times: int) -> None:
    assert count * times == sum([count] * times, Count())
