"""Refusals: partitions that were made but failed a blocking check, so that they were not committed.

Guarantees one record per asset and partition, replaced by the next attempt and removed by a commit. It tells people
and schedulers why something is not there; whether to try again is theirs to decide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from llm_assets.store.folder import Folder


@dataclass(frozen=True)
class Refusal:
    """Why a partition was not committed: the checks it failed, by name, and what each found."""

    asset: str
    partition: str
    fingerprint: str
    failed: Mapping[str, str]


@dataclass(frozen=True)
class Refusals:
    """All refusals below one folder."""

    folder: Folder

    def record(self, refusal: Refusal) -> None:
        """Put a refusal in place of an earlier one of the same partition."""
        self.folder.put(_name(refusal.asset, refusal.partition), json.dumps(vars(refusal), indent=1).encode())

    def clear(self, asset: str, partition: str) -> None:
        """The partition was committed."""
        self.folder.remove(_name(asset, partition))

    def get(self, asset: str, partition: str) -> Refusal | None:
        """The refusal of a partition, if its last attempt was refused."""
        try:
            return Refusal(**json.loads(self.folder.read(_name(asset, partition))))
        except FileNotFoundError:
            return None


def _name(asset: str, partition: str) -> str:
    return f"{asset}/{partition or 'unpartitioned'}.json"
