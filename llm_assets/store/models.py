"""Quality models at rest: the files that a model's own library reads, with settings and manifest.

Guarantees that a model appears complete or not at all, and never changes: writing `model.json`, last, is the commit;
of two concurrent commits the first one stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llm_assets.errors import LlmAssetsError
from llm_assets.store.folder import Folder
from llm_assets.store.frozen_model import FrozenModel, ModelKind
from llm_assets.store.manifest import Manifest

MODEL = "model.json"


class FrozenModelError(LlmAssetsError, RuntimeError):
    """Another model is committed here already."""


class DamagedModelError(LlmAssetsError, RuntimeError):
    """The files of a committed model are missing or were changed."""


@dataclass(frozen=True)
class StoredModel:
    """A committed model; `load` reads its files."""

    folder: Folder
    manifest: Manifest
    kind: ModelKind
    settings: Mapping[str, Any]
    names: tuple[str, ...]

    @staticmethod
    def open(folder: Folder) -> StoredModel | None:
        """The model committed in the folder; None where there is none."""
        try:
            about: dict[str, Any] = json.loads(folder.read(MODEL))
        except FileNotFoundError:
            return None
        manifest = Manifest.from_dict(about["manifest"])
        return StoredModel(folder, manifest, ModelKind(about["kind"]), about["settings"], tuple(about["files"]))

    def load(self) -> FrozenModel:
        """The model with its files. Raises DamagedModelError where they differ from those that were committed."""
        digest = self.manifest.digest
        try:
            files = {name: self.folder.read(f"{digest}/{name}") for name in self.names}
        except FileNotFoundError as error:
            raise DamagedModelError(f"{self.manifest.asset}: a file of the committed model is gone: {error}") from error
        model = FrozenModel(self.kind, self.settings, files)
        if model.digest != digest:
            raise DamagedModelError(f"{self.manifest.asset}: the files in {self.folder.uri}/{digest} were changed")
        return model


@dataclass(frozen=True)
class StagedModel:
    """A model in memory, not committed. `manifest.digest` is the digest of `model`."""

    folder: Folder
    model: FrozenModel
    manifest: Manifest

    @property
    def uri(self) -> str:
        """The folder of the model."""
        return self.folder.uri

    def commit(self) -> None:
        """Write the files, `model.json` last. Raises FrozenModelError where another model is committed."""
        digest = self.manifest.digest
        stored = StoredModel.open(self.folder)
        if stored is None:
            for name, content in self.model.files.items():
                self.folder.put(f"{digest}/{name}", content)
            self.folder.put_new(MODEL, self._about())
            stored = StoredModel.open(self.folder)
        if stored is None or stored.manifest.digest != digest:
            self.folder.remove(digest)
            raise FrozenModelError(f"another run has made {self.manifest.asset} meanwhile, and it stays as it is")

    def _about(self) -> bytes:
        about = {
            "kind": self.model.kind,
            "settings": self.model.settings,
            "files": sorted(self.model.files),
            "manifest": self.manifest.as_dict(),
        }
        return json.dumps(about, indent=1).encode()

    def discard(self) -> None:
        """Do nothing: no file was written."""
