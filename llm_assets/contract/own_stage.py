"""A stage of a project's own: a plugin that makes a link between two stages of a source.

Nothing before or after it needs to know of it. A filter, which most of them are, is a `DocumentFilter`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from llm_assets.contract.documents import DocumentLink
from llm_assets.contract.plugin import Plugin


class OwnStage(Plugin, ABC):
    """A stage whose documents come from the stage `after`, and go to the one that came after that.

    `stage_name` is the last part of its assets' keys.
    """

    group: ClassVar[str] = "llm_assets.stages"
    stage_name: ClassVar[str]

    after: str = "deduped"

    @abstractmethod
    def link(self, source: str, documents: DocumentLink) -> DocumentLink:
        """The link of a source, made of these documents."""
