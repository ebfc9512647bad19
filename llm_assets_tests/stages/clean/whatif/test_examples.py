"""Examples, however the documents come in batches, are those that a sort of all of them would put first."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean.judge import Verdicts
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.whatif.examples import Examples
from llm_assets.store.documents import SnapshotFiles
from llm_assets.store.folder import Folder

COUNT = 3


def parameters(min_words: int) -> CleanParameters:
    """One rule, and one more that never changes."""
    return CleanParameters.model_validate(
        {
            "length": {"min_characters": 1, "max_characters": None},
            "language": None,
            "gopher_quality": None,
            "thresholds": {"words": {"min": min_words}},
        }
    )


def verdicts(rules: CleanParameters, documents: list[tuple[int, bool]]) -> Verdicts:
    """Of documents with so many words, each of them empty or not."""
    values = np.array([[float(not empty), words] for words, empty in documents]).reshape(-1, 2)
    return Verdicts(rules.rules, values, values < [rule.threshold for rule in rules.rules])


document = st.tuples(st.integers(0, 40), st.booleans())


@given(st.lists(st.lists(document, max_size=6), max_size=8), st.integers(0, 40), st.integers(0, 40))
def test_the_best_of_all_batches_are_kept(batches: list[list[tuple[int, bool]]], old: int, new: int) -> None:
    before, after = parameters(old), parameters(new)
    examples = Examples(before, after, COUNT)
    place = 0
    for batch in batches:
        examples.look_at("s", Disposition.KEPT, place, verdicts(before, batch), verdicts(after, batch))
        place += len(batch)
    every = [document for batch in batches for document in batch]
    expected: dict[bool, list[tuple[int, int, int]]] = {True: [], False: []}
    for number, (words, empty) in enumerate(every):
        changes = (words < old) != (words < new)
        expected[words < new].append(((1 if empty else 0) if changes else 2, abs(words - new), number))
    found = {
        breaks: [
            (each.rank, int(each.distance), each.place) for each in examples._found["thresholds.words.min", breaks]
        ]
        if old != new
        else []
        for breaks in (True, False)
    }
    assert found == {breaks: sorted(each)[:COUNT] if old != new else [] for breaks, each in expected.items()}


def test_none_are_asked_for() -> None:
    before, after = parameters(3), parameters(5)
    examples = Examples(before, after, 0)
    examples.look_at("s", Disposition.KEPT, 0, verdicts(before, [(4, False)]), verdicts(after, [(4, False)]))
    assert list(examples.read({"s": SnapshotFiles(Folder("memory://nothing"), ())})) == []
