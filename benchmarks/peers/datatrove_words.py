"""The words that datatrove's default English splitter, spaCy's blank pipeline, finds in a file of documents.

The job names the `corpus` (jsonl.zst with `id` and `text`). `work/words.jsonl` holds the `words` of each document.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zstandard
from datatrove.utils.logging import logger
from datatrove.utils.text import split_into_words

from benchmarks.inside import Stopwatch, contend


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    logger.remove()
    stopwatch = Stopwatch()
    with (
        zstandard.open(job["corpus"], "rb") as stream,
        (Path(job["work"]) / "words.jsonl").open("w") as found,
        stopwatch.phase("split"),
    ):
        for line in io.BufferedReader(stream):
            words = split_into_words(json.loads(line)["text"], "eng")
            found.write(json.dumps({"words": words}) + "\n")
    return stopwatch.report()


if __name__ == "__main__":
    contend(_run, ["datatrove", "spacy"])
