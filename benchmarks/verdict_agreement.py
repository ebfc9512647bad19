"""How far the rules decide as datatrove's filters do: `python -m benchmarks.verdict_agreement` writes docs/verdicts.md.

Guarantees that every figure is computed here from the shared test data, and that none depends on the machine. Speed
is the business of the targets.
"""

from __future__ import annotations

import io
import json
import lzma
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import zstandard

from benchmarks.cleaning_verdicts import (
    Agreement,
    Difference,
    Rows,
    WordAgreement,
    agreements,
    marks,
    percent,
    read_rows,
    same_text,
    symbols,
    word_agreement,
)
from benchmarks.corpus import data, write_warm_up
from benchmarks.environment import peer_python
from benchmarks.harness import ROOT, Contender, progress, run_once, work_folder
from benchmarks.ours.cleaning import verdicts
from llm_assets.stages.clean.measure.statistics import WordSplit
from llm_assets.stages.clean.words.marks import words_of

TARGET = ROOT / "docs/verdicts.md"
RULE_SETS = ("gopher_quality", "gopher_repetition", "fineweb", "c4_documents", "c4")
SAMPLE = 5
"""Every n-th document of the technical corpus on which datatrove's own words are tried: they take minutes."""

Documents = Sequence[tuple[str, str]]
"""Id and text of each."""


def technical_documents(part: Path) -> list[tuple[str, str]]:
    """The documents of a part of the technical corpus."""
    with zstandard.open(part, "rb") as stream:
        return [(record["id"], record["text"]) for record in map(json.loads, io.BufferedReader(stream))]


def wikitext_articles() -> list[tuple[str, str]]:
    """The articles of WikiText: validation and test as they were written, training with its words set apart."""
    folder = data("wikitext-2")
    texts = {name: (folder / name).read_text("utf-8") for name in ("wiki.valid.raw", "wiki.test.raw")}
    with lzma.open(folder / "wiki.train.tokens.xz", "rt", encoding="utf-8") as stream:
        texts["wiki.train.tokens"] = stream.read()
    title = re.compile(r"^(?= = [^=\n]+ = $)", re.MULTILINE)
    return [
        (f"{name} {number}", article)
        for name, text in texts.items()
        for number, article in enumerate(each for each in title.split(text) if each.strip())
    ]


@dataclass(frozen=True)
class Comparison:
    """A corpus, and what is said of it: by this project and by datatrove, with words at white space and at punctuation.

    `at_marks`, ours, and `by_default`, which is datatrove as it comes, are of every `step`-th document alone; `words`
    says how far both have the same words there.
    """

    corpus: str
    documents: Documents
    ours: Rows
    same_words: Rows
    at_marks: Rows
    by_default: Rows
    words: WordAgreement
    step: int

    @property
    def sampled(self) -> Rows:
        """The verdicts of this project on the documents of `by_default`."""
        return self.ours[:: self.step]

    def at_white_space(self) -> list[Agreement]:
        """Where both split at white space."""
        return agreements(self.ours, self.same_words, RULE_SETS)

    def at_punctuation(self) -> list[Agreement]:
        """Where we split at punctuation, and datatrove as it comes."""
        return agreements(self.at_marks, self.by_default, RULE_SETS)

    def with_other_words(self) -> list[Agreement]:
        """Where we split at white space, and datatrove as it comes."""
        return agreements(self.sampled, self.by_default, RULE_SETS)


def theirs(documents: Documents, job: Mapping[str, object], work: Path) -> Rows:
    """Datatrove's verdicts on the documents. The job is that of `peers/datatrove_cleaning.py`, less what is read."""
    _ask("benchmarks.peers.datatrove_cleaning", documents, job, work)
    return read_rows(work)


def their_words(documents: Documents, work: Path) -> list[list[str]]:
    """The words of each document by datatrove's default."""
    _ask("benchmarks.peers.datatrove_words", documents, {}, work)
    return [row["words"] for row in read_rows(work, "words.jsonl")]


def _ask(module: str, documents: Documents, job: Mapping[str, object], work: Path) -> None:
    work.mkdir()
    with zstandard.open(work / "corpus.jsonl.zst", "wb") as lines:
        for name, text in documents:
            lines.write(json.dumps({"id": name, "text": text}).encode() + b"\n")
    write_warm_up(work / "warm-up.jsonl.zst")
    paths = {"corpus": str(work / "corpus.jsonl.zst"), "warm_up": str(work / "warm-up.jsonl.zst")}
    run_once(Contender("datatrove", peer_python("datatrove"), module, job), paths, work)


def with_same_words(documents: Documents, work: Path) -> Rows:
    """The verdicts of datatrove with words split at white space, and sentences counted by their marks."""
    return theirs(documents, {"words": "white space", "marks": marks()}, work)


def ours(documents: Documents, words: WordSplit = "white_space") -> Rows:
    """The verdicts of this project on the documents, with words split so."""
    names, texts = zip(*documents, strict=True)
    return list(verdicts(names, pa.array(texts, pa.large_string()), words))


def _compare(corpus: str, documents: Documents, step: int, work: Path) -> Comparison:
    progress(f"{corpus}: {len(documents):,} documents …")
    work.mkdir()
    same_words = with_same_words(documents, work / "same-words")
    sample = documents[::step]
    by_default = theirs(sample, {"words": "default"}, work / "default")
    words = word_agreement([words_of(text) for _, text in sample], their_words(sample, work / "words"))
    at_marks = ours(sample, "punctuation")
    return Comparison(corpus, documents, ours(documents), same_words, at_marks, by_default, words, step)


def _explained_by_symbols(comparison: Comparison, agreement: Agreement, work: Path) -> set[str]:
    """The documents of which datatrove says the same, given this project's symbols besides its words."""
    different = {each.document: bool(each.ours) for each in agreement.differences}
    documents = [each for each in comparison.documents if each[0] in different]
    if not documents:
        return set()
    job = {"words": "white space", "marks": marks(), "symbols": symbols()}
    rows = theirs(documents, job, work / f"symbols-{agreement.rule_set}-{comparison.corpus[:4]}")
    return {row["id"] for row in rows if bool(row["verdicts"][agreement.rule_set]) == different[row["id"]]}


def _same_words_page(comparisons: Sequence[Comparison], work: Path) -> Iterator[str]:
    yield "| corpus | rule set | documents | both keep | agree | differ |"
    yield "|---|---|---|---|---|---|"
    found = [(each, agreement) for each in comparisons for agreement in each.at_white_space()]
    for each, agreement in found:
        yield (
            f"| {each.corpus} | `{agreement.rule_set}` | {agreement.documents:,} | {agreement.kept:,} "
            f"| {percent(agreement.share)} | {len(agreement.differences):,} |"
        )
    none = ", ".join(f"`{agreement.rule_set}` of {each.corpus}" for each, agreement in found if not agreement.kept)
    if none:
        yield f"\nWhere nothing is kept, agreement says little: {none}."
    yield ""
    for each, agreement in found:
        by_symbols = _explained_by_symbols(each, agreement, work)
        for difference in agreement.differences:
            yield f"- {_told(agreement.rule_set, difference, difference.document in by_symbols)}"
    for each in comparisons:
        same, kept = same_text(each.ours, each.same_words)
        yield f"- {each.corpus}: C4's line edits leave the same text of {same:,} of {kept:,} documents that both keep."


def _told(rule_set: str, difference: Difference, by_symbols: bool) -> str:
    mine, other = (", ".join(f"`{each}`" for each in side) or "keeps" for side in (difference.ours, difference.theirs))
    why = (
        "datatrove agrees once its list of symbols is replaced by `is_symbol`: what consists of symbols is no word, "
        "and its list lacks some"
        if by_symbols
        else "not explained"
    )
    return f"`{rule_set}` of `{difference.document}`: llm_assets {mine}, datatrove {other}; {why}."


def _default_words_page(comparisons: Sequence[Comparison]) -> Iterator[str]:
    yield "| corpus | documents | the same words | as many to within 1 % | word boundaries both have |"
    yield "|---|---|---|---|---|"
    for each in comparisons:
        words = each.words
        same, near = percent(words.same / words.documents), percent(words.near / words.documents)
        yield f"| {each.corpus} | {words.documents:,} | {same} | {near} | {percent(words.share)} |"
    yield "\n| corpus | rule set | documents | both keep | agree | differ | agree with our words at white space |"
    yield "|---|---|---|---|---|---|---|"
    reasons: list[str] = []
    for each in comparisons:
        for agreement, otherwise in zip(each.at_punctuation(), each.with_other_words(), strict=True):
            yield (
                f"| {each.corpus} | `{agreement.rule_set}` | {agreement.documents:,} | {agreement.kept:,} "
                f"| {percent(agreement.share)} | {len(agreement.differences):,} | {percent(otherwise.share)} |"
            )
            if agreement.differences:
                reasons.append(f"- {each.corpus}, `{agreement.rule_set}`: {agreement.reasons()}.")
            if otherwise.differences:
                reasons.append(f"- {each.corpus}, `{agreement.rule_set}`, ours at white space: {otherwise.reasons()}.")
    yield "\nWho drops what the other keeps, by the first rule named:\n"
    yield from reasons


def _page(comparisons: Sequence[Comparison], version: str, work: Path) -> Iterator[str]:
    yield f"""# Verdicts beside datatrove's

Written by `python -m benchmarks.verdict_agreement` from the shared test data; do not edit.

Each rule set with its published thresholds, and the filter of datatrove {version} with its defaults, decide on every
document by itself; they agree where both keep it or both drop it. `c4_documents` has C4's rules about whole documents
alone, on both sides; `c4` has its edits of lines before them. Shares are rounded down.

## With the same words

datatrove split into words at white space, as this project does, and sentences counted by the marks that end them.
"""
    yield from _same_words_page(comparisons, work)
    steps = ", ".join(f"every {each.step}th document of {each.corpus}" for each in comparisons if each.step > 1)
    yield f"""
## With datatrove's own words

For English, datatrove's words and sentences are those of spaCy's blank pipeline, without a model. It is slow, so of
large corpora it gets a sample: {steps}.

There every comma, bracket and full stop is a word: a text has more words, fewer of them have a letter, lines are fewer
per word, and n-grams that repeat are found where punctuation repeats. `words: punctuation` splits so here, too. The
last column is what the default, `words: white_space`, gives. To datatrove an empty line is a sentence; C4's edits take
such lines away, but `c4_documents` has none.
"""
    yield from _default_words_page(comparisons)


def main() -> None:
    """Write the page."""
    parts = sorted(data("technical-corpus").glob("*.jsonl.zst"))
    technical = [document for part in parts for document in technical_documents(part)]
    with work_folder("verdicts") as work:
        comparisons = [
            _compare("technical-corpus", technical, SAMPLE, work / "technical"),
            _compare("WikiText", wikitext_articles(), 1, work / "wikitext"),
        ]
        version = _datatrove_version()
        TARGET.write_text("\n".join(_page(comparisons, version, work)) + "\n")


def _datatrove_version() -> str:
    command = [
        str(peer_python("datatrove")),
        "-c",
        "from importlib.metadata import version; print(version('datatrove'))",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
