"""The manifest: what one committed partition is, where it came from, and its ledger.

Guarantees that a partition's manifest becomes visible in the same step as its data. Whether the partition is
still up to date is a comparison of fingerprints; who makes that comparison is not decided here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, Self

from llm_assets.store.ledger import Ledger


@dataclass(frozen=True)
class Input:
    """One committed partition that was read: its digest, and the generation that held those bytes."""

    digest: str
    generation: str


@dataclass(frozen=True)
class Manifest:
    """What a partition is: `asset` (`docs/cleaned`), partition, content digest, inputs, ledger.

    `inputs` maps `asset[partition]` to what was read of it. `details` holds what one stage alone needs: JSON.
    """

    asset: str
    partition: str
    generation: str
    code_version: str
    inputs: Mapping[str, Input]
    digest: str
    ledger: Ledger
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def name(self) -> str:
        """See `partition_name`."""
        return partition_name(self.asset, self.partition)

    @property
    def as_input(self) -> Input:
        """What a partition made from this one records of it."""
        return Input(self.digest, self.generation)

    @property
    def fingerprint(self) -> str:
        """Names code, parameters and inputs: equal fingerprints mean equal bytes."""
        return fingerprint(self.code_version, {name: value.digest for name, value in self.inputs.items()})

    def as_dict(self) -> dict[str, Any]:
        """A JSON form; `from_dict` reads it back."""
        return {
            "asset": self.asset,
            "partition": self.partition,
            "generation": self.generation,
            "code_version": self.code_version,
            "inputs": {name: asdict(self.inputs[name]) for name in sorted(self.inputs)},
            "digest": self.digest,
            "ledger": self.ledger.as_dict(),
            "details": dict(self.details),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The manifest that `as_dict` wrote."""
        return cls(
            asset=data["asset"],
            partition=data["partition"],
            generation=data["generation"],
            code_version=data["code_version"],
            inputs={name: Input(**value) for name, value in data["inputs"].items()},
            digest=data["digest"],
            ledger=Ledger.from_dict(data["ledger"]),
            details=data["details"],
        )


def partition_name(asset: str, partition: str) -> str:
    """`docs/raw[2026-01]`; of an asset without partitions its own name."""
    return f"{asset}[{partition}]" if partition else asset


def split_name(name: str) -> tuple[str, str]:
    """`docs/raw[2026-01]` → `docs/raw`, `2026-01`."""
    asset, _, partition = name.removesuffix("]").partition("[")
    return asset, partition


def fingerprint(code_version: str, input_digests: Mapping[str, str]) -> str:
    """A hash over the code version and the digests of all inputs by name."""
    text = json.dumps([code_version, sorted(input_digests.items())])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Staged(Protocol):
    """A partition that is written but that no reader sees yet."""

    @property
    def manifest(self) -> Manifest:
        """What the partition will be."""
        ...

    @property
    def uri(self) -> str:
        """Where readers will find it."""
        ...

    def commit(self) -> None:
        """Make it what readers see, in one step."""
        ...

    def discard(self) -> None:
        """Delete what was written. Readers never saw it."""
        ...
