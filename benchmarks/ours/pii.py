"""This project's patterns over labelled texts: the job and the finds of `benchmarks.peers.presidio_pii`.

The job names also how many `passes` to make, of which CPU-seconds are the mean: one pass takes milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.inside import Stopwatch, contend
from llm_assets.stages.clean.pii.find import find
from llm_assets.stages.clean.pii.presidio import ENTITIES
from llm_assets.stages.clean.pii.spans import KINDS


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    texts: list[str] = json.loads(Path(job["texts"]).read_text())
    column = pa.array(texts, pa.large_string())
    spans = find(column)
    stopwatch, passes = Stopwatch(), job["passes"]
    with stopwatch.phase("find"):
        for _ in range(passes):
            spans = find(column)
    found: list[list[tuple[str, int, int, float]]] = [[] for _ in texts]
    for each in spans.finds():
        kind = KINDS[each.kind]
        if ENTITIES.get(kind) in job["entities"]:
            encoded = texts[each.document].encode()
            start, stop = (len(encoded[:offset].decode()) for offset in (each.start, each.stop))
            found[each.document].append((ENTITIES[kind], start, stop, 1.0))
    Path(job["work"], "finds.json").write_text(json.dumps(found))
    return {"cpu": {"find": stopwatch.cpu["find"] / passes}, "wall": stopwatch.wall / passes}


if __name__ == "__main__":
    contend(_run, ["llm-assets", "numba", "numpy", "pyarrow"])
