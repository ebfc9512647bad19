"""The link from `raw` to `<source>/cleaned`: documents that passed, and the others with every rule they broke."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeVar, cast

from typing_extensions import override

from llm_assets.contract.documents import DocumentLink, Documents, as_inputs
from llm_assets.contract.link import (
    LEDGER_BALANCES,
    Check,
    Description,
    Link,
    MissingInputError,
    Outcome,
    Work,
    balance_outcome,
)
from llm_assets.contract.site import Site, SourceStage
from llm_assets.contract.stage import Disposition
from llm_assets.stages.clean import VERSION
from llm_assets.stages.clean.checks import CHECKS, CleanLimits, cleaned_outcomes
from llm_assets.stages.clean.columns import CLEANED_SCHEMA
from llm_assets.stages.clean.parameters import CleanParameters
from llm_assets.stages.clean.quality.link import QualityModelLink
from llm_assets.stages.clean.version import stage_version
from llm_assets.store.documents import CommittedSnapshot, StagedSnapshot
from llm_assets.store.layout import Store
from llm_assets.store.manifest import Input, partition_name
from llm_assets.store.named_files import digest_of, read_named

DOCUMENTS_KEPT = Check("documents_kept", "At least one document passed the rules.")
FoundT = TypeVar("FoundT")

_DIGESTED = [name for name in CLEANED_SCHEMA.names if name != "text"]
"""All columns but the text, which `content_hash` stands for."""
_READ = ["doc_id", "id", "text", "metadata", "file", "record", "byte_offset"]


@dataclass(frozen=True)
class CleanedLink(DocumentLink, SourceStage):
    """Cleans one snapshot of a source: of `documents`. `models` are those that the parameters name."""

    source: str
    documents: DocumentLink
    parameters: CleanParameters
    limits: CleanLimits = field(default_factory=CleanLimits)
    models: tuple[QualityModelLink, ...] = ()

    stage_name = "cleaned"
    summary = "Documents that passed; the others with why."
    schema = CLEANED_SCHEMA
    digested: ClassVar = dict.fromkeys((Disposition.KEPT, Disposition.REJECTED, Disposition.QUARANTINED), _DIGESTED)

    @classmethod
    @override
    def placed(cls, site: Site) -> Self:
        limits = CleanLimits.model_validate(site.limits)
        models = tuple(
            cast(QualityModelLink, site.find(QualityModelLink.key(each.model), f"clean.quality.{place}.model"))
            for place, each in enumerate(site.parameters.quality)
        )
        return cls(site.source, cast(DocumentLink, site.upstream), site.parameters, limits, models)

    @property
    @override
    def upstream(self) -> Sequence[Link[Any]]:
        return self.documents, *self.models

    @property
    @override
    def code_version(self) -> str:
        return stage_version(self.parameters)

    @property
    @override
    def checks(self) -> Sequence[Check]:
        return LEDGER_BALANCES, DOCUMENTS_KEPT, *CHECKS

    def inputs(self, store: Store, partition: str) -> dict[str, Input]:
        """The documents, the models that score them, and the files that the parameters name."""
        documents = self.documents.documents_of(store, partition)
        return self._inputs(store, documents, _each_file(self.parameters, digest_of))

    def _inputs(self, store: Store, documents: Documents, digests: Mapping[str, str]) -> dict[str, Input]:
        models = {name: value for each in self.models for name, value in each.as_input(store).items()}
        files = {f"file/{uri}": Input(digest, "") for uri, digest in digests.items()}
        return {**as_inputs(documents.manifests), **models, **files}

    @override
    def make(self, work: Work) -> StagedSnapshot:
        from llm_assets.stages.clean.quality.scorer import open_scorer
        from llm_assets.stages.clean.stage import CleanStage

        documents = self.documents.documents_of(work.store, work.partition)
        files = _each_file(self.parameters, read_named)
        scorers = {each.name: open_scorer(each.load(work.store)) for each in self.models}
        stage = CleanStage(self.parameters, scorers, {uri: file.data for uri, file in files.items()})
        parts = [documents.batches(_READ, part) for part in documents.parts]
        digests = {uri: file.digest for uri, file in files.items()}
        return self.stage_parts(work, stage, parts, self._inputs(work.store, documents, digests))

    @override
    def check(self, staged: StagedSnapshot, store: Store) -> Iterator[Outcome]:
        manifest, ledger = staged.manifest, staged.manifest.ledger
        written = {
            "kept documents": (staged.count(Disposition.KEPT), ledger.kept.documents),
            "rejected documents": (staged.count(Disposition.REJECTED), ledger.dropped_total.documents),
            "quarantined documents": (staged.count(Disposition.QUARANTINED), ledger.quarantined_total.documents),
        }
        read = manifest.inputs[partition_name(self.documents.asset, manifest.partition)].generation
        upstream = self.documents.opened(store, manifest.partition, read).manifest
        yield balance_outcome(ledger, upstream.ledger.output, written)
        kept = ledger.kept.documents
        yield Outcome(DOCUMENTS_KEPT.name, kept > 0, f"{kept:,} documents passed")
        yield from cleaned_outcomes(ledger, staged, self._before(store, manifest.partition), self.limits)

    def _before(self, store: Store, partition: str) -> tuple[str, CommittedSnapshot] | None:
        """The last committed one of the snapshots that were registered before this."""
        table = self.table(store)
        for name in reversed(store.order(self.source).earlier(partition)):
            snapshot = table.snapshot(name)
            if snapshot is not None and snapshot.manifest.code_version.startswith(f"{VERSION}-"):
                return name, snapshot
        return None

    @override
    def describe(self, staged: StagedSnapshot, store: Store) -> Description:
        from llm_assets.stages.clean.report import describe_cleaned

        return describe_cleaned(staged, staged.size, staged.manifest.ledger, self.parameters)


def _each_file(parameters: CleanParameters, look: Callable[[str], FoundT]) -> dict[str, FoundT]:
    """`look` of each file that the parameters name, by its URI. Raises MissingInputError, NamedFileError."""
    found: dict[str, FoundT] = {}
    for uri in parameters.files:
        try:
            found[uri] = look(uri)
        except FileNotFoundError as error:
            raise MissingInputError(f"{uri} is not there: the source's `clean` names it") from error
    return found
