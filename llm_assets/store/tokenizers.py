"""Tokenizers at rest: `tokenizer.json`, in the format of Hugging Face tokenizers, with its manifest.

Guarantees that `tokenizer.json` appears complete or not at all, and never changes: writing it, last, is the commit; of
two concurrent commits the first one stays.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import blake3

from llm_assets.errors import LlmAssetsError
from llm_assets.store.folder import Folder
from llm_assets.store.manifest import Manifest

TOKENIZER = "tokenizer.json"


class FrozenTokenizerError(LlmAssetsError, RuntimeError):
    """Another tokenizer is committed here already."""


@dataclass(frozen=True)
class StoredTokenizer:
    """A committed tokenizer: the text of its `tokenizer.json`, and its manifest."""

    json_text: str
    manifest: Manifest

    @property
    def fingerprint(self) -> str:
        """Digest of the tokenizer, which shard sets record."""
        return self.manifest.digest

    @staticmethod
    def open(folder: Folder) -> StoredTokenizer | None:
        """The tokenizer committed in the folder; None where there is none."""
        try:
            json_text = folder.read(TOKENIZER).decode()
        except FileNotFoundError:
            return None
        about: dict[str, Any] = json.loads(folder.read(_about(json_text)))
        return StoredTokenizer(json_text, Manifest.from_dict(about["manifest"]))


@dataclass(frozen=True)
class StagedTokenizer:
    """A tokenizer in memory, not committed."""

    folder: Folder
    json_text: str
    manifest: Manifest

    @property
    def uri(self) -> str:
        """The folder of the tokenizer."""
        return self.folder.uri

    def commit(self) -> None:
        """Write two files, `tokenizer.json` last. Raises FrozenTokenizerError where another tokenizer is committed."""
        self.folder.put(_about(self.json_text), json.dumps({"manifest": self.manifest.as_dict()}, indent=1).encode())
        data = self.json_text.encode()
        if not self.folder.put_new(TOKENIZER, data) and self.folder.read(TOKENIZER) != data:
            raise FrozenTokenizerError(f"another run has made {self.manifest.asset} meanwhile, and it stays as it is")

    def discard(self) -> None:
        """Do nothing: no file was written."""


def _about(json_text: str) -> str:
    """Name of the file with the manifest of a `tokenizer.json`, by its content."""
    return f"_about/{blake3.blake3(json_text.encode()).hexdigest(length=16)}.json"
