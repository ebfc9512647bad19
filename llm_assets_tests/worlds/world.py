"""A small store of two sources, a tokenizer and a mixture, made link by link without Dagster."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llm_assets.contract.engine import LocalEngine
from llm_assets.contract.link import Link, Outcome, Work
from llm_assets.stages.clean.link import CleanedLink
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.dedup.link import DedupedLink
from llm_assets.stages.dedup.parameters import DedupParameters
from llm_assets.stages.mix.link import MixedLink
from llm_assets.stages.mix.plan import MixParameters
from llm_assets.stages.pack.link import PackedLink
from llm_assets.stages.pack.plan import PackParameters
from llm_assets.stages.read.link import RawLink, ReadLimits
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.tokenize.link import TokenizedLink
from llm_assets.stages.tokenizer.link import TokenizerLink, TokenizerParameters, TokenizerTrainParameters
from llm_assets.store.folder import Folder
from llm_assets.store.layout import SUCCESS, Store
from llm_assets.store.manifest import Manifest
from llm_assets_tests.cli.bad_files import paragraph

SEQUENCE_LENGTH = 128


class RefusedError(AssertionError):
    """A blocking check failed."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        super().__init__("; ".join(f"{outcome.check}: {outcome.message}" for outcome in outcomes))
        self.checks = {outcome.check for outcome in outcomes}


def jsonl(texts: Iterable[str], **fields: Any) -> bytes:
    """A file with a record for each text."""
    return b"".join(json.dumps({"text": text, **fields}).encode() + b"\n" for text in texts)


def paragraphs(first: int, last: int) -> list[str]:
    """Distinct English paragraphs that pass the rules."""
    return [paragraph(number) for number in range(first, last)]


def source(name: str, tokenizer: TokenizerLink | None = None, **limits: float) -> PackedLink:
    """The links of a source; without a tokenizer of its own name, one trained on itself."""
    raw = RawLink(name, ReadParameters(), limits=ReadLimits.model_validate(limits))
    cleaned = CleanedLink(name, raw, CleanParameters())
    deduped = DedupedLink(name, cleaned, DedupParameters())
    return PackedLink(
        name,
        TokenizedLink(name, deduped, tokenizer or trained_on(deduped)),
        PackParameters(sequence_length=SEQUENCE_LENGTH),
    )


def trained_on(*sources: DedupedLink) -> TokenizerLink:
    """A tokenizer link named `bpe`."""
    train = TokenizerTrainParameters(
        sources=tuple(link.source for link in sources), vocabulary_size=400, max_bytes=40_000
    )
    return TokenizerLink("bpe", TokenizerParameters(train=train), sources)


@dataclass
class World:
    """Links and the store that they make."""

    store: Store
    engine: LocalEngine
    docs: PackedLink
    code: PackedLink
    mixed: MixedLink
    commits: list[str] = field(default_factory=list[str])
    patches: Any = None

    @staticmethod
    def below(path: Path, workers: int = 2, **limits: float) -> World:
        docs = source("docs", **limits)
        code = source("code", **limits)
        tokenizer = trained_on(docs.lineage[2], code.lineage[2])
        docs, code = (replace(each, tokenized=replace(each.tokenized, tokenizer=tokenizer)) for each in (docs, code))
        mixture = MixParameters(shares={"docs": 2, "code": 1}, seed=3, max_repetitions=2)
        store = Store(Folder(str(path)))
        return World(store, LocalEngine(workers), docs, code, MixedLink("demo", (docs, code), mixture))

    @property
    def sources(self) -> tuple[PackedLink, PackedLink]:
        return self.docs, self.code

    @property
    def tokenizer(self) -> TokenizerLink:
        return self.docs.tokenized.tokenizer

    def land(self, source: str, snapshot: str, files: dict[str, bytes]) -> Folder:
        """Files of a snapshot, complete."""
        folder = self.store.landing / f"{source}/{snapshot}"
        for name, content in files.items():
            folder.put(name, content)
        folder.put(SUCCESS, b"")
        return folder

    def land_small(self) -> None:
        """Two snapshots of docs, which share documents, in several files; one of code."""
        short = "Too short."
        self.land(
            "docs", "2026-01", {"a.jsonl": jsonl([*paragraphs(0, 12), short]), "b.jsonl": jsonl(paragraphs(10, 20))}
        )
        long = " ".join(paragraphs(100, 112))
        self.land("docs", "2026-02", {"a.jsonl": jsonl(paragraphs(5, 25)), "z/c.txt": long.encode()})
        longer = " ".join(paragraphs(200, 240))
        self.land("code", "2026-01", {"c.jsonl": jsonl(paragraphs(40, 60)), "long.md": longer.encode()})

    def make(self, link: Link[Any], partition: str) -> Any:
        """Staged, nothing checked."""
        return link.make(Work(self.store, self.engine, partition))

    def outcomes(self, link: Link[Any], staged: Any) -> dict[str, Outcome]:
        """What each check found."""
        found = list(link.check(staged, self.store))
        assert [outcome.check for outcome in found] == [check.name for check in link.checks]
        return {outcome.check: outcome for outcome in found}

    def commit(self, link: Link[Any], partition: str) -> Manifest:
        """Make, check and commit, as an asset does. Raises RefusedError."""
        staged = self.make(link, partition)
        outcomes = self.outcomes(link, staged)
        failed = [outcomes[check.name] for check in link.checks if check.blocking and not outcomes[check.name].passed]
        if failed:
            staged.discard()
            raise RefusedError(failed)
        staged.commit()
        manifest = link.committed(self.store, partition)
        assert manifest is not None and manifest.digest == staged.manifest.digest
        self.commits.append(manifest.name)
        return manifest

    def snapshots(self) -> Iterator[tuple[PackedLink, str]]:
        """What has landed, in the order of registration."""
        for packed in self.sources:
            raw = packed.lineage[0]
            for snapshot in raw.partitions.register(self.store).keys:
                yield packed, snapshot

    def run_all(self) -> str:
        """Everything, in the order of the command line, and a version of the mixture; its name."""
        for packed, snapshot in self.snapshots():
            for link in packed.lineage[:3]:
                self.commit(link, snapshot)
        self.commit(self.tokenizer, "")
        for packed, snapshot in self.snapshots():
            for link in packed.lineage[3:]:
                self.commit(link, snapshot)
        return self.run_mixture()

    def run_mixture(self) -> str:
        """A version of what there is."""
        version = self.mixed.versions(self.store).register(self.mixed.recipe(self.store))
        self.commit(self.mixed, version)
        return version

    def digests(self) -> dict[str, str]:
        """Of everything that is committed."""
        links = [(link, snapshot) for packed, snapshot in self.snapshots() for link in packed.lineage]
        links += [(self.tokenizer, ""), *((self.mixed, v) for v in self.mixed.versions(self.store).names())]
        manifests = [link.committed(self.store, partition) for link, partition in links]
        return {manifest.name: manifest.digest for manifest in manifests if manifest}
