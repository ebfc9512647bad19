"""Reports at rest: results about a partition of another asset, as one small JSON file with its manifest.

Guarantees that a report appears complete or not at all. The stage that makes a report defines its content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import blake3

from llm_assets.errors import LlmAssetsError
from llm_assets.store.folder import Folder
from llm_assets.store.manifest import Manifest

REPORT = "report.json"


class DamagedReportError(LlmAssetsError, RuntimeError):
    """The file of a committed report was changed."""


def report_digest(results: Mapping[str, Any]) -> str:
    """Digest of the results of a report as JSON, independent of the order of names."""
    return blake3.blake3(json.dumps(results, sort_keys=True).encode()).hexdigest(length=16)


@dataclass(frozen=True)
class StoredReport:
    """A committed report, both parts JSON: `results` follow from the inputs, `measured` (such as times) do not."""

    manifest: Manifest
    results: Mapping[str, Any]
    measured: Mapping[str, Any]

    @staticmethod
    def open(folder: Folder) -> StoredReport | None:
        """The report committed in the folder; None where there is none. Raises DamagedReportError."""
        try:
            data = folder.read(REPORT)
        except FileNotFoundError:
            return None
        try:
            content: dict[str, Any] = json.loads(data)
            report = StoredReport(Manifest.from_dict(content["manifest"]), content["results"], content["measured"])
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedReportError(
                f"{folder.uri}/{REPORT} is not a report ({error!r}): delete it and make it again"
            ) from error
        if report_digest(report.results) != report.manifest.digest:
            raise DamagedReportError(
                f"{folder.uri}/{REPORT} was changed: its results do not match its digest. Delete it and make it again"
            )
        return report


@dataclass(frozen=True)
class StagedReport:
    """A report in memory, not committed. `manifest.digest` is the digest of `results`."""

    folder: Folder
    results: Mapping[str, Any]
    measured: Mapping[str, Any]
    manifest: Manifest

    @property
    def uri(self) -> str:
        """The folder of the report."""
        return self.folder.uri

    @property
    def data(self) -> bytes:
        """The bytes of the file."""
        content = {"manifest": self.manifest.as_dict(), "results": self.results, "measured": self.measured}
        return json.dumps(content, indent=1).encode()

    def commit(self) -> None:
        """Write the file, which replaces an earlier report atomically."""
        self.folder.put(REPORT, self.data)

    def discard(self) -> None:
        """Do nothing: no file was written."""
