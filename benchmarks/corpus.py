"""Real text for the targets: where the data is, and a deterministic slice of a corpus.

Guarantees that the same part and fraction give the same documents everywhere, and that all contenders read one file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

from benchmarks.harness import ROOT, BenchmarkError

VARIABLE = "LLM_ASSETS_TEST_DATA"


@dataclass(frozen=True)
class Slice:
    """A jsonl.zst file: its documents, and the bytes of their text in UTF-8."""

    path: Path
    documents: int
    bytes: int


def data(name: str) -> Path:
    """A file or folder of the test data. Raises BenchmarkError where it is absent."""
    root = Path(os.environ.get(VARIABLE) or ROOT.parent / "shared/data")
    path = root / name
    if not path.exists():
        raise BenchmarkError(f"{path} is absent: set {VARIABLE} to the folder that has {name}")
    return path


def cut(source: Path, fraction: float, path: Path) -> Slice:
    """Copy to `path` the lines of a jsonl.zst file whose `id` hashes into `fraction` (over 0, at most 1).

    Raises BenchmarkError where that leaves nothing.
    """
    documents = text_bytes = 0
    with zstandard.open(path, "wb") as cut_lines:
        for line in _lines(source):
            record = json.loads(line)
            if _place(record["id"]) < fraction:
                cut_lines.write(line)
                documents += 1
                text_bytes += len(record["text"].encode())
    if not documents:
        raise BenchmarkError(f"a fraction {fraction} of {source.name} has no document: take more")
    return Slice(path, documents, text_bytes)


def write_warm_up(path: Path) -> None:
    """Five documents of a few lines: prose that every rule keeps, a copy of it, and one that is too short."""
    prose = "The keeper of the light went down to the café with a book, and that was all we have to say of it. "
    texts = [f"Page {number}. {prose * 4}" for number in range(3)]
    records = [{"id": str(number), "text": text} for number, text in enumerate([*texts, texts[0], "Too short."])]
    with zstandard.open(path, "wb") as lines:
        lines.write("".join(f"{json.dumps(record)}\n" for record in records).encode())


def _lines(source: Path) -> Iterator[bytes]:
    with zstandard.open(source, "rb") as stream:
        yield from io.BufferedReader(stream)


def _place(record_id: str) -> float:
    """A number from 0 to 1 that depends on the id alone."""
    return int.from_bytes(hashlib.blake2b(record_id.encode(), digest_size=7).digest()) / 2**56
