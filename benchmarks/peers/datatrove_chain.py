"""datatrove from jsonl.zst to tokens, as its own examples do it: clean and write, deduplicate, tokenize.

NFC is its ftfy formatter with everything else switched off. The cleaned documents are written once, as zstd JSONL,
since its exact deduplication reads them twice. Rejected documents are not written. The steps run in its local
executor, one task in one worker. The job is that of `benchmarks.ours.chain`, and `words`: `default` (its own for
English: spaCy's blank pipeline, which needs no model) or `white space`. `work/verdicts.json` holds what became of
each document, `work/tokens` the tokens.
"""

# pyright: basic, reportMissingImports=false

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import ExactDedupFilter, ExactDedupSignature, ExactFindDedups
from datatrove.pipeline.dedup.exact_dedup import ExactDedupConfig
from datatrove.pipeline.filters import GopherQualityFilter, gopher_quality_filter
from datatrove.pipeline.formatters import FTFYFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.logging import logger

from benchmarks.inside import Stopwatch, contend

Step = Callable[..., Any]
NFC_ONLY: dict[str, Any] = {
    "unescape_html": False,
    "remove_terminal_escapes": False,
    "fix_encoding": False,
    "restore_byte_a0": False,
    "replace_lossy_sequences": False,
    "decode_inconsistent_utf8": False,
    "fix_c1_controls": False,
    "fix_surrogates": False,
    "remove_control_chars": False,
    "normalization": "NFC",
}
rejected: dict[str, str] = {}


class ReportingGopherQuality(GopherQualityFilter):
    """Remembers why it rejects: the executor works on copies of a step, so the module holds it."""

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """As it is."""
        verdict = super().filter(doc)
        if isinstance(verdict, tuple):
            rejected[doc.id] = verdict[1]
        return verdict


def _split_at_white_space(text: str, language: str) -> list[str]:
    return text.split()


def _text(document: Document) -> str:
    return document.text


def _gate(spent: dict[str, float], name: str) -> Step:
    """A step that only adds up the CPU-seconds spent in all steps before it."""

    def gate(data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        documents = iter(data)
        spent[name] = 0.0
        while True:
            begin = time.process_time()
            document = next(documents, None)
            spent[name] += time.process_time() - begin
            if document is None:
                return
            yield document

    return gate


def _note_ids(ids: list[str]) -> Step:
    def note(data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        for document in data:
            ids.append(document.id)
            yield document

    return note


def _execute(steps: list[Any], logs: Path) -> None:
    LocalPipelineExecutor(steps, tasks=1, workers=1, logging_dir=str(logs)).run()


def _clean(corpus: Path, work: Path, stopwatch: Stopwatch) -> None:
    spent: dict[str, float] = {}
    steps = [
        JsonlReader(str(corpus.parent), glob_pattern=corpus.name),
        _gate(spent, "read"),
        FTFYFormatter(**NFC_ONLY),
        ReportingGopherQuality(),
        JsonlWriter(str(work / "cleaned"), output_filename="${rank}.jsonl.zst", compression="zstd"),
    ]
    with stopwatch.phase("clean"):
        _execute(steps, work / "logs/clean")
    stopwatch.add("clean", -spent["read"])
    stopwatch.add("read", spent["read"])


def _dedup_and_tokenize(work: Path, tokenizer: str, stopwatch: Stopwatch) -> list[str]:
    config = ExactDedupConfig(content_getter=_text)
    cleaned, signatures, copies = (str(work / name) for name in ("cleaned", "signatures", "copies"))
    kept: list[str] = []
    spent: dict[str, float] = {}
    with stopwatch.phase("dedup"):
        _execute([JsonlReader(cleaned), ExactDedupSignature(signatures, config)], work / "logs/signatures")
        _execute([ExactFindDedups(signatures, copies, config)], work / "logs/find")
    with stopwatch.phase("tokenize"):
        steps = [
            JsonlReader(cleaned),
            ExactDedupFilter(copies, config),
            _gate(spent, "dedup"),
            _note_ids(kept),
            DocumentTokenizer(str(work / "tokens"), tokenizer, eos_token="<|endoftext|>", shuffle_documents=False),
        ]
        _execute(steps, work / "logs/tokenize")
    stopwatch.add("tokenize", -spent["dedup"])
    stopwatch.add("dedup", spent["dedup"])
    return kept


def _run_chain(corpus: Path, work: Path, tokenizer: str) -> tuple[Stopwatch, list[str]]:
    rejected.clear()
    stopwatch = Stopwatch()
    _clean(corpus, work, stopwatch)
    return stopwatch, _dedup_and_tokenize(work, tokenizer, stopwatch)


def _run(job: Mapping[str, Any]) -> dict[str, Any]:
    logger.remove()
    work = Path(job["work"])
    if job["words"] == "white space":
        gopher_quality_filter.split_into_words = _split_at_white_space
    _run_chain(Path(job["warm_up"]), work / "warm-up", job["tokenizer"])
    stopwatch, kept = _run_chain(Path(job["corpus"]), work, job["tokenizer"])
    (work / "verdicts.json").write_text(json.dumps({"kept": kept, "rejected": rejected}))
    return stopwatch.report()


if __name__ == "__main__":
    contend(_run, ["datatrove", "spacy", "tokenizers", "ftfy", "orjson"])
