"""Run by a Python that has datatrove: its verdicts on texts, with words and sentences split as they are here.

Standard input: a JSON object with the characters `terminal` and `closing`, then a JSON string per line, a text each.
Standard output: for each text a JSON object, filter by filter, with null or the reason to drop it, and `c4_text`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    c4_filters,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)


def main() -> None:
    marks = json.loads(sys.stdin.readline())
    terminal, closing = frozenset(marks["terminal"]), frozenset(marks["closing"])

    def words(text: str, _: str) -> list[str]:
        return text.split()

    def sentences(text: str, _: str) -> list[str]:
        return list(map(str, range(count_sentences(text, terminal, closing))))

    for module in (gopher_quality_filter, gopher_repetition_filter, fineweb_quality_filter):
        module.split_into_words = words
    c4_filters.split_into_sentences = sentences
    filters = {
        "gopher_quality": GopherQualityFilter(),
        "gopher_repetition": GopherRepetitionFilter(),
        "c4": C4QualityFilter(),
        "fineweb": FineWebQualityFilter(),
    }
    for line in sys.stdin:
        text = json.loads(line)
        verdicts: dict[str, Any] = {}
        for name, each in filters.items():
            document = Document(text=text, id="0")
            try:
                verdict = each.filter(document)
            except ZeroDivisionError:  # a text without words
                verdict = False, "no words"
            verdicts[name] = None if verdict is True else verdict[1]
            if name == "c4":
                verdicts["c4_text"] = document.text
        print(json.dumps(verdicts))


def count_sentences(line: str, terminal: frozenset[str], closing: frozenset[str]) -> int:
    sentences, unfinished = 0, False
    for word in line.split():
        ended, wide = False, False
        for character in word:
            if character in terminal:
                ended, wide = True, character >= "\u3000"
            elif character not in closing:
                sentences += ended and wide
                ended = False
        sentences += ended
        unfinished = not ended
    return sentences + unfinished


if __name__ == "__main__":
    main()
