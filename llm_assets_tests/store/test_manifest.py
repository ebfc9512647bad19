from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from llm_assets.store.ledger import Count, Ledger
from llm_assets.store.manifest import Input, Manifest, fingerprint, partition_name, split_name

MANIFEST = Manifest(
    asset="docs/cleaned",
    partition="2026-01",
    generation="0123456789ab",
    code_version="1-ff",
    inputs={"docs/raw[2026-01]": Input("d1", "g1"), "tokenizers/bpe": Input("d2", "g2")},
    digest="abc",
    ledger=Ledger(incoming=Count(1, 2, 3), kept=Count(1, 2, 3)),
    details={"statistics": {"fill": 0.5}, "names": ["a"]},
)


def test_json_and_back() -> None:
    assert Manifest.from_dict(json.loads(json.dumps(MANIFEST.as_dict()))) == MANIFEST


def test_the_fingerprint_is_of_code_and_input_digests_alone() -> None:
    def changed(**values: object) -> str:
        return Manifest(**{**vars(MANIFEST), **values}).fingerprint  # pyright: ignore

    same_inputs = {"tokenizers/bpe": Input("d2", "other"), "docs/raw[2026-01]": Input("d1", "other")}
    assert changed(inputs=same_inputs, generation="x", digest="y", ledger=Ledger()) == MANIFEST.fingerprint
    assert changed(code_version="2-ff") != MANIFEST.fingerprint
    assert changed(inputs={**MANIFEST.inputs, "docs/raw[2026-01]": Input("d3", "g1")}) != MANIFEST.fingerprint
    assert changed(inputs={"tokenizers/bpe": Input("d2", "g2")}) != MANIFEST.fingerprint


@given(st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), st.text()))
def test_other_inputs_other_fingerprint(one: dict[str, str], other: dict[str, str]) -> None:
    assert (fingerprint("1", one) == fingerprint("1", other)) == (one == other)


def test_names_of_partitions() -> None:
    assert MANIFEST.name == partition_name("docs/cleaned", "2026-01") == "docs/cleaned[2026-01]"
    assert split_name(MANIFEST.name) == ("docs/cleaned", "2026-01")
    assert split_name(partition_name("tokenizers/bpe", "")) == ("tokenizers/bpe", "")
    assert MANIFEST.as_input == Input("abc", "0123456789ab")
