"""The read stage: every file of a part, by its suffix, to document rows and quarantine.

Guarantees that every file yields at least one row, and that whatever could not be read stands in quarantine with
its place. A read that fails (no such file, a broken connection) says nothing about the data and is raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from llm_assets.contract.stage import StageOutput
from llm_assets.stages.read.files import ReadPart
from llm_assets.stages.read.opening import Opening
from llm_assets.stages.read.parameters import ReadParameters
from llm_assets.stages.read.rows import RAW_SCHEMA, RowBatch
from llm_assets.stages.read.version import stage_version


@dataclass(frozen=True)
class ReadStage:
    """Reads the files of a part. Implements `llm_assets.contract.stage.Stage[ReadPart]`."""

    parameters: ReadParameters = field(default_factory=ReadParameters)

    @property
    def code_version(self) -> str:
        """`stage_version` of the parameters."""
        return stage_version(self.parameters)

    @property
    def schema(self) -> pa.Schema:
        """`RAW_SCHEMA`, for documents and quarantine alike."""
        return RAW_SCHEMA

    def process(self, part: ReadPart) -> Iterator[StageOutput]:
        """Batches of about 16 MiB, each with its documents and its quarantine (either may have no rows).

        Raises OSError where a file cannot be opened or read.
        """
        batch, opening = RowBatch(), Opening(self.parameters)
        for file in part.files:
            for name, record in opening.records(part.folder, file):
                batch.add(name, record)
                if batch.full:
                    yield batch.output()
                    batch = RowBatch()
        if len(batch):
            yield batch.output()
