"""dolma's taggers for Gopher's and C4's rules over a file of documents: the numbers, which others then judge by.

The job names the `corpus` and the `warm_up` (jsonl.zst with `id` and `text`). The taggers get one document after
another, without the processes and files of dolma's executor; `c4_v2` is the faster of its two for C4. What they found
of each document, by type and score, stands in `work/attributes.jsonl`.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nltk
import zstandard

from benchmarks.inside import Stopwatch, contend

nltk.download = lambda *_, **__: False  # dolma would fetch a sentence model that neither tagger needs

from dolma.core.data_types import Document  # noqa: E402
from dolma.core.registry import TaggerRegistry  # noqa: E402

TAGGERS = ("gopher_v1", "c4_v2")


def _documents(path: Path) -> Iterator[Document]:
    with zstandard.open(path, "rb") as stream:
        for record in map(json.loads, io.BufferedReader(stream)):
            yield Document(source="", version="", id=record["id"], text=record["text"])


def _tag(path: Path, stopwatch: Stopwatch) -> Iterator[dict[str, Any]]:
    taggers = {name: TaggerRegistry.get(name)() for name in TAGGERS}
    for document in _documents(path):
        attributes: dict[str, float] = {}
        for name, tagger in taggers.items():
            with stopwatch.phase(name):
                spans = tagger.predict(document).spans
            attributes |= {span.type: span.score for span in spans}
        yield {"id": document.id, "attributes": attributes}


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    list(_tag(Path(job["warm_up"]), Stopwatch()))
    stopwatch = Stopwatch()
    with (Path(job["work"]) / "attributes.jsonl").open("w") as file:
        for row in _tag(Path(job["corpus"]), stopwatch):
            file.write(json.dumps(row) + "\n")
    return stopwatch.report()


if __name__ == "__main__":
    contend(_run, ["dolma"])
