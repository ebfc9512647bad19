"""The manifest of a committed partition: its identity, code version, inputs, digest and ledger.

Guarantees that a manifest becomes visible in the same step as its data. A partition is up to date where its fingerprint
equals that of a new one (`Link.state`).
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
    """A committed partition that was read: its digest, and the generation that held these bytes."""

    digest: str
    generation: str


@dataclass(frozen=True)
class Manifest:
    """The description of a partition: asset key (`docs/cleaned`), partition, digest of its content, inputs, ledger.

    `inputs` maps `asset[partition]` to its digest and generation. `details` is JSON that only the stage itself reads.
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
        """`asset[partition]`, see `partition_name`."""
        return partition_name(self.asset, self.partition)

    @property
    def as_input(self) -> Input:
        """This partition as an input of another one."""
        return Input(self.digest, self.generation)

    @property
    def fingerprint(self) -> str:
        """Hash of code version, parameters and inputs: equal fingerprints mean equal content."""
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
    """`docs/raw[2026-01]`; for an asset without partitions, the asset key."""
    return f"{asset}[{partition}]" if partition else asset


def split_name(name: str) -> tuple[str, str]:
    """`docs/raw[2026-01]` → `docs/raw`, `2026-01`."""
    asset, _, partition = name.removesuffix("]").partition("[")
    return asset, partition


def fingerprint(code_version: str, input_digests: Mapping[str, str]) -> str:
    """Hash over the code version and the digests of all inputs by name: 128 bits in hexadecimal."""
    text = json.dumps([code_version, sorted(input_digests.items())])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Staged(Protocol):
    """A written partition that is not committed, so no reader sees it."""

    @property
    def manifest(self) -> Manifest:
        """The manifest with which it will be committed."""
        ...

    @property
    def uri(self) -> str:
        """The URI at which readers will find it."""
        ...

    def commit(self) -> None:
        """Make it visible to readers, in one atomic step."""
        ...

    def discard(self) -> None:
        """Delete the staged files."""
        ...
