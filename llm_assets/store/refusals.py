"""Refusals: records of partitions that failed a blocking check and were therefore not committed.

Guarantees one record per asset and partition, replaced by the next attempt and removed by a commit. It tells people and
sensors why a partition is missing; they decide whether to try again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from llm_assets.store.folder import Folder


@dataclass(frozen=True)
class Refusal:
    """The checks that a partition failed, by name, each with its message, and the partition's fingerprint."""

    asset: str
    partition: str
    fingerprint: str
    failed: Mapping[str, str]


@dataclass(frozen=True)
class Refusals:
    """All refusals below one folder."""

    folder: Folder

    def record(self, refusal: Refusal) -> None:
        """Write a refusal, in place of an earlier one of the same partition."""
        self.folder.put(_name(refusal.asset, refusal.partition), json.dumps(vars(refusal), indent=1).encode())

    def clear(self, asset: str, partition: str) -> None:
        """Remove the refusal of a partition, once it is committed."""
        self.folder.remove(_name(asset, partition))

    def get(self, asset: str, partition: str) -> Refusal | None:
        """The refusal of a partition; None where its last attempt was not refused."""
        try:
            return Refusal(**json.loads(self.folder.read(_name(asset, partition))))
        except FileNotFoundError:
            return None


def _name(asset: str, partition: str) -> str:
    return f"{asset}/{partition or 'unpartitioned'}.json"
