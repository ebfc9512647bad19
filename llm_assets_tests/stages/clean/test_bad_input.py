"""Cleaning with everything switched on takes what nobody would write, and eight times as much in about as many times.

The sizes are a fraction of what is met in the wild (a text of 200 MB, a line of 50 MB): what matters is that the cost
of a byte stays the same.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable

import pytest

from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean.edit.parameters import LineEdits, Repairs
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.published_rules import C4, FineWeb, GopherRepetition
from llm_assets.stages.clean.stage import CleanStage
from llm_assets_tests.stages.clean.odd_text import raw_batch, real_data

EVERYTHING = CleanStage(
    CleanParameters(
        repair=Repairs(mojibake=True, line_breaks=True, control_characters=True, zero_width=True),
        normalise="NFKC",
        lines=LineEdits(
            max_word_length=1000,
            citations=True,
            terminal_punctuation=True,
            min_words=3,
            javascript=True,
            policy=True,
        ),
        gopher_repetition=GopherRepetition(),
        c4=C4(),
        fineweb=FineWeb(),
    )
)
MEASURED = CleanStage(CleanParameters(gopher_repetition=GopherRepetition()))


def random_words(letters: str, size: int) -> str:
    return " ".join(random.Random(0).choices(letters, k=size // 2))


# Texts of about so many characters.
CASES: dict[str, Callable[[int], str]] = {
    "one-character lines": lambda size: "a\n" * (size // 2),
    "different lines": lambda size: "".join(f"{number:x}\n" for number in range(size // 5)),
    "one line": lambda size: "word and more, that is all. " * (size // 28),
    "one word": lambda size: "x" * size,
    "one word, again and again": lambda size: "a " * (size // 2),
    "two words at random": lambda size: random_words("ab", size),
    "different words": lambda size: " ".join(f"{number:x}" for number in range(size // 5)),
    "NULs": lambda size: "\0" * size,
    "spaces": lambda size: " " * size,
    "line feeds": lambda size: "\n" * size,
    "carriage returns": lambda size: "\r" * size,
    "brackets": lambda size: "[" * size,
    "digits in a bracket": lambda size: "[" + "1" * size,
    "dots": lambda size: "." * size,
    "what nearly is a phrase": lambda size: "use cookie use of cookie javascrip " * (size // 35),
    "wrong decoding": lambda size: "voilÃ\xa0 le travail " * (size // 20),
    "marks to compose": lambda size: "e" + "\u0301\u0316" * (size // 2),
    "ideographs": lambda size: "中文字。" * (size // 4),
}


def seconds(stage: CleanStage, text: str) -> float:
    started = time.process_time()
    (output,) = stage.process([raw_batch([text])])
    elapsed = time.process_time() - started
    assert sum(rows.num_rows for rows in output.rows.values()) == 1
    assert output.ledger.accounted == output.ledger.incoming
    return elapsed


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stage", [MEASURED, EVERYTHING], ids=["measured", "everything"])
def test_cost_is_proportional_to_bytes(stage: CleanStage, case: str) -> None:
    size, times = 60_000, 8
    small, large = CASES[case](size), CASES[case](size * times)
    seconds(stage, small)  # compiles
    one = min(seconds(stage, small) for _ in range(5))
    many = min(seconds(stage, large) for _ in range(2))
    # What a batch costs whatever it holds, some milliseconds, is no cost of a byte.
    assert many < 3 * times * one + 0.02


def test_empty_texts() -> None:
    (output,) = EVERYTHING.process([raw_batch([""] * 1000)])
    assert output.rows[Disposition.REJECTED].num_rows == 1000
    assert output.ledger.incoming.bytes == 0


def test_real_naughty_strings() -> None:
    texts: list[str] = json.loads(real_data("robustness/blns.json").read_text("utf-8"))
    (output,) = EVERYTHING.process([raw_batch(texts)])
    assert sum(rows.num_rows for rows in output.rows.values()) == len(texts)
    assert output.ledger.accounted == output.ledger.incoming
    for rows in output.rows.values():
        rows.validate(full=True)
