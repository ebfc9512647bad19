"""A quality model in memory: the files that the model's own library reads.

Guarantees that equal digests mean equal models. `store.models` keeps models, `stages/clean/quality` scores with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import blake3


class ModelKind(StrEnum):
    """The library that reads the files of a model."""

    FASTTEXT = "fasttext"
    TRANSFORMERS = "transformers"


@dataclass(frozen=True)
class FrozenModel:
    """A model in memory: its kind, the `settings` of its use (JSON), and the content of its files by name."""

    kind: ModelKind
    settings: Mapping[str, Any]
    files: Mapping[str, bytes] = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """Digest of kind, settings and files."""
        listing = {name: _digest(content) for name, content in sorted(self.files.items())}
        return _digest(json.dumps([self.kind, self.settings, listing], sort_keys=True).encode())

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))


def _digest(data: bytes) -> str:
    return blake3.blake3(data).hexdigest(length=16)
