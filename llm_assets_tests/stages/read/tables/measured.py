"""Reads files in a process of its own, one after the other, and tells how much memory that took at most."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm_assets.stages.read.files import InputFile, ReadPart
from llm_assets.stages.read.stage import ReadParameters, ReadStage
from llm_assets.store.folder import Folder


def read_measured(paths: Sequence[Path], **parameters: Any) -> list[dict[str, Any]]:
    """For each file: its name, the documents that came in, the errors, and the peak of resident memory so far in MB."""
    command = [sys.executable, "-m", __name__, json.dumps(parameters), *map(str, paths)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def _read(path: Path, stage: ReadStage) -> dict[str, Any]:
    documents, errors = 0, set[str]()
    for output in stage.process(ReadPart(Folder(str(path.parent)), (InputFile(path.name, path.stat().st_size),))):
        documents += output.ledger.incoming.documents
        errors |= output.ledger.quarantined.keys()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"name": path.name, "documents": documents, "errors": sorted(errors), "peak": peak}


if __name__ == "__main__":
    used = ReadStage(ReadParameters.model_validate(json.loads(sys.argv[1])))
    for each in sys.argv[2:]:
        print(json.dumps(_read(Path(each), used)), flush=True)
