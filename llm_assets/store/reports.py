"""Reports at rest: what was found out about a partition of something else, as one small JSON file.

Guarantees that a report appears complete or not at all, and that its manifest comes with it. What it says is the
business of whoever made it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import blake3

from llm_assets.store.folder import Folder
from llm_assets.store.manifest import Manifest

REPORT = "report.json"


class DamagedReportError(RuntimeError):
    """A report is not what was committed."""


def report_digest(results: Mapping[str, Any]) -> str:
    """Digest of the results of a report: JSON, whatever the order of the names."""
    return blake3.blake3(json.dumps(results, sort_keys=True).encode()).hexdigest(length=16)


@dataclass(frozen=True)
class StoredReport:
    """A committed report. `results` follow from the inputs, `measured` (times and their like) do not: both JSON."""

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
            raise DamagedReportError(f"{folder.uri}/{REPORT} is no report: {error!r}") from error
        if report_digest(report.results) != report.manifest.digest:
            raise DamagedReportError(f"{folder.uri}/{REPORT} was changed: its results do not have the digest it names")
        return report


@dataclass(frozen=True)
class StagedReport:
    """A report in memory that no reader sees yet. `manifest.digest` is the digest of `results`."""

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
        """The file as it will be."""
        content = {"manifest": self.manifest.as_dict(), "results": self.results, "measured": self.measured}
        return json.dumps(content, indent=1).encode()

    def commit(self) -> None:
        """Put the file: it takes the place of an earlier report at once."""
        self.folder.put(REPORT, self.data)

    def discard(self) -> None:
        """Nothing was written."""
