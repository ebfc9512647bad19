"""Statistics and edits as a user writes them, sound ones and others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from llm_assets.stages.clean.custom import Edit, Statistic, TextEdit, TextStatistic


class Shouting(TextStatistic):
    """The share of the letters that are capitals."""

    version = "1"
    least_letters: int = 1

    def of(self, text: str) -> float:
        letters = [character for character in text if character.isalpha()]
        return sum(map(str.isupper, letters)) / max(len(letters), self.least_letters)


class Fields(Statistic):
    """How many bytes the other fields of a record take; 0 where there are none."""

    version = "1"

    def measure(self, documents: pa.RecordBatch) -> Any:
        return np.array([len((text or "").encode()) for text in documents["metadata"].to_pylist()])


class Decompose(TextEdit):
    """Full stops fall apart into marks that no normal form has so: an accent behind each letter "e"."""

    version = "1"

    def of(self, text: str) -> str:
        return text.replace("e", "e\u0301")


class Reveal(TextEdit):
    """Spells out what stands for an address."""

    version = "1"

    def of(self, text: str) -> str:
        return text.replace(" at ", "@").replace(" dot ", ".")


class Allergic(TextStatistic):
    """Cannot stand a word."""

    version = "7"
    word: str

    def of(self, text: str) -> float:
        return 1 / (0 if self.word in text else 1)


class AllergicEdit(TextEdit):
    """Cannot stand a word either."""

    version = "7"
    word: str

    def of(self, text: str) -> str:
        return text if self.word not in text else None.lower()  # type: ignore[attr-defined]


class Wrong(Statistic):
    """Gives what it was told to."""

    version = "1"
    gives: Any

    def measure(self, documents: pa.RecordBatch) -> Any:
        return self.gives


class WrongEdit(Edit):
    """Likewise."""

    version = "1"
    gives: list[str | None]

    def edit(self, documents: pa.RecordBatch) -> Any:
        return pa.array(self.gives)


class InvalidText(Edit):
    """Bytes that are no UTF-8."""

    version = "1"

    def edit(self, documents: pa.RecordBatch) -> Any:
        values = pa.array([b"\xff"] * len(documents), pa.large_binary())
        return pa.LargeStringArray.from_buffers(len(values), *values.buffers()[1:])


class Offline(TextStatistic):
    """Needs a file that is not there."""

    version = "1"

    def of(self, text: str) -> float:
        raise FileNotFoundError("words.txt")


HERE = __name__
