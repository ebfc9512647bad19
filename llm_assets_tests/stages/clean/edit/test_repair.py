"""Repairs equal plain Python's, repair what was wrongly decoded, and leave alone what was not."""

from __future__ import annotations

import json
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_assets.stages.clean.edit.parameters import Repairs
from llm_assets.stages.clean.edit.repair import ZERO_WIDTH, repair, suspects
from llm_assets.stages.clean.texts import text_buffers
from llm_assets_tests.stages.clean.odd_text import column, odd_texts, real_data

MOJIBAKE = Repairs(mojibake=True)
repairs = st.builds(Repairs, line_breaks=st.booleans(), control_characters=st.booleans(), zero_width=st.booleans())


def expected(text: str, repairs: Repairs) -> str:
    if repairs.control_characters:
        text = "".join(
            c for c in text if c == "\t" or unicodedata.category(c) != "Cc" or len(f"a{c}b".splitlines()) == 2
        )
    if repairs.zero_width:
        text = "".join(c for c in text if c not in ZERO_WIDTH)
    if repairs.line_breaks:
        text = "".join(
            line if line == content else content + "\n"
            for line, content in zip(text.splitlines(keepends=True), text.splitlines(), strict=True)
        )
    return text


@settings(deadline=None)  # the kernel may have to be compiled
@given(odd_texts, repairs, st.integers(0, 2))
@example(["a\r\nb\rc\r\r\n", "\r", "\n\r"], Repairs(line_breaks=True), 0)
@example(["\x00a\x7f\x9fb\x85c\td\x1ee\x1f", "\ufeffa\u200bb\u200dc\u00ad"], Repairs(control_characters=True), 1)
def test_characters_equal_plain_python(texts: list[str], repairs: Repairs, before: int) -> None:
    given_texts = column(texts, before)
    result, counts = repair(given_texts, repairs)
    wanted = [expected(text, repairs) for text in texts]
    assert result.to_pylist() == wanted
    assert result.type == pa.large_string()
    shrunk = sum(len(old.encode()) - len(new.encode()) for old, new in zip(texts, wanted, strict=True))
    assert sum(count.bytes for count in counts.values()) == shrunk
    assert bool(counts) == (texts != wanted)
    if not counts:
        assert result is given_texts
    for field in ("line_breaks", "control_characters", "zero_width"):
        alone = [expected(text, Repairs.model_validate({field: getattr(repairs, field)})) for text in texts]
        changed = sum(old != new for old, new in zip(texts, alone, strict=True))
        if field != "line_breaks":  # which others may join or part
            assert counts[f"repair.{field}"].documents == changed if changed else f"repair.{field}" not in counts


@pytest.mark.parametrize(
    "text", ["voilÃ\xa0 le travail", "voilÃ le travail", "donâ€™t", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "plain\nFranÃ§ois\n"]
)
def test_wrong_decoding_is_repaired(text: str) -> None:
    result, counts = repair(column([text, "plain", "naïve – “déjà vu”"]), MOJIBAKE)
    repaired, *others = result.to_pylist()
    assert repaired in ("voilà le travail", "don’t", "привет", "plain\nFrançois\n")
    assert others == ["plain", "naïve – “déjà vu”"]
    assert counts["repair.mojibake"].documents == 1
    assert counts["repair.mojibake"].bytes == len(text.encode()) - len(repaired.encode())


def cases(name: str) -> tuple[list[str], list[str]]:
    entries = json.loads(real_data(f"mojibake/{name}.json").read_text("utf-8"))
    assert len(entries) > 25
    return [each["original"] for each in entries], [each.get("fixed-encoding", each["fixed"]) for each in entries]


def test_real_cases_are_repaired() -> None:
    originals, fixed = cases("synthetic")
    assert repair(column(originals), MOJIBAKE)[0].to_pylist() == fixed


def test_what_only_looks_wrong_is_left_alone() -> None:
    originals, _ = cases("negative")
    assert repair(column(originals), MOJIBAKE)[0].to_pylist() == originals


def test_few_sound_sentences_are_suspected() -> None:
    sentences = [
        line for path in real_data("language-id").glob("*.txt") for line in path.read_text("utf-8").splitlines()
    ]
    assert len(sentences) > 30_000
    assert suspects(*text_buffers(column(sentences))).mean() < 0.02


def test_nulls_are_refused() -> None:
    with pytest.raises(ValueError, match="1 of 1 texts are null"):
        repair(pa.array([None], pa.large_string()), MOJIBAKE)
