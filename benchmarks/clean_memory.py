"""Peak memory of reading and cleaning one large file: `python -m benchmarks.clean_memory [--gigabytes 2]`.

Guarantees that the file is real text (the technical corpus, over and over, under new ids), that it and what is made
of it are deleted afterwards, and that nothing is begun where the disk has no room. The last line on stdout is a JSON
object; exit status 1 where the peak is over the bar.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

from benchmarks.corpus import data
from benchmarks.harness import ROOT, BenchmarkError, progress, work_folder
from benchmarks.ours.cleaning_links import SNAPSHOT, SOURCE
from benchmarks.verdict_agreement import technical_documents
from llm_assets.store.layout import SUCCESS

BAR = 1_500_000_000
"""Bytes that may be resident at most, for a file of 2 GB."""
_ROOM = 4
"""Times the file's size that must be free: the file, and both tables with room to spare."""


def write_file(path: Path, size: int) -> int:
    """Write at least `size` bytes of JSON lines, each with an `id` of its own; returns the number of documents."""
    documents = technical_documents(data("technical-corpus/part-00.jsonl.zst"))
    endless = ((f"{repetition}/{name}", text) for repetition in count() for name, text in documents)
    written = 0
    with path.open("wb") as file:
        while file.tell() < size:
            name, text = next(endless)
            file.write(json.dumps({"id": name, "text": text}, ensure_ascii=False).encode() + b"\n")
            written += 1
    return written


def measure(size: int, workers: int) -> dict[str, object]:
    """Clean a file of `size` bytes; what each link took in and kept, and the peak. Raises BenchmarkError."""
    with work_folder("memory") as work:
        if shutil.disk_usage(work).free < _ROOM * size:
            raise BenchmarkError(f"{work} has less than {_ROOM * size:,} bytes free")
        landed = work / "landed"
        snapshot = landed / SOURCE / SNAPSHOT
        snapshot.mkdir(parents=True)
        documents = write_file(snapshot / "corpus.jsonl", size)
        (snapshot / SUCCESS).touch()
        progress(f"{documents:,} documents in a file of {size:,} bytes")
        job = {"landed": str(landed), "work": str(work / "run"), "workers": workers}
        command = [sys.executable, "-m", "benchmarks.ours.cleaning_links", json.dumps(job)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        output = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise BenchmarkError(f"{' '.join(command[:3])} ended with status {process.returncode}")
        report = json.loads(output.splitlines()[-1])
        return {"peak_memory": usage.ru_maxrss * 1024, "file": size, "workers": workers, **report}


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clean_memory", description="Peak memory of cleaning.")
    parser.add_argument("--gigabytes", type=float, default=2, help="size of the file, 10⁹ bytes (2)")
    parser.add_argument("--workers", type=int, default=2, help="threads (2)")
    options = parser.parse_args()
    try:
        result = measure(int(options.gigabytes * 1e9), options.workers)
    except BenchmarkError as error:
        progress(f"could not be measured: {error}")
        return 1
    print(json.dumps({**result, "bar": BAR}), flush=True)
    return 0 if int(str(result["peak_memory"])) < BAR else 1


if __name__ == "__main__":
    sys.exit(main())
