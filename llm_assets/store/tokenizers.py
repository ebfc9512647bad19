"""Tokenizers at rest: `tokenizer.json`, which other libraries load as it is, and what is known about it.

Guarantees that `tokenizer.json` appears complete or not at all: it is written last and is the commit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from llm_assets.store.folder import Folder
from llm_assets.store.manifest import Manifest

TOKENIZER = "tokenizer.json"
_ABOUT = "about.json"


@dataclass(frozen=True)
class StoredTokenizer:
    """A committed tokenizer: the text of its `tokenizer.json`, and its manifest."""

    json_text: str
    manifest: Manifest

    @property
    def fingerprint(self) -> str:
        """Digest of the tokenizer: what shard sets are stamped with."""
        return self.manifest.digest

    @staticmethod
    def open(folder: Folder) -> StoredTokenizer | None:
        """The tokenizer committed in the folder; None where there is none."""
        try:
            json_text = folder.read(TOKENIZER).decode()
            about: dict[str, Any] = json.loads(folder.read(_ABOUT))
        except FileNotFoundError:
            return None
        return StoredTokenizer(json_text, Manifest.from_dict(about["manifest"]))


@dataclass(frozen=True)
class StagedTokenizer:
    """A tokenizer in memory, that no reader sees yet."""

    folder: Folder
    json_text: str
    manifest: Manifest

    @property
    def uri(self) -> str:
        """The folder of the tokenizer."""
        return self.folder.uri

    def commit(self) -> None:
        """Put the two files, `tokenizer.json` last."""
        self.folder.put(_ABOUT, json.dumps({"manifest": self.manifest.as_dict()}, indent=1).encode())
        self.folder.put(TOKENIZER, self.json_text.encode())

    def discard(self) -> None:
        """Nothing was written."""
