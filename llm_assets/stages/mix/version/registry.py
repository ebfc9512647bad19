"""The versions of a mixture: each pins its recipe and every input by digest, permanently.

Guarantees that the same recipe over the same inputs is the same version, and that a version never changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llm_assets.store.folder import Folder
from llm_assets.store.manifest import Input, fingerprint

RECIPE = "recipe.json"
_VERSION = re.compile(r"v([1-9][0-9]*)")


@dataclass(frozen=True)
class PinnedRecipe:
    """The recipe of a version: the mixture's parameters as JSON, the code version, and the pinned inputs."""

    parameters: Mapping[str, Any]
    code_version: str
    inputs: Mapping[str, Input]

    @property
    def fingerprint(self) -> str:
        """Hash of code version, parameters and input digests: equal for equal versions."""
        return fingerprint(self.code_version, {name: value.digest for name, value in self.inputs.items()})

    def to_json(self) -> bytes:
        """The recipe as JSON; `from_json` reads it back."""
        return json.dumps({**asdict(self), "fingerprint": self.fingerprint}, indent=1).encode()

    @staticmethod
    def from_json(data: bytes) -> PinnedRecipe:
        """The recipe that `to_json` wrote."""
        content = json.loads(data)
        inputs = {name: Input(**value) for name, value in content["inputs"].items()}
        return PinnedRecipe(content["parameters"], content["code_version"], inputs)


@dataclass(frozen=True)
class Versions:
    """The versions of one mixture, registered in its folder: `v1`, `v2`, …"""

    folder: Folder

    def names(self) -> list[str]:
        """Registered versions, oldest first, whether made or not."""
        numbered = [(int(found[1]), name) for name in self.folder.names() if (found := _VERSION.fullmatch(name))]
        return [name for _, name in sorted(numbered) if self.folder.exists(f"{name}/{RECIPE}")]

    def recipe(self, version: str) -> PinnedRecipe | None:
        """The recipe of a version; None where it is not registered."""
        if version not in self.names():
            return None
        return PinnedRecipe.from_json((self.folder / version).read(RECIPE))

    def find(self, recipe: PinnedRecipe) -> str | None:
        """The version with this recipe, if it is registered."""
        return self._find(recipe, self.names())

    def _find(self, recipe: PinnedRecipe, names: Sequence[str]) -> str | None:
        for name in reversed(names):
            if PinnedRecipe.from_json((self.folder / name).read(RECIPE)).fingerprint == recipe.fingerprint:
                return name
        return None

    def register(self, recipe: PinnedRecipe) -> str:
        """Register a version with this recipe, or return the one that has it already."""
        while True:
            # If another process registers a version meanwhile, this number is taken, and the loop starts again.
            names = self.names()
            found = self._find(recipe, names)
            if found is not None:
                return found
            name = f"v{int(names[-1][1:]) + 1 if names else 1}"
            if self.folder.put_new(f"{name}/{RECIPE}", recipe.to_json()):
                return name
